// What a client is told to do itself, and that the query sent in place of its own means the same.
import { expect, test } from 'vitest';
import type { JsonObject } from '../../infra/local/cosmos/json.ts';
import { readParameters } from '../../infra/local/cosmos/query-compile.ts';
import { parseQuery } from '../../infra/local/cosmos/query-parse.ts';
import { needsClient, planOf } from '../../infra/local/cosmos/query-plan.ts';
import { contextOf, runOver } from '../../infra/local/cosmos/query-select.ts';
import { queryText } from '../../infra/local/cosmos/query-text.ts';

const items: JsonObject[] = [
  { id: 'a', n: 3, tags: ['x', 'y'], 'odd name': 'q"\\', inner: { top: 1 } },
  { id: 'b', n: -2.5, tags: [], inner: null },
  { id: 'c', tags: ['y'], n: 'text' },
];

const context = contextOf(readParameters([{ name: '@n', value: 2 }]), 0);

test.each([
  'SELECT * FROM c',
  'SELECT c.id, c["odd name"] AS odd, c.inner.top FROM c WHERE c.n > -3 AND NOT (c.n = @n)',
  'SELECT TOP 2 VALUE c.id FROM c ORDER BY c.id DESC',
  'SELECT VALUE c.id FROM c ORDER BY c.id OFFSET 1 LIMIT @n',
  'SELECT DISTINCT VALUE t FROM c JOIN t IN c.tags',
  'SELECT VALUE s FROM c JOIN (SELECT VALUE t FROM t IN c.tags WHERE t != "x") AS s',
  'SELECT VALUE EXISTS(SELECT t FROM t IN c.tags) ? ARRAY(SELECT t FROM t IN c.tags) : 0 FROM c',
  'SELECT VALUE c.id FROM c WHERE c.id LIKE "%!%a" ESCAPE "!" OR c.id NOT IN ("a", "z") ?? false',
  'SELECT VALUE c.n BETWEEN -5 AND 5 AND (c.n | 1) << 2 >= ~c.n FROM c',
  'SELECT c.id, COUNT(1) AS n, AVG(c.n) AS mean FROM c GROUP BY c.id',
  'SELECT VALUE [{"a b": [c.n, undefined, null, true, "q\\"\\u0041"]}, LOWER("X") || c.id] FROM c',
])('the text of a query means what the query means: %s', (text) => {
  const query = parseQuery(text);
  const again = parseQuery(queryText(query));

  expect(queryText(again)).toBe(queryText(query));
  expect(runOver(again, context, items)).toEqual(runOver(query, context, items));
});

const infoOf = (text: string) => {
  const plan = planOf(parseQuery(text), context, { min: '', max: 'FF', isOneKey: false });
  return plan['queryInfo'] as JsonObject;
};

test.each<[string, JsonObject]>([
  [
    'SELECT c.id FROM c WHERE c.n > 1 ORDER BY c.n DESC',
    {
      orderBy: ['Descending'],
      rewrittenQuery:
        'SELECT c._rid, [{"item": c.n}] AS orderByItems, {"id": c.id} AS payload FROM c AS c ' +
        'WHERE ((c.n > 1) AND {documentdb-formattableorderbyquery-filter}) ORDER BY c.n DESC',
    },
  ],
  [
    'SELECT c.k, MIN(c.n) AS least FROM c GROUP BY c.k',
    {
      groupByAliasToAggregateType: { k: null, least: 'Min' },
      aggregates: [],
      rewrittenQuery:
        'SELECT [{"item": c.k}] AS groupByItems, {"k": c.k, "least": {"item": MIN(c.n), ' +
        '"item2": {"min": MIN(c.n), "count": COUNT(c.n)}}} AS payload FROM c AS c GROUP BY c.k',
    },
  ],
  [
    'SELECT VALUE AVG(c.n) FROM c ORDER BY c.n',
    {
      aggregates: ['Average'],
      orderBy: [],
      rewrittenQuery: 'SELECT VALUE [{"item": {"sum": SUM(c.n), "count": COUNT(c.n)}}] FROM c AS c',
    },
  ],
  ['SELECT * FROM c OFFSET 2 LIMIT 3', { offset: 2, limit: 3, top: null }],
  ['SELECT DISTINCT VALUE c.n FROM c ORDER BY c.n', { distinctType: 'Ordered' }],
  ['SELECT DISTINCT c.n FROM c', { distinctType: 'Unordered' }],
  ['SELECT * FROM c', { rewrittenQuery: '', distinctType: 'None' }],
])('the plan of %s', (text, expected) => {
  expect(infoOf(text)).toMatchObject(expected);
});

test('only what one range can answer alone is left to the gateway', () => {
  const needs = (text: string) => needsClient(parseQuery(text));
  expect(needs('SELECT c.id FROM c JOIN t IN c.tags WHERE t = "x"')).toBe(false);
  for (const more of ['ORDER BY c.n', 'GROUP BY c.id', 'OFFSET 0 LIMIT 1']) {
    expect(needs(`SELECT c.id FROM c ${more}`)).toBe(true);
  }
  for (const select of ['TOP 1 *', 'DISTINCT c.id', 'VALUE COUNT(1)']) {
    expect(needs(`SELECT ${select} FROM c`)).toBe(true);
  }
});
