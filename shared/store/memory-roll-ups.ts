// The container `windows` in memory: single items with etags and TTL, never stale. A test makes
// reads stale where no session token asks for more.
import type { Clock } from '../clock.ts';
import { itemIds, type WindowsItem } from './items.ts';
import { assertInstants, bytesMax } from './limits.ts';
import { assertLimit, idsUnder, pageOf, restOf } from './paging.ts';
import type { RollUpStore, WindowsRead, WindowsWrite } from './roll-ups.ts';
import { StoreRefused } from './store.ts';

type Kind = WindowsItem['kind'];
type ItemOf<K extends Kind> = Extract<WindowsItem, { kind: K }>;

interface Stored {
  text: string;
  etag: string;
  /** Epoch seconds. */
  expiresAt: number;
}

/** `call` passes every method through the faults of the store. */
export function rollUpsInMemory(
  clock: Clock,
  call: <Answer>(
    about: { method: string; windowId?: string },
    work: () => Answer,
  ) => Promise<Answer>,
): RollUpStore {
  const items = new WindowsItems(clock);
  return {
    readRollUp: (windowId) =>
      call({ method: 'readRollUp', windowId }, () => items.read(windowId, 'head', itemIds.head)),
    readContribution: (windowId, key) =>
      call({ method: 'readContribution', windowId }, () =>
        items.read(windowId, 'contribution', itemIds.contribution(key)),
      ),
    createWindowsItem: (item) =>
      call({ method: 'createWindowsItem', windowId: item.windowId }, () => items.create(item)),
    replaceWindowsItem: (item, ifMatch) =>
      call({ method: 'replaceWindowsItem', windowId: item.windowId }, () =>
        items.replace(item, ifMatch),
      ),
    listContributions: (windowId, { limit, continuation }) =>
      call({ method: 'listContributions', windowId }, () => {
        assertLimit(limit);
        const { from, below } = restOf(idsUnder('contribution'), continuation);
        const found = items
          .all('contribution', windowId)
          .filter(({ id }) => id >= from && id < below)
          .sort((a, b) => (a.id < b.id ? -1 : 1));
        return pageOf(found, limit);
      }),
    rollUpsDue: (range, limit) =>
      call({ method: 'rollUpsDue' }, () => {
        assertLimit(limit);
        assertInstants(range);
        return items
          .all('head')
          .filter(({ dueAt }) => dueAt !== null && dueAt > range.after && dueAt <= range.upTo)
          .sort((a, b) => (a.dueAt ?? 0) - (b.dueAt ?? 0))
          .slice(0, limit);
      }),
    listRollUps: ({ series, from, to, limit, continuation }) =>
      call({ method: 'listRollUps' }, () => {
        assertLimit(limit);
        const after = continuation === undefined ? from - 1 : Number(continuation);
        const found = items
          .all('head')
          .filter((head) => head.series === series && head.start > after && head.start <= to)
          .sort((a, b) => a.start - b.start);
        const page = found.slice(0, limit);
        const last = page.at(-1);
        return found.length > limit && last
          ? { items: page, continuation: String(last.start) }
          : { items: page };
      }),
  };
}

class WindowsItems {
  readonly #clock: Clock;
  readonly #partitions = new Map<string, Map<string, Stored>>();
  #writes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  read<K extends Kind>(windowId: string, kind: K, id: string): WindowsRead<ItemOf<K>> {
    const stored = this.#live(windowId, id);
    const found = stored && { item: readAs(kind, stored), etag: stored.etag };
    return { found, session: this.#session() };
  }

  create(item: WindowsItem): WindowsWrite {
    if (this.#live(item.windowId, item.id)) return { applied: false, status: 409 };
    return this.#write(item);
  }

  replace(item: WindowsItem, ifMatch: string): WindowsWrite {
    if (!ifMatch) throw new StoreRefused(400, 'replace without the etag to match');
    const before = this.#live(item.windowId, item.id);
    if (!before) return { applied: false, status: 404 };
    if (before.etag !== ifMatch) return { applied: false, status: 412 };
    return this.#write(item);
  }

  all<K extends Kind>(kind: K, windowId?: string): ItemOf<K>[] {
    const partitions = windowId === undefined ? [...this.#partitions.keys()] : [windowId];
    return partitions.flatMap((partition) =>
      [...(this.#partitions.get(partition)?.keys() ?? [])].flatMap((id) => {
        const stored = this.#live(partition, id);
        return stored && kindOf(stored) === kind ? [readAs(kind, stored)] : [];
      }),
    );
  }

  #write(item: WindowsItem): WindowsWrite {
    const text = JSON.stringify(item);
    const bytes = Buffer.byteLength(text);
    if (bytes > bytesMax) throw new StoreRefused(413, `an item of ${bytes} bytes`);
    const etag = `"w${(++this.#writes).toString(16)}"`;
    const expiresAt = Math.floor(this.#clock.now() / 1000) + item.ttl;
    const partition = this.#partitions.get(item.windowId) ?? new Map<string, Stored>();
    this.#partitions.set(item.windowId, partition.set(item.id, { text, etag, expiresAt }));
    return { applied: true, etag, session: this.#session() };
  }

  #session(): string {
    return `0:-1#${this.#writes}`;
  }

  #live(windowId: string, id: string): Stored | undefined {
    const stored = this.#partitions.get(windowId)?.get(id);
    return stored && stored.expiresAt > this.#clock.now() / 1000 ? stored : undefined;
  }
}

function kindOf(stored: Stored): Kind {
  return (JSON.parse(stored.text) as WindowsItem).kind;
}

// The edge where text becomes an item again.
function readAs<K extends Kind>(kind: K, stored: Stored): ItemOf<K> {
  const item = JSON.parse(stored.text) as WindowsItem;
  if (item.kind !== kind) throw new StoreRefused(500, `an item of kind ${item.kind}, not ${kind}`);
  return item as ItemOf<K>;
}
