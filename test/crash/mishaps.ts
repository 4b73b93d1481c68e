// PURE. What will happen to whom and when in one round: all of it from the seed.
import { prng } from '../support/prng.ts';
import type { Prng } from '../support/prng.ts';

/** `launched`: a launcher with a cloud and a host. `pair`: a cloud and two hosts, nobody above. */
export type Topology = 'launched' | 'pair';

export type Victim = 'launcher' | 'cloud' | 'host' | 'other-host' | 'sender';

/**
 * `kill` = SIGKILL, `end` = SIGTERM, `pause` = SIGSTOP, later SIGCONT, `full` = the disk of all has
 * no room for a while, `unwritable` = no file of the process can be written for a while,
 * `read-only` = killed, and its folder is read-only for a while when it comes back.
 */
export type Deed = 'kill' | 'end' | 'pause' | 'full' | 'unwritable' | 'read-only';

export interface Mishap {
  deed: Deed;
  victim: Victim;
  /** Since the sender has begun. */
  atMs: number;
  /** Of deeds that last. */
  forMs: number;
}

export interface RoundPlan {
  seed: number;
  topology: Topology;
  orders: number;
  mishaps: readonly Mishap[];
}

export interface Scale {
  orders: number;
  mishaps: number;
  /** What the machine can do to a disk. */
  deeds: readonly Deed[];
  topology?: Topology | undefined;
}

/** Longer than the locks of the queue, so that what is paused wakes up as a zombie. */
export const lockSeconds = 5;

const victims: Readonly<Record<Topology, readonly Victim[]>> = {
  launched: ['host', 'host', 'cloud', 'launcher', 'sender'],
  pair: ['host', 'other-host', 'cloud', 'sender'],
};
/** Three of four are quick deeds: each of the others keeps something away for seconds. */
const quick: readonly Deed[] = ['kill', 'kill', 'pause', 'end'];
const longPauseShare = 0.4;
const gapMs = { least: 400, spread: 2_600 };

export function planRound(seed: number, scale: Scale): RoundPlan {
  // Neighbouring seeds would begin alike.
  const random = prng(Math.imul(seed, 0x9e3779b1));
  const drawn: Topology = random.chance(0.5) ? 'launched' : 'pair';
  const topology = scale.topology ?? drawn;
  let atMs = 0;
  const mishaps = Array.from({ length: scale.mishaps }, () => {
    atMs += gapMs.least + random.below(gapMs.spread);
    return { atMs, ...mishap(random, topology, scale.deeds) };
  });
  return { seed, topology, orders: scale.orders, mishaps };
}

function mishap(random: Prng, topology: Topology, deeds: readonly Deed[]): Omit<Mishap, 'atMs'> {
  const slow = deeds.filter((deed) => !quick.includes(deed));
  const deed = pick(random, slow.length > 0 && random.chance(0.3) ? slow : quick);
  const all = victims[topology];
  const victim = pick(random, isOfDisk(deed) ? all.filter(hasFiles) : all);
  return { deed, victim, forMs: durationMs(random, deed) };
}

const isOfDisk = (deed: Deed): boolean => deed === 'unwritable' || deed === 'read-only';
const hasFiles = (victim: Victim): boolean => victim !== 'launcher' && victim !== 'sender';

function durationMs(random: Prng, deed: Deed): number {
  if (deed === 'kill' || deed === 'end') return 0;
  const isLong = deed === 'pause' && random.chance(longPauseShare);
  return isLong ? lockSeconds * 1_000 + 500 + random.below(3_000) : 200 + random.below(2_800);
}

function pick<T>(random: Prng, list: readonly T[]): T {
  const one = list[random.below(list.length)];
  if (one === undefined) throw new RangeError('nothing to choose from');
  return one;
}

/** When the last of them is over. */
export function overAtMs(mishaps: readonly Mishap[]): number {
  return mishaps.reduce((most, { atMs, forMs }) => Math.max(most, atMs + forMs), 0);
}

export function described({ deed, victim, forMs }: Mishap): string {
  const who = deed === 'full' ? 'disk' : victim;
  return `${deed} ${who}${forMs > 0 ? ` for ${forMs} ms` : ''}`;
}
