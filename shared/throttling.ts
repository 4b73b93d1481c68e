// Where a service that Convoy stands on limits the rate: counted by this process, told to the log
// once in a period, shown by GET /health and GET /stats.
//
// Who retries: a request that Cosmos DB answers with 429 was not done; the client of the store
// sends it again after the pause asked for, a few times. Then, and for Service Bus at once, the
// caller waits at least so long: intake inside its invocation (H10), a drain by a durable timer.
// A throttled message has not failed: nothing counts its attempts, nothing dead-letters it.
import { type Clock, isoInstant } from './clock.ts';
import type { Log } from './log.ts';

export type Dependency = 'cosmos' | 'serviceBus';

/** What a refused request said: the answer's code, and the pause it asked for, where it did. */
export interface Refused {
  code: string;
  retryAfterMs?: number | undefined;
}

export interface ThrottlingSeen extends Refused {
  count: number;
  lastAt: number;
}

/** The broker takes no more now: its rate, or the size of the queue. */
export class BrokerBusy extends Error {
  readonly code: string;
  readonly retryAfterMs: number | undefined;

  constructor({ code, retryAfterMs }: Refused, options: { cause: unknown }) {
    super(`Service Bus answered ${code}`, options);
    this.name = 'BrokerBusy';
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

export interface Throttling {
  /** Since when this process counts. */
  readonly since: number;
  note(dependency: Dependency, refused: Refused): void;
  seen(dependency: Dependency): ThrottlingSeen | undefined;
}

const toldEveryMs = 60_000;

export function createThrottling({ clock, log }: { clock: Clock; log: Log }): Throttling {
  const seen = new Map<Dependency, ThrottlingSeen>();
  const toldAt = new Map<Dependency, number>();
  return {
    since: clock.now(),
    note(dependency, { code, retryAfterMs }) {
      const refused = { code, retryAfterMs };
      const now = clock.now();
      const count = (seen.get(dependency)?.count ?? 0) + 1;
      seen.set(dependency, { ...refused, count, lastAt: now });
      if (now - (toldAt.get(dependency) ?? -Infinity) < toldEveryMs) return;
      toldAt.set(dependency, now);
      log.warn('throttled', { dependency, ...refused, count });
    },
    seen: (dependency) => seen.get(dependency),
  };
}

/** `GET /stats` and `GET /health`: what the answering instance has met; others have their own. */
export function throttlingAnswer(throttling: Throttling, instance: string) {
  const of = (dependency: Dependency) => {
    const seen = throttling.seen(dependency);
    return {
      count: seen?.count ?? 0,
      lastAt: seen === undefined ? null : isoInstant(seen.lastAt),
      code: seen?.code ?? null,
      retryAfterMs: seen?.retryAfterMs ?? null,
    };
  };
  const since = isoInstant(throttling.since);
  return { instance, since, cosmos: of('cosmos'), serviceBus: of('serviceBus') };
}
