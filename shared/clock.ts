// Time, handed in. Everything that waits or stamps takes a Clock, so that a test can move a week in
// milliseconds and a crash test can freeze an instant.

export interface Timer {
  /** Stops the timer; harmless when it has fired already. */
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Calls back once, `delayMs` from now. Delays beyond 2^31-1 ms are split, never overflow. */
  after(delayMs: number, callback: () => void): Timer;
}

const timerMsMax = 2 ** 31 - 1;

/** The machine's clock. Timers do not keep a process alive that has nothing else to do. */
export const realClock: Clock = {
  now: () => Date.now(),
  after(delayMs, callback) {
    let handle: NodeJS.Timeout;
    const arm = (leftMs: number): void => {
      const stepMs = Math.min(Math.max(leftMs, 0), timerMsMax);
      handle = setTimeout(() => (leftMs > stepMs ? arm(leftMs - stepMs) : callback()), stepMs);
      handle.unref();
    };
    arm(delayMs);
    return { cancel: () => clearTimeout(handle) };
  },
};

/** Resolves after `delayMs`, or at once when the signal aborts (never rejects). */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const timer = clock.after(delayMs, done);
    function done(): void {
      timer.cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    }
    signal?.addEventListener('abort', done);
  });
}

export interface VirtualClock extends Clock {
  /**
   * Moves time forward, firing due timers in order; yields to pending promises between timers, and
   * waits for `settled` there, so that what a timer began may arm the next before time goes on.
   */
  advance(byMs: number, settled?: () => Promise<unknown>): Promise<void>;
  /** How many timers are armed. */
  readonly armed: number;
}

/** A clock that stands still until a test moves it. */
export function virtualClock(startMs = Date.UTC(2026, 0, 1)): VirtualClock {
  let nowMs = startMs;
  let order = 0;
  const timers = new Set<{ at: number; order: number; callback: () => void }>();
  const nextDue = (untilMs: number) =>
    [...timers]
      .filter((timer) => timer.at <= untilMs)
      .sort((a, b) => a.at - b.at || a.order - b.order)[0];
  return {
    now: () => nowMs,
    after(delayMs, callback) {
      const timer = { at: nowMs + Math.max(delayMs, 0), order: order++, callback };
      timers.add(timer);
      return { cancel: () => void timers.delete(timer) };
    },
    async advance(byMs, settled) {
      const untilMs = nowMs + byMs;
      for (let timer = nextDue(untilMs); timer; timer = nextDue(untilMs)) {
        timers.delete(timer);
        nowMs = timer.at;
        timer.callback();
        await new Promise((resolve) => setImmediate(resolve));
        await settled?.();
      }
      nowMs = untilMs;
    },
    get armed() {
      return timers.size;
    },
  };
}

/** ISO-8601 with `Z`, without milliseconds when these are zero (CONTRACT). */
export function isoInstant(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}

const instantPattern =
  /^(\d{4})-(\d{2})-(\d{2})T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})$/;

/**
 * Milliseconds of an ISO-8601 instant with a zone; undefined when the text is none. `Date.parse`
 * alone rolls 31 February over into March.
 */
export function instantMs(text: string): number | undefined {
  const parts = instantPattern.exec(text);
  if (!parts) return undefined;
  const [year = 0, month = 0, day = 0] = parts.slice(1).map(Number);
  const ms = Date.parse(text);
  return Number.isNaN(ms) || day > new Date(Date.UTC(year, month, 0)).getUTCDate() ? undefined : ms;
}
