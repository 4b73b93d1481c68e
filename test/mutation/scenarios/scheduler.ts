// One seeded scheduler: every step of every task waits here, and the seed decides who goes next.
// Time is virtual: it moves a millisecond per step, and to the next timer when nothing else can go.
import type { Clock } from '../../../shared/clock.ts';
import type { Prng } from '../../support/prng.ts';

export interface Scheduler {
  clock: Clock;
  /** Waits for its turn. */
  turn(): Promise<void>;
  /** Runs until that instant, or until nothing waits and no timer is armed before it. */
  run(untilAt: number): Promise<void>;
}

interface Armed {
  at: number;
  order: number;
  callback: (() => void) | undefined;
}

/** The process died at this step: nothing after it happens. */
export const death = (): Promise<never> => new Promise<never>(() => undefined);

/** A world that takes more steps spins. */
const stepsMax = 200_000;

/** `slow`: how often a timer fires although steps wait, which is what a slow store looks like. */
export function createScheduler(random: Prng, slow: number): Scheduler {
  let nowMs = 1_000_000;
  let order = 0;
  let taken = 0;
  const steps: (() => void)[] = [];
  const timers: Armed[] = []; // latest first
  const clock: Clock = {
    now: () => nowMs,
    after(delayMs, callback) {
      const timer: Armed = { at: nowMs + Math.max(0, delayMs), order: order++, callback };
      let index = timers.length;
      while (index > 0 && (timers[index - 1]?.at ?? 0) <= timer.at) index -= 1;
      timers.splice(index, 0, timer);
      return { cancel: () => void (timer.callback = undefined) };
    },
  };
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
  const nextTimer = (): Armed | undefined => {
    while (timers.length > 0 && timers.at(-1)?.callback === undefined) timers.pop();
    return timers.at(-1);
  };
  return {
    clock,
    turn: () => new Promise<void>((resolve) => void steps.push(resolve)),
    async run(untilAt) {
      await settle();
      for (;;) {
        const timer = nextTimer();
        const isDue = timer !== undefined && timer.at <= untilAt;
        if (isDue && (steps.length === 0 || random.chance(slow))) {
          timers.pop();
          nowMs = Math.max(nowMs, timer.at);
          timer.callback?.();
        } else if (steps.length > 0 && nowMs < untilAt) {
          nowMs += 1;
          taken += 1;
          if (taken > stepsMax) throw new RangeError(`${stepsMax} steps`);
          steps.splice(random.below(steps.length), 1)[0]?.();
        } else break;
        await settle();
      }
      nowMs = Math.max(nowMs, untilAt);
    },
  };
}
