// Ranges of items inside one partition, and what lies aside in one: parked, dead and quarantined
// messages, read one by one or listed by id; the layout of lanes and their fences.
import type { Connection } from './cosmos-client.ts';
import { itemIds, type ConvoyItem } from './items.ts';
import { assertConvoyId } from './limits.ts';
import { assertLimit, idsUnder, pageOf, restOf, type IdRange } from './paging.ts';
import type { AsideStore, PageFilter } from './store.ts';

type Kind = ConvoyItem['kind'];
type ItemOf<K extends Kind> = Extract<ConvoyItem, { kind: K }>;

/** `and` is a further condition, with its parameters. */
export interface PartitionRange extends IdRange {
  convoyId: string;
  limit: number;
  and?: string;
  outcome?: string;
  spanStart?: number;
  spanEnd?: number;
}

export type RangeReader = <K extends Kind>(kind: K, range: PartitionRange) => Promise<ItemOf<K>[]>;

/** Items of a partition in an id range, ascending by id. */
export async function itemsInRange<K extends Kind>(
  connection: Connection,
  kind: K,
  range: PartitionRange,
): Promise<ItemOf<K>[]> {
  const { convoyId, limit, and = '', ...parameters } = range;
  assertConvoyId(convoyId);
  const text =
    'SELECT * FROM c WHERE c.convoyId = @convoyId ' +
    `AND c.id >= @from AND c.id < @below ${and}ORDER BY c.id ASC`;
  const query = { text, parameters: { convoyId, ...parameters }, convoyId };
  return connection.collect(kind, query, limit);
}

export function asideIn(connection: Connection): AsideStore {
  const pageOfKind = async <K extends 'parked' | 'dead' | 'quarantine'>(
    kind: K,
    convoyId: string,
    { limit, continuation }: PageFilter,
  ) => {
    assertLimit(limit);
    const rest = restOf(idsUnder(kind), continuation);
    const range = { convoyId, ...rest, limit: limit + 1 };
    return pageOf<ItemOf<K>>(await itemsInRange(connection, kind, range), limit);
  };
  return {
    listParkedOf: (convoyId, filter) => pageOfKind('parked', convoyId, filter),
    async readDead(convoyId, id) {
      return (await connection.read(convoyId, 'dead', id))?.item;
    },
    listDead: (convoyId, filter) => pageOfKind('dead', convoyId, filter),
    async readQuarantine(convoy, id) {
      return (await connection.read(`${convoy}:`, 'quarantine', id))?.item;
    },
    listQuarantine: (convoy, filter) => pageOfKind('quarantine', `${convoy}:`, filter),
    readLayout: (convoy) => connection.read(`${convoy}:`, 'lanes', itemIds.lanes),
    async readFence(convoyId, generation) {
      return (await connection.read(convoyId, 'fence', itemIds.fence(generation)))?.item;
    },
  };
}
