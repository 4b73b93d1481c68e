// Real processes of the command line, for tests: start, listen, signal, and leave nothing behind.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

export const cliFile = join(import.meta.dirname, '..', '..', 'infra', 'cli.ts');
export const fixtureDir = join(import.meta.dirname, 'fixture');
export const anyPorts = ['--port', '--amqp-port', '--management-port', '--cosmos-port'].flatMap(
  (flag) => [flag, '0'],
);

export interface Ready {
  ready: true;
  http: string;
  serviceBus: string;
  cosmos: string;
  pids: { cloud: number; host: number };
}

export interface Cli extends AsyncDisposable {
  readonly pid: number;
  readonly output: () => string;
  /** Resolves with the first line, of either stream, in which the text stands. */
  line(text: string): Promise<string>;
  ready(): Promise<Ready>;
  readonly exit: Promise<number | string>;
  /** To the process alone, or to its whole group. */
  signal(name: NodeJS.Signals, to?: 'group'): void;
}

/** Starts the command line in a process group of its own; disposing ends the group. */
export function startCli(args: readonly string[], env: NodeJS.ProcessEnv = {}): Cli {
  const child = spawn(process.execPath, [cliFile, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, ...env },
  });
  const pid = child.pid ?? 0;
  const heard = new Heard(child);
  const exit = new Promise<number | string>((resolve) => {
    child.on('exit', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
  return {
    pid,
    exit,
    output: () => heard.text,
    line: (text) => heard.line(text),
    ready: async () => JSON.parse(await heard.line('"ready":true')) as Ready,
    signal: (name, to) => void process.kill(to === 'group' ? -pid : pid, name),
    async [Symbol.asyncDispose]() {
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // The group has ended already.
      }
      await exit;
    },
  };
}

class Heard {
  text = '';
  readonly #waiting = new Set<() => void>();
  #isEnded = false;

  constructor(child: ChildProcess) {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        this.text += chunk;
        this.#wake();
      });
    }
    child.on('close', () => {
      this.#isEnded = true;
      this.#wake();
    });
  }

  async line(text: string): Promise<string> {
    for (;;) {
      const complete = this.text.split('\n').slice(0, this.#isEnded ? undefined : -1);
      const found = complete.find((line) => line.includes(text));
      if (found !== undefined) return found;
      if (this.#isEnded) throw new Error(`ended without "${text}":\n${this.text}`);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

/** A process that has ended and that nobody has waited for yet counts as ended. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    // No /proc on this system, or just ended.
    return process.platform !== 'linux';
  }
}

/** Waits for a fact of the outside world; the time limit of the test is its limit. */
export async function eventually<T>(
  look: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    await pause(25);
  }
}

export function tempFolder(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'convoy-test-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
