// The host by the clock: start-up to ready, and from a changed source to the app that has it.
//
//   npm run build && node dist/test/bench/host.js [--runs 5]
//
// Both on a copy of this package in a temporary folder, with the compiler in the way, as a
// developer meets them. Prints one line per measure, median and range in milliseconds, and how busy
// the machine was: above one waiting process per core the times are upper bounds.
import { spawn, type ChildProcess } from 'node:child_process';
import { appendFileSync, cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { packageRoot } from '../../infra/local/address.ts';

const anyPorts = ['--port', '--amqp-port', '--management-port', '--cosmos-port'];
const sourceFile = join('functions', 'operator', 'words.ts');

interface Running {
  child: ChildProcess;
  /** Resolves with the next line that holds the text. */
  line(text: string): Promise<string>;
  stop(): Promise<void>;
}

/** A stack on free ports, nothing on disk, in a process group of its own. */
function startDev(app: string): Running {
  const cli = join(packageRoot(), 'dist', 'infra', 'cli.js');
  const ports = anyPorts.flatMap((flag) => [flag, '0']);
  const args = [cli, 'dev', '--json', '--memory', '--app', app, ...ports];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const waiting = new Map<string, (line: string) => void>();
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      for (const [text, resolve] of waiting) {
        if (!line.includes(text)) continue;
        waiting.delete(text);
        resolve(line);
      }
    });
  }
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  return {
    child,
    line: (text) => new Promise((resolve) => waiting.set(text, resolve)),
    async stop() {
      child.kill('SIGTERM');
      await gone;
    },
  };
}

/** Our package without what is fetched or secret; the dependencies by a link. */
function copyOfPackage(folder: string): string {
  const root = packageRoot();
  const app = join(folder, 'app');
  const skipped = new Set(['node_modules', '.git', '.convoy'].map((name) => join(root, name)));
  cpSync(root, app, { recursive: true, filter: (path) => !skipped.has(path) });
  symlinkSync(join(root, 'node_modules'), join(app, 'node_modules'));
  return app;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

function show(what: string, all: number[]): void {
  const sorted = all.map(Math.round).sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)];
  console.log(`${what}: ${median} ms (${sorted[0]} to ${sorted.at(-1)}, ${all.length} runs)`);
}

const { values } = parseArgs({ options: { runs: { type: 'string', default: '5' } } });
const runs = Number(values.runs);
const folder = mkdtempSync(join(tmpdir(), 'convoy-bench-host-'));
try {
  const app = copyOfPackage(folder);
  const ready: number[] = [];
  const hosts: number[] = [];
  const restarts: number[] = [];
  for (let n = 0; n < runs; n++) {
    const stack = startDev(app);
    ready.push(await timed(() => stack.line('"ready":true')));
    appendFileSync(join(app, sourceFile), `// change ${n}\n`);
    restarts.push(
      await timed(async () => {
        await stack.line('the app has changed');
        hosts.push(await timed(() => stack.line('host runs again')));
      }),
    );
    await stack.stop();
  }
  show('the stack with our app, start to ready', ready);
  show('our app, source change to running again (tsc included)', restarts);
  show('of that, ending the host and starting it', hosts);
  console.log(`load average ${loadavg()[0]?.toFixed(1)} on ${availableParallelism()} cores`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
