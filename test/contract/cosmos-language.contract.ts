// Claims about the query language: what each construct selects from one small partition.
import type { Container } from '@azure/cosmos';
import { expect } from 'vitest';
import { statusOf, type Claim } from './cosmos.contract.ts';

const items = [
  { id: '1', n: 1, name: 'Ada', tags: ['x', 'y'], lines: [{ sku: 'a', qty: 2 }], at: { c: 'Ulm' } },
  { id: '2', n: 2, name: 'Bob', tags: [], lines: [], gone: null },
  {
    id: '3',
    n: 2.5,
    name: 'ada',
    tags: ['y'],
    lines: [
      { sku: 'a', qty: 1 },
      { sku: 'b', qty: 5 },
    ],
  },
  { id: '4', n: '2', name: 'Zoë' },
];

async function filled(container: Container): Promise<Container> {
  for (const item of items) await container.items.create({ ...item, pk: 'p' });
  return container;
}

type Case = [query: string, expected: unknown[]];

async function check(container: Container, cases: readonly Case[]): Promise<void> {
  for (const [query, expected] of cases) {
    const found = container.items.query(query, { partitionKey: 'p' });
    expect([query, (await found.fetchAll()).resources]).toEqual([query, expected]);
  }
}

export function languageClaims(claim: Claim): void {
  claim('undefined, null and types never mix', async ({ container }) => {
    await check(await filled(container), [
      ['SELECT VALUE c.id FROM c WHERE c.n = 2', ['2']],
      ["SELECT VALUE c.id FROM c WHERE c.n = '2'", ['4']],
      ['SELECT VALUE c.id FROM c WHERE c.n > 1', ['2', '3']],
      ['SELECT VALUE c.id FROM c WHERE c.gone = null', ['2']],
      ['SELECT VALUE c.id FROM c WHERE NOT IS_DEFINED(c.gone) AND c.n < 3', ['1', '3']],
      ['SELECT VALUE c.id FROM c WHERE NOT (c.gone = null)', []],
      ['SELECT c.id, c.none, c.gone FROM c WHERE c.id = "2"', [{ id: '2', gone: null }]],
      ['SELECT VALUE c.none ?? "none" FROM c WHERE c.id = "1"', ['none']],
    ]);
  });

  claim('subqueries, EXISTS and ARRAY look inside an item', async ({ container }) => {
    await check(await filled(container), [
      ['SELECT VALUE l.sku FROM c JOIN l IN c.lines WHERE l.qty > 1', ['a', 'b']],
      [
        'SELECT c.id, t FROM c JOIN t IN c.tags WHERE t = "y"',
        [
          { id: '1', t: 'y' },
          { id: '3', t: 'y' },
        ],
      ],
      [
        'SELECT VALUE c.id FROM c WHERE EXISTS(SELECT VALUE l FROM l IN c.lines WHERE l.qty = 5)',
        ['3'],
      ],
      [
        'SELECT VALUE ARRAY(SELECT VALUE l.sku FROM l IN c.lines) FROM c WHERE c.id = "3"',
        [['a', 'b']],
      ],
      ['SELECT VALUE (SELECT VALUE COUNT(1) FROM l IN c.lines) FROM c WHERE c.id = "3"', [2]],
      [
        'SELECT VALUE s FROM c JOIN (SELECT VALUE l.qty FROM l IN c.lines WHERE l.qty > 1) AS s',
        [2, 5],
      ],
      ['SELECT VALUE l.sku FROM l IN c.lines', ['a', 'a', 'b']],
      ['SELECT VALUE a.c FROM c.at AS a', ['Ulm']],
    ]);
  });

  claim('texts, lists and numbers have their functions', async ({ container }) => {
    const one = (expression: string) => `SELECT VALUE ${expression} FROM c WHERE c.id = "1"`;
    await check(await filled(container), [
      ['SELECT VALUE c.id FROM c WHERE STRINGEQUALS(c.name, "ADA", true)', ['1', '3']],
      ['SELECT VALUE c.id FROM c WHERE c.name LIKE "_d%"', ['1', '3']],
      ['SELECT VALUE c.id FROM c WHERE CONTAINS(c.name, "DA", true)', ['1', '3']],
      ['SELECT VALUE c.id FROM c WHERE ARRAY_CONTAINS(c.lines, {"sku": "b"}, true)', ['3']],
      [one('ARRAY_SLICE(c.tags, -1)'), [['y']]],
      [one('CONCAT(UPPER(c.name), "-", TOSTRING(c.n))'), ['ADA-1']],
      [one('SUBSTRING("abcdef", 1, 3)'), ['bcd']],
      [one('ROUND(-2.5)'), [-3]],
      [one('c.n / 0'), []],
      [
        one('DATETIMEADD("dd", 1, "2024-02-28T00:00:00.0000000Z")'),
        ['2024-02-29T00:00:00.0000000Z'],
      ],
      [one('{"k": c["name"], "l": [1, c.none, 2]}'), [{ k: 'Ada', l: [1, 2] }]],
    ]);
  });

  claim('DISTINCT, TOP, OFFSET and groups within a partition', async ({ container }) => {
    await check(await filled(container), [
      ['SELECT DISTINCT VALUE t FROM c JOIN t IN c.tags', ['x', 'y']],
      ['SELECT TOP 2 VALUE c.id FROM c ORDER BY c.id DESC', ['4', '3']],
      ['SELECT VALUE c.id FROM c ORDER BY c.id OFFSET 1 LIMIT 2', ['2', '3']],
      ['SELECT VALUE COUNT(1) FROM c WHERE IS_NUMBER(c.n)', [3]],
      ['SELECT COUNT(1) AS n, MAX(c.id) AS last FROM c', [{ n: 4, last: '4' }]],
      [
        'SELECT c.name AS x, COUNT(1) AS n FROM c WHERE c.id = "4" GROUP BY c.name',
        [{ x: 'Zoë', n: 1 }],
      ],
    ]);
  });

  claim('an order puts types before values', async ({ container }) => {
    await check(await filled(container), [
      ['SELECT VALUE c.id FROM c ORDER BY c.n', ['1', '2', '3', '4']],
      ['SELECT VALUE c.id FROM c ORDER BY c.name', ['1', '2', '4', '3']],
    ]);
  });

  claim('what is not known is refused by name', async ({ container }) => {
    await filled(container);
    const cases: [string, RegExp][] = [
      ['SELECT VALUE NOSUCH(1) FROM c', /NOSUCH/],
      ['SELECT VALUE udf.x(1) FROM c', /udf/i],
      ['SELECT * FROM c WHERE', /syntax/i],
      ['SELECT * FROM c ORDER BY c.n, c.id', /composite index/],
      ['SELECT VALUE nobody.x FROM c', /nobody/],
    ];
    for (const [query, message] of cases) {
      const run = container.items.query(query, { partitionKey: 'p' }).fetchAll();
      expect([query, await statusOf(run)]).toEqual([query, 400]);
      await expect(run).rejects.toThrow(message);
    }
  });
}
