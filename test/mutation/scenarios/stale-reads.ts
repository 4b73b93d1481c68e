// Reads as stale as one Cosmos region allows without a session token [H14]: an item as it was some
// writes ago, or not there yet. Writes always meet the newest state.
import type { InboxItem } from '../../../shared/store/items.ts';
import type { ConvoyStore } from '../../../shared/store/store.ts';

/** How many writes of a key a replica may be behind. */
const writesBehind = 3;

export function staleReads(store: ConvoyStore, isStale: () => boolean): ConvoyStore {
  const history = new Map<string, unknown[]>();
  const remember = (name: string, value: unknown): void => {
    history.set(name, [...(history.get(name) ?? []), value].slice(-1 - writesBehind));
  };
  /** The oldest state that is kept, or the present one. */
  const older = <Value>(name: string, value: Value): Value => {
    const known = history.get(name);
    return known && known.length > 1 && isStale() ? (known[0] as Value) : value;
  };
  /** Messages admitted by the last write may be missing. */
  const withoutLast = (convoyId: string, items: InboxItem[]): InboxItem[] => {
    const last = (history.get(`${convoyId} inbox`)?.at(-1) ?? 0) as number;
    if (!items.some(({ position }) => position === last) || !isStale()) return items;
    return items.filter(({ position }) => position !== last);
  };
  return {
    ...store,
    async readGate(convoyId) {
      return older(`${convoyId} gate`, await store.readGate(convoyId));
    },
    async readProgress(convoyId) {
      return older(`${convoyId} progress`, await store.readProgress(convoyId));
    },
    async readSeen(convoyId, messageId) {
      const seen = await store.readSeen(convoyId, messageId);
      return seen && isStale() ? undefined : seen;
    },
    async readInbox(convoyId, range) {
      return withoutLast(convoyId, await store.readInbox(convoyId, range));
    },
    async batch(convoyId, operations) {
      const result = await store.batch(convoyId, operations);
      if (!result.applied) return result;
      operations.forEach((operation, i) => {
        if (!('item' in operation)) return;
        const { item } = operation;
        if (item.kind === 'inbox') remember(`${convoyId} inbox`, item.position);
        if (item.kind !== 'gate' && item.kind !== 'progress') return;
        const name = `${convoyId} ${item.kind}`;
        // Before the first write there was nothing.
        if (!history.has(name)) remember(name, undefined);
        remember(name, { item: structuredClone(item), etag: result.etags[i] ?? '' });
      });
      return result;
    },
  };
}
