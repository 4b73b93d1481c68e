// [H5] The one atomic commit of a drain: effect, cursor, windows, outbox and the settlement of
// every message, If-Match on `progress` of exactly our epoch. 412 = another attempt was first: no
// effect.
import { isoInstant } from '../clock.ts';
import type { ConvoyDefinition } from '../convoy/definition.ts';
import type { Tools } from '../convoy/outputs.ts';
import type { ClosedWindow, Output, Settlement } from '../convoy/state.ts';
import { type Settled, lateWindows, settle } from '../convoy/step.ts';
import { watermarkAfterQuiet } from '../convoy/window.ts';
import { hexHash } from '../keys.ts';
import type { InboxItem, OutboxItem, WindowItem } from '../store/items.ts';
import { itemIds } from '../store/items.ts';
import { type BatchResult, type StoreOperation, StoreRefused } from '../store/store.ts';
import {
  type Drain,
  type Next,
  afterRefusal,
  holdKey,
  removalsOf,
  silentSince,
} from './drain-context.ts';
import { publishItems, removePublished } from './outbox.ts';
import { progressItem } from './placed.ts';

/** What Cosmos takes in one batch. */
const operationsMax = 100;

/** Settles what fits of `messages` (none: closes windows whose quiet time has passed), commits and
 *  publishes. Rejects when the store or the broker fails; nothing is half done then. */
export async function commitSettled(
  drain: Drain,
  definition: ConvoyDefinition,
  messages: InboxItem[],
): Promise<Next> {
  const settled = await settleRun(drain, definition, messages);
  const { settlements, outputs, closed } = settled;
  const { outputCommits } = settled.progress;
  const progress = progressItem(drain.request, {
    ...settled.progress,
    outputCommits: outputs.length > 0 ? outputCommits + 1 : outputCommits,
  });
  const outbox = outboxItems(drain, settled);
  const operations: StoreOperation[] = [
    { kind: 'replace', item: progress, ifMatch: drain.progress.etag }, // H5: the fence
    ...settlements.flatMap((s) => settlementOperations(drain, definition, s)),
    ...closed.map((window) => windowOperation(drain, definition, window)),
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
    if (messages.length > 1) {
      return commitSettled(drain, definition, messages.slice(0, Math.ceil(messages.length / 2)));
    }
    return holdKey(drain, tooLarge(drain, messages));
  }
  if (!result.applied) return refused(drain, operations, result);
  drain.published.ids.clear();
  const committed = { item: progress, etag: result.etags[0] ?? '' };
  await publishItems({ ...drain, progress: committed }, outbox);
  return { progress: committed };
}

async function settleRun(
  drain: Drain,
  definition: ConvoyDefinition,
  messages: InboxItem[],
): Promise<Settled> {
  const { engine, request } = drain;
  const now = engine.clock.now();
  const { item } = drain.progress;
  const progress =
    messages.length > 0
      ? item
      : {
          ...item,
          watermark: watermarkAfterQuiet(item, definition.windows, {
            quietSeconds: definition.quietSeconds,
            silentSince: silentSince(drain),
            now,
          }),
        };
  return settle({
    convoy: request.convoy,
    key: request.key,
    definition,
    progress,
    messages,
    closedWindows: await readLateWindows(drain, definition, messages),
    limits: engine.limits,
    tools: toolsAt(now),
  });
}

/** What the pure core is handed: this instant, SHA-256, ISO text and UTF-8 length. */
export function toolsAt(now: number): Tools {
  return {
    now,
    hash: hexHash,
    iso: isoInstant,
    bytes: (text) => Buffer.byteLength(text, 'utf8'),
  };
}

async function readLateWindows(
  drain: Drain,
  definition: ConvoyDefinition,
  messages: InboxItem[],
): Promise<Map<string, ClosedWindow>> {
  const found = new Map<string, ClosedWindow>();
  for (const { name, start } of lateWindows(definition, drain.progress.item, messages)) {
    const window = await drain.engine.store.readWindow(drain.convoyId, name, start);
    if (window) found.set(`${name}:${start}`, window);
  }
  return found;
}

/** The body is not rewritten: only what became of the message is set, and [H12] the TTLs begin. */
function settlementOperations(
  drain: Drain,
  definition: ConvoyDefinition,
  settlement: Settlement,
): StoreOperation[] {
  const { position, messageId, ...outcome } = settlement;
  const settledAt = drain.engine.clock.now();
  return [
    {
      kind: 'set',
      id: itemIds.inbox(position),
      fields: { ...outcome, settledAt, ttl: definition.retentionSeconds },
    },
    { kind: 'set', id: itemIds.seen(messageId), fields: { ttl: definition.dedupSeconds } },
  ];
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
  const pack = (): void => {
    const [first] = open;
    if (first === undefined) return;
    const id = itemIds.outbox(settled.progress.settled, first);
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

function tooLarge(drain: Drain, messages: InboxItem[]) {
  return {
    kind: 'blocked' as const,
    code: 'CVY_TOO_LARGE',
    reason: 'the store refused the transaction as too large',
    ...(messages[0] && { position: messages[0].position }),
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
  const next = afterRefusal(drain, result);
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
