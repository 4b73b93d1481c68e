// Reads of the container `windows` that are as stale as Cosmos may make them: any state since the
// write that the session token names. Writes meet the newest state, as in Azure.
import {
  type ContributionItem,
  type RollUpItem,
  type WindowsItem,
  itemIds,
} from '../../shared/store/items.ts';
import type { ConvoyStore, Versioned } from '../../shared/store/store.ts';

interface Snapshot {
  write: number;
  items: Map<string, Versioned<WindowsItem>>;
}

const writeOf = (session: string): number => Number(session.split('#')[1] ?? 0);

export function staleWindows(store: ConvoyStore, below: (n: number) => number): ConvoyStore {
  const snapshots: Snapshot[] = [{ write: 0, items: new Map() }];
  const tokenOf = ({ write }: Snapshot): string => `0:-1#${write}`;
  const since = (session: string): Snapshot => {
    const from = snapshots.findIndex(({ write }) => write >= writeOf(session));
    const first = from < 0 ? snapshots.length - 1 : from;
    const chosen = snapshots[first + below(snapshots.length - first)];
    if (!chosen) throw new Error('no snapshot');
    return chosen;
  };
  /** One window only: its partition is the whole world here. */
  const written = (item: WindowsItem, answer: { etag: string; session: string }): void => {
    const items = new Map(snapshots.at(-1)?.items);
    items.set(item.id, { item, etag: answer.etag });
    snapshots.push({ write: writeOf(answer.session), items });
  };
  const read = <Item>(id: string, session: string) => {
    const snapshot = since(session);
    const found = snapshot.items.get(id) as Versioned<Item> | undefined;
    return { found, session: tokenOf(snapshot) };
  };
  return {
    ...store,
    async createWindowsItem(item) {
      const answer = await store.createWindowsItem(item);
      if (answer.applied) written(item, answer);
      return answer;
    },
    async replaceWindowsItem(item, ifMatch) {
      const answer = await store.replaceWindowsItem(item, ifMatch);
      if (answer.applied) written(item, answer);
      return answer;
    },
    async readRollUp(_, session) {
      return read<RollUpItem>('head', session);
    },
    async readContribution(_, key) {
      return read<ContributionItem>(itemIds.contribution(key), '');
    },
    async listContributions(_, { session }) {
      const items = [...since(session).items.values()]
        .map(({ item }) => item)
        .filter((item) => item.kind === 'contribution')
        .sort((a, b) => (a.id < b.id ? -1 : 1));
      return { items };
    },
  };
}
