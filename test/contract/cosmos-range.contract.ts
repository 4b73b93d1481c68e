// Claims about containers of several partition key ranges, and about what the client does itself
// when a query concerns more than one partition.
import type { Container, Database, FeedOptions, FeedResponse } from '@azure/cosmos';
import { expect } from 'vitest';
import { statusOf, type Claim } from './cosmos.contract.ts';

/** More than one physical partition serves: two ranges. */
const wide = 12_000;

interface Item {
  id: string;
  pk: string;
  n: number;
  kind: string;
}

const items = Array.from({ length: 40 }, (_, at): Item => {
  const n = (at * 7) % 40;
  return { id: `i${at}`, pk: `k${at % 13}`, n, kind: at % 3 ? 'a' : 'b' };
});

async function filled(database: Database, more: object = {}): Promise<Container> {
  const definition = { id: 'wide', partitionKey: '/pk', throughput: wide, ...more };
  const { container } = await database.containers.create(definition);
  for (const item of items) await container.items.create(item);
  return container;
}

async function select<T>(container: Container, query: string, options: FeedOptions = {}) {
  return (await container.items.query<T>(query, options).fetchAll()).resources;
}

async function pages<T>(container: Container, query: string, size: number): Promise<T[][]> {
  const iterator = container.items.query<T>(query, { maxItemCount: size });
  const all: T[][] = [];
  while (iterator.hasMoreResults()) {
    // A page in between may have no results at all.
    const page: Partial<FeedResponse<T>> = await iterator.fetchNext();
    if (page.resources?.length) all.push(page.resources);
  }
  return all;
}

const sorted = items.map(({ n }) => n).toSorted((a, b) => a - b);

export function rangeClaims(claim: Claim): void {
  claim('throughput decides how many ranges there are', async ({ database, container }) => {
    const large = await filled(database);

    const ranges = async (of: Container) =>
      (await of.readPartitionKeyRanges().fetchAll()).resources;
    const [one, two] = [await ranges(container), await ranges(large)];

    expect(one.map((range) => [range.minInclusive, range.maxExclusive])).toEqual([['', 'FF']]);
    expect(two).toHaveLength(2);
    expect([two[0]?.minInclusive, two[1]?.maxExclusive]).toEqual(['', 'FF']);
    expect(two[0]?.maxExclusive).toBe(two[1]?.minInclusive);
  });

  claim('an order is one order over all ranges', async ({ database }) => {
    const container = await filled(database);

    const up = await select<number>(container, 'SELECT VALUE c.n FROM c ORDER BY c.n');
    const down = await pages<Item>(container, 'SELECT * FROM c ORDER BY c.n DESC', 7);
    const some = await select<number>(
      container,
      "SELECT VALUE c.n FROM c WHERE c.kind = 'b' AND c.n > 5 ORDER BY c.n OFFSET 2 LIMIT 4",
    );
    const top = await select<number>(container, 'SELECT TOP 3 VALUE c.n FROM c ORDER BY c.n DESC');

    expect(up).toEqual(sorted);
    expect(down.flat().map(({ n }) => n)).toEqual(sorted.toReversed());
    expect(down.every((page) => page.length <= 7)).toBe(true);
    const wanted = items.filter(({ kind, n }) => kind === 'b' && n > 5).map(({ n }) => n);
    expect(some).toEqual(wanted.toSorted((a, b) => a - b).slice(2, 6));
    expect(top).toEqual([39, 38, 37]);
  });

  claim('groups and aggregates are one result over all ranges', async ({ database }) => {
    const container = await filled(database);
    const kinds = await select<object>(
      container,
      'SELECT c.kind, COUNT(1) AS n, AVG(c.n) AS mean, MIN(c.n) AS least, MAX(c.n) AS most, ' +
        'SUM(c.none) AS none FROM c GROUP BY c.kind',
    );
    const totals = await select(container, 'SELECT VALUE SUM(c.n) FROM c');
    const distinct = await select<string>(container, 'SELECT DISTINCT VALUE c.kind FROM c');
    const ordered = await select<string>(
      container,
      'SELECT DISTINCT VALUE c.pk FROM c ORDER BY c.pk',
    );

    for (const kind of ['a', 'b']) {
      const ns = items.filter((item) => item.kind === kind).map(({ n }) => n);
      const sum = ns.reduce((total, n) => total + n, 0);
      const ends = { least: Math.min(...ns), most: Math.max(...ns) };
      const group = kinds.find((one) => 'kind' in one && one.kind === kind);
      expect(group).toMatchObject({ kind, n: ns.length, mean: sum / ns.length, ...ends });
    }
    expect(totals).toEqual([sorted.reduce((total, n) => total + n, 0)]);
    expect(distinct.toSorted()).toEqual(['a', 'b']);
    expect(ordered).toEqual([...new Set(items.map(({ pk }) => pk))].toSorted());
  });

  claim('what the client merges has no continuation token', async ({ database }) => {
    const container = await filled(database);
    for (const query of [
      'SELECT c.kind, COUNT(1) AS n FROM c GROUP BY c.kind',
      'SELECT DISTINCT VALUE c.pk FROM c',
      'SELECT * FROM c ORDER BY c.n',
    ]) {
      const page = await container.items.query(query, { maxItemCount: 1 }).fetchNext();
      expect([query, page.continuationToken]).toEqual([query, undefined]);
    }
    const plain = await container.items.query('SELECT * FROM c', { maxItemCount: 1 }).fetchNext();
    expect(plain.continuationToken).toEqual(expect.any(String));
  });

  claim('an order over all partitions of one range pages with a token', async ({ container }) => {
    for (const item of items) await container.items.create(item);
    const seen: number[] = [];
    let continuationToken: string | undefined;
    do {
      const options = { maxItemCount: 9, ...(continuationToken && { continuationToken }) };
      const query = container.items.query<Item>('SELECT * FROM c ORDER BY c.n', options);
      const page = await query.fetchNext();
      seen.push(...page.resources.map(({ n }) => n));
      continuationToken = page.continuationToken;
    } while (continuationToken);

    expect(seen).toEqual(sorted);
  });

  claim('an aggregate inside another expression stays in one partition', async (world) => {
    const container = await filled(world.database);
    const query = 'SELECT VALUE COUNT(1) + 1 FROM c';

    expect(await statusOf(select(container, query))).toBe(400);
    const own = items.filter(({ pk }) => pk === 'k0').length;
    expect(await select(container, query, { partitionKey: 'k0' })).toEqual([own + 1]);
  });

  claim('a bulk request reaches every range, and stops at an error if asked', async (world) => {
    const container = await filled(world.database, { id: 'bulk' });
    const read = (id: string, partitionKey: string) =>
      ({ operationType: 'Read', id, partitionKey }) as const;

    const all = await container.items.bulk(items.map(({ id, pk }) => read(id, pk)));
    const stopped = await container.items.bulk([read('none', 'k0'), read('i0', 'k0')], {
      continueOnError: false,
    });

    expect(new Set(all.map(({ statusCode }) => statusCode))).toEqual(new Set([200]));
    expect(stopped.map(({ statusCode }) => statusCode)).toEqual([404, 424]);
  });
}
