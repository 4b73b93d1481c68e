// The container `convoys` of a history: one state per logical partition with every version it ever
// had, so that a read may be as stale as a session allows (H14), and TTL on the virtual clock.
//
// Owns:   atomic batches with etags as Cosmos answers them, versions, expiry.
// Leaves: faults, sessions and waiting to store-port.ts; the container `windows` to windows.ts.
import type { ConvoyItem } from '../../shared/store/items.ts';
import { assertBatch } from '../../shared/store/limits.ts';
import type { BatchResult, StoreOperation } from '../../shared/store/store.ts';

interface Version {
  version: number;
  /** Undefined: deleted. */
  item: ConvoyItem | undefined;
  etag: string;
  /** Epoch seconds. */
  expiresAt: number;
}

export type Kind = ConvoyItem['kind'];
export type ItemOf<K extends Kind> = Extract<ConvoyItem, { kind: K }>;

export interface Found<Item> {
  item: Item;
  etag: string;
}

/** One logical partition. */
export class Partition {
  version = 0;
  readonly chains = new Map<string, Version[]>();
  /** Ids by kind, for ranges. */
  readonly ids = new Map<string, string[]>();
}

export interface Written {
  convoyId: string;
  operations: readonly StoreOperation[];
  result: BatchResult;
  /** Gate and progress before the write. */
  gate: ItemOf<'gate'> | undefined;
  progress: ItemOf<'progress'> | undefined;
}

export interface CosmosOptions {
  now(): number;
  /** Items go through JSON text, as on the wire; otherwise they are shared, frozen. */
  isOnWire: boolean;
  /** Sees every batch, applied or not. */
  onBatch(written: Written): void;
}

export class Cosmos {
  readonly partitions = new Map<string, Partition>();
  readonly #options: CosmosOptions;
  #writes = 0;

  constructor(options: CosmosOptions) {
    this.#options = options;
  }

  partition(convoyId: string): Partition {
    let partition = this.partitions.get(convoyId);
    if (!partition) this.partitions.set(convoyId, (partition = new Partition()));
    return partition;
  }

  /** The item as it was at a version; expired ones are gone. */
  find<K extends Kind>(
    partition: Partition,
    id: string,
    at: { kind: K; version: number },
  ): Found<ItemOf<K>> | undefined {
    const chain = partition.chains.get(id);
    if (chain === undefined) return undefined;
    let index = chain.length - 1;
    while (index >= 0 && (chain[index]?.version ?? 0) > at.version) index -= 1;
    const { item, etag, expiresAt } = chain[index] ?? {};
    if (item?.kind !== at.kind || etag === undefined) return undefined;
    if (expiresAt !== undefined && expiresAt <= this.#options.now() / 1000) return undefined;
    return { item: item as ItemOf<K>, etag };
  }

  /** Live items of one kind, ascending by id. */
  all<K extends Kind>(partition: Partition, at: { kind: K; version: number }): ItemOf<K>[] {
    const found: ItemOf<K>[] = [];
    for (const id of partition.ids.get(at.kind) ?? []) {
      const one = this.find(partition, id, at);
      if (one) found.push(one.item);
    }
    return found.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** The item as it is now. */
  latest<K extends Kind>(convoyId: string, kind: K, id: string): ItemOf<K> | undefined {
    const partition = this.partitions.get(convoyId);
    return partition && this.find(partition, id, { kind, version: partition.version })?.item;
  }

  /** Throws StoreRefused for what Cosmos would never take. */
  batch(convoyId: string, operations: readonly StoreOperation[]): BatchResult {
    assertBatch(convoyId, operations);
    const partition = this.partition(convoyId);
    const gate = this.latest(convoyId, 'gate', 'gate');
    const progress = this.latest(convoyId, 'progress', 'progress');
    const result = this.#apply(partition, operations);
    this.#options.onBatch({ convoyId, operations, result, gate, progress });
    return result;
  }

  #apply(partition: Partition, operations: readonly StoreOperation[]): BatchResult {
    const version = partition.version + 1;
    const changed = new Map<string, Version>();
    const etags: string[] = [];
    for (const [failed, operation] of operations.entries()) {
      const id = 'item' in operation ? operation.item.id : operation.id;
      const before = this.#live(changed.get(id) ?? partition.chains.get(id)?.at(-1));
      const status = failureOf(operation, before);
      if (status !== undefined) return { applied: false, failed, status };
      const after = this.#after(operation, before?.item, version);
      changed.set(id, after);
      etags.push(after.item ? after.etag : '');
    }
    partition.version = version;
    for (const [id, after] of changed) this.#put(partition, id, after);
    return { applied: true, etags };
  }

  #put(partition: Partition, id: string, after: Version): void {
    const chain = partition.chains.get(id);
    if (chain) {
      chain.push(after);
      return;
    }
    partition.chains.set(id, [after]);
    const kind = after.item?.kind ?? '';
    const ids = partition.ids.get(kind);
    if (ids) ids.push(id);
    else partition.ids.set(kind, [id]);
  }

  #live(version: Version | undefined): Version | undefined {
    if (version?.item === undefined) return undefined;
    return version.expiresAt > this.#options.now() / 1000 ? version : undefined;
  }

  #after(operation: StoreOperation, before: ConvoyItem | undefined, version: number): Version {
    const etag = `"${(this.#writes += 1)}"`;
    if (operation.kind === 'delete') return { version, item: undefined, etag, expiresAt: 0 };
    const whole =
      operation.kind === 'set' ? { ...before, ...operation.fields } : { ...operation.item };
    const item = this.#options.isOnWire ? overWire(whole) : frozen(whole);
    const ttl = 'ttl' in item && typeof item.ttl === 'number' ? item.ttl : -1;
    // Cosmos counts from the second of the last write.
    const expiresAt = ttl > 0 ? Math.floor(this.#options.now() / 1000) + ttl : Infinity;
    return { version, item, etag, expiresAt };
  }
}

/** What Cosmos answers when an operation meets the item as it is. */
function failureOf(operation: StoreOperation, before: Version | undefined): number | undefined {
  if (operation.kind === 'put') return undefined;
  if (operation.kind === 'create') return before ? 409 : undefined;
  if (!before) return 404;
  return operation.kind === 'replace' && operation.ifMatch !== before.etag ? 412 : undefined;
}

// Both are the edge where what was written becomes an item again.

/** Nobody can change what is stored; undefined fields vanish as on the wire. */
function frozen(whole: object): ConvoyItem {
  const item = whole as Record<string, unknown>;
  for (const name in item) if (item[name] === undefined) delete item[name];
  return Object.freeze(item) as unknown as ConvoyItem;
}

function overWire(whole: object): ConvoyItem {
  return JSON.parse(JSON.stringify(whole)) as ConvoyItem;
}
