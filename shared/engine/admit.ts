// [H1] Admit, then [H2]: one message from the broker into the durable inbox of its key.
//
// Crash points: before the batch – nothing happened, the broker redelivers; after the batch, before
// H2 – the redelivery finds `seen`, takes no new position and falls through to H2; after H2 – the
// same again, harmless. A trigger returns only after H2, so message k+1 is delivered only after k
// has been served.
import { sleep } from '../clock.ts';
import { admit, firstProgress, isFenced } from '../convoy/handoff.ts';
import type { Admitted, Gate } from '../convoy/state.ts';
import { reasonOf } from '../errors.ts';
import { convoyIdOf } from '../keys.ts';
import { type SeenItem, itemIds } from '../store/items.ts';
import { type StoreOperation, StoreUnavailable } from '../store/store.ts';
import { ensureStarted } from './ensure-started.ts';
import { fenceEndOf } from '../lanes.ts';
import { type Lane, laneAt } from './lane.ts';
import { tryOpenLane } from './lane-fence.ts';
import { type Place, gateItem, inboxItem, progressItem } from './placed.ts';
import type { Engine } from './ports.ts';

export type Incoming = Omit<Admitted, 'position'>;

export interface AdmitRequest extends Place {
  message: Incoming;
  sequence: number | null;
}

export type AdmitResult = { kind: 'admitted' | 'duplicate'; position: number; epoch: number };

const conflictsMax = 200;

/** Rejects with what the store or the hub threw, the caller decides how long to try (H10); and with
 *  CVY_LANE_UNKNOWN. */
export async function admitMessage(engine: Engine, request: AdmitRequest): Promise<AdmitResult> {
  const { store, clock } = engine;
  const { message } = request;
  const convoyId = convoyIdOf(request.convoy, request.key);
  const lane = await laneAt(engine, request);
  for (let conflicts = 0; conflicts < conflictsMax; conflicts += 1) {
    const read = await store.readGate(convoyId);
    if (read?.item.lastMessageId === message.messageId) {
      return serveDuplicate(engine, request, { gate: read.item, position: read.item.tail });
    }
    const at = clock.now();
    const { messageId, enqueuedAt } = message;
    const { sequence } = request;
    const fencedUntil = lane && fenceEnd(lane, at);
    const step = admit(read?.item, {
      enqueuedAt,
      ...{ messageId, at, sequence },
      ...(fencedUntil !== undefined && { fencedUntil }),
    });
    const operations = operationsOf(engine, request, { read, step, at, lane });
    const result = await store.batch(convoyId, operations);
    if (result.applied) {
      const { gate, wake } = step;
      await ensureStarted(engine, request, { gate, wake, duplicate: false }); // H2
      await openIfDue(engine, request, gate);
      return { kind: 'admitted', position: step.position, epoch: gate.epoch };
    }
    // H1: a duplicate is only what a read of `seen` finds after the failure. 412 is the gate's, so
    // the batch never came to `seen`: the retry asks again.
    const seen =
      result.status === 409 ? await store.readSeen(convoyId, message.messageId) : undefined;
    store.forget?.(convoyId);
    if (seen !== undefined) {
      const gate = await gateThatCounts(engine, convoyId, seen);
      if (gate) return serveDuplicate(engine, request, { gate, position: seen.position, seen });
    }
    if (conflicts > 0) await sleep(clock, Math.min(conflicts * 5, 250));
  }
  throw new StoreUnavailable(`admit of ${convoyId}: ${conflictsMax} conflicts in a row`);
}

/** [L3] In line, so that a lane opens without waiting for the sweeper. */
async function openIfDue(engine: Engine, { convoy, key }: Place, gate: Gate): Promise<void> {
  const isDue = isFenced(gate) && (gate.dueAt ?? 0) <= engine.clock.now();
  if (isDue) await tryOpenLane(engine, { convoy, key });
}

function fenceEnd({ generation, generations, layout }: Lane, now: number): number {
  const own = generations[generation - 1];
  return (own && fenceEndOf(own, layout.fenceSeconds)) ?? now;
}

function operationsOf(
  engine: Engine,
  request: AdmitRequest,
  entry: {
    read: { etag: string } | undefined;
    step: ReturnType<typeof admit>;
    at: number;
    lane: Lane | undefined;
  },
): StoreOperation[] {
  const { read, step, at, lane } = entry;
  const convoyId = convoyIdOf(request.convoy, request.key);
  const { messageId } = request.message;
  const gate = gateItem(request, step.gate);
  const admitted: Admitted = { ...request.message, position: step.position };
  const { sequence } = request;
  const inbox = inboxItem(request, admitted, { admittedAt: at, sequence });
  const seen: SeenItem = {
    id: itemIds.seen(messageId),
    convoyId,
    kind: 'seen',
    messageId,
    position: step.position,
  };
  // H1: the gate's operation first, so that a lost race is reported as the gate's.
  const operations: StoreOperation[] = read
    ? [{ kind: 'replace', item: gate, ifMatch: read.etag }]
    : [{ kind: 'create', item: gate }];
  if (step.created) {
    const definition = engine.definitions.get(request.convoy);
    const place = lane && { key: lane.key, generation: lane.generation, lane: lane.lane };
    const progress = firstProgress(definition, at, place);
    operations.push({ kind: 'create', item: progressItem(request, progress) });
  }
  operations.push({ kind: 'create', item: inbox }, { kind: 'create', item: seen });
  return operations;
}

/** A gate read that counts the position of `seen`; an older one is stale and would hide the
 *  epoch. */
async function gateThatCounts(
  engine: Engine,
  convoyId: string,
  seen: SeenItem,
): Promise<Gate | undefined> {
  const read = await engine.store.readGate(convoyId);
  return read && read.item.tail >= seen.position ? read.item : undefined;
}

/** [H1] No new admission, but H2: the first attempt may have died before it. */
async function serveDuplicate(
  engine: Engine,
  request: AdmitRequest,
  found: { gate: Gate; position: number; seen?: SeenItem },
): Promise<AdmitResult> {
  const { gate, position, seen } = found;
  await ensureStarted(engine, request, { gate, wake: true, duplicate: true });
  await openIfDue(engine, request, gate);
  await countRepeat(engine, request, seen);
  return { kind: 'duplicate', position, epoch: gate.epoch };
}

/** Duplicates are counted, not listed; best effort, nothing depends on the number. */
async function countRepeat(
  engine: Engine,
  request: AdmitRequest,
  found: SeenItem | undefined,
): Promise<void> {
  const convoyId = convoyIdOf(request.convoy, request.key);
  const { messageId } = request.message;
  try {
    const seen = found ?? (await engine.store.readSeen(convoyId, messageId));
    const fields = { repeats: (seen?.repeats ?? 0) + 1 };
    await engine.store.batch(convoyId, [{ kind: 'set', id: itemIds.seen(messageId), fields }]);
  } catch (error) {
    engine.log.warn('repeat not counted', { convoyId, reason: reasonOf(error) });
  }
}
