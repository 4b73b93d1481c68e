// One process of the stack, seen from the launcher: started, started again when it dies, stopped.
//
// V1. A process whose first start fails is not started again: its reason goes to the person.
// V2. Later deaths are answered by a new start, at once the first time, then with a pause that
//     doubles up to ten seconds and is forgotten after half a minute of quiet.
// V3. Stopping is asked for once, then enforced after a limit: nothing is left running.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { realClock, sleep } from '../../shared/clock.ts';
import { ConvoyError } from '../../shared/errors.ts';
import type { CloudUsage } from './address.ts';
import { launchedMark } from './child.ts';
import type { FromChild, ToChild } from './child.ts';

type Failure = Extract<FromChild, { kind: 'failed' }>;
export type ReadyMessage = Extract<FromChild, { kind: 'cloudReady' | 'hostReady' }>;

export interface ProcessSpec {
  name: 'cloud' | 'host';
  /** Asked anew for each start: ports are known only after the first. */
  command(): { args: string[]; env: NodeJS.ProcessEnv };
  log(line: string): void;
  onReady?(ready: ReadyMessage): void;
  /** The process got a signal of its own: the whole stack should end. */
  onStopRequested(signal: string): void;
  /** It died after it had been ready; false = give up instead of starting it again. */
  onDeath?(reason: string): boolean;
}

const pauseMsFirst = 250;
const pauseMsMax = 10_000;
const quietMs = 30_000;
const restartWithinMs = 9_000;
const restartDrainMs = 500;
const usageWithinMs = 2_000;

export class SupervisedProcess {
  readonly #spec: ProcessSpec;
  readonly #first = Promise.withResolvers<ReadyMessage>();
  #child: ChildProcess | undefined;
  #gone: Promise<void> = Promise.resolve();
  #failure: Failure | undefined;
  #isStopping = false;
  #isRestarting = false;
  #hasBeenReady = false;
  #restarts = 0;
  #pauseMs = 0;
  #startedAt = 0;

  constructor(spec: ProcessSpec) {
    this.#spec = spec;
    // It is awaited later than it may fail.
    this.#first.promise.catch(() => {});
    this.#start();
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** How often it was started again. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Resolves when it has been ready once; rejects when the first start fails [V1]. */
  get firstReady(): Promise<ReadyMessage> {
    return this.#first.promise;
  }

  /** Ends the process and starts it again, in order; a developer waits for it, so it is quick. */
  async restart(): Promise<void> {
    if (this.#isStopping || this.#isRestarting) return;
    this.#isRestarting = true;
    await this.#end(restartWithinMs, restartDrainMs);
    this.#isRestarting = false;
    if (!this.#isStopping && !this.#child) this.#start();
  }

  async usage(): Promise<CloudUsage | undefined> {
    const asked = this.#child;
    if (!asked) return undefined;
    const answer = Promise.withResolvers<CloudUsage | undefined>();
    const listener = (message: FromChild): void => {
      if (message.kind === 'usage') answer.resolve(message);
    };
    asked.on('message', listener);
    say(asked, { kind: 'usage' });
    void sleep(realClock, usageWithinMs).then(() => answer.resolve(undefined));
    const usage = await answer.promise;
    asked.off('message', listener);
    return usage;
  }

  /** Asks it to end, and ends it after the limit [V3]. */
  async stop(limitMs: number): Promise<void> {
    this.#isStopping = true;
    await this.#end(limitMs);
  }

  /** Ends it at once. */
  kill(): void {
    this.#isStopping = true;
    this.#child?.kill('SIGKILL');
  }

  #start(): void {
    const { args, env } = this.#spec.command();
    const child = spawn(process.execPath, args, {
      env: { ...env, [launchedMark]: '1' },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    if (this.#hasBeenReady) this.#restarts += 1;
    this.#startedAt = realClock.now();
    this.#child = child;
    this.#failure = undefined;
    for (const stream of [child.stdout, child.stderr]) {
      if (stream) createInterface({ input: stream }).on('line', (line) => this.#spec.log(line));
    }
    child.on('message', (message: FromChild) => this.#hear(message));
    child.on('error', (error) => this.#spec.log(error.message));
    this.#gone = new Promise((resolve) => {
      child.on('close', (code, signal) => {
        this.#child = undefined;
        resolve();
        this.#onGone(signal ?? `exit code ${code}`);
      });
    });
  }

  #hear(message: FromChild): void {
    switch (message.kind) {
      case 'failed':
        this.#failure = message;
        break;
      case 'stopRequested':
        this.#spec.onStopRequested(message.signal);
        break;
      case 'cloudReady':
      case 'hostReady':
        if (this.#hasBeenReady)
          this.#spec.log(`${this.#spec.name} runs again, process ${this.pid}`);
        this.#hasBeenReady = true;
        this.#first.resolve(message);
        this.#spec.onReady?.(message);
        break;
      case 'usage':
        break;
    }
  }

  #onGone(reason: string): void {
    const { log, name, onDeath } = this.#spec;
    if (this.#isStopping || this.#isRestarting) return;
    if (!this.#hasBeenReady) {
      this.#first.reject(startFault(name, reason, this.#failure));
      return;
    }
    if (this.#failure) log(this.#failure.received);
    if (onDeath?.(reason) === false) return;
    if (realClock.now() - this.#startedAt > quietMs) this.#pauseMs = 0;
    const waitMs = this.#pauseMs;
    this.#pauseMs = Math.min(Math.max(waitMs * 2, pauseMsFirst), pauseMsMax);
    log(`${name} ended (${reason}), starting it again${waitMs > 0 ? ` in ${waitMs} ms` : ''}`);
    realClock.after(waitMs, () => {
      if (!this.#isStopping && !this.#child) this.#start();
    });
  }

  async #end(limitMs: number, drainMs?: number): Promise<void> {
    const child = this.#child;
    if (!child) return;
    say(child, { kind: 'stop', ...(drainMs === undefined ? {} : { drainMs }) });
    const limit = realClock.after(limitMs, () => {
      this.#spec.log(`${this.#spec.name} did not end within ${limitMs} ms, ending it by force`);
      child.kill('SIGKILL');
    });
    await this.#gone;
    limit.cancel();
  }
}

function say(child: ChildProcess, message: ToChild): void {
  if (child.connected) child.send(message, () => {});
}

function startFault(name: string, reason: string, failure: Failure | undefined): ConvoyError {
  if (failure?.code) return new ConvoyError(failure.code, failure.received);
  return new ConvoyError('CVY_START', `the ${name} process: ${failure?.received ?? reason}`);
}
