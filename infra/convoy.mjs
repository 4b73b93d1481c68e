#!/usr/bin/env node
// The `convoy` bin. Node < 22.13 has no node:sqlite, so an older Node hands over to the `node` dev
// dependency (24.x) of this package; everything else is in infra/cli.ts.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const cli = fileURLToPath(new URL('../dist/infra/cli.js', import.meta.url));

if (major > 22 || (major === 22 && minor >= 13)) {
  await import(new URL('../dist/infra/cli.js', import.meta.url).href);
} else {
  const require = createRequire(import.meta.url);
  const node = require.resolve('node/package.json').replace(/package\.json$/, 'bin/node');
  // Signals are passed on; the channel tells the other side when this process is killed.
  const child = spawn(node, [cli, ...process.argv.slice(2)], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, CONVOY_HANDED_OVER: '1' },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => child.kill(signal));
  }
  child.on('exit', (code) => process.exit(code ?? 1));
}
