// [H5] The one atomic commit of a drain: effect, cursor, windows, outbox and the settlement of
// every message, If-Match on `progress` of exactly our epoch. 412 = another attempt was first: no
// effect.
import type { ConvoyDefinition } from '../convoy/definition.ts';
import { type Work, tellsFirst, workAfter } from '../convoy/busy.ts';
import type { EffectOutcome, SettleInput, WindowNeed } from '../convoy/draft.ts';
import { hotOf } from '../convoy/hot.ts';
import type { ClosedWindow, Output, Progress, Settlement, StayedParked } from '../convoy/state.ts';
import { type Settled, settle } from '../convoy/step.ts';
import { watermarkAfterQuiet } from '../convoy/window.ts';
import type { OutboxItem, ParkedItem, ProgressItem, WindowItem } from '../store/items.ts';
import { itemIds } from '../store/items.ts';
import { type BatchResult, type StoreOperation, StoreRefused } from '../store/store.ts';
import {
  type Drain,
  type Next,
  afterRefusal,
  holdKey,
  removalsOf,
  removePublished,
  silentSince,
} from './drain-context.ts';
import { runEffect } from './effects.ts';
import type { Load } from './load.ts';
import { publishItems } from './outbox.ts';
import { progressItem } from './placed.ts';
import { toolsAt } from './tools.ts';

/** What Cosmos takes in one batch. */
const operationsMax = 100;

/** Settles what fits of `messages` (none: closes windows whose quiet time has passed), commits and
 *  publishes. Rejects when the store or the broker fails; nothing is half done then. */
export async function commitSettled(
  drain: Drain,
  definition: ConvoyDefinition,
  { settlementsMax = Infinity, ...load }: Load & { settlementsMax?: number },
): Promise<Next> {
  const settled = await settleLoad(drain, definition, { ...load, settlementsMax });
  const { settlements, stayedParked, outputs, closed, gone } = settled;
  const { outputCommits } = settled.progress;
  const work = measuredWork(drain, settled);
  const progress = progressItem(drain.request, {
    ...settled.progress,
    work,
    outputCommits: outputs.length > 0 ? outputCommits + 1 : outputCommits,
  });
  const outbox = outboxItems(drain, settled);
  const operations: StoreOperation[] = [
    { kind: 'replace', item: progress, ifMatch: drain.progress.etag }, // H5: the fence
    ...settlements.flatMap((s) => settlementOperations(drain, definition, s)),
    ...stayedParked.map(stayedOperation),
    ...closed.map((window) => windowOperation(drain, definition, window)),
    ...gone.map(({ window, start }): StoreOperation => {
      return { kind: 'delete', id: itemIds.window(window, start) };
    }),
    ...outbox.map((item): StoreOperation => ({ kind: 'create', item })),
  ];
  if (operations.length + drain.published.ids.size <= operationsMax)
    operations.push(...removalsOf(drain));
  else await removePublished(drain);
  let result: BatchResult;
  try {
    result = await drain.engine.store.batch(drain.convoyId, operations);
  } catch (error) {
    if (!(error instanceof StoreRefused && error.status === 413)) throw error;
    if (settlements.length > 1) {
      const half = Math.ceil(settlements.length / 2);
      return commitSettled(drain, definition, { ...load, settlementsMax: half });
    }
    return holdKey(drain, tooLarge(drain, settlements));
  }
  if (!result.applied) return refused(drain, operations, result);
  drain.published.ids.clear();
  if (tellsFirst(drain.progress.item.work, work)) tellHot(drain, progress);
  const committed = { item: progress, etag: result.etags[0] ?? '' };
  await publishItems({ ...drain, progress: committed }, outbox);
  return { progress: committed };
}

/** What the drain measured since its commit before, where the key has had no pause for long. */
function measuredWork(drain: Drain, { progress, settlements }: Settled): Work | null {
  return workAfter(drain.progress.item.work, {
    busy: drain.gate.item.busy,
    spent: drain.meter.take(),
    messages: settlements.length,
    holds: progress.hold.kind !== 'none',
    now: drain.engine.clock.now(),
  });
}

/** Once in a busy time: by the commit that notes it. */
function tellHot({ engine, convoyId, gate }: Drain, progress: ProgressItem): void {
  const hot = hotOf(gate.item, progress, engine.clock.now());
  if (hot !== null) engine.log.warn('hot key', { convoyId, ...hot });
}

/** Settles in memory; loads and does what the pure core asks for on the way. */
async function settleLoad(
  drain: Drain,
  definition: ConvoyDefinition,
  { settlementsMax, ...load }: Load & { settlementsMax: number },
): Promise<Settled> {
  const { engine, request } = drain;
  const closedWindows = new Map<string, ClosedWindow[]>();
  let effect: EffectOutcome | undefined;
  for (;;) {
    const input: SettleInput = {
      convoy: request.convoy,
      key: request.key,
      definition,
      progress: progressAfterQuiet(drain, definition, load),
      ...load,
      closedWindows,
      effect,
      settlementsMax,
      limits: engine.limits,
      tools: toolsAt(engine.clock.now()),
    };
    const settled = await drain.meter.timed('handlerMs', () => settle(input));
    const { needs, effectFor } = settled;
    if (needs.length > 0) {
      const found = await Promise.all(needs.map((need) => readClosedWindows(drain, need)));
      needs.forEach(({ id }, i) => closedWindows.set(id, found[i] ?? []));
    } else if (effectFor !== undefined) {
      const { convoy, key } = request;
      const asked = { convoy, key, progress: drain.progress.item, ...effectFor };
      effect = await drain.meter.timed('handlerMs', () => runEffect(engine, definition, asked));
    } else return settled;
  }
}

/** Without new messages a commit closes the windows whose quiet time has passed. */
function progressAfterQuiet(drain: Drain, definition: ConvoyDefinition, load: Load): Progress {
  const { item } = drain.progress;
  const isIdle = load.messages.length === 0 && load.held.size === 0 && item.taken.length === 0;
  if (!isIdle) return item;
  const silence = { silentSince: silentSince(drain), now: drain.engine.clock.now() };
  return { ...item, watermark: watermarkAfterQuiet(item, definition.windows, silence) };
}

async function readClosedWindows(drain: Drain, need: WindowNeed): Promise<ClosedWindow[]> {
  const { store } = drain.engine;
  const { window, start, end } = need;
  if (need.isSession) return store.readSessions(drain.convoyId, window, { start, end });
  const found = await store.readWindow(drain.convoyId, window, start);
  return found === undefined ? [] : [found];
}

/** The body is not rewritten: only what became of the message is set, and [H12] the TTLs begin when
 *  it has settled for good. */
function settlementOperations(
  drain: Drain,
  definition: ConvoyDefinition,
  settlement: Settlement,
): StoreOperation[] {
  const { position, messageId, healed, ...outcome } = settlement;
  const settledAt = drain.engine.clock.now();
  const id = itemIds.inbox(position);
  const { retentionSeconds: ttl, dedupSeconds } = definition;
  if (outcome.outcome === 'parked') {
    const parked = parkedItem(drain, settlement, settledAt);
    return [
      { kind: 'set', id, fields: { ...outcome, settledAt } },
      { kind: 'create', item: parked },
    ];
  }
  const cleared = healed ? { code: null, reason: null } : {};
  const healing: StoreOperation[] = healed
    ? [{ kind: 'set', id: itemIds.parked(position), fields: { healedAt: settledAt, ttl } }]
    : [];
  return [
    { kind: 'set', id, fields: { ...cleared, ...outcome, settledAt, ttl } },
    { kind: 'set', id: itemIds.seen(messageId), fields: { ttl: dedupSeconds } },
    ...healing,
  ];
}

/** The link of the chain that says that the message was parked; its inbox item gets the next. */
function parkedItem(drain: Drain, settlement: Settlement, parkedAt: number): ParkedItem {
  const { position, messageId, attempts, chain, code = '', reason = '' } = settlement;
  return {
    id: itemIds.parked(position),
    convoyId: drain.convoyId,
    kind: 'parked',
    position,
    messageId,
    settlement: settlement.settlement,
    chain,
    code,
    reason,
    attempts,
    parkedAt,
  };
}

function stayedOperation({ position, ...failure }: StayedParked): StoreOperation {
  return { kind: 'set', id: itemIds.parked(position), fields: { ...failure } };
}

function windowOperation(
  drain: Drain,
  definition: ConvoyDefinition,
  window: ClosedWindow,
): StoreOperation {
  const item: WindowItem = {
    ...window,
    id: itemIds.window(window.window, window.start),
    convoyId: drain.convoyId,
    kind: 'window',
    ttl: definition.retentionSeconds,
  };
  return { kind: 'put', item };
}

/** [H5, H11] Outputs several per item, the items in order of settlement. */
function outboxItems(drain: Drain, settled: Settled): OutboxItem[] {
  const { limits } = drain.engine;
  const items: OutboxItem[] = [];
  let open: Output[] = [];
  let bytes = 0;
  const { settled: settlement, outputCommits } = settled.progress;
  const pack = (): void => {
    if (open.length === 0) return;
    const id = itemIds.outbox(settlement, { commit: outputCommits + 1, n: items.length });
    items.push({ id, convoyId: drain.convoyId, kind: 'outbox', outputs: open });
    open = [];
    bytes = 0;
  };
  for (const output of settled.outputs) {
    if (open.length >= limits.outputsPerItem || bytes > 500_000) pack();
    open.push(output);
    bytes += output.bodyText.length;
  }
  pack();
  return items;
}

function tooLarge(drain: Drain, settlements: readonly Settlement[]) {
  return {
    kind: 'blocked' as const,
    code: 'CVY_TOO_LARGE',
    reason: 'the store refused the transaction as too large',
    ...(settlements[0] && { position: settlements[0].position }),
    since: drain.engine.clock.now(),
  };
}

/** 412: another attempt was first, look again. 404 or 409: an item the fence vouches for is missing
 *  or was there already, which only a foreign writer can have done: the key stops and says so. */
async function refused(
  drain: Drain,
  operations: StoreOperation[],
  result: Extract<BatchResult, { applied: false }>,
): Promise<Next> {
  const operation = operations[result.failed];
  const isFence = result.status === 412;
  const isRemoval = operation?.kind === 'delete'; // a zombie attempt removed it too
  const next = await afterRefusal(drain, result);
  if (isFence || isRemoval) return next;
  const id = operation && ('item' in operation ? operation.item.id : operation.id);
  const reread = await drain.engine.store.readProgress(drain.convoyId);
  if (reread?.etag !== drain.progress.etag) return next;
  return holdKey(drain, {
    kind: 'blocked',
    code: 'CVY_INVARIANT',
    reason: `commit refused with ${result.status} at item '${id}'`,
    since: drain.engine.clock.now(),
  });
}
