// The store in memory, for tests and the simulator: exactly the port, with the semantics of Cosmos.
//
// Owns:   etags, preconditions, atomicity of a batch, TTL on the clock, limits of bytes. Items live
//         as JSON text: nothing is shared with a caller, undefined fields vanish as on the wire.
// Leaves: what a batch may look like to limits.ts; who calls what, and why, to the engine.
//
//   M1. A batch is applied in one step without waiting in between: all of it or nothing.
//   M2. An expired item is absent for every method, and its id can be created again.
//   M3. Reads are never stale here; a simulation makes them stale through `intercept`.
import { realClock, type Clock } from '../clock.ts';
import type { ConvoyItem, GateItem, InboxItem, ProgressItem } from './items.ts';
import { itemIds } from './items.ts';
import { oldestFirst, pageOfGates } from './memory-lists.ts';
import { rollUpsInMemory } from './memory-roll-ups.ts';
import { assertBatch, assertConvoyId, bytesMax, fieldsToSet } from './limits.ts';
import { assertLimit, idsUnder, pageOf, restOf, type IdRange } from './paging.ts';
import { StoreRefused } from './store.ts';
import type {
  AsideStore,
  BatchResult,
  ConvoyStore,
  GateFilter,
  InstantRange,
  Page,
  PageFilter,
  StoreOperation,
  Totals,
  Versioned,
} from './store.ts';

/** One call of the port, as a test or the simulator sees it. */
export interface MemoryCall {
  method: string;
  convoyId?: string;
  windowId?: string;
  operations?: readonly StoreOperation[];
}

export interface MemoryStoreOptions {
  clock?: Clock;
  /** Before a call takes effect: may wait (latency) or throw StoreUnavailable (not applied). */
  intercept?(call: MemoryCall): Promise<void>;
  /** After a call took effect: a throw models "applied, but the answer got lost". */
  interceptAnswer?(call: MemoryCall): Promise<void>;
}

interface Stored {
  text: string;
  bytes: number;
  etag: string;
  /** Epoch seconds; an item is gone from this instant on. */
  expiresAt: number | undefined;
}

type Partition = Map<string, Stored>;

/** Opens an empty store. */
export function createMemoryStore(options: MemoryStoreOptions = {}): ConvoyStore {
  const items = new MemoryItems(options.clock ?? realClock);
  const call = async <Answer>(about: MemoryCall, work: () => Answer): Promise<Answer> => {
    await options.intercept?.(about);
    const answer = work();
    await options.interceptAnswer?.(about);
    return answer;
  };
  const inPartition = <Answer>(method: string, convoyId: string, work: () => Answer) => {
    return call({ method, convoyId }, () => {
      assertConvoyId(convoyId);
      return work();
    });
  };
  return {
    readGate: (id) => inPartition('readGate', id, () => items.versioned(id, 'gate')),
    readProgress: (id) => inPartition('readProgress', id, () => items.versioned(id, 'progress')),
    readSeen: (id, messageId) =>
      inPartition('readSeen', id, () => items.one(id, 'seen', itemIds.seen(messageId))),
    readWindow: (id, name, start) =>
      inPartition('readWindow', id, () => items.one(id, 'window', itemIds.window(name, start))),
    readInbox: (id, { from, to, limit }) =>
      inPartition('readInbox', id, () => {
        assertLimit(limit);
        return items.inbox(id, { from, to, limit });
      }),
    readInboxAt: (id, positions) =>
      inPartition('readInboxAt', id, () => {
        assertLimit(positions.length);
        const ascending = [...positions].sort((a, b) => a - b);
        return ascending.flatMap((at) => items.one(id, 'inbox', itemIds.inbox(at)) ?? []);
      }),
    readSessions: (id, name, span) =>
      inPartition('readSessions', id, () =>
        items
          .inRange(id, 'window', idsUnder(`window:${name}`))
          .filter((window) => window.start <= span.end && window.end >= span.start)
          .sort((a, b) => a.start - b.start)
          .slice(0, 100),
      ),
    readOutbox: (id) =>
      inPartition('readOutbox', id, () => items.inRange(id, 'outbox', idsUnder('outbox'))),
    batch: (convoyId, operations) =>
      call({ method: 'batch', convoyId, operations }, () => items.apply(convoyId, operations)),
    ...lists(items, call),
    ...rollUpsInMemory(options.clock ?? realClock, call),
    check: () => call({ method: 'check' }, () => undefined),
  };
}

type Call = <Answer>(about: MemoryCall, work: () => Answer) => Promise<Answer>;

type ListMethod =
  | 'gatesUnwritten'
  | 'gatesDue'
  | 'gatesHeldDue'
  | 'listGates'
  | 'listHeld'
  | 'listAside'
  | 'listBusy'
  | 'progressOf'
  | 'listMessages'
  | 'listWindows'
  | 'countRepeats'
  | 'totals';

function lists(items: MemoryItems, call: Call): Pick<ConvoyStore, ListMethod> & AsideStore {
  const inPartition = <Answer>(method: string, convoyId: string, work: () => Answer) =>
    call({ method, convoyId }, () => {
      assertConvoyId(convoyId);
      return work();
    });
  const gatesIn =
    (method: string, phase: GateItem['phase'], at: (gate: GateItem) => number | null) =>
    (range: InstantRange, limit: number) =>
      call({ method }, () => {
        const gates = items.everywhere('gate').filter((gate) => gate.phase === phase);
        return oldestFirst(gates, { ...range, limit, at });
      });
  return {
    gatesUnwritten: gatesIn('gatesUnwritten', 'active', (gate) => gate.writtenAt),
    gatesDue: gatesIn('gatesDue', 'idle', (gate) => gate.dueAt),
    gatesHeldDue: gatesIn('gatesHeldDue', 'held', (gate) => gate.dueAt),
    listGates: (filter) =>
      call({ method: 'listGates' }, () => pageOfGates(items.everywhere('gate'), filter)),
    listHeld: (kind, filter) =>
      call({ method: 'listHeld' }, () => {
        const held = items.everywhere('progress').filter((progress) => progress.hold.kind === kind);
        return pageOfGates(held, filter);
      }),
    listBusy: (upTo, filter) => call({ method: 'listBusy' }, () => busy(items, upTo, filter)),
    listAside: (filter) => call({ method: 'listAside' }, () => aside(items, filter)),
    progressOf: (convoyIds) =>
      call({ method: 'progressOf' }, () =>
        convoyIds.flatMap((id) => items.one(id, 'progress', itemIds.progress) ?? []),
      ),
    listMessages: (id, filter) =>
      inPartition('listMessages', id, () => {
        assertLimit(filter.limit);
        const range = { ...idsUnder('inbox'), from: itemIds.inbox(filter.from) };
        const found = items
          .inRange(id, 'inbox', restOf(range, filter.continuation))
          .filter((item) => filter.outcome === undefined || item.outcome === filter.outcome);
        return pageOf(found, filter.limit);
      }),
    listWindows: (id, filter) =>
      inPartition('listWindows', id, () => {
        assertLimit(filter.limit);
        const range = idsUnder(filter.window === undefined ? 'window' : `window:${filter.window}`);
        return pageOf(
          items.inRange(id, 'window', restOf(range, filter.continuation)),
          filter.limit,
        );
      }),
    countRepeats: (id) =>
      inPartition('countRepeats', id, () =>
        items.inRange(id, 'seen', idsUnder('seen')).reduce((n, seen) => n + (seen.repeats ?? 0), 0),
      ),
    totals: () => call({ method: 'totals' }, () => totalsOf(items)),
    ...recorded(items, inPartition),
  };
}

function recorded(
  items: MemoryItems,
  inPartition: <Answer>(method: string, convoyId: string, work: () => Answer) => Promise<Answer>,
): AsideStore {
  const listOf =
    <K extends 'parked' | 'dead' | 'quarantine'>(method: keyof AsideStore, kind: K) =>
    (convoyId: string, { limit, continuation }: PageFilter) =>
      inPartition(method, convoyId, () => {
        assertLimit(limit);
        const range = restOf(idsUnder(kind), continuation);
        return pageOf(items.inRange(convoyId, kind, range), limit);
      });
  const listQuarantine = listOf('listQuarantine', 'quarantine');
  return {
    listParkedOf: listOf('listParkedOf', 'parked'),
    readDead: (id, itemId) => inPartition('readDead', id, () => items.one(id, 'dead', itemId)),
    listDead: listOf('listDead', 'dead'),
    readQuarantine: (convoy, id) =>
      inPartition('readQuarantine', `${convoy}:`, () => items.one(`${convoy}:`, 'quarantine', id)),
    listQuarantine: (convoy, filter) => listQuarantine(`${convoy}:`, filter),
    readLayout: (convoy) =>
      inPartition('readLayout', `${convoy}:`, () => items.versioned(`${convoy}:`, 'lanes')),
    readFence: (id, generation) =>
      inPartition('readFence', id, () => items.one(id, 'fence', itemIds.fence(generation))),
  };
}

function busy(items: MemoryItems, upTo: number, filter: GateFilter): Page<GateItem> {
  const hasNoPause = (gate: GateItem): boolean => (gate.busy?.since ?? Infinity) <= upTo;
  return pageOfGates(items.everywhere('gate').filter(hasNoPause), { ...filter, phase: 'active' });
}

function aside(items: MemoryItems, filter: GateFilter): Page<ProgressItem> {
  const all = items.everywhere('progress');
  return pageOfGates(
    all.filter(({ asideCount }) => asideCount > 0),
    filter,
  );
}

function totalsOf(items: MemoryItems): Totals {
  const totals: Totals = { convoys: 0, perPhase: {}, admitted: 0, counts: {}, holds: {} };
  const add = (sums: Record<string, number>, name: string, n: number): void => {
    sums[name] = (sums[name] ?? 0) + n;
  };
  for (const gate of items.everywhere('gate')) {
    totals.convoys += 1;
    totals.admitted += gate.tail;
    add(totals.perPhase, gate.phase, 1);
  }
  for (const progress of items.everywhere('progress')) {
    add(totals.holds, progress.hold.kind, 1);
    for (const [name, n] of Object.entries(progress.counts)) add(totals.counts, name, n);
  }
  return totals;
}

type Kind = ConvoyItem['kind'];
type ItemOf<K extends Kind> = Extract<ConvoyItem, { kind: K }>;

class MemoryItems {
  readonly #clock: Clock;
  readonly #partitions = new Map<string, Partition>();
  #writes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  one<K extends Kind>(convoyId: string, kind: K, id: string): ItemOf<K> | undefined {
    const stored = this.#live(this.#partitions.get(convoyId)?.get(id));
    return stored && readAs(kind, stored);
  }

  versioned<K extends 'gate' | 'progress' | 'lanes'>(
    convoyId: string,
    kind: K,
  ): Versioned<ItemOf<K>> | undefined {
    const stored = this.#live(this.#partitions.get(convoyId)?.get(kind));
    return stored && { item: readAs(kind, stored), etag: stored.etag };
  }

  /** Live items of a partition with `from <= id < below`, ascending by id. */
  inRange<K extends Kind>(convoyId: string, kind: K, { from, below }: IdRange): ItemOf<K>[] {
    return [...(this.#partitions.get(convoyId) ?? [])]
      .filter(([id, stored]) => id >= from && id < below && this.#live(stored))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, stored]) => readAs(kind, stored));
  }

  /** The inbox by position: a drain of a long key must not sort all of its items each time. */
  inbox(convoyId: string, range: { from: number; to: number; limit: number }): InboxItem[] {
    const { from, to, limit } = range;
    const all = { from: itemIds.inbox(from), below: `${itemIds.inbox(to)}!` };
    const size = this.#partitions.get(convoyId)?.size ?? 0;
    if (to - from > size) return this.inRange(convoyId, 'inbox', all).slice(0, limit);
    const found: InboxItem[] = [];
    for (let position = from; position <= to && found.length < limit; position++) {
      const item = this.one(convoyId, 'inbox', itemIds.inbox(position));
      if (item) found.push(item);
    }
    return found;
  }

  /** Live gates or progress items of all partitions: one per key, under a fixed id. */
  everywhere<K extends 'gate' | 'progress'>(kind: K): ItemOf<K>[] {
    return [...this.#partitions.keys()].flatMap((convoyId) => this.one(convoyId, kind, kind) ?? []);
  }

  /** [M1] Synchronous, into a copy that replaces nothing until the last operation has succeeded. */
  apply(convoyId: string, operations: readonly StoreOperation[]): BatchResult {
    assertBatch(convoyId, operations);
    const partition = this.#partitions.get(convoyId) ?? new Map<string, Stored>();
    const changed = new Map<string, Stored | undefined>();
    const etags: string[] = [];
    let bytes = 0;
    for (const [index, operation] of operations.entries()) {
      const id = 'item' in operation ? operation.item.id : operation.id;
      const before = this.#live(changed.has(id) ? changed.get(id) : partition.get(id));
      const status = failureOf(operation, before);
      if (status !== undefined) return { applied: false, failed: index, status };
      const after = this.#after(operation, before);
      bytes += after?.bytes ?? 0;
      if (bytes > bytesMax) throw new StoreRefused(413, `a batch of more than ${bytesMax} bytes`);
      changed.set(id, after);
      etags.push(after?.etag ?? '');
    }
    this.#partitions.set(convoyId, partition);
    for (const [id, after] of changed) {
      if (after) partition.set(id, after);
      else partition.delete(id);
    }
    return { applied: true, etags };
  }

  #after(operation: StoreOperation, before: Stored | undefined): Stored | undefined {
    switch (operation.kind) {
      case 'create':
      case 'put':
      case 'replace':
        return this.#store(operation.item);
      case 'set': {
        const fields = Object.fromEntries(fieldsToSet(operation.fields));
        return this.#store({ ...(before && parsed(before)), ...fields });
      }
      case 'delete':
        return undefined;
    }
  }

  #store(item: object): Stored {
    const text = jsonText(item);
    const bytes = Buffer.byteLength(text);
    if (bytes > bytesMax) throw new StoreRefused(413, `an item of ${bytes} bytes`);
    const ttl = 'ttl' in item && typeof item.ttl === 'number' ? item.ttl : -1;
    // Cosmos counts from the second of the last write [cosmos 11, TTL].
    const expiresAt = ttl > 0 ? Math.floor(this.#clock.now() / 1000) + ttl : undefined;
    return { text, bytes, etag: `"${(++this.#writes).toString(16).padStart(8, '0')}"`, expiresAt };
  }

  /** [M2] */
  #live(stored: Stored | undefined): Stored | undefined {
    if (stored?.expiresAt === undefined) return stored;
    return stored.expiresAt > this.#clock.now() / 1000 ? stored : undefined;
  }
}

/** What Cosmos answers when an operation meets the item as it is, or undefined when it succeeds. */
function failureOf(operation: StoreOperation, before: Stored | undefined): number | undefined {
  if (operation.kind === 'put') return undefined;
  if (operation.kind === 'create') return before ? 409 : undefined;
  if (!before) return 404;
  if (operation.kind !== 'replace' || operation.ifMatch === '*') return undefined;
  return operation.ifMatch === before.etag ? undefined : 412;
}

function jsonText(item: object): string {
  try {
    return JSON.stringify(item);
  } catch (cause) {
    throw new StoreRefused(400, 'an item that is not JSON (a bigint or a cycle)', { cause });
  }
}

function parsed(stored: Stored): Record<string, unknown> {
  // The edge where text becomes an item again; assertBatch let nothing else in.
  return JSON.parse(stored.text) as Record<string, unknown>;
}

function readAs<K extends Kind>(kind: K, stored: Stored): ItemOf<K> {
  const item = JSON.parse(stored.text) as ConvoyItem;
  if (item.kind !== kind) throw new StoreRefused(500, `an item of kind ${item.kind}, not ${kind}`);
  return item as ItemOf<K>;
}
