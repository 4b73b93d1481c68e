// Work per key: one at a time for a key, many keys at once. Instances and entities run on it.
//
// Owns:    the ready set, the concurrency bound, retry of work that could not commit.
// Leaves:  what the work is to `perform`.
//
// Invariants:
//   D1. At most one run of a key at a time; a wake meanwhile means one more afterwards.
//   D2. A key with something to do is in the ready set, running, or waits for a retry.
//   D3. Work that throws (storage fault, simulated death) has left no trace and is retried.
import { textOf } from './fault.ts';
import type { HubParts } from './parts.ts';

const firstRetryMs = 20;
const retryMsMax = 30_000;

export interface SerialOptions {
  parts: HubParts;
  concurrentMax: number;
  /** For the log: `episode`, `batch`. */
  what: string;
  /** True when there may be more to do for the key. */
  perform: (key: string) => Promise<boolean>;
}

export class SerialWork {
  readonly #options: SerialOptions;
  readonly #ready = new Set<string>();
  readonly #running = new Set<string>();
  readonly #again = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #drainWaiters: (() => void)[] = [];
  #isTaking = false;

  constructor(options: SerialOptions) {
    this.#options = options;
  }

  start(): void {
    this.#isTaking = true;
    this.#pump();
  }

  /** Takes nothing new and waits for what runs. */
  async drain(): Promise<void> {
    this.#isTaking = false;
    if (this.#running.size === 0) return;
    await new Promise<void>((resolve) => this.#drainWaiters.push(resolve));
  }

  get isBusy(): boolean {
    return this.#running.size > 0 || (this.#isTaking && this.#ready.size > 0);
  }

  /** The key may have something to do. */
  wake(key: string): void {
    if (this.#running.has(key)) this.#again.add(key);
    else this.#ready.add(key);
    this.#pump();
  }

  #pump(): void {
    if (!this.#isTaking) return;
    for (const key of this.#ready) {
      if (this.#running.size >= this.#options.concurrentMax) return;
      this.#ready.delete(key);
      this.#running.add(key);
      void this.#run(key);
    }
  }

  async #run(key: string): Promise<void> {
    const { parts, perform } = this.#options;
    let retryAfterMs: number | undefined;
    try {
      if (await perform(key)) this.#again.add(key);
      this.#failures.delete(key);
    } catch (error) {
      retryAfterMs = this.#failed(key, error);
    }
    this.#running.delete(key);
    if (retryAfterMs !== undefined) {
      this.#again.delete(key);
      parts.clock.after(retryAfterMs, () => this.wake(key));
    } else if (this.#again.delete(key)) this.#ready.add(key);
    if (this.#running.size === 0) for (const resolve of this.#drainWaiters.splice(0)) resolve();
    this.#pump();
    parts.settled();
  }

  /** [D3] How long to wait before the next attempt. */
  #failed(key: string, error: unknown): number {
    const { parts, what } = this.#options;
    const count = this.#failures.get(key) ?? 0;
    this.#failures.set(key, count + 1);
    const retryAfterMs = Math.min(firstRetryMs * 2 ** count, retryMsMax);
    parts.log('warning', `${what} of ${key}: ${textOf(error)}; again in ${retryAfterMs} ms`);
    return retryAfterMs;
  }
}
