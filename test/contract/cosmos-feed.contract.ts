// Claims about the change feed, read by pulling: latest versions, in the order of writing.
import { ChangeFeedStartFrom, type ChangeFeedIteratorOptions, type Container } from '@azure/cosmos';
import { expect } from 'vitest';
import { statusOf, type Claim } from './cosmos.contract.ts';

interface Read {
  ids: string[];
  token: string;
}

/** Everything up to the first answer without changes. */
async function drain(container: Container, options: ChangeFeedIteratorOptions): Promise<Read> {
  const iterator = container.items.getChangeFeedIterator<{ id: string }>(options);
  const ids: string[] = [];
  for (;;) {
    const page = await iterator.readNext();
    if (page.statusCode === 304 || page.count === 0) return { ids, token: page.continuationToken };
    ids.push(...page.result.map(({ id }) => id));
  }
}

const create = async (container: Container, ids: readonly string[], pk = 'p'): Promise<void> => {
  for (const id of ids) await container.items.create({ id, pk });
};

export function feedClaims(claim: Claim): void {
  claim('the feed gives each item once, where it was last written', async ({ container }) => {
    await create(container, ['a', 'b', 'c', 'd']);
    await container.items.upsert({ id: 'a', pk: 'p', n: 1 });
    await container.item('c', 'p').delete();

    const { ids, token } = await drain(container, {
      changeFeedStartFrom: ChangeFeedStartFrom.Beginning(),
      maxItemCount: 1,
    });
    await create(container, ['e']);
    await container.item('b', 'p').patch([{ op: 'set', path: '/n', value: 2 }]);
    const rest = await drain(container, {
      changeFeedStartFrom: ChangeFeedStartFrom.Continuation(token),
    });

    expect(ids).toEqual(['b', 'd', 'a']);
    expect(rest.ids).toEqual(['e', 'b']);
  });

  claim('the feed starts from the beginning, from now or from a time', async (world) => {
    const { container, target } = world;
    await create(container, ['a', 'b']);
    const now = container.items.getChangeFeedIterator<{ id: string }>({
      changeFeedStartFrom: ChangeFeedStartFrom.Now(),
    });
    expect((await now.readNext()).statusCode).toBe(304);
    await target.pass(2_000);
    const time = new Date(target.nowMs());
    await target.pass(2_000);
    await create(container, ['c']);

    const all = await drain(container, { changeFeedStartFrom: ChangeFeedStartFrom.Beginning() });
    const later = await drain(container, { changeFeedStartFrom: ChangeFeedStartFrom.Time(time) });

    expect([all.ids, later.ids]).toEqual([['a', 'b', 'c'], ['c']]);
    expect((await now.readNext()).result.map(({ id }) => id)).toEqual(['c']);
  });

  claim('the feed of a partition key is that of its items', async ({ container }) => {
    await create(container, ['a', 'b']);
    await create(container, ['a', 'c'], 'q');

    const changeFeedStartFrom = ChangeFeedStartFrom.Beginning('q');
    const first = await drain(container, { changeFeedStartFrom, maxItemCount: 1 });
    await create(container, ['d'], 'q');
    await create(container, ['d']);
    const rest = await drain(container, {
      changeFeedStartFrom: ChangeFeedStartFrom.Continuation(first.token),
    });

    expect([first.ids, rest.ids]).toEqual([['a', 'c'], ['d']]);
  });

  claim('the feed ranges of a container share its items out', async ({ database }) => {
    const definition = { id: 'wide', partitionKey: '/pk', throughput: 12_000 };
    const { container } = await database.containers.create(definition);
    const pks = Array.from({ length: 20 }, (_, at) => `k${at}`);
    for (const pk of pks) await create(container, [`i-${pk}`], pk);

    const ranges = await container.getFeedRanges();
    const parts: string[][] = [];
    for (const range of ranges) {
      const start = ChangeFeedStartFrom.Beginning(range);
      parts.push((await drain(container, { changeFeedStartFrom: start, maxItemCount: 3 })).ids);
    }

    expect(ranges).toHaveLength(2);
    expect(parts.every((ids) => ids.length > 0)).toBe(true);
    expect(parts.flat().toSorted()).toEqual(pks.map((pk) => `i-${pk}`).toSorted());
  });

  claim('an item that expired does not appear', async ({ container, target }) => {
    await container.items.create({ id: 'short', pk: 'p', ttl: 2 });
    await create(container, ['long']);
    await target.pass(4_000);

    const changeFeedStartFrom = ChangeFeedStartFrom.Beginning();
    expect((await drain(container, { changeFeedStartFrom })).ids).toEqual(['long']);
  });

  claim('a token that is none is refused', async ({ container }) => {
    const old = container.items.changeFeed('p', { continuation: 'junk' });
    expect(await statusOf(old.fetchNext())).toBe(400);
  });
}
