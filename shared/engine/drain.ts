// [H5-H8, H11] One drain of one key by the instance of one epoch: read, settle, commit, publish,
// and at the end wait, close or rest. Runs as a durable activity, at least once, and possibly twice
// at a time.
//
// Owns:    the order of reads (gate, progress, inbox), the bound of every read by the gate it read,
//          and the If-Match of every write.
// Leaves:  what a message does to the state (convoy/step.ts) and which transition is legal
// (handoff.ts).
//
// Crash points: every write is one batch and carries If-Match on `progress` or `gate`, so a drain
// may die between any two lines. What a later drain finds: uncommitted messages (settled again),
// committed but unpublished outputs in the outbox (published by any epoch, same message ids), a
// hold not yet rested (rested then), a wait announced but not waited (the linger or the sweeper
// comes round).
import type { ConvoyDefinition } from '../convoy/definition.ts';
import {
  assertHandoff,
  close,
  isCurrent,
  mayClose,
  outputsPending,
  rest,
  wait,
} from '../convoy/handoff.ts';
import { type Hold, noHold } from '../convoy/state.ts';
import { gapDueAt, gapOf, hasHeldWork } from '../convoy/take.ts';
import { dueWindows, quietDueAt } from '../convoy/window.ts';
import { reasonOf } from '../errors.ts';
import { convoyIdOf } from '../keys.ts';
import type { GateItem, ProgressItem } from '../store/items.ts';
import type { Versioned } from '../store/store.ts';
import type { Dependency } from '../throttling.ts';
import { commitSettled } from './commit.ts';
import {
  type Drain,
  type DrainRequest,
  type Next,
  type Published,
  afterRefusal,
  holdKey,
  removalsOf,
  removePublished,
  silentSince,
} from './drain-context.ts';
import { loadNext, nothingLoaded } from './load.ts';
import { Meter, metered } from './meter.ts';
import { publishOutbox } from './outbox.ts';
import { gateItem, progressItem, readProgress } from './placed.ts';
import { throttleOf } from './patience.ts';
import type { Engine } from './ports.ts';

export type DrainResult =
  /** [H3] Another epoch is in charge: the instance ends without effect. */
  | { kind: 'fenced' }
  /** Work is left: drain again. */
  | { kind: 'more' }
  /** Something failed: drain again after a durable back-off [H7]. */
  | { kind: 'failed'; reason: string; throttled?: { by: Dependency; retryAfterMs: number } }
  /** [H8] The head message is tried again at this instant; wakes do not shorten it. */
  | { kind: 'retryAt'; at: number }
  /** [H4] The wait is announced: wait for a wake or the linger, then drain again. */
  | { kind: 'waiting'; seconds: number }
  | { kind: 'closed' }
  | { kind: 'rested' };

const refusalsMax = 20;

/** What one drain remembers from pass to pass. */
interface Pass {
  progress: Versioned<ProgressItem> | undefined;
  published: Published;
  meter: Meter;
  hasCommitted: boolean;
  /** Passes in a row that wrote nothing. */
  refusals: number;
}

/** Never rejects: a failure is a result, because a failed drain never ends the instance [H7]. */
export async function drain(unmetered: Engine, request: DrainRequest): Promise<DrainResult> {
  const meter = new Meter(unmetered.clock);
  const engine = metered(unmetered, meter);
  const convoyId = convoyIdOf(request.convoy, request.key);
  const untilAt = engine.clock.now() + engine.settings.drainSecondsMax * 1000;
  const published: Published = { ids: new Set(), commits: 0 };
  let pass: Pass = { progress: undefined, published, meter, hasCommitted: false, refusals: 0 };
  // What this process remembers may be older than a commit of another one. H5 makes that harmless
  // for `apply`; an effect would run again for nothing.
  if (engine.definitions.get(request.convoy)?.effect) engine.store.forget?.(convoyId);
  try {
    do {
      const end = await drainPass(engine, request, pass);
      if ('kind' in end) {
        if (end.kind === 'failed') engine.store.forget?.(convoyId);
        return end;
      }
      const hasWritten = end.progress !== undefined;
      const refusals = hasWritten ? 0 : pass.refusals + 1;
      pass = { ...pass, ...end, refusals, hasCommitted: pass.hasCommitted || hasWritten };
      // Contended without end: the durable back-off is cheaper than another pass.
      if (refusals >= refusalsMax) return { kind: 'failed', reason: `${refusals} refused writes` };
    } while (engine.clock.now() < untilAt);
    return { kind: 'more' };
  } catch (error) {
    engine.store.forget?.(convoyId);
    return failure(engine, request, error);
  }
}

/** A service that throttles has been told of elsewhere, once for all keys (throttling.ts). */
function failure(engine: Engine, request: DrainRequest, error: unknown): DrainResult {
  const { convoy, key, epoch } = request;
  const reason = reasonOf(error);
  const throttle = throttleOf(error);
  engine.log[throttle ? 'info' : 'warn']('drain failed', { convoy, key, epoch, reason });
  if (throttle === undefined) return { kind: 'failed', reason };
  const { by, retryAfterMs = 0 } = throttle;
  return { kind: 'failed', reason, throttled: { by, retryAfterMs } };
}

/** One pass: the final result, or what the next pass goes on with (undefined: it reads again). */
async function drainPass(
  engine: Engine,
  request: DrainRequest,
  pass: Pass,
): Promise<DrainResult | Next> {
  const convoyId = convoyIdOf(request.convoy, request.key);
  // H7: gate, then progress. Our own commit of this drain is as good as a read: its ETag decides.
  const read = await engine.store.readGate(convoyId);
  const progress = pass.progress ?? (await readProgress(engine.store, convoyId));
  if (!read || !progress) return { kind: 'failed', reason: `stale read: no gate of ${convoyId}` };
  if (!isCurrent(read.item, progress.item, request.epoch)) {
    return fencedOrStale(request, read.item, progress.item);
  }
  const definition = engine.definitions.get(request.convoy);
  const { published, meter } = pass;
  const gate = withPublished(read, published);
  const drain: Drain = { engine, request, convoyId, definition, gate, progress, published, meter };
  if (outputsPending(gate.item, progress.item)) {
    await publishOutbox(drain); // H11: any epoch publishes what it finds
    drain.gate = withPublished(read, published);
  }
  drain.progress = withoutPublishing(progress);
  const { hold, cursor } = drain.progress.item;
  if (hold.kind === 'blocked' || hold.kind === 'paused') return restHeld(drain);
  if (!definition) return holdKey(drain, unknownConvoy(drain));
  const now = engine.clock.now();
  if (hold.kind === 'retrying' && (hold.nextAttemptAt ?? 0) > now) {
    await removePublished(drain);
    return { kind: 'retryAt', at: hold.nextAttemptAt ?? now };
  }
  if (cursor > gate.item.tail) return { kind: 'failed', reason: 'stale read: tail before cursor' };
  if (cursor < gate.item.tail || hasHeldWork(definition, drain.progress.item))
    return settleBacklog(drain, definition);
  if (isDue(drain, definition)) return commitSettled(drain, definition, nothingLoaded);
  // A drain that has just worked lingers again, whatever the timer said before.
  const mayLinger = definition.lingerSeconds > 0 || waitSeconds(drain, definition) > 0;
  return (request.mayClose && !pass.hasCommitted) || !mayLinger
    ? closeConvoy(drain, definition)
    : announceWait(drain, definition);
}

/** [H11] The gate as this drain writes it next: what is published by now is published. */
function withPublished(gate: Versioned<GateItem>, published: Published): Versioned<GateItem> {
  const publishedCommits = Math.max(gate.item.publishedCommits, published.commits);
  return { item: { ...gate.item, publishedCommits }, etag: gate.etag };
}

/** [H11] Nothing is left to publish, whoever published it: the hold has ended, and the next commit
 *  or close writes that down. */
function withoutPublishing(progress: Versioned<ProgressItem>): Versioned<ProgressItem> {
  const { item, etag } = progress;
  return item.hold.kind === 'publishing' ? { item: { ...item, hold: noHold }, etag } : progress;
}

/** [H3] A newer epoch fences; an older one can only be a stale read, which a later drain
 *  corrects. */
function fencedOrStale(request: DrainRequest, gate: GateItem, progress: ProgressItem): DrainResult {
  const { epoch } = request;
  const ended = gate.epoch === epoch && gate.phase !== 'active';
  if (gate.epoch > epoch || progress.epoch > epoch || ended) return { kind: 'fenced' };
  return { kind: 'failed', reason: `stale read: epoch ${gate.epoch} seen by epoch ${epoch}` };
}

async function settleBacklog(
  drain: Drain,
  definition: ConvoyDefinition,
): Promise<DrainResult | Next> {
  const load = await loadNext(drain, definition);
  return 'missing' in load ? holdKey(drain, load.missing) : commitSettled(drain, definition, load);
}

function unknownConvoy(drain: Drain): Hold {
  return {
    kind: 'blocked',
    code: 'CVY_CONVOY_UNKNOWN',
    reason: `no definition of convoy '${drain.request.convoy}' is registered`,
    since: drain.engine.clock.now(),
  };
}

/** [H8] Gate held, fence moved, the instance ends. */
async function restHeld(drain: Drain): Promise<DrainResult | Next> {
  const { gate, progress, engine, request } = drain;
  const after = rest(gate.item, progress.item, engine.clock.now());
  assertHandoff(after.gate, after.progress);
  const result = await engine.store.batch(drain.convoyId, [
    { kind: 'replace', item: gateItem(request, after.gate), ifMatch: gate.etag },
    { kind: 'replace', item: progressItem(request, after.progress), ifMatch: progress.etag },
    ...removalsOf(drain),
  ]);
  return result.applied ? { kind: 'rested' } : afterRefusal(drain, result);
}

/** [H4] One wake per wait: announced under If-Match of the gate that showed no backlog. */
async function announceWait(
  drain: Drain,
  definition: ConvoyDefinition,
): Promise<DrainResult | Next> {
  const { gate, progress, engine, request } = drain;
  const waiting = wait(gate.item, progress.item, engine.clock.now());
  const result = await engine.store.batch(drain.convoyId, [
    { kind: 'replace', item: gateItem(request, waiting), ifMatch: gate.etag },
    ...removalsOf(drain),
  ]);
  if (!result.applied) return afterRefusal(drain, result); // 412: a message came, drain again
  return { kind: 'waiting', seconds: waitSeconds(drain, definition) };
}

/** The linger; before a gap rather until it is judged, but never so long that the sweeper takes
 *  the wait for a dead instance [H9: linger + 2 min]. */
function waitSeconds({ engine, progress }: Drain, definition: ConvoyDefinition): number {
  const { lingerSeconds } = definition;
  const gapAt = gapDueAt(definition, progress.item);
  if (gapAt === null) return lingerSeconds;
  const untilGap = Math.max(0, gapAt - engine.clock.now()) / 1000;
  return Math.min(untilGap, lingerSeconds + 60);
}

/** [H6] Idle, fence moved: an admit either comes before (412 here) or opens the next epoch. */
async function closeConvoy(
  drain: Drain,
  definition: ConvoyDefinition,
): Promise<DrainResult | Next> {
  const { gate, engine, request } = drain;
  const progress = drain.progress.item;
  if (!mayClose(gate.item, progress))
    return { kind: 'failed', reason: `hold ${progress.hold.kind}` };
  const dueAt = earliest([gapDueAt(definition, progress), quietDue(drain, definition)]);
  const after = close(gate.item, progress, { at: engine.clock.now(), dueAt });
  assertHandoff(after.gate, after.progress);
  const { etag } = drain.progress;
  const result = await engine.store.batch(drain.convoyId, [
    { kind: 'replace', item: gateItem(request, after.gate), ifMatch: gate.etag },
    { kind: 'replace', item: progressItem(request, after.progress), ifMatch: etag },
    ...removalsOf(drain),
  ]);
  return result.applied ? { kind: 'closed' } : afterRefusal(drain, result);
}

/** When quiet time closes the open windows: never while a message of the key waits (DESIGN §5). */
function quietDue(drain: Drain, definition: ConvoyDefinition): number | null {
  const { item } = drain.progress;
  return item.taken.length > 0 ? null : quietDueAt(item, definition.windows, silentSince(drain));
}

/** Windows left over from a full commit, or whose quiet time has passed; a gap to be judged, or
 *  not waited for yet because the commit before it was full. */
function isDue(drain: Drain, definition: ConvoyDefinition): boolean {
  const { item } = drain.progress;
  if (dueWindows(item, definition.windows, 1).length > 0) return true;
  if (item.gapSince === null && gapOf(definition, item) !== undefined) return true;
  const dueAt = earliest([gapDueAt(definition, item), quietDue(drain, definition)]);
  return dueAt !== null && dueAt <= drain.engine.clock.now();
}

function earliest(instants: readonly (number | null)[]): number | null {
  const some = instants.filter((at) => at !== null);
  return some.length === 0 ? null : Math.min(...some);
}
