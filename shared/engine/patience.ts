// Back-off: how an edge keeps trying inside one invocation, and how long a failed drain waits.
import { type Clock, sleep } from '../clock.ts';
import { StoreUnavailable } from '../store/store.ts';
import { BrokerBusy, type Dependency } from '../throttling.ts';

const firstDelayMs = 100;
export const delayMsMax = 30_000;

/** 100 ms, 200 ms … 30 s. */
export function backoffMs(failures: number): number {
  return Math.min(firstDelayMs * 2 ** Math.min(failures - 1, 20), delayMsMax);
}

/** [H10] Tries until it works or the deadline has passed; then rejects with the last error. */
export async function persist<Result>(
  clock: Clock,
  options: { deadlineAt: number; onFailure?: (error: unknown, failures: number) => void },
  attempt: () => Promise<Result>,
): Promise<Result> {
  for (let failures = 1; ; failures += 1) {
    try {
      return await attempt();
    } catch (error) {
      options.onFailure?.(error, failures);
      // Never sooner than a service that throttles asked for.
      const delayMs = Math.max(backoffMs(failures), throttleOf(error)?.retryAfterMs ?? 0);
      if (clock.now() + delayMs >= options.deadlineAt) throw error;
      await sleep(clock, delayMs);
    }
  }
}

/** Which service refused a request for its rate, or undefined when the error is another. */
export function throttleOf(
  error: unknown,
): { by: Dependency; retryAfterMs: number | undefined } | undefined {
  if (error instanceof BrokerBusy) return { by: 'serviceBus', retryAfterMs: error.retryAfterMs };
  if (!(error instanceof StoreUnavailable) || !error.isThrottled) return undefined;
  return { by: 'cosmos', retryAfterMs: error.retryAfterMs };
}
