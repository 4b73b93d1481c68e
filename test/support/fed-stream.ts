// A planned stream that is sent only as far as the test allows.
import { performance } from 'node:perf_hooks';
import type { PlannedMessage, SamplePlan } from '../../infra/local/sample/plan.ts';
import type { Sender } from '../../shared/sender.ts';

export class FedStream {
  readonly #plan: SamplePlan;
  readonly #sentAtMs: Record<string, number> = {};
  #allowed = 0;
  #sent = 0;
  #onAllowed = Promise.withResolvers<void>();

  constructor(plan: SamplePlan) {
    this.#plan = plan;
  }

  /** Messages that the broker has accepted. */
  get sent(): number {
    return this.#sent;
  }

  get unsent(): number {
    return this.#plan.messages.length - this.#sent;
  }

  /** Everything that is allowed has been accepted. */
  get isHeld(): boolean {
    return this.#sent >= this.#allowed;
  }

  /** Lets it go as far as this message. */
  allow(count: number): void {
    this.#allowed = Math.max(this.#allowed, count);
    this.#onAllowed.resolve();
    this.#onAllowed = Promise.withResolvers();
  }

  /** Sends all of it in order; resolves with the instant at which each id was first given away. */
  async feed(sender: Sender): Promise<Record<string, number>> {
    await sender.sendAll(this.#plan.convoy, this.#paced(), {
      onProgress: ({ sent }) => void (this.#sent = sent),
    });
    return this.#sentAtMs;
  }

  async *#paced(): AsyncGenerator<PlannedMessage> {
    for (const [i, message] of this.#plan.messages.entries()) {
      while (i >= this.#allowed) await this.#onAllowed.promise;
      this.#sentAtMs[message.id] ??= performance.timeOrigin + performance.now();
      yield message;
    }
  }
}
