// Sends the planned stream through the sender library, at a steady rate or as fast as it goes.
import { realClock, sleep } from '../../../shared/clock.ts';
import type { Clock } from '../../../shared/clock.ts';
import { createSender } from '../../../shared/sender.ts';
import type { SamplePlan } from './plan.ts';

export interface FeedOptions {
  plan: SamplePlan;
  /** Connection string. */
  serviceBus: string;
  /** Messages per second; 0 = as fast as they go. */
  rate: number;
  onProgress(sent: number): void;
  clock?: Clock;
}

/** Resolves with the instant at which each id was first handed to the sender. */
export async function feedPlan(options: FeedOptions): Promise<Record<string, number>> {
  const { plan, serviceBus, rate, clock = realClock } = options;
  const sentAtMs: Record<string, number> = {};
  const startedAt = clock.now();
  async function* paced() {
    for (const [i, message] of plan.messages.entries()) {
      const waitMs = rate > 0 ? startedAt + (i * 1000) / rate - clock.now() : 0;
      if (waitMs > 0) await sleep(clock, waitMs);
      sentAtMs[message.id] ??= clock.now();
      yield message;
    }
  }
  await using sender = createSender({ connectionString: serviceBus }, { clock });
  await sender.sendAll(plan.convoy, paced(), {
    onProgress: ({ sent }) => options.onProgress(sent),
  });
  return sentAtMs;
}
