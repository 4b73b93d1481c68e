// [H7] What the next commit is made of: the contiguous run from cursor + 1, bounded by the tail of
// the gate that was read, or what was taken or parked before and is free to go now.
import { sleep } from '../clock.ts';
import type { ConvoyDefinition } from '../convoy/definition.ts';
import type { Admitted, Hold } from '../convoy/state.ts';
import { hasHeldWork, positionsToLoad } from '../convoy/take.ts';
import type { InboxItem } from '../store/items.ts';
import type { Drain } from './drain-context.ts';
import { admittedElsewhere } from './lane-duplicates.ts';

const staleReadsMax = 5;
/** Bodies of taken or parked messages loaded for one commit at most. */
const heldMax = 45;

export interface Load {
  messages: InboxItem[];
  held: ReadonlyMap<number, Admitted>;
  /** Nothing is admitted behind these. */
  atTail: boolean;
  /** Of them, what an older lane of the key settles; see lane-duplicates.ts. */
  elsewhere?: ReadonlyMap<number, string>;
}

export const nothingLoaded: Load = { messages: [], held: new Map(), atTail: true };

/** The load of the next commit, or the hold of a position that cannot be read. */
export async function loadNext(
  drain: Drain,
  definition: ConvoyDefinition,
): Promise<Load | { missing: Hold }> {
  const progress = drain.progress.item;
  const { tail } = drain.gate.item;
  const { cursor } = progress;
  // O3: live traffic waits behind what is healed or free to go.
  const isWaiting = hasHeldWork(definition, progress);
  const messages = isWaiting || cursor === tail ? [] : await readRun(drain);
  if (!isWaiting && cursor < tail && messages.length === 0)
    return { missing: hole(drain, cursor + 1) };
  const run = new Set(messages.map(({ position }) => position));
  const wanted = positionsToLoad(definition, progress, { run: messages, limit: heldMax });
  const outside = wanted.filter((position) => !run.has(position));
  const held = await readHeld(drain, outside);
  const [first] = outside;
  if (first !== undefined && !held.has(first)) return { missing: hole(drain, first) };
  const last = messages.at(-1)?.position ?? cursor;
  const loaded = [...messages, ...held.values()];
  const young = { ...drain.request, progress, definition };
  const elsewhere = await admittedElsewhere(drain.engine, young, loaded);
  return { messages, held, atTail: last === tail, elsewhere };
}

/** A hole is a stale read until it lasts: the run is read again before anything is said about
 *  it. */
async function readRun(drain: Drain): Promise<InboxItem[]> {
  const { store, settings } = drain.engine;
  const from = drain.progress.item.cursor + 1;
  const to = Math.min(drain.gate.item.tail, from + settings.messagesPerCommit - 1);
  for (let reads = 0; reads < staleReadsMax; reads += 1) {
    await patience(drain, reads);
    const range = { from, to, limit: to - from + 1 };
    const items = await store.readInbox(drain.convoyId, range);
    const gap = items.findIndex((item, i) => item.position !== from + i);
    const run = gap < 0 ? items : items.slice(0, gap);
    if (run.length > 0) return run;
  }
  return [];
}

/** By position; until the first of them is there, reads again. */
async function readHeld(drain: Drain, positions: number[]): Promise<Map<number, Admitted>> {
  const [first] = positions;
  if (first === undefined) return new Map();
  for (let reads = 0; ; reads += 1) {
    await patience(drain, reads);
    const items = await drain.engine.store.readInboxAt(drain.convoyId, positions);
    const held = new Map(items.map((item) => [item.position, item]));
    if (held.has(first) || reads + 1 === staleReadsMax) return held;
  }
}

async function patience(drain: Drain, reads: number): Promise<void> {
  if (reads > 0) await sleep(drain.engine.clock, 100 * 3 ** reads);
}

function hole(drain: Drain, position: number): Hold {
  return {
    kind: 'blocked',
    code: 'CVY_HOLE',
    reason: `message ${position} of ${drain.convoyId} cannot be read`,
    position,
    since: drain.engine.clock.now(),
  };
}
