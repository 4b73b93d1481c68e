// Restart on change for `convoy dev`: watches what the app was built to, and compiles its sources
// when they are there and have changed.
//
// W1. Only changed content counts: a compiler that writes the same bytes again restarts nothing.
// W2. The compiler runs once per change and ends: a watching one would outlive a killed launcher.
// W3. A build checks no types, the check comes after it: the change is in the running app at once,
//     and what is wrong with its types is said as soon as it is known.
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { glob } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { realClock } from '../../shared/clock.ts';
import type { Timer } from '../../shared/clock.ts';

// An editor writes a file in several steps. (The host of Azure waits half a second.)
const settleMs = 100;
const settingsFiles = ['host.json', 'local.settings.json', 'package.json'];

/** Calls back after each change of the built app; disposing ends it. */
export async function watchApp(
  appDir: string,
  log: (line: string) => void,
  onChange: () => void,
): Promise<AsyncDisposable> {
  const builtFolder = builtFolderOf(appDir);
  let digest = await digestOf(appDir, builtFolder);
  let settle: Timer | undefined;
  const compiler = createCompiler(appDir, log, () => void compare());
  const compare = async (): Promise<void> => {
    // Half a build must not be loaded; its end brings us here again.
    if (compiler?.isBusy()) return;
    const now = await digestOf(appDir, builtFolder);
    if (now === digest) return;
    digest = now;
    log('the app has changed, starting the host again');
    onChange();
  };
  const changed = (): void => {
    settle?.cancel();
    settle = realClock.after(settleMs, () => void compare());
  };
  const watchers = [
    ...watchersOf(appDir, builtFolder, changed),
    ...sourceWatchersOf(appDir, builtFolder, compiler),
  ];
  return {
    async [Symbol.asyncDispose]() {
      settle?.cancel();
      for (const one of watchers) one.close();
      compiler?.close();
    },
  };
}

/** The first folder of package.json `main`, or undefined when the app lies flat in its folder. */
function builtFolderOf(appDir: string): string | undefined {
  const text = readFileSync(join(appDir, 'package.json'), 'utf8');
  const { main = '' } = JSON.parse(text) as { main?: string };
  const [first = '', ...rest] = main.replace(/^\.\//, '').split('/');
  return rest.length > 0 && !first.includes('*') && !first.includes('{') ? first : undefined;
}

function watchersOf(
  appDir: string,
  builtFolder: string | undefined,
  changed: () => void,
): FSWatcher[] {
  const flat = watch(appDir, (_, file) => {
    if (!builtFolder || settingsFiles.includes(file ?? '')) changed();
  });
  const built = builtFolder && join(appDir, builtFolder);
  if (!built || !existsSync(built)) return [flat];
  return [flat, watch(built, { recursive: true }, changed)];
}

async function digestOf(appDir: string, builtFolder: string | undefined): Promise<string> {
  const pattern = builtFolder ? `${builtFolder}/**/*.{js,mjs,cjs,json}` : '*.{js,mjs,cjs,json}';
  const files = [...settingsFiles];
  for await (const file of glob(pattern, { cwd: appDir })) files.push(file);
  const hash = createHash('sha256');
  for (const file of files.sort()) {
    const path = join(appDir, file);
    if (existsSync(path)) hash.update(file).update('\0').update(readFileSync(path));
  }
  return hash.digest('hex');
}

/** Every folder that may hold sources: all but the build, dependencies and hidden ones. */
function sourceWatchersOf(
  appDir: string,
  builtFolder: string | undefined,
  compiler: Compiler | undefined,
): FSWatcher[] {
  if (!compiler) return [];
  return readdirSync(appDir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .filter(({ name }) => name !== 'node_modules' && name !== builtFolder)
    .map(({ name }) =>
      watch(join(appDir, name), { recursive: true }, (_, file) => {
        if (file && /\.[cm]?tsx?$/.test(file)) compiler.request();
      }),
    );
}

interface Compiler {
  /** The sources have changed. */
  request(): void;
  /** A build runs or is about to. */
  isBusy(): boolean;
  close(): void;
}

/** Compiles once after the last of several changes, and once more when one came meanwhile [W2]. */
function createCompiler(
  appDir: string,
  log: (line: string) => void,
  onBuilt: () => void,
): Compiler | undefined {
  if (!existsSync(join(appDir, 'tsconfig.json'))) return undefined;
  const found = findCompiler(appDir);
  if (!found) {
    log('tsconfig.json without typescript: compile the app yourself, the host follows');
    return undefined;
  }
  let settle: Timer | undefined;
  let running = Promise.resolve();
  let pending = 0;
  let checking: ChildProcess | undefined;
  const run = (flags: readonly string[]): ChildProcess => {
    const child = spawn(process.execPath, [found.file, ...flags], {
      cwd: appDir,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    createInterface({ input: child.stdout }).on('line', (line) => log(`tsc: ${line}`));
    return child;
  };
  const ended = (child: ChildProcess): Promise<void> =>
    new Promise((resolve) => void child.on('close', () => resolve()).on('error', () => resolve()));
  const build = async (): Promise<void> => {
    await ended(run(found.canSkipCheck ? ['--noCheck'] : [])); // [W3]
    if (--pending > 0) return;
    onBuilt();
    if (found.canSkipCheck) checking = run(['--noEmit']);
  };
  return {
    request() {
      checking?.kill();
      if (settle) settle.cancel();
      else pending++;
      settle = realClock.after(settleMs, () => {
        settle = undefined;
        running = running.then(build);
      });
    },
    isBusy: () => pending > 0,
    close() {
      settle?.cancel();
      checking?.kill();
    },
  };
}

/** The app's own compiler; since 5.6 it can build without checking. */
function findCompiler(appDir: string): { file: string; canSkipCheck: boolean } | undefined {
  try {
    const manifest = createRequire(join(appDir, 'package.json')).resolve('typescript/package.json');
    const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
    const [major = 0, minor = 0] = version.split('.').map(Number);
    const canSkipCheck = major > 5 || (major === 5 && minor >= 6);
    return { file: join(manifest, '..', 'bin', 'tsc'), canSkipCheck };
  } catch {
    return undefined;
  }
}
