// Queries: the evaluator by tables, and SQLite's share of the work against the evaluator alone.
import { CosmosClient } from '@azure/cosmos';
import { describe, expect, test } from 'vitest';
import type { Json, JsonObject } from '../../infra/local/cosmos/json.ts';
import { readParameters } from '../../infra/local/cosmos/query-compile.ts';
import { parseQuery } from '../../infra/local/cosmos/query-parse.ts';
import { contextOf, runOver } from '../../infra/local/cosmos/query-select.ts';
import { startCosmos } from '../../infra/local/cosmos/server.ts';
import { prng, type Prng } from '../support/prng.ts';
import { asQuery, items, raw } from './server-under-test.ts';

const item: JsonObject = {
  id: 'a',
  n: 5,
  half: 2.5,
  text: 'Hello',
  empty: null,
  yes: true,
  list: [3, 1, 2],
  at: '2024-02-29T12:30:45.678Z',
  inner: { list: [{ k: 1 }, { k: 2 }], name: 'x' },
};

function evaluate(text: string, parameters: JsonObject = {}, items: Json[] = [item]): Json[] {
  const list = Object.entries(parameters).map(([name, value]) => ({ name: `@${name}`, value }));
  const context = contextOf(readParameters(list), Date.UTC(2026, 0, 1));
  return runOver(parseQuery(text), context, items);
}

/** One value, or nothing where it is undefined. */
const valueOf = (expression: string): Json | undefined =>
  evaluate(`SELECT VALUE ${expression} FROM c`)[0];

describe('expressions', () => {
  test.each<[string, Json | undefined]>([
    ['1 + 2 * 3 - 4 / 2', 5],
    ['-c.n + +1', -4],
    ['7 % 4 | 8', 11],
    ['c.n / 0', undefined],
    ["c.text || ' you'", 'Hello you'],
    ["c.n = '5'", false],
    ["c.n != '5'", true],
    ["c.n < '6'", undefined],
    ['c.none = 1', undefined],
    ['c.none != 1', undefined],
    ['c.empty = null', true],
    ['c.inner = {"name": "x", "list": [{"k": 1}, {"k": 2}]}', true],
    ['c.none AND false', false],
    ['c.none OR true', true],
    ['c.none AND true', undefined],
    ['NOT c.none', undefined],
    ['NOT c.n = 4 AND true', true],
    ['c.n BETWEEN 4 AND 6 AND c.yes', true],
    ["c.n NOT IN (1, '5')", true],
    ["c.text LIKE 'H_l%'", true],
    ["c.text LIKE '[^h]ello'", true],
    ["'10%' LIKE '10!%' ESCAPE '!'", true],
    ['c.none ?? c.empty ?? 1', null],
    ['c.yes ? c.none : 1', undefined],
    ['c["inner"].list[1].k', 2],
    ['c.list[7]', undefined],
    ['c.__proto__', undefined],
    ['c.text.length', undefined],
    ['[c.none, c.n]', [5]],
    ['{ a: c.none, "b": c.n }', { b: 5 }],
    ['(SELECT VALUE SUM(x) FROM x IN c.list)', 6],
    ['ARRAY(SELECT VALUE x.k FROM x IN c.inner.list WHERE x.k > 1)', [2]],
    ['EXISTS(SELECT VALUE x FROM x IN c.list WHERE x = c.n)', false],
  ])('%s', (expression, wanted) => {
    expect(valueOf(expression)).toEqual(wanted);
  });
});

describe('functions', () => {
  test.each<[string, Json | undefined]>([
    ['IS_DEFINED(c.empty)', true],
    ['IS_NUMBER(c.text)', false],
    ['IS_INTEGER(c.half)', false],
    ["STARTSWITH(c.text, 'he', true)", true],
    ['CONTAINS(c.n, "5")', undefined],
    ["INDEX_OF(c.text, 'l')", 2],
    ['SUBSTRING(c.text, 1, 3)', 'ell'],
    ["REPLACE(c.text, 'l', 'L')", 'HeLLo'],
    ['CONCAT(c.text, c.none)', undefined],
    ['ROUND(c.half)', 3],
    ['ROUND(-c.half)', -3],
    ['SQRT(-1)', undefined],
    ['ARRAY_CONTAINS(c.inner.list, {"k": 2}, true)', true],
    ['ARRAY_SLICE(c.list, -2)', [1, 2]],
    ['ToString(c.list)', '[3,1,2]'],
    ["StringToNumber('0x10')", undefined],
    ['GetCurrentTimestamp()', Date.UTC(2026, 0, 1)],
    ['GetCurrentDateTime()', '2026-01-01T00:00:00.0000000Z'],
    ["DateTimeAdd('yyyy', 1, c.at)", '2025-02-28T12:30:45.6780000Z'],
    ["DateTimeDiff('hh', c.at, '2024-03-01T12:30:45Z')", 23],
    ["DateTimePart('dd', c.at)", 29],
    ["IIF(c.n > 4, 'big', 'small')", 'big'],
  ])('%s', (expression, wanted) => {
    expect(valueOf(expression)).toEqual(wanted);
  });
});

describe('refusals name what is wrong', () => {
  test.each<[string, RegExp]>([
    ['SELECT * FORM c', /near 'FORM' at position 9/],
    ['SELECT VALUE c.a FROM c WHERE', /near 'end of query'/],
    ["SELECT 'x", /unterminated/],
    ['SELECT VALUE nope(1) FROM c', /'nope' is not a recognized/],
    ["SELECT VALUE RegexMatch('a', '(a+)+$') FROM c", /'REGEXMATCH' is not supported/],
    ['SELECT VALUE ABS() FROM c', /takes 1 to 1 arguments, not 0/],
    ['SELECT VALUE x.a FROM c', /'x' could not be resolved/],
    ['SELECT VALUE constructor FROM c', /'constructor' could not be resolved/],
    ['SELECT c.a, COUNT(1) FROM c', /not contained in either an aggregate/],
    ['SELECT VALUE COUNT(SUM(c.a)) FROM c', /inside another aggregate/],
    ['SELECT * FROM c WHERE COUNT(1) > 1', /may not stand in WHERE/],
    ['SELECT TOP 1 * FROM c OFFSET 1 LIMIT 1', /TOP cannot be used with OFFSET/],
    ['SELECT TOP -1 * FROM c', /near '-'/],
    [`SELECT VALUE ${'['.repeat(200)}`, /nested too deeply/],
    [`SELECT VALUE 1${' + 1'.repeat(5000)}`, /more than 3000 operators/],
    [`SELECT VALUE '${'x'.repeat(600_000)}'`, /longer than 524288 characters/],
  ])('%s', (query, message) => {
    expect(() => evaluate(query)).toThrow(message);
  });
});

test('values of different types have one order', () => {
  const sorted: Json[] = [
    null,
    false,
    true,
    -1,
    0,
    2,
    '',
    'Z',
    'a',
    '\uffee',
    '\u{1f600}',
    [1],
    {},
  ];
  const items = sorted.map((v, at) => ({ id: `${at}`, v })).toReversed();

  const ordered = evaluate('SELECT VALUE c.v FROM c ORDER BY c.v', {}, items);

  expect(ordered).toEqual(sorted);
});

test('LIKE takes time by the length of text and pattern, not by their ways to match', () => {
  const text = 'a'.repeat(20_000);
  const items = [{ id: '1', text }];

  expect(evaluate(`SELECT VALUE c.text LIKE '${'%a'.repeat(20)}%b' FROM c`, {}, items)).toEqual([
    false,
  ]);
});

// Values that SQLite and JavaScript might see differently: types, signs, fractions, huge numbers,
// texts beyond the basic plane, texts that look like JSON.
const values: Json[] = [
  null,
  true,
  false,
  0,
  1,
  -1,
  2,
  10,
  0.1,
  0.30000000000000004,
  1e21,
  2 ** 53,
  2 ** 60,
];
values.push(
  '',
  '0',
  '1',
  'a',
  'b',
  'ab',
  'B',
  'null',
  'true',
  '[1]',
  '{}',
  '\uffee',
  '\u{1f600}',
  'é',
  [1],
  [],
  {},
);
const names = ['a', 'b', 'c', 'kind'];
const prefixes = ['', 'a', 'é', '\u{1f600}', '\uffee'];
const operators = ['=', '!=', '<', '<=', '>', '>='];

const pick = <T>(random: Prng, list: readonly T[]): T => list[random.below(list.length)]!;

function randomCondition(random: Prng, parameters: JsonObject, depth = 0): string {
  const parameter = (): string => {
    const name = `p${Object.keys(parameters).length}`;
    parameters[name] = pick(random, values);
    return `@${name}`;
  };
  const path = `c.${pick(random, [...names, 'id', 'inner.a'])}`;
  const inner = (): string => randomCondition(random, parameters, depth + 1);
  switch (random.below(depth > 2 ? 7 : 10)) {
    case 0:
    case 1:
      return `${path} ${pick(random, operators)} ${parameter()}`;
    case 2:
      return `${parameter()} ${pick(random, operators)} ${path}`;
    case 3:
      return `${path} BETWEEN ${parameter()} AND ${parameter()}`;
    case 4:
      return `${path} IN (${parameter()}, ${parameter()})`;
    case 5:
      return `STARTSWITH(${path}, ${JSON.stringify(pick(random, prefixes))})`;
    case 6:
      return pick(random, [`IS_DEFINED(${path})`, `IS_STRING(${path})`, `IS_NUMBER(${path})`]);
    case 7:
      return `(${inner()} OR ${inner()})`;
    case 8:
      return `NOT (${inner()})`;
    default:
      return `${inner()} AND ${inner()}`;
  }
}

test('what SQLite filters, orders and pages is what the evaluator alone gives', async () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
  const random = prng(seed);
  const server = await startCosmos({ file: ':memory:', port: 0 });
  const client = new CosmosClient(server.connectionString);
  try {
    const { database } = await client.databases.create({ id: 'd' });
    const composite = ['/kind', '/a'].map((path) => ({ path, order: 'ascending' as const }));
    const { container } = await database.containers.create({
      id: 'items',
      partitionKey: '/pk',
      indexingPolicy: {
        includedPaths: ['/*', '/a/?', '/kind/?', '/inner/a/?'].map((path) => ({ path })),
        compositeIndexes: [composite],
      },
    });
    const all: JsonObject[] = [];
    for (let at = 0; at < 120; at++) {
      const one: JsonObject = { id: `${pick(random, ['a', 'b', 'é'])}${at}`, pk: `p${at % 3}` };
      for (const name of names) if (random.chance(0.7)) one[name] = pick(random, values);
      if (random.chance(0.5)) one['inner'] = { a: pick(random, values) };
      all.push(one);
      await container.items.create({ ...one });
    }
    for (let at = 0; at < 250; at++) {
      const parameters: JsonObject = {};
      const where = randomCondition(random, parameters);
      const order = pick(random, [
        '',
        ' ORDER BY c.a',
        ' ORDER BY c.kind DESC',
        ' ORDER BY c.kind, c.a',
      ]);
      const text = `SELECT c.id, c.a, c.kind FROM c WHERE ${where}${order}`;
      const pk = random.chance(0.4) ? 'p1' : undefined;
      const scope = all.filter((one) => pk === undefined || one['pk'] === pk);
      const list = Object.entries(parameters).map(([name, value]) => ({ name: `@${name}`, value }));
      const options = { maxItemCount: pick(random, [3, 1000]), ...(pk && { partitionKey: pk }) };
      const answer = await container.items
        .query({ query: text, parameters: list }, options)
        .fetchAll();
      const where1 = `seed=${seed} at=${at} ${text} ${JSON.stringify(parameters)} pk=${pk}`;
      const wanted = evaluate(text, parameters, scope);
      const byId = (list1: Json[]) => list1.map((one) => JSON.stringify(one)).toSorted();
      expect(byId(answer.resources), where1).toEqual(byId(wanted));
      const keys = (list1: Json[]) =>
        list1.map((one) => {
          const { a, kind } = one as JsonObject;
          return JSON.stringify(
            order.includes('kind, c.a') ? [kind, a] : order.includes('kind') ? kind : a,
          );
        });
      if (order !== '') expect(keys(answer.resources), where1).toEqual(keys(wanted));
    }
  } finally {
    client.dispose();
    await server.close();
  }
});

interface Placed {
  [name: string]: unknown;
  id: string;
  pk: string;
  at: number;
}

test('paging through an index reads each item once and survives writes in between', async () => {
  const server = await startCosmos({ file: ':memory:', port: 0 });
  const client = new CosmosClient(server.connectionString);
  try {
    const { database } = await client.databases.create({ id: 'd' });
    const paths = (list: string[]) => list.map((path) => ({ path, order: 'ascending' as const }));
    const { container } = await database.containers.create({
      id: 'items',
      partitionKey: '/pk',
      indexingPolicy: {
        includedPaths: [{ path: '/*' }, { path: '/kind/?' }, { path: '/phase/?' }],
        compositeIndexes: [paths(['/kind', '/phase', '/at'])],
      },
    });
    const fields = (at: number) => ({ kind: at % 3 ? 'gate' : 'inbox', phase: 'active', at });
    for (let at = 0; at < 60; at++) {
      await container.items.create({ id: `i${at}`, pk: `p${at % 7}`, ...fields(at) });
    }
    const where = "WHERE c.kind = 'gate' AND c.phase = 'active' AND c.at >= 0";
    for (const order of ['', 'ORDER BY c.kind ASC, c.phase ASC, c.at ASC']) {
      const query = `SELECT * FROM c ${where} ${order}`;
      const seen: number[] = [];
      const charges: number[] = [];
      let continuation: string | undefined;
      do {
        // One range, as the client library asks when it merges an order itself.
        const page = await raw(server, {
          method: 'POST',
          path: items,
          headers: {
            ...asQuery,
            'x-ms-documentdb-partitionkeyrangeid': '0',
            'x-ms-max-item-count': '8',
            ...(continuation !== undefined && { 'x-ms-continuation': continuation }),
          },
          body: JSON.stringify({ query }),
        });
        const found = JSON.parse(page.text) as { Documents: Placed[] };
        seen.push(...found.Documents.map((one) => one.at));
        charges.push(Number(page.headers['x-ms-request-charge']));
        const next = page.headers['x-ms-continuation'];
        continuation = typeof next === 'string' ? next : undefined;
        const [one] = found.Documents;
        if (one) await container.item(one.id, one.pk).replace({ ...one, touched: true });
      } while (continuation !== undefined);

      const wanted = Array.from({ length: 60 }, (_, at) => at).filter((at) => at % 3);
      expect(seen, order).toEqual(wanted);
      // 2.3 + 0.05 per item read + about 1 for the answer: 40 items read would be above 5.
      expect(Math.max(...charges), order).toBeLessThan(4.2);
    }
  } finally {
    client.dispose();
    await server.close();
  }
});
