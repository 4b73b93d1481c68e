// The second load of the soak: readings of keys that live on, some late, some sent twice, some
// broken for a while, and the count of what came of them on the output queue.
import { setTimeout as pause } from 'node:timers/promises';
import type { PlannedMessage } from '../../infra/local/sample/plan.ts';
import { createSender } from '../../shared/sender.ts';
import { OutputQueue } from '../bench/outputs.ts';
import type { Delivery } from '../bench/count.ts';
import type { Prng } from '../support/prng.ts';

const lateShare = 0.05;
const repeatShare = 0.02;
const brokenShare = 0.001;
const lateMs = 15_000;
const brokenMs = { least: 300, spread: 2_500 };
const turnMs = 100;
const peekEveryMs = 500;

export interface MeterCounts {
  sent: number;
  lost: number;
  doubled: number;
  violations: number;
  windowsClosed: number;
}

export interface MetersOptions {
  serviceBus: string;
  random: Prng;
  keys: number;
  perSecond: number;
}

export class MetersLoad implements AsyncDisposable {
  readonly keys: readonly string[];
  readonly #options: MetersOptions;
  readonly #outputs: OutputQueue;
  /** Sent and not yet seen, per key in order: what has come in its turn is forgotten. */
  readonly #awaited = new Map<string, string[]>();
  /** The output id of what came lately, for repeats under another id. */
  readonly #outputIds = new Map<string, string>();
  readonly #counts: MeterCounts = { sent: 0, lost: 0, doubled: 0, violations: 0, windowsClosed: 0 };
  #isStopping = false;

  constructor(options: MetersOptions) {
    this.#options = options;
    this.keys = Array.from({ length: options.keys }, (_, i) => `meter-${i + 1}`);
    this.#outputs = new OutputQueue(options.serviceBus, 'meter-out');
  }

  get sent(): number {
    return this.#counts.sent;
  }

  get awaited(): number {
    return [...this.#awaited.values()].reduce((sum, { length }) => sum + length, 0);
  }

  stop(): void {
    this.#isStopping = true;
  }

  /** Sends until it is stopped; everything is accepted then. */
  async send(): Promise<void> {
    await using sender = createSender({ connectionString: this.#options.serviceBus });
    await sender.sendAll('meter', this.#readings());
  }

  async *#readings(): AsyncGenerator<PlannedMessage & { occurredAt: string }> {
    const { random, perSecond } = this.#options;
    while (!this.#isStopping) {
      for (let left = (perSecond * turnMs) / 1_000; left > 0; left -= 1) {
        const reading = this.#reading();
        yield reading;
        if (random.chance(repeatShare)) yield reading;
      }
      await pause(turnMs);
    }
  }

  #reading(): PlannedMessage & { occurredAt: string } {
    const { random } = this.#options;
    const key = this.keys[random.below(this.keys.length)] ?? 'meter-1';
    this.#counts.sent += 1;
    const id = `${key}.${this.#counts.sent}`;
    const awaited = this.#awaited.get(key) ?? [];
    awaited.push(id);
    this.#awaited.set(key, awaited);
    const atMs = Date.now() - (random.chance(lateShare) ? lateMs : 0);
    const brokenForMs = brokenMs.least + random.below(brokenMs.spread);
    const broken = random.chance(brokenShare) ? { brokenUntil: Date.now() + brokenForMs } : {};
    const body = { value: random.below(1_000), ...broken };
    return { key, id, type: 'Read', body, occurredAt: new Date(atMs).toISOString() };
  }

  /** Looks at the outputs until all has come, or nothing new for the time limit. */
  async watch(quietLimitMs: number): Promise<void> {
    let newAt = Date.now();
    while (!this.#isStopping || (this.awaited > 0 && Date.now() - newAt < quietLimitMs)) {
      const found = await this.#outputs.collect().catch(() => []);
      if (found.length > 0 || !this.#isStopping) newAt = Date.now();
      for (const delivery of found) this.#see(delivery);
      await pause(peekEveryMs);
    }
  }

  #see({ key, id, outputId, subject }: Delivery): void {
    if (subject === 'window.closed') {
      this.#counts.windowsClosed += 1;
      return;
    }
    const known = this.#outputIds.get(id);
    if (known !== undefined) {
      if (known !== outputId) this.#counts.doubled += 1;
      return;
    }
    this.#remember(id, outputId);
    const awaited = this.#awaited.get(key) ?? [];
    const at = awaited.indexOf(id);
    if (at > 0) this.#counts.violations += 1;
    if (at >= 0) awaited.splice(at, 1);
  }

  /** The last ones are enough: a repeat comes soon, and memory is bounded. */
  #remember(id: string, outputId: string): void {
    const rememberedMax = 50_000;
    const [oldest] = this.#outputIds.size >= rememberedMax ? this.#outputIds.keys() : [];
    if (oldest !== undefined) this.#outputIds.delete(oldest);
    this.#outputIds.set(id, outputId);
  }

  counts(): MeterCounts {
    return { ...this.#counts, lost: this.awaited };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#outputs[Symbol.asyncDispose]();
  }
}
