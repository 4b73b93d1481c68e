// The dice of unreliable delivery: the same seed and the same order of calls give the same faults.

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
