// One seeded scheduler: every step of every task waits here, and the seed decides who goes next,
// who dies and whose answer is lost. Time is virtual: it moves when nothing else can.
import type { Clock } from '../../shared/clock.ts';
import type { ConvoyStore } from '../../shared/store/store.ts';
import type { Prng } from '../support/prng.ts';

/** The process died at this step: nothing after it happens. */
export const death = (): Promise<never> => new Promise<never>(() => undefined);

interface Step {
  go(): void;
}

export interface Scheduler {
  clock: Clock;
  /** Waits for its turn. */
  turn(): Promise<void>;
  /** Runs until nothing waits and no timer is armed before `untilAt`. */
  run(untilAt: number): Promise<void>;
}

export function createScheduler(random: Prng): Scheduler {
  let nowMs = 1_000_000;
  let order = 0;
  const steps: Step[] = [];
  const timers = new Set<{ at: number; order: number; callback: () => void }>();
  const clock: Clock = {
    now: () => nowMs,
    after(delayMs, callback) {
      const timer = { at: nowMs + Math.max(0, delayMs), order: order++, callback };
      timers.add(timer);
      return { cancel: () => void timers.delete(timer) };
    },
  };
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
  const firstTimer = () => [...timers].sort((a, b) => a.at - b.at || a.order - b.order)[0];
  return {
    clock,
    turn: () => new Promise<void>((resolve) => void steps.push({ go: resolve })),
    async run(untilAt) {
      await settle();
      for (;;) {
        const timer = firstTimer();
        const due = timer !== undefined && timer.at <= untilAt;
        // Now and then a timer fires although steps wait: that is a slow store.
        if (due && (steps.length === 0 || random.chance(0.02))) {
          timers.delete(timer);
          nowMs = Math.max(nowMs, timer.at);
          timer.callback();
        } else if (steps.length > 0) {
          nowMs += 1;
          steps.splice(random.below(steps.length), 1)[0]?.go();
        } else break;
        await settle();
      }
      nowMs = Math.max(nowMs, untilAt);
    },
  };
}

/** A fault before a call takes effect, or after: then it was applied, but the answer got lost. */
export function withFaults(store: ConvoyStore, fault: () => Promise<void>): ConvoyStore {
  return new Proxy(store, {
    get(target, name, receiver) {
      const method: unknown = Reflect.get(target, name, receiver);
      if (typeof method !== 'function') return method;
      return async (...args: unknown[]): Promise<unknown> => {
        await fault();
        const answer: unknown = await Reflect.apply(method, target, args);
        await fault();
        return answer;
      };
    },
  });
}
