// Builders of store items for contract and adapter tests: valid in every field, changed by need.
import { randomUUID } from 'node:crypto';
import { initialGate, initialProgress } from '../../shared/convoy/state.ts';
import { convoyIdOf } from '../../shared/keys.ts';
import { itemIds } from '../../shared/store/items.ts';
import type {
  ConvoyItem,
  DeadItem,
  GateItem,
  InboxItem,
  OutboxItem,
  ProgressItem,
  QuarantineItem,
  SeenItem,
  WindowItem,
} from '../../shared/store/items.ts';
import type { ConvoyStore, StoreOperation } from '../../shared/store/store.ts';

/** A convoy name that no other test uses, also on an account that keeps its data. */
export function freshConvoy(): string {
  return `t${randomUUID().slice(0, 8)}`;
}

/** A convoy id that no other test uses. */
export function freshId(key = 'K-1'): string {
  return convoyIdOf(freshConvoy(), key);
}

function placeOf(convoyId: string): { convoyId: string; convoy: string; key: string } {
  const at = convoyId.indexOf(':');
  return { convoyId, convoy: convoyId.slice(0, at), key: convoyId.slice(at + 1) };
}

export function gateItem(convoyId: string, changes: Partial<GateItem> = {}): GateItem {
  return { kind: 'gate', id: itemIds.gate, ...placeOf(convoyId), ...initialGate(), ...changes };
}

export function progressItem(convoyId: string, changes: Partial<ProgressItem> = {}): ProgressItem {
  const place = placeOf(convoyId);
  return {
    kind: 'progress',
    id: itemIds.progress,
    ...place,
    ...initialProgress({ n: 0 }, 1000),
    ...changes,
  };
}

export function inboxItem(
  convoyId: string,
  position: number,
  changes: Partial<InboxItem> = {},
): InboxItem {
  return {
    kind: 'inbox',
    id: itemIds.inbox(position),
    convoyId,
    position,
    messageId: `m-${position}`,
    type: 'Placed',
    bodyText: '{"n":1}',
    schemaVersion: 1,
    occurredAt: 1000,
    enqueuedAt: 1000,
    admittedAt: 1000,
    sequence: null,
    outcome: 'waiting',
    ...changes,
  };
}

export function seenItem(
  convoyId: string,
  messageId: string,
  changes: Partial<SeenItem> = {},
): SeenItem {
  const id = itemIds.seen(messageId);
  return { kind: 'seen', id, convoyId, messageId, position: 1, ...changes };
}

export function windowItem(convoyId: string, window: string, start: number): WindowItem {
  const id = itemIds.window(window, start);
  const sums = { count: 1, sum: 1, min: 1, max: 1, first: 1, last: 1 };
  const closed = { window, start, end: start + 10, revision: 1, closedAt: start + 20 };
  return { kind: 'window', id, convoyId, ...closed, ...sums };
}

export function outboxItem(convoyId: string, settlement: number, n: number): OutboxItem {
  return {
    kind: 'outbox',
    id: itemIds.outbox(settlement, { commit: settlement, n }),
    convoyId,
    outputs: [],
  };
}

export function deadItem(convoyId: string, sequence: number): DeadItem {
  const id = itemIds.dead(sequence);
  const message = { messageId: `m-${sequence}`, type: 'Placed', schemaVersion: 1 };
  const about = { ...message, occurredAt: 1, enqueuedAt: 1, reason: 'gave up', recordedAt: 1 };
  return { kind: 'dead', id, convoyId, sequence, ...about };
}

export function quarantineItem(convoy: string, messageId: string): QuarantineItem {
  return {
    kind: 'quarantine',
    id: itemIds.quarantine(messageId),
    convoyId: `${convoy}:`,
    convoy,
    code: 'CVY_KEY_MISSING',
    reason: 'no key',
    remedy: 'send a key',
    messageId,
    sessionId: '',
    bodyBase64: '',
    applicationProperties: '{}',
    metadata: '{}',
    sequence: 1,
    recordedAt: 1,
  };
}

/** Creates items, in batches of 100; throws when one of them is there already. */
export async function create(store: ConvoyStore, items: ConvoyItem[]): Promise<string[]> {
  const etags: string[] = [];
  for (let at = 0; at < items.length; at += 100) {
    const some = items.slice(at, at + 100);
    etags.push(
      ...(await apply(
        store,
        some.map((item) => ({ kind: 'create', item })),
      )),
    );
  }
  return etags;
}

/** Applies a batch that has to succeed. */
export async function apply(store: ConvoyStore, operations: StoreOperation[]): Promise<string[]> {
  const convoyId = operations.flatMap((one) => ('item' in one ? one.item.convoyId : []))[0];
  return applyTo(store, convoyId ?? '', operations);
}

/** Applies a batch without items, which has to succeed. */
export async function applyTo(
  store: ConvoyStore,
  convoyId: string,
  operations: StoreOperation[],
): Promise<string[]> {
  const result = await store.batch(convoyId, operations);
  if (!result.applied) throw new Error(`batch of ${convoyId}: ${JSON.stringify(result)}`);
  return result.etags;
}

/** What comes back of an item: JSON has no undefined. */
export function asStored<Item>(item: Item): Item {
  return JSON.parse(JSON.stringify(item)) as Item;
}
