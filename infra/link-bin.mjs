// Puts the package's own bin into node_modules/.bin after `npm ci`: npm links the bins of dependencies
// only, and without the link `npx convoy` installs the package into a cache first, which takes a second
// and fails when two of them do it at once. Where links are not possible, npx still does that.
import { existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const modules = fileURLToPath(new URL('../node_modules/', import.meta.url));
if (process.platform !== 'win32' && existsSync(modules)) {
  mkdirSync(`${modules}.bin`, { recursive: true });
  rmSync(`${modules}.bin/convoy`, { force: true });
  symlinkSync('../../infra/convoy.mjs', `${modules}.bin/convoy`);
}
