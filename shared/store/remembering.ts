// A store that remembers gate, progress and waiting messages of the keys it has just written, so
// that the usual drain right after an admit reads nothing.
//
// Why it is safe: what it hands out is at worst a stale read, and the protocol is built on stale
// reads (H14): every write carries If-Match, the newest of what is remembered carries the ETag it
// was written with, and any refused or failed batch makes it doubt gate and progress. It never
// answers for `seen`, outbox or windows.
//
// Bounded: so many keys, so many bytes of messages; the oldest key goes first.
import type { GateItem, InboxItem, ProgressItem } from './items.ts';
import type { BatchResult, ConvoyStore, StoreOperation, Versioned } from './store.ts';

export interface Memory {
  convoysMax: number;
  messageBytesMax: number;
}

interface Remembered {
  gate?: Versioned<GateItem>;
  progress?: Versioned<ProgressItem>;
  messages: Map<number, InboxItem>;
}

const defaultMemory: Memory = { convoysMax: 5_000, messageBytesMax: 64_000_000 };

/** Wraps a store; the wrapped store is left untouched for whoever needs fresh reads. */
export function rememberingStore(store: ConvoyStore, memory: Memory = defaultMemory): ConvoyStore {
  const keys = new Keys(memory);
  return {
    ...store,
    forget(convoyId) {
      keys.doubt(convoyId);
      store.forget?.(convoyId);
    },
    async readGate(convoyId) {
      const known = keys.of(convoyId)?.gate;
      if (known) return known;
      const gate = await store.readGate(convoyId);
      if (gate) keys.touch(convoyId).gate = gate;
      return gate;
    },
    async readProgress(convoyId) {
      const known = keys.of(convoyId)?.progress;
      if (known) return known;
      const progress = await store.readProgress(convoyId);
      if (progress) keys.touch(convoyId).progress = progress;
      return progress;
    },
    async readInbox(convoyId, range) {
      return keys.run(convoyId, range) ?? store.readInbox(convoyId, range);
    },
    async readInboxAt(convoyId, positions) {
      const known = positions.flatMap((at) => keys.of(convoyId)?.messages.get(at) ?? []);
      const have = new Set(known.map(({ position }) => position));
      const missing = positions.filter((position) => !have.has(position));
      const read = missing.length === 0 ? [] : await store.readInboxAt(convoyId, missing);
      return [...known, ...read].sort((a, b) => a.position - b.position);
    },
    async batch(convoyId, operations) {
      let result: BatchResult;
      try {
        result = await store.batch(convoyId, operations);
      } catch (error) {
        keys.doubt(convoyId); // the outcome is unknown
        throw error;
      }
      if (result.applied) keys.applied(convoyId, operations, result.etags);
      else keys.doubt(convoyId);
      return result;
    },
  };
}

class Keys {
  readonly #memory: Memory;
  /** In order of use: the first is the oldest. */
  readonly #known = new Map<string, Remembered>();
  #messageBytes = 0;

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  of(convoyId: string): Remembered | undefined {
    return this.#known.get(convoyId);
  }

  touch(convoyId: string): Remembered {
    const remembered = this.#known.get(convoyId) ?? { messages: new Map() };
    this.#known.delete(convoyId);
    this.#known.set(convoyId, remembered);
    while (
      this.#known.size > this.#memory.convoysMax ||
      this.#messageBytes > this.#memory.messageBytesMax
    ) {
      const [oldest] = this.#known.keys();
      if (oldest === undefined || oldest === convoyId) break;
      this.forget(oldest);
    }
    return remembered;
  }

  /** Gate and progress have changed elsewhere; admitted messages never change until they settle. */
  doubt(convoyId: string): void {
    const remembered = this.#known.get(convoyId);
    delete remembered?.gate;
    delete remembered?.progress;
  }

  forget(convoyId: string): void {
    for (const item of this.#known.get(convoyId)?.messages.values() ?? []) {
      this.#messageBytes -= sizeOf(item);
    }
    this.#known.delete(convoyId);
  }

  /** The whole run, or undefined when a message of it is not remembered. */
  run(
    convoyId: string,
    range: { from: number; to: number; limit: number },
  ): InboxItem[] | undefined {
    const messages = this.#known.get(convoyId)?.messages;
    if (!messages?.has(range.from)) return undefined;
    const items: InboxItem[] = [];
    for (let p = range.from; p <= range.to && items.length < range.limit; p += 1) {
      const item = messages.get(p);
      if (!item) return undefined;
      items.push(item);
    }
    return items;
  }

  applied(convoyId: string, operations: StoreOperation[], etags: string[]): void {
    const remembered = this.touch(convoyId);
    operations.forEach((operation, index) => {
      const etag = etags[index] ?? '';
      if (operation.kind === 'set') return this.#settled(remembered, operation);
      if (operation.kind === 'delete') return;
      const { item } = operation;
      if (item.kind === 'gate') remembered.gate = { item, etag };
      if (item.kind === 'progress') remembered.progress = { item, etag };
      if (item.kind === 'inbox') {
        remembered.messages.set(item.position, item);
        this.#messageBytes += sizeOf(item);
      }
    });
  }

  /** A settled message is not read again. */
  #settled(remembered: Remembered, operation: Extract<StoreOperation, { kind: 'set' }>): void {
    const [kind, position] = operation.id.split(':');
    if (kind !== 'inbox') return;
    const item = remembered.messages.get(Number(position));
    if (!item) return;
    remembered.messages.delete(item.position);
    this.#messageBytes -= sizeOf(item);
  }
}

function sizeOf(item: InboxItem): number {
  return 1_000 + (item.bodyText ?? item.bodyBase64 ?? '').length;
}
