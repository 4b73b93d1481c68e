// Traffic that nobody should send: refused with a message, and the server stays whole.
import type { OutgoingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { prng } from '../support/prng.ts';
import {
  asBatch,
  asQuery,
  closeAll,
  containerOf,
  inP,
  items,
  raw,
  start,
  type Sent,
} from './server-under-test.ts';

afterEach(closeAll);

const malformed: [string, Sent, number[]][] = [
  ['bad percent-encoding', { method: 'GET', path: '/dbs/%E0%A4%A' }, [400]],
  ['bad encoding of an id', { method: 'GET', path: `${items}/%zz`, headers: inP }, [400]],
  ['no path at all', { method: 'GET', path: 'http://[::1/dbs' }, [400]],
  ['a body that is not JSON', { method: 'POST', path: items, headers: inP, body: '{bad' }, [400]],
  ['no body', { method: 'POST', path: items, headers: inP }, [400]],
  ['a list as item', { method: 'POST', path: items, headers: inP, body: '[1]' }, [400]],
  [
    'a number as id',
    { method: 'POST', path: items, headers: inP, body: '{"id":5,"pk":"p"}' },
    [400],
  ],
  ['no partition key', { method: 'POST', path: items, body: '{"id":"a","pk":"p"}' }, [400]],
  [
    'a partition key that is not a list',
    { method: 'GET', path: `${items}/a`, headers: { 'x-ms-documentdb-partitionkey': '5' } },
    [400],
  ],
  ['an unknown method', { method: 'PROPFIND', path: '/dbs' }, [405]],
  ['a stored procedure', { method: 'POST', path: '/dbs/d/colls/items/sprocs', body: '{}' }, [501]],
  ['a batch of nothing', { method: 'POST', path: items, headers: asBatch, body: '[]' }, [400]],
  ['a batch of null', { method: 'POST', path: items, headers: asBatch, body: '[null]' }, [400]],
  ['a patch of null', { method: 'PATCH', path: `${items}/a`, headers: inP, body: 'null' }, [400]],
  ['a query without text', { method: 'POST', path: items, headers: asQuery, body: '{}' }, [400]],
  [
    'a continuation of garbage',
    {
      method: 'POST',
      path: items,
      headers: { ...asQuery, 'x-ms-continuation': '{"token":"xx"}' },
      body: '{"query":"SELECT * FROM c"}',
    },
    [400],
  ],
  [
    'an item nested too deeply',
    {
      method: 'POST',
      path: items,
      headers: inP,
      body: `{"id":"n","pk":"p","n":${'['.repeat(50_000)}${']'.repeat(50_000)}}`,
    },
    [400],
  ],
  ['a body of 9 MB', { method: 'POST', path: items, headers: inP, body: 'x'.repeat(9e6) }, [413]],
];

test.each(malformed)('%s is refused with a message', async (_, sent, statuses) => {
  const server = await start();
  await containerOf(server);

  const { status, text } = await raw(server, sent);

  expect(statuses).toContain(status);
  expect((JSON.parse(text) as { message: string }).message).not.toBe('');
});

test('bytes that are not HTTP are answered 400', async () => {
  const { port } = await start();
  const answer = await new Promise<string>((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('\x16\x03\x01\0garbage\r\n\r\n'));
    let text = '';
    socket.on('data', (chunk) => (text += String(chunk)));
    socket.on('close', () => resolve(text));
  });

  expect(answer).toMatch(/^HTTP\/1.1 400/);
});

test('random traffic is answered below 500 and leaves the server whole', async () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
  const random = prng(seed);
  const server = await start();
  const container = await containerOf(server);
  const pick = <T>(list: readonly T[]): T => list[random.below(list.length)]!;
  const values = [
    'null',
    '{}',
    '[]',
    '"x"',
    '1e400',
    '-0',
    '{"id":"a","pk":"p"}',
    '\u0000',
    '{"id":',
  ];
  const words =
    'SELECT * FROM c WHERE ( ) [ ] { } . , = != AND OR NOT IN BETWEEN "x" @p 1 ORDER BY c.a'
      .split(' ')
      .concat([
        'GROUP',
        'COUNT(1)',
        'TOP',
        'VALUE',
        'JOIN',
        'EXISTS',
        '??',
        '?',
        ':',
        "'",
        '--',
        'OFFSET',
      ]);
  const names = ['if-match', 'if-none-match', 'x-ms-continuation', 'x-ms-max-item-count', 'a-im'];
  for (let at = 0; at < 400; at++) {
    const query = Array.from({ length: 1 + random.below(14) }, () => pick(words)).join(' ');
    const isQuery = random.chance(0.5);
    const headers: OutgoingHttpHeaders = { ...(isQuery ? asQuery : pick([inP, asBatch, {}])) };
    if (random.chance(0.3)) headers[pick(names)] = pick(['*', '"x"', '-5', 'eyJ9', '9'.repeat(30)]);
    const method = isQuery ? 'POST' : pick(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']);
    const path = isQuery
      ? items
      : pick([items, `${items}/a`, '/dbs/d/colls', '/dbs/d', '/dbs', '/x']);
    if (method === 'DELETE' && path.length < 15) continue;
    const body = isQuery ? JSON.stringify({ query: `SELECT ${query}` }) : pick(values);
    const sent = { method, path, headers, ...(method !== 'GET' && { body }) };
    const { status, text } = await raw(server, sent);
    if (status >= 500 && status !== 501) {
      throw new Error(`seed=${seed} at=${at} ${JSON.stringify(sent)} → ${status} ${text}`);
    }
  }

  expect((await container.read()).statusCode).toBe(200);
});
