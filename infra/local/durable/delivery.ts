// A test knob: makes the way from a client to the hub as bad as Azure Storage may be
// [reference/durable.md 12.1]: what was answered 202 is lost, doubled or overtaken.
//
// Owns:    the dice. The same seed and the same order of calls give the same faults.
// Leaves:  messages between orchestrations and entities alone: Azure keeps those in order, once.
//
// Delayed messages wait in memory only: a crash loses them, as a queue that lost them would.
import { textOf } from './fault.ts';
import type { HubParts } from './hub.ts';

export interface DeliveryFaults {
  /** Printed by the test that uses it. */
  seed: number;
  /** Shares between 0 and 1 of the events and signals that clients send. */
  lost?: number;
  doubled?: number;
  /** Delayed by up to `delayMs`, so that later ones overtake them. */
  delayed?: number;
  delayMs?: number;
}

export interface Dice {
  /** How often the next message is delivered, and how late. */
  roll(): { times: number; delayMs: number };
}

const delayMsDefault = 1_000;

export function diceOf(faults: DeliveryFaults | undefined): Dice {
  if (!faults) return { roll: () => ({ times: 1, delayMs: 0 }) };
  const { lost = 0, doubled = 0, delayed = 0, delayMs = delayMsDefault } = faults;
  const random = randomFrom(faults.seed);
  return {
    roll() {
      const [loss, double, delay, share] = [random(), random(), random(), random()];
      if (loss < lost) return { times: 0, delayMs: 0 };
      return { times: double < doubled ? 2 : 1, delayMs: delay < delayed ? share * delayMs : 0 };
    },
  };
}

/** Delivers now, twice, late or never; true when it was now. Rejects when delivering now fails. */
export async function deliver(parts: HubParts, once: () => Promise<void>): Promise<boolean> {
  const { times, delayMs } = parts.dice.roll();
  for (let k = 0; k < times; k++) {
    if (delayMs === 0) {
      await once();
      continue;
    }
    parts.clock.after(delayMs, () => {
      once().catch((error: unknown) => parts.log('warning', `delayed delivery: ${textOf(error)}`));
    });
  }
  return times > 0 && delayMs === 0;
}

/** mulberry32 */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
