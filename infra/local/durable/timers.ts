// Durable timers: one Clock timer for the earliest due one; the rest lie in the file.
//
// Invariants:
//   T1. A timer fires when the clock has reached its time, never before (the SDK would allocate
//       another slice of a long timer) [reference/durable.md 4.5].
//   T2. Firing moves it from the timers to the inbox in one change.
import type { Timer } from '../../../shared/clock.ts';
import { textOf } from './fault.ts';
import { eventType } from './history.ts';
import type { HubParts } from './parts.ts';
import { isoMs, postAnswer } from './instances.ts';
import type { TimerItem } from './storage.ts';

const firedPerChangeMax = 500;
const retryDelayMs = 100;

export interface Timers {
  start(): void;
  /** The earliest due time may have changed. */
  wake(): void;
  stop(): void;
  readonly isBusy: boolean;
}

export function openTimers(parts: HubParts): Timers {
  const { storage, clock } = parts;
  let armed: { timer: Timer; at: number } | undefined;
  let isRunning = false;
  let isFiring = false;

  function arm(at: number | undefined): void {
    if (armed && armed.at === at) return;
    armed?.timer.cancel();
    armed = undefined;
    if (at === undefined) return;
    armed = { at, timer: clock.after(Math.max(at - clock.now(), 0), () => void fire()) };
  }

  async function fire(): Promise<void> {
    armed = undefined;
    if (!isRunning || isFiring) return;
    isFiring = true;
    let next: number | undefined;
    try {
      const woken = await storage.commit(fireDue);
      for (const instanceId of woken) parts.wake(instanceId);
      next = storage.nextDueAt();
    } catch (error) {
      parts.log('error', `timers: ${textOf(error)}; trying again`);
      next = clock.now() + retryDelayMs;
    }
    isFiring = false;
    if (isRunning) arm(next);
    parts.settled();
  }

  /** [T1, T2] */
  function fireDue(): string[] {
    const due = storage.dueTimers(clock.now(), firedPerChangeMax);
    return due.filter(fireOne).map((timer) => timer.instanceId);
  }

  function fireOne(timer: TimerItem): boolean {
    storage.dropTimer(timer.instanceId, timer.timerId);
    return postAnswer(storage, timer, {
      EventType: eventType.timerFired,
      EventId: -1,
      Timestamp: isoMs(clock.now()),
      TimerId: timer.timerId,
      FireAt: isoMs(timer.fireAt),
    });
  }

  function wake(): void {
    if (isRunning && !isFiring) arm(storage.nextDueAt());
  }

  return {
    start() {
      isRunning = true;
      wake();
    },
    wake,
    stop() {
      isRunning = false;
      armed?.timer.cancel();
      armed = undefined;
    },
    get isBusy() {
      return isFiring;
    },
  };
}
