// PURE. Workload CONVOY-1: who gets how many messages, in which order, with which repeats.
//
// The same seed gives the same workload. One message in a hundred is a repeat of an earlier one
// with the same id, a little later; bodies have 256 bytes. Every message adds 1, so the balance of
// a key in its outputs says how many effects it has had.
import type { Prng } from '../support/prng.ts';
import { prng } from '../support/prng.ts';

export const distributionNames = ['U', 'Z', 'H', 'S', 'M'] as const;
export type Distribution = (typeof distributionNames)[number];

export const distributionTexts: Readonly<Record<Distribution, string>> = {
  U: '1,000 keys uniform',
  Z: 'Zipf 1.1 over 10,000 keys',
  H: 'one key has 50 %, 999 keys the rest',
  S: 'one key',
  M: 'many keys with 2 messages each',
};

export interface WorkloadMessage {
  key: string;
  id: string;
  type: 'Added';
  body: { amount: 1; note: string };
}

export interface Workload {
  distribution: Distribution;
  /** In the order of sending, repeats included. */
  messages: WorkloadMessage[];
  /** The ids of each key in the order of their first sending. */
  idsByKey: Map<string, string[]>;
  /** Different ids. */
  uniques: number;
}

export interface WorkloadOptions {
  distribution: Distribution;
  /** Repeats included. */
  messages: number;
  seed: number;
  /** Tells the ids of this workload from those of others on the same queues. */
  run: string;
}

export const bodyBytes = 256;
const repeatShare = 0.01;
/** A repeat follows its original by so many messages at most. */
const repeatWithin = 200;
const uniformKeys = 1_000;
const zipfKeys = 10_000;
const zipfExponent = 1.1;

export function planWorkload(options: WorkloadOptions): Workload {
  const { distribution, messages: total, run } = options;
  const random = prng(options.seed);
  const repeats = Math.round(total * repeatShare);
  const originals = keysOf(distribution, total - repeats, random).map((key, i) => ({
    ...{ key: nameOf(distribution, key, run), id: `${run}.${i + 1}` },
    ...{ type: 'Added' as const, body: bodyFrom(random) },
  }));
  const placed = originals.map((message, i) => ({ message, at: i }));
  for (let left = repeats; left > 0 && originals.length > 0; left -= 1) {
    const from = random.below(originals.length);
    const message = originals[from];
    if (message) placed.push({ message, at: from + 0.5 + random.below(repeatWithin) });
  }
  placed.sort((a, b) => a.at - b.at);
  const idsByKey = new Map<string, string[]>();
  for (const { key, id } of originals) {
    const ids = idsByKey.get(key);
    if (ids) ids.push(id);
    else idsByKey.set(key, [id]);
  }
  const messages = placed.map(({ message }) => message);
  return { distribution, messages, idsByKey, uniques: originals.length };
}

/** Instants of sending for an open loop: exponential gaps, in milliseconds from the start. */
export function planSchedule(count: number, ratePerSecond: number, seed: number): number[] {
  const random = prng(seed);
  let at = 0;
  return Array.from({ length: count }, () => {
    at += (-Math.log(1 - random.next()) * 1_000) / ratePerSecond;
    return at;
  });
}

function keysOf(distribution: Distribution, count: number, random: Prng): number[] {
  const times = (draw: () => number): number[] => Array.from({ length: count }, draw);
  switch (distribution) {
    case 'U':
      return times(() => random.below(uniformKeys));
    case 'Z':
      return times(zipf(random));
    case 'H':
      return times(() => (random.chance(0.5) ? 0 : 1 + random.below(uniformKeys - 1)));
    case 'S':
      return times(() => 0);
    case 'M':
      return shuffled(
        Array.from({ length: count }, (_, i) => Math.floor(i / 2)),
        random,
      );
  }
}

/** Draws 0 … 9,999, the first the most often. */
function zipf(random: Prng): () => number {
  const sums: number[] = [];
  let sum = 0;
  for (let rank = 1; rank <= zipfKeys; rank += 1) {
    sum += rank ** -zipfExponent;
    sums.push(sum);
  }
  return () => {
    const wanted = random.next() * sum;
    let low = 0;
    let high = zipfKeys - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sums[middle] ?? 0) > wanted) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

function shuffled(list: number[], random: Prng): number[] {
  for (let last = list.length - 1; last > 0; last -= 1) {
    const other = random.below(last + 1);
    const kept = list[last] ?? 0;
    list[last] = list[other] ?? 0;
    list[other] = kept;
  }
  return list;
}

/** Keys go on from workload to workload, except where each has two messages and no more. */
function nameOf(distribution: Distribution, key: number, run: string): string {
  const generation = distribution === 'M' ? `${run}-` : '';
  return `${distribution.toLowerCase()}-${generation}${String(key + 1).padStart(5, '0')}`;
}

const noteLength = bodyBytes - JSON.stringify({ amount: 1, note: '' }).length;

function bodyFrom(random: Prng): WorkloadMessage['body'] {
  let note = '';
  while (note.length < noteLength)
    note += random
      .below(2 ** 32)
      .toString(16)
      .padStart(8, '0');
  return { amount: 1, note: note.slice(0, noteLength) };
}
