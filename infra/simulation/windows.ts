// The container `windows` of a history: single items with every version, so that a read may be any
// state since the write that its session token names [H13].
import type { WindowsItem } from '../../shared/store/items.ts';
import type { WindowsWrite } from '../../shared/store/roll-ups.ts';

interface Version {
  write: number;
  item: WindowsItem;
}

export type WindowsKind = WindowsItem['kind'];
export type WindowsItemOf<K extends WindowsKind> = Extract<WindowsItem, { kind: K }>;

const etagOf = ({ write }: Version): string => `"w${write}"`;
export const tokenOf = (write: number): string => `0:-1#${write}`;
export const writeOf = (token: string): number => Number(token.split('#')[1] ?? 0);

export class WindowsContainer {
  writes = 0;
  readonly #windows = new Map<string, Map<string, Version[]>>();

  find<K extends WindowsKind>(
    place: { windowId: string; kind: K; id: string },
    write: number,
  ): { item: WindowsItemOf<K>; etag: string } | undefined {
    const chain = this.#windows.get(place.windowId)?.get(place.id);
    const version = chain?.findLast((one) => one.write <= write);
    if (version?.item.kind !== place.kind) return undefined;
    return { item: version.item as WindowsItemOf<K>, etag: etagOf(version) };
  }

  contributions(windowId: string, write: number): WindowsItemOf<'contribution'>[] {
    const found: WindowsItemOf<'contribution'>[] = [];
    for (const id of this.#windows.get(windowId)?.keys() ?? []) {
      const one = this.find({ windowId, kind: 'contribution', id }, write);
      if (one) found.push(one.item);
    }
    return found.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  heads(write: number): WindowsItemOf<'head'>[] {
    return [...this.#windows.keys()].flatMap(
      (windowId) => this.find({ windowId, kind: 'head', id: 'head' }, write)?.item ?? [],
    );
  }

  create(item: WindowsItem): WindowsWrite {
    const { windowId, kind, id } = item;
    if (this.find({ windowId, kind, id }, this.writes)) return { applied: false, status: 409 };
    return this.#write(item);
  }

  replace(item: WindowsItem, ifMatch: string): WindowsWrite {
    const { windowId, kind, id } = item;
    const before = this.find({ windowId, kind, id }, this.writes);
    if (!before) return { applied: false, status: 404 };
    return before.etag === ifMatch ? this.#write(item) : { applied: false, status: 412 };
  }

  #write(item: WindowsItem): WindowsWrite {
    const write = (this.writes += 1);
    const window = this.#windows.get(item.windowId) ?? new Map<string, Version[]>();
    this.#windows.set(item.windowId, window);
    const version = { write, item: Object.freeze({ ...item }) };
    const chain = window.get(item.id);
    if (chain) chain.push(version);
    else window.set(item.id, [version]);
    return { applied: true, etag: etagOf(version), session: tokenOf(write) };
  }
}
