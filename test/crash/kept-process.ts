// A process of a round: started again whenever it ends, until the round is over.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';

export interface KeptOptions {
  name: string;
  /** Asked anew for each life. */
  args(): readonly string[];
  env?: NodeJS.ProcessEnv | undefined;
  onLine(line: string): void;
  /** A life has begun, or ended with a code or a signal. */
  onLife(text: string): void;
  /** What to tell it through its standard input when it starts. */
  greeting?: (() => string) | undefined;
  /** Ends by itself when its work is done. */
  mayFinish?: boolean;
}

const startAgainMs = 200;
const killAfterMs = 20_000;

export class KeptProcess {
  readonly name: string;
  readonly #options: KeptOptions;
  /** Leaders of the groups that were started: something of a group may outlive its leader. */
  readonly #groups: number[] = [];
  #child: ChildProcess | undefined;
  #gone: Promise<number | string> = Promise.resolve(0);
  #isEnding = false;
  lives = 0;
  isFinished = false;

  readonly #onExit = (): void => this.#killAll();

  constructor(options: KeptOptions) {
    this.name = options.name;
    this.#options = options;
    process.once('exit', this.#onExit);
    this.#start();
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  #start(): void {
    const { args, env, greeting, onLine, onLife, name } = this.#options;
    const child = spawn(process.execPath, [...args()], {
      stdio: [greeting ? 'pipe' : 'ignore', 'pipe', 'pipe'],
      detached: true,
      env: { ...process.env, ...env },
    });
    this.lives += 1;
    this.#child = child;
    if (child.pid !== undefined) this.#groups.push(child.pid);
    onLife(`${name} is process ${child.pid}`);
    for (const stream of [child.stdout, child.stderr]) {
      if (stream) createInterface({ input: stream }).on('line', onLine);
    }
    child.stdin?.on('error', () => {});
    if (greeting) child.stdin?.write(`${greeting()}\n`);
    this.#gone = new Promise((resolve) => {
      child.on('exit', (code, signal) => {
        this.#child = undefined;
        const how = signal ?? code ?? 0;
        resolve(how);
        onLife(`${name} ended: ${how}`);
        void this.#goOn(how);
      });
    });
  }

  async #goOn(how: number | string): Promise<void> {
    if (how === 0 && this.#options.mayFinish === true) this.isFinished = true;
    if (this.isFinished) return;
    await pause(startAgainMs);
    if (!this.#isEnding && !this.#child) this.#start();
  }

  /** Tells the present life something more. */
  say(line: string): void {
    this.#child?.stdin?.write(`${line}\n`);
  }

  /** SIGTERM, and the last word after a while; resolves with the exit code or the signal. */
  async end(): Promise<number | string> {
    this.#isEnding = true;
    const child = this.#child;
    if (!child) return 0;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), killAfterMs);
    const how = await this.#gone;
    clearTimeout(timer);
    return how;
  }

  #killAll(): void {
    for (const group of this.#groups) {
      try {
        process.kill(-group, 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
  }

  /** Ends all that was ever started and is still there. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnding = true;
    this.#killAll();
    process.off('exit', this.#onExit);
    await this.#gone;
  }
}
