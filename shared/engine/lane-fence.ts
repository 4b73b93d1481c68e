// From one generation of lanes to the next, so that no message overtakes another: a new lane is
// held until every older lane of its key is retired.
//
//   L3  When no sender can send by an older layout any more, a fence (a marker message) goes into
//       the session of each older lane. Sessions are first in, first out: once the fence has
//       come through intake, everything sent there before has been admitted, however long it lay
//       in the queue.
//   L4  An older lane retires when its fence has passed and it is idle and drained: one batch,
//       If-Match on both items, so that an admit at the same time is either before its tail or
//       refused, and then behind it. What is behind it is parked, never settled there.
//   L5  All retired: the new lane opens as an operator would open it (H8), then H2.
//
// Every step may be repeated, by anybody, after a death at any point: fences are remembered for a
// while and sent again when they do not come through; retiring and opening happen once, by
// If-Match. Who calls: intake after an admit to a fenced lane, the fence itself, and the sweeper.
import {
  assertHandoff,
  isFenced,
  mayRetire,
  openLane,
  postpone,
  retire,
} from '../convoy/handoff.ts';
import {
  type Gate,
  type LanePlace,
  type Progress,
  initialGate,
  initialProgress,
} from '../convoy/state.ts';
import { ConvoyError, reasonOf } from '../errors.ts';
import { convoyIdOf } from '../keys.ts';
import { fenceEndOf, laneSessionOf, olderPlaces } from '../lanes.ts';
import { type FenceItem, itemIds } from '../store/items.ts';
import type { StoreOperation } from '../store/store.ts';
import { ensureStarted } from './ensure-started.ts';
import { type Lane, laneAt } from './lane.ts';
import { layoutFault, readLayout } from './layout.ts';
import { type Place, gateItem, progressItem, readProgress } from './placed.ts';
import type { Engine } from './ports.ts';

/** Older lanes looked at side by side. */
const lanesAtOnce = 8;
/** A fence that has not come through is sent again. */
const fenceAgainMs = 60_000;
const fenceTtlSeconds = 7 * 86_400;
const postponeMsMin = 1_000;
const postponeMsMax = 60_000;

export type LaneOpening = 'opened' | 'fenced' | 'open';

/** Opens the lane if it may be; never rejects: the sweeper comes round. */
export async function tryOpenLane(engine: Engine, place: Place): Promise<LaneOpening> {
  try {
    return await openIfDrained(engine, place);
  } catch (error) {
    const { convoy, key } = place;
    engine.log.warn('lane not opened yet', { convoy, key, reason: reasonOf(error) });
    return 'fenced';
  }
}

/** Retires what is drained of the older lanes, then opens this one. Rejects when store, hub or
 *  broker fail. */
export async function openIfDrained(engine: Engine, place: Place): Promise<LaneOpening> {
  const { store, clock, log } = engine;
  const convoyId = convoyIdOf(place.convoy, place.key);
  store.forget?.(convoyId);
  const gate = await store.readGate(convoyId);
  if (!gate || !isFenced(gate.item)) return 'open';
  const isDrained = await retireOlder(engine, place);
  if (!isDrained) {
    const dueAt = clock.now() + patienceMs(gate.item, clock.now());
    const item = gateItem(place, postpone(gate.item, dueAt));
    // Refused: an admit was faster, and the lane is looked at a little sooner.
    await store.batch(convoyId, [{ kind: 'replace', item, ifMatch: gate.etag }]);
    return 'fenced';
  }
  const progress = await readProgress(store, convoyId);
  if (!progress) return 'fenced'; // a stale read
  const after = openLane(gate.item, progress.item, clock.now());
  assertHandoff(after.gate, after.progress);
  const result = await store.batch(convoyId, [
    { kind: 'replace', item: gateItem(place, after.gate), ifMatch: gate.etag },
    { kind: 'replace', item: progressItem(place, after.progress), ifMatch: progress.etag },
  ]);
  if (!result.applied) {
    store.forget?.(convoyId);
    return 'fenced';
  }
  log.info('lane opened', { convoyId, messages: after.gate.tail });
  await ensureStarted(engine, place, { gate: after.gate, wake: false, duplicate: false }); // H2
  return 'opened';
}

/** The longer a lane has waited, the more patient: an eighth of the time so far. */
function patienceMs({ hold }: Gate, now: number): number {
  const waitedMs = now - (hold.since ?? now);
  return Math.min(Math.max(waitedMs / 8, postponeMsMin), postponeMsMax);
}

/** True when every older lane of the key is retired. */
async function retireOlder(engine: Engine, place: Place): Promise<boolean> {
  const { convoy } = place;
  let lane = await laneAt(engine, place);
  if (lane === undefined) return false;
  if (fenceEnd(lane) === null) {
    await readLayout(engine, convoy);
    lane = (await laneAt(engine, place)) ?? lane;
  }
  const end = fenceEnd(lane);
  if (end === null || engine.clock.now() < end) return false;
  const definition = engine.definitions.get(convoy);
  const fault = definition && layoutFault(definition, lane.layout);
  if (fault !== undefined) {
    engine.log.warn('CVY_LANES', { convoy, reason: fault }); // never guessed: it stays held
    return false;
  }
  const older = olderPlaces(lane.generations, lane);
  let areRetired = true;
  for (let at = 0; at < older.length; at += lanesAtOnce) {
    const some = older.slice(at, at + lanesAtOnce);
    const retired = await Promise.all(some.map((one) => retireOne(engine, convoy, { one, lane })));
    areRetired &&= retired.every(Boolean);
  }
  return areRetired;
}

function fenceEnd({ generations, generation, layout }: Lane): number | null {
  const own = generations[generation - 1];
  return own === undefined ? null : fenceEndOf(own, layout.fenceSeconds);
}

interface Older {
  one: LanePlace;
  /** The lane that waits for it. */
  lane: Lane;
}

/** [L4] True when the older lane is retired now. */
async function retireOne(engine: Engine, convoy: string, older: Older): Promise<boolean> {
  const { store, clock } = engine;
  const { one, lane } = older;
  const place = { convoy, key: laneSessionOf(one) };
  const convoyId = convoyIdOf(convoy, place.key);
  store.forget?.(convoyId);
  const before = await readProgress(store, convoyId);
  if (before?.item.retired) return true;
  if (!(await hasFencePassed(engine, place, older))) return false;
  store.forget?.(convoyId);
  const gate = await store.readGate(convoyId);
  const progress = gate && (await readProgress(store, convoyId));
  const facts = gate && progress ? { gate: gate.item, progress: progress.item } : undefined;
  if (gate && !facts) return false; // a stale read
  const { gate: g, progress: p } = facts ?? newLane(engine, convoy, one);
  if (!mayRetire(g, p)) return false;
  const after = retire(g, p, { generation: lane.generation, at: clock.now() });
  assertHandoff(after.gate, after.progress);
  const items = [gateItem(place, after.gate), progressItem(place, after.progress)] as const;
  const operations: StoreOperation[] =
    gate && progress
      ? [
          { kind: 'replace', item: items[0], ifMatch: gate.etag },
          { kind: 'replace', item: items[1], ifMatch: progress.etag },
        ]
      : items.map((item) => ({ kind: 'create', item }));
  const result = await store.batch(convoyId, operations);
  if (!result.applied) store.forget?.(convoyId);
  else engine.log.info('lane retired', { convoyId, tail: after.gate.tail });
  return result.applied;
}

/** A lane that never got a message retires at tail 0. */
function newLane(
  engine: Engine,
  convoy: string,
  one: LanePlace,
): { gate: Gate; progress: Progress } {
  const { initialState = null, version } = engine.definitions.get(convoy) ?? {};
  const progress = initialProgress(initialState, engine.clock.now(), version);
  return {
    gate: initialGate(),
    progress: one.generation === 0 ? progress : { ...progress, lane: one },
  };
}

/** [L3] Whether the fence has come through the older lane; sends it when it is not on its way. */
async function hasFencePassed(engine: Engine, place: Place, older: Older): Promise<boolean> {
  const { store, clock, sendFence } = engine;
  const { generation } = older.lane;
  const convoyId = convoyIdOf(place.convoy, place.key);
  const known = await store.readFence(convoyId, generation);
  if (known?.passedAt !== undefined) return true;
  if (known && clock.now() - known.sentAt < fenceAgainMs) return false;
  if (!sendFence) throw new ConvoyError('CVY_INVARIANT', 'this engine cannot send fences');
  const id = itemIds.fence(generation);
  const sentAt = clock.now();
  const item: FenceItem = { id, convoyId, kind: 'fence', generation, sentAt, ttl: fenceTtlSeconds };
  const operation: StoreOperation = known
    ? { kind: 'set', id, fields: { sentAt } }
    : { kind: 'create', item };
  if (!(await store.batch(convoyId, [operation])).applied) return false; // somebody else sends it
  const { one, lane } = older;
  const queue =
    lane.generations[one.generation - 1]?.queue ??
    engine.definitions.get(place.convoy)?.queue ??
    place.convoy;
  try {
    await sendFence({ queue, session: place.key, generation });
  } catch (error) {
    await store.batch(convoyId, [{ kind: 'set', id, fields: { sentAt: 0 } }]);
    throw error;
  }
  return false;
}

/** [L3] The fence has come through intake: everything sent to this lane before it is admitted. */
export async function passFence(engine: Engine, place: Place, generation: number): Promise<void> {
  const { store, clock } = engine;
  const convoyId = convoyIdOf(place.convoy, place.key);
  const fields = { passedAt: clock.now() };
  const id = itemIds.fence(generation);
  const { applied } = await store.batch(convoyId, [{ kind: 'set', id, fields }]);
  // 404: nobody of ours has sent it, or so long ago that it is sent again.
  if (!applied) engine.log.warn('a fence that nobody waits for', { convoyId, generation });
}
