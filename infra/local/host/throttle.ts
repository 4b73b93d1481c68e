// `extensions.http.maxConcurrentRequests` and `maxOutstandingRequests` [FH 1.8]: so many HTTP
// functions run at once, so many requests are in the host at all; beyond that the answer is 429.

export class TooManyRequests extends Error {}

export interface Throttle {
  /** Runs the work when it is its turn; throws `TooManyRequests` when too many wait already. */
  run(work: () => Promise<void>): Promise<void>;
}

/** Infinity = no limit. */
export function createThrottle(limits: {
  maxConcurrent: number;
  maxOutstanding: number;
}): Throttle {
  const waiting: (() => void)[] = [];
  let running = 0;
  return {
    async run(work) {
      if (running + waiting.length >= limits.maxOutstanding) {
        throw new TooManyRequests('extensions.http.maxOutstandingRequests is reached');
      }
      if (running >= limits.maxConcurrent) {
        await new Promise<void>((resolve) => waiting.push(resolve));
      } else running++; // who waited takes the turn that was given back
      try {
        await work();
      } finally {
        const next = waiting.shift();
        if (next) next();
        else running--;
      }
    },
  };
}
