// Back-off: how an edge keeps trying inside one invocation, and how long a failed drain waits.
import { type Clock, sleep } from '../clock.ts';

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
      const delayMs = backoffMs(failures);
      if (clock.now() + delayMs >= options.deadlineAt) throw error;
      await sleep(clock, delayMs);
    }
  }
}
