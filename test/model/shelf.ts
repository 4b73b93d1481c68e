// What lies in the store, and what each call of the port does to it: the semantics of
// shared/store/memory.ts without versions. An ETag is told only from the viewpoint of one process:
// the last one it was handed is either still good or not, and all that are not are alike. So states
// do not grow with the number of writes. (conformance.test.ts runs this beside the memory store.)
import type { GateItem, InboxItem, OutboxItem, ProgressItem } from '../../shared/store/items.ts';
import type { StoreOperation } from '../../shared/store/store.ts';
import { now } from './automaton.ts';
import type { Call } from './script.ts';

type Item = { id: string; busy?: unknown; repeats?: unknown } & Record<string, unknown>;

/** The content of the store; equal content is the same object. */
export interface Shelf {
  id: number;
  items: ReadonlyMap<string, Item>;
  gate: GateItem | undefined;
  progress: ProgressItem | undefined;
  inbox: readonly InboxItem[];
  outbox: readonly OutboxItem[];
}

/** Numbers of the ETags that are still good for a process; 0 = none. */
export interface Good {
  gate: number;
  progress: number;
}

export interface Outcome {
  value: unknown;
  shelf: Shelf;
  good: Good;
  /** ETags handed out so far. */
  etags: Good;
  applied: boolean;
  wrote: { gate: boolean; progress: boolean };
}

export class Shelves {
  readonly all: Shelf[] = [];
  readonly #byText = new Map<string, Shelf>();

  get(id: number): Shelf {
    const shelf = this.all[id];
    if (shelf === undefined) throw new RangeError(`no shelf ${id}`);
    return shelf;
  }

  of(items: ReadonlyMap<string, Item>): Shelf {
    const sorted = [...items.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    const text = JSON.stringify(sorted);
    const known = this.#byText.get(text);
    if (known) return known;
    const kept = new Map(sorted.map((item) => [item.id, item]));
    const under = (kind: string): unknown[] => sorted.filter(({ id }) => id.startsWith(`${kind}:`));
    const shelf = {
      id: this.all.length,
      items: kept,
      gate: kept.get('gate') as unknown as GateItem | undefined,
      progress: kept.get('progress') as unknown as ProgressItem | undefined,
      inbox: under('inbox') as InboxItem[],
      outbox: under('outbox') as OutboxItem[],
    };
    this.all.push(shelf);
    this.#byText.set(text, shelf);
    return shelf;
  }
}

/** Does one call of the store. `isOld`: the shelf is one of the past, so no ETag of it is good. */
export function execute(
  shelves: Shelves,
  call: Call,
  entry: { shelf: Shelf; good: Good; etags: Good; isOld: boolean; isSweep: boolean },
): Outcome {
  const { shelf, good, etags } = entry;
  const wrote = { gate: false, progress: false };
  const unchanged = { shelf, good, etags, applied: false, wrote };
  if (call.method === 'batch') return write(shelves, call.args[1] as StoreOperation[], entry);
  if (call.method !== 'readGate' && call.method !== 'readProgress')
    return { ...unchanged, value: frozen(listed(call, shelf, entry.isSweep)) };
  const kind = call.method === 'readGate' ? 'gate' : 'progress';
  const item = shelf.items.get(kind);
  if (item === undefined) return { ...unchanged, value: undefined };
  const isSame = !entry.isOld && good[kind] > 0;
  const etag = isSame ? good[kind] : etags[kind] + 1;
  const value = { item: entry.isSweep ? seenLate(item) : item, etag: `${kind} ${etag}` };
  return {
    ...unchanged,
    value: frozen(value),
    good: entry.isOld ? good : { ...good, [kind]: etag },
    etags: { ...etags, [kind]: Math.max(etags[kind], etag) },
  };
}

/** The sweeper comes when everything has been silent for long. */
const seenLate = (item: object): object => ({ ...item, writtenAt: 0 });

function listed({ method, args }: Call, shelf: Shelf, isSweep: boolean): unknown {
  switch (method) {
    case 'readSeen':
      return [...shelf.items.values()].find(
        (item) => item['kind'] === 'seen' && item['messageId'] === args[1],
      );
    case 'readInbox': {
      const { from, to, limit } = args[1] as { from: number; to: number; limit: number };
      return shelf.inbox.filter((i) => i.position >= from && i.position <= to).slice(0, limit);
    }
    case 'readInboxAt':
      return shelf.inbox.filter(({ position }) => (args[1] as number[]).includes(position));
    case 'readOutbox':
      return shelf.outbox;
    case 'gatesUnwritten':
      return shelf.gate?.phase === 'active' && isSweep ? [seenLate(shelf.gate)] : [];
    case 'gatesDue':
      return [];
    default:
      throw new TypeError(`the model has no ${method}`);
  }
}

function write(
  shelves: Shelves,
  operations: readonly StoreOperation[],
  entry: { shelf: Shelf; good: Good; etags: Good; isOld: boolean },
): Outcome {
  const { shelf, good, etags } = entry;
  const items = new Map(shelf.items);
  const wrote = { gate: false, progress: false };
  const nextGood = { ...good };
  const nextEtags = { ...etags };
  const given: string[] = [];
  for (const [failed, operation] of operations.entries()) {
    const id = 'item' in operation ? operation.item.id : operation.id;
    const status = failureOf(operation, items.get(id), good);
    if (status !== undefined) {
      const value = { applied: false, failed, status };
      const none = { gate: false, progress: false };
      return { value: frozen(value), shelf, good, etags, applied: false, wrote: none };
    }
    const after = afterOperation(operation, items.get(id));
    if (after === undefined) items.delete(id);
    else items.set(id, after);
    if (id === 'gate' || id === 'progress') {
      wrote[id] = true;
      nextGood[id] = nextEtags[id] = etags[id] + 1;
    }
    given.push(id === 'gate' || id === 'progress' ? `${id} ${nextGood[id]}` : 'other');
  }
  return {
    value: frozen({ applied: true, etags: given }),
    shelf: shelves.of(items),
    good: nextGood,
    etags: nextEtags,
    applied: true,
    wrote,
  };
}

function failureOf(
  operation: StoreOperation,
  before: Item | undefined,
  good: Good,
): number | undefined {
  if (operation.kind === 'put') return undefined;
  if (operation.kind === 'create') return before ? 409 : undefined;
  if (!before) return 404;
  if (operation.kind !== 'replace' || operation.ifMatch === '*') return undefined;
  const kind = operation.item.id === 'gate' ? 'gate' : 'progress';
  return good[kind] > 0 && operation.ifMatch === `${kind} ${good[kind]}` ? undefined : 412;
}

function afterOperation(operation: StoreOperation, before: Item | undefined): Item | undefined {
  if (operation.kind === 'delete') return undefined;
  const changed =
    operation.kind === 'set'
      ? { ...before, ...operation.fields, id: operation.id }
      : operation.item;
  return frozen(keptOf(changed));
}

/** An item without what only people look at: it decides nothing and would multiply the states.
 *  Since when a key is busy, how often a message was repeated, when it was written. */
export function keptOf(item: { id: string }): Item {
  const { busy: _, repeats: __, ...kept } = JSON.parse(JSON.stringify(item)) as Item;
  return 'writtenAt' in kept ? { ...kept, writtenAt: now } : kept;
}

/** Answers are shared by all runs: code that changed one would change another run. */
export function frozen<Value>(value: Value): Value {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(frozen);
  }
  return value;
}
