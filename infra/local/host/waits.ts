// Waits that end early. Not `Promise.race` with one promise of a long life: that one would keep a
// reaction for every wait there ever was.
import { sleep, type Clock } from '../../../shared/clock.ts';

/** Whether the work was done within the time; rejects when it fails in that time. */
export async function within(clock: Clock, ms: number, work: Promise<unknown>): Promise<boolean> {
  const giveUp = new AbortController();
  let isDone = false;
  const done = work.then(() => (isDone = true));
  try {
    await Promise.race([done, sleep(clock, ms, giveUp.signal)]);
  } finally {
    giveUp.abort();
    done.catch(() => {}); // nobody waits for it any more
  }
  return isDone;
}

export interface Leave {
  /** True when the work is done, false when `now` was called before; rejects when it fails. */
  orDone(work: Promise<unknown>): Promise<boolean>;
  /** Ends all waits, and every later one at once. */
  now(): void;
}

export function createLeave(): Leave {
  const leavers = new Set<() => void>();
  let isLeft = false;
  return {
    orDone: (work) =>
      new Promise((resolve, reject) => {
        const onLeave = (): void => resolve(false);
        if (isLeft) onLeave();
        leavers.add(onLeave);
        const forget = (): void => void leavers.delete(onLeave);
        work.then(
          () => {
            forget();
            resolve(true);
          },
          (error: unknown) => {
            forget();
            reject(error);
          },
        );
      }),
    now: () => {
      isLeft = true;
      leavers.forEach((onLeave) => onLeave());
      leavers.clear();
    },
  };
}

/** Equal outcomes may overlap; another outcome waits until they are through. */
export function createSettleGate(): (
  outcome: string,
  settle: () => Promise<void>,
) => Promise<void> {
  let current = '';
  let group: Promise<unknown> = Promise.resolve();
  let before: Promise<unknown> = Promise.resolve();
  return (outcome, settle) => {
    if (outcome !== current) {
      current = outcome;
      before = group;
    }
    const mine = before.then(settle);
    // `then`: else each group would keep the values of all before it
    group = Promise.all([group, mine.catch(() => {})]).then(() => undefined);
    return mine;
  };
}
