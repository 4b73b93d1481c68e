// Who goes next: every call of a port waits here for its turn, time is virtual and moves when
// nothing else can.
import type { Clock } from '../../shared/clock.ts';

export interface Turns {
  clock: Clock;
  wait(): Promise<void>;
  /** Lets everything go on until nothing waits and no timer is due before `untilAt`. */
  run(untilAt: number): Promise<void>;
  /** Time passes in which nothing happens. */
  jumpTo(at: number): void;
}

export interface Choices {
  /** Picks among so many that wait, the longest waiting first. */
  choose(among: number): number;
  /** A timer fires although something waits: that is slow, not dead. */
  hurries(): boolean;
}

export function createTurns(startAt: number, { choose, hurries }: Choices): Turns {
  let nowMs = startAt;
  let order = 0;
  const waiting: (() => void)[] = [];
  const timers = new Set<{ at: number; order: number; callback: () => void }>();
  const clock: Clock = {
    now: () => nowMs,
    after(delayMs, callback) {
      const timer = { at: nowMs + Math.max(0, delayMs), order: order++, callback };
      timers.add(timer);
      return { cancel: () => void timers.delete(timer) };
    },
  };
  const microtasks = () => new Promise<void>((resolve) => setImmediate(resolve));
  const firstTimer = () => {
    let first: { at: number; order: number; callback: () => void } | undefined;
    for (const timer of timers) {
      if (!first || timer.at < first.at || (timer.at === first.at && timer.order < first.order))
        first = timer;
    }
    return first;
  };
  return {
    clock,
    wait: () => new Promise<void>((resolve) => void waiting.push(resolve)),
    jumpTo: (at) => void (nowMs = Math.max(nowMs, at)),
    async run(untilAt) {
      for (;;) {
        await microtasks();
        const timer = firstTimer();
        const isDue = timer !== undefined && timer.at <= untilAt;
        if (waiting.length > 0 && !(isDue && hurries())) {
          waiting.splice(choose(waiting.length), 1)[0]?.();
          continue;
        }
        if (!isDue) return;
        timers.delete(timer);
        nowMs = Math.max(nowMs, timer.at);
        timer.callback();
      }
    },
  };
}
