// PURE. Lanes of a key: their session ids, which lane a message belongs to, and how long a layout
// counts. Sender, intake and API use these same functions.
//
//   L1. laneSessionOf is injective and placeOf its inverse: `~` is doubled in the key, so that the
//       single one before `<generation>.<lane>` at the end is the separator. Generation 0 is the
//       unsplit key, verbatim, as it was before anybody thought of lanes.
//   L2. A key that itself ends like a lane (`A~1.0`) would be two things at once: it is refused in
//       a convoy with lanes (wholeKeyFault), and nowhere else.
import type { LanePlan, PlannedGeneration } from './convoy/lane-plan.ts';
import type { LanePlace } from './convoy/state.ts';
import { hexHash, keyFault } from './keys.ts';

/** A generation as it was announced to senders; `announcedAt` is null until it is certain that
 *  every reader of the layout sees it. Its place in the list, from 1, is its number. */
export interface Generation extends PlannedGeneration {
  readonly announcedAt: number | null;
}

/** What a sender needs to know. */
export interface LaneLayout extends LanePlan {
  /** Nobody sends by a layout that was asked for longer ago. */
  readonly refreshSeconds: number;
}

/** Where a convoy's layout comes from: the API (sender-lanes.ts) or, in the app, its store. */
export type LaneSource = (convoy: string) => Promise<LaneLayout>;

/** How long one send may take: so long after its layout has expired a message may still arrive. */
export const sendSecondsMax = 60;
/** Clocks of two hosts, and a layout that was read from a replica. */
const marginSeconds = 5;

export function laneSessionOf({ key, generation, lane }: LanePlace): string {
  return generation === 0 ? key : `${key.replaceAll('~', '~~')}~${generation}.${lane}`;
}

// The run begins behind something else, or a long one would be tried from each of its places.
const ending = /^(|.*?[^~])(~+)(0|[1-9]\d{0,3})\.(0|[1-9]\d{0,3})$/su;

/** A text that ends like a lane, generation 0 (`<key>~0.0`) included: how an operator names it. */
export function laneNamed(text: string): LanePlace | undefined {
  const [, start = '', run = '', generation, lane] = ending.exec(text) ?? [];
  if (generation === undefined || run.length % 2 === 0) return undefined;
  const escaped = start + run.slice(1);
  const key = escaped.replaceAll('~~', '~');
  if (key === '' || key.replaceAll('~', '~~') !== escaped) return undefined;
  if (generation === '0' && lane !== '0') return undefined;
  return { key, generation: Number(generation), lane: Number(lane) };
}

/** [L1] Which lane a session is; any other text is an unsplit key. */
export function placeOf(sessionId: string): LanePlace {
  const named = laneNamed(sessionId);
  if (named !== undefined && named.generation > 0) return named;
  return { key: sessionId, generation: 0, lane: 0 };
}

/** [L2] Why a text cannot be a whole key where keys have lanes, or undefined when it can. */
export function wholeKeyFault(key: string): string | undefined {
  if (laneNamed(key) === undefined) return undefined;
  return `the key '${key}' ends like the name of a lane (~generation.lane)`;
}

/** The same lane for the same lane key for ever; without a lane key, lane 0. */
export function laneOf(laneKey: string | undefined, count: number): number {
  if (laneKey === undefined) return 0;
  return Number.parseInt(hexHash(laneKey).slice(0, 12), 16) % count;
}

type Lists<One> = { all: readonly One[]; keys: Readonly<Record<string, readonly One[]>> };

/** The generations of one key, oldest first; none for a key that is not split. */
export function generationsOf<One>({ all, keys }: Lists<One>, key: string): readonly One[] {
  return Object.hasOwn(keys, key) ? (keys[key] ?? []) : all;
}

/** Whether any key of the convoy has lanes. */
export function hasLanes({ all, keys }: Lists<unknown>): boolean {
  return all.length > 0 || Object.keys(keys).length > 0;
}

/** The lane of a key's newest generation that takes messages with this lane key, and its queue;
 *  undefined queue = the convoy's own. */
export function newestPlace(
  layout: Lists<PlannedGeneration>,
  key: string,
  laneKey: string | undefined,
): LanePlace & { queue: string | undefined } {
  const generations = generationsOf(layout, key);
  const newest = generations.at(-1);
  if (newest === undefined) return { key, generation: 0, lane: 0, queue: undefined };
  const lane = laneOf(laneKey, newest.count);
  return { key, generation: generations.length, lane, queue: newest.queue };
}

/** Every lane of the generations before this one, the unsplit key first. */
export function olderPlaces(
  generations: readonly PlannedGeneration[],
  { key, generation }: LanePlace,
): LanePlace[] {
  const split = generations.slice(0, generation - 1);
  return [{ count: 1 }, ...split].flatMap(({ count }, older) =>
    Array.from({ length: count }, (_, lane) => ({ key, generation: older, lane })),
  );
}

/** When no sender can send by a layout without this generation any more, `fenceSeconds` being the
 *  longest time that a layout was good for; null = it is not announced yet. */
export function fenceEndOf({ announcedAt }: Generation, fenceSeconds: number): number | null {
  if (announcedAt === null) return null;
  return announcedAt + (fenceSeconds + sendSecondsMax + marginSeconds) * 1000;
}

const laneKeyLengthMax = 256;

/** Why a text cannot be a lane key, or undefined when it can. */
export function laneKeyFault(laneKey: unknown): string | undefined {
  if (typeof laneKey !== 'string') return `the lane key is a ${typeof laneKey}, not a text`;
  if (laneKey.length > laneKeyLengthMax)
    return `the lane key has ${laneKey.length} characters, ${laneKeyLengthMax} are allowed`;
  const fault = keyFault(laneKey);
  return fault?.replace('the key', 'the lane key');
}
