// Claims about queries: what they select, order, group and page, in one partition and across all.
import type { Container, FeedOptions } from '@azure/cosmos';
import { expect } from 'vitest';
import { statusOf, type Claim } from './cosmos.contract.ts';

interface Sample {
  id: string;
  pk: string;
  seq: number;
  kind: string;
  phase?: string;
  tags: string[];
  at: string;
}

function samples(): Sample[] {
  const all: Sample[] = [];
  for (const [pk, count] of [
    ['w1', 25],
    ['w2', 15],
  ] as const) {
    for (let at = 0; at < count; at++) {
      const item: Sample = {
        id: `${pk}-${String(at).padStart(3, '0')}`,
        pk,
        seq: (at * 7) % count,
        kind: at % 5 === 0 ? 'gate' : 'inbox',
        tags: [`t${at % 4}`, 'all'],
        at: new Date(1_700_000_000_000 + at * 1000).toISOString(),
      };
      all.push(at % 2 === 0 ? { ...item, phase: at % 4 === 0 ? 'active' : 'idle' } : item);
    }
  }
  return all;
}

async function filled(container: Container): Promise<Sample[]> {
  const all = samples();
  for (const pk of ['w1', 'w2']) {
    const mine = all.filter((item) => item.pk === pk);
    const operations = mine.map((item) => ({
      operationType: 'Create' as const,
      resourceBody: { ...item },
    }));
    await container.items.batch(operations, pk);
  }
  return all;
}

type Parameters = Record<string, string | number | boolean | null | string[]>;

async function select(
  container: Container,
  query: string,
  options: FeedOptions & { parameters?: Parameters } = {},
): Promise<unknown[]> {
  const { parameters = {}, ...rest } = options;
  const list = Object.entries(parameters).map(([name, value]) => ({ name: `@${name}`, value }));
  const answer = await container.items.query({ query, parameters: list }, rest).fetchAll();
  return answer.resources;
}

const w1: FeedOptions = { partitionKey: 'w1' };
const bySeq = (all: Sample[]) => all.toSorted((a, b) => a.seq - b.seq);

export function queryClaims(claim: Claim): void {
  claim('a query of one partition sees that partition only', async ({ container }) => {
    const mine = (await filled(container)).filter((item) => item.pk === 'w1');

    expect(await select(container, 'SELECT VALUE COUNT(1) FROM c', w1)).toEqual([mine.length]);
    const ids = await select(container, 'SELECT VALUE c.id FROM c ORDER BY c.seq', w1);
    expect(ids).toEqual(bySeq(mine).map((item) => item.id));
    const byFilter = await select(container, "SELECT VALUE c.id FROM c WHERE c.pk = 'w1'");
    expect(byFilter).toHaveLength(mine.length);
  });

  claim('filters take parameters, ranges, lists and texts', async ({ container }) => {
    await filled(container);
    const seqs = (where: string, parameters: Parameters = {}) =>
      select(container, `SELECT VALUE c.seq FROM c WHERE ${where} ORDER BY c.seq`, {
        ...w1,
        parameters,
      });

    expect(await seqs('c.seq > @a AND c.seq <= @b', { a: 5, b: 8 })).toEqual([6, 7, 8]);
    expect(await seqs('c.seq BETWEEN 3 AND 5')).toEqual([3, 4, 5]);
    expect(await seqs('c.seq IN (1, 2, 99)')).toEqual([1, 2]);
    expect(await seqs('ARRAY_CONTAINS(@all, c.seq)', { all: ['x'] })).toEqual([]);
    expect(await seqs("STARTSWITH(c.id, 'w1-01') AND c.seq < 7")).toEqual([1, 2, 5]);
    expect(await seqs("NOT IS_DEFINED(c.phase) AND c.kind = 'gate'")).toEqual([5, 10]);
    expect(await seqs("c.id LIKE '%-00_' AND c.seq != 0 AND c.seq < 10")).toEqual([3, 6, 7]);
    expect(await seqs('c.id = @id', { id: "x' OR true --" })).toEqual([]);
  });

  claim('projections leave out what is missing', async ({ container }) => {
    await filled(container);
    const first = (query: string) => select(container, `${query} WHERE c.id = 'w1-001'`, w1);

    expect(await first('SELECT c.id, c.phase, c.tags[0] AS tag FROM c')).toEqual([
      { id: 'w1-001', tag: 't1' },
    ]);
    expect(await first("SELECT VALUE { 'n': c.seq * 2 + 1, none: c.none } FROM c")).toEqual([
      { n: 15 },
    ]);
    expect(await first('SELECT VALUE t FROM c JOIN t IN c.tags')).toEqual(['t1', 'all']);
    expect(await first('SELECT VALUE c.phase ?? (c.seq > 3 ? "y" : "n") FROM c')).toEqual(['y']);
  });

  claim('aggregates and groups count across partitions', async ({ container }) => {
    const all = await filled(container);
    const sum = all.reduce((total, item) => total + item.seq, 0);

    const total = await select(container, 'SELECT COUNT(1) AS n, SUM(c.seq) AS s FROM c');
    const groups = await select(
      container,
      'SELECT c.pk, COUNT(1) AS n, MAX(c.seq) AS most FROM c GROUP BY c.pk',
    );
    const distinct = await select(container, 'SELECT DISTINCT VALUE c.kind FROM c');
    const none = await select(container, "SELECT VALUE COUNT(1) FROM c WHERE c.pk = 'none'");

    expect(total).toEqual([{ n: all.length, s: sum }]);
    expect(groups).toHaveLength(2);
    expect(groups).toContainEqual({ pk: 'w1', n: 25, most: 24 });
    expect(groups).toContainEqual({ pk: 'w2', n: 15, most: 14 });
    expect(new Set(distinct)).toEqual(new Set(['gate', 'inbox']));
    expect(distinct).toHaveLength(2);
    expect(none).toEqual([0]);
  });

  claim('pages resume where they ended, whatever is written between', async ({ container }) => {
    const mine = (await filled(container)).filter((item) => item.pk === 'w1');
    const seen: string[] = [];
    let continuationToken: string | undefined;
    do {
      const options = { ...w1, maxItemCount: 4, ...(continuationToken && { continuationToken }) };
      const query = container.items.query<Sample>('SELECT * FROM c ORDER BY c.seq', options);
      const page = await query.fetchNext();
      seen.push(...page.resources.map((item) => item.id));
      continuationToken = page.continuationToken;
      await container.items.create({ id: `late${seen.length}`, pk: 'w1', seq: -1 });
      if (seen.length === 4) await container.item(seen[3]!, 'w1').delete();
    } while (continuationToken);

    expect(seen).toEqual(bySeq(mine).map((item) => item.id));
  });

  claim('pages across partitions cover every item once', async ({ container }) => {
    const all = await filled(container);
    for (const query of ['SELECT * FROM c', 'SELECT * FROM c ORDER BY c.seq DESC']) {
      const seen: Sample[] = [];
      const pages = container.items.query<Sample>(query, { maxItemCount: 7 });
      while (pages.hasMoreResults()) seen.push(...(await pages.fetchNext()).resources);

      const ids = seen.map((item) => item.id).toSorted();
      expect(ids).toEqual(all.map((item) => item.id).toSorted());
    }
  });

  claim('TOP and OFFSET LIMIT cut after the order', async ({ container }) => {
    const mine = bySeq((await filled(container)).filter((item) => item.pk === 'w1'));
    const top = await select(container, 'SELECT TOP 3 VALUE c.seq FROM c ORDER BY c.seq DESC', w1);
    const middle = await select(
      container,
      'SELECT VALUE c.id FROM c ORDER BY c.seq OFFSET @o LIMIT @l',
      { ...w1, parameters: { o: 10, l: 5 }, maxItemCount: 2 },
    );

    expect(top).toEqual([24, 23, 22]);
    expect(middle).toEqual(mine.slice(10, 15).map((item) => item.id));
  });

  claim('an order that no index serves is refused', async ({ database, container }) => {
    await filled(container);
    const two = 'SELECT * FROM c ORDER BY c.kind ASC, c.seq DESC';
    expect(await statusOf(select(container, two))).toBe(400);

    const composite = [
      { path: '/kind', order: 'ascending' },
      { path: '/seq', order: 'descending' },
    ] as const;
    const { container: indexed } = await database.containers.create({
      id: 'indexed',
      partitionKey: '/pk',
      indexingPolicy: {
        includedPaths: [{ path: '/kind/?' }],
        excludedPaths: [{ path: '/*' }],
        compositeIndexes: [[...composite]],
      },
    });
    const all = await filled(indexed);
    const wanted = all.toSorted((a, b) =>
      a.kind === b.kind ? b.seq - a.seq : a.kind < b.kind ? -1 : 1,
    );

    const seqs = (await select(indexed, two)) as Sample[];
    expect(seqs.map((item) => item.seq)).toEqual(wanted.map((item) => item.seq));
    const reversed = 'SELECT VALUE c.seq FROM c ORDER BY c.kind DESC, c.seq ASC';
    expect(await select(indexed, reversed)).toEqual(wanted.map((item) => item.seq).toReversed());
    expect(await statusOf(select(indexed, 'SELECT * FROM c ORDER BY c.seq'))).toBe(400);
  });

  claim('bad queries are refused', async ({ container }) => {
    for (const query of [
      'SELECT * FORM c',
      'SELECT VALUE nope(c.x) FROM c',
      'SELECT * FROM c WHERE c.x = @undeclared',
      'SELECT c.x, COUNT(1) FROM c',
      'SELECT * FROM c JOIN t IN c.tags',
      'SELECT VALUE udf.x() FROM c',
      `SELECT * FROM c WHERE ${'('.repeat(5000)}true${')'.repeat(5000)}`,
    ]) {
      expect([query, await statusOf(select(container, query, w1))]).toEqual([query, 400]);
    }
  });
}
