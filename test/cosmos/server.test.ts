// The server itself: atomicity under load, faults, keys, ports, and traffic nobody should send.
import { request as httpRequest, type OutgoingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { CosmosClient, type Container } from '@azure/cosmos';
import { afterEach, expect, test } from 'vitest';
import {
  CosmosFault,
  startCosmos,
  type CosmosOptions,
  type CosmosRequestInfo,
  type CosmosServer,
} from '../../infra/local/cosmos/server.ts';
import { virtualClock } from '../../shared/clock.ts';
import { statusOf } from '../contract/cosmos.contract.ts';
import { prng } from '../support/prng.ts';

const opened: { close(): Promise<void> | void }[] = [];

afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one.close();
});

async function start(options: Partial<CosmosOptions> = {}): Promise<CosmosServer> {
  const server = await startCosmos({ file: ':memory:', port: 0, ...options });
  opened.push(server);
  return server;
}

function clientOf(server: CosmosServer, key?: string): CosmosClient {
  const connectionString = key
    ? `AccountEndpoint=http://localhost:${server.port}/;AccountKey=${key};`
    : server.connectionString;
  const client = new CosmosClient(connectionString);
  opened.push({ close: () => client.dispose() });
  return client;
}

async function containerOf(server: CosmosServer, more: object = {}): Promise<Container> {
  const { database } = await clientOf(server).databases.createIfNotExists({ id: 'd' });
  const definition = { id: 'items', partitionKey: '/pk', ...more };
  return (await database.containers.createIfNotExists(definition)).container;
}

interface Raw {
  status: number;
  text: string;
  headers: NodeJS.Dict<string | string[]>;
}

interface Sent {
  method: string;
  path: string;
  headers?: OutgoingHttpHeaders;
  body?: string;
}

/** A request as no client library would send it. */
function raw(server: CosmosServer, { method, path, headers = {}, body }: Sent): Promise<Raw> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: server.port, method, path, headers };
    const request = httpRequest(options, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += String(chunk)));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text, headers: response.headers }),
      );
    });
    request.on('error', reject);
    request.end(body);
  });
}

const items = '/dbs/d/colls/items/docs';
const inP = { 'x-ms-documentdb-partitionkey': '["p"]' };
const asQuery = { 'content-type': 'application/query+json', 'x-ms-documentdb-isquery': 'true' };
const asBatch = {
  ...inP,
  'x-ms-cosmos-is-batch-request': 'true',
  'x-ms-cosmos-batch-atomic': 'true',
};

test('200 writers with If-Match on one item: each commits once, none is lost', async () => {
  const container = await containerOf(await start());
  await container.items.create({ id: 'head', pk: 'p', seq: 0 });
  const commit = async (writer: number): Promise<void> => {
    for (;;) {
      const { resource, etag } = await container.item('head', 'p').read();
      const seq: number = resource.seq + 1;
      const { code } = await container.items.batch(
        [
          { operationType: 'Create', resourceBody: { id: `e${seq}-${writer}`, pk: 'p', seq } },
          {
            operationType: 'Replace',
            id: 'head',
            ifMatch: etag,
            resourceBody: { id: 'head', pk: 'p', seq },
          },
        ],
        'p',
      );
      if (code === 200) return;
      expect(code).toBe(207);
    }
  };

  await Promise.all(Array.from({ length: 200 }, (_, writer) => commit(writer)));

  const query = "SELECT VALUE c.seq FROM c WHERE STARTSWITH(c.id, 'e')";
  const { resources } = await container.items.query(query, { partitionKey: 'p' }).fetchAll();
  const committed = (resources as number[]).toSorted((a, b) => a - b);
  expect(committed).toEqual(Array.from({ length: 200 }, (_, at) => at + 1));
  expect((await container.item('head', 'p').read()).resource.seq).toBe(200);
});

test('one failing write in a shared commit spoils no other', async () => {
  const container = await containerOf(await start());
  const ids = ['a', 'b', 'a', 'c', 'b'];

  const statuses = await Promise.all(
    ids.map((id) => statusOf(container.items.create({ id, pk: 'p' }))),
  );

  expect(statuses.filter((status) => status === 409)).toHaveLength(2);
  const all = await container.items.query('SELECT VALUE c.id FROM c').fetchAll();
  expect(all.resources.toSorted()).toEqual(['a', 'b', 'c']);
});

test('before refuses without effect, after hides an effect', async () => {
  const seen: CosmosRequestInfo[] = [];
  let fault: 'before' | 'after' | undefined;
  const server = await start({
    intercept: {
      before(request) {
        seen.push(request);
        if (fault === 'before' && request.kind === 'batch') throw new CosmosFault(503);
      },
      after(request, status) {
        if (fault === 'after' && request.kind === 'create') {
          expect(status).toBe(201);
          throw new CosmosFault(412);
        }
      },
    },
  });
  const container = await containerOf(server);
  const operations = [{ operationType: 'Create', resourceBody: { id: 'x', pk: 'p' } }] as const;

  fault = 'before';
  const path = items;
  const refused = await raw(server, {
    method: 'POST',
    path,
    headers: asBatch,
    body: JSON.stringify(operations),
  });
  fault = 'after';
  const hidden = await statusOf(container.items.create({ id: 'y', pk: 'p' }));
  fault = undefined;

  expect([refused.status, hidden]).toEqual([503, 412]);
  expect((await container.item('x', 'p').read()).statusCode).toBe(404);
  expect((await container.item('y', 'p').read()).statusCode).toBe(200);
  expect(seen.find((request) => request.kind === 'batch')).toMatchObject({
    database: 'd',
    container: 'items',
    partitionKey: ['p'],
    operations: [{ operationType: 'Create', resourceBody: { id: 'x' } }],
  });
});

test('a reset after the commit loses the answer, not the item', async () => {
  let isResetting = false;
  const server = await start({
    intercept: {
      after() {
        if (isResetting) throw new CosmosFault(0, { reset: true });
      },
    },
  });
  const container = await containerOf(server);
  isResetting = true;
  const sent = { method: 'POST', path: items, headers: inP, body: '{"id":"a","pk":"p"}' };
  await expect(raw(server, sent)).rejects.toThrow();
  isResetting = false;

  expect((await container.item('a', 'p').read()).statusCode).toBe(200);
});

test('a write that waited while its container was deleted is 404', async () => {
  let release = (): void => {};
  const waiting = new Promise<void>((resolve) => (release = resolve));
  let arrived = (): void => {};
  const isWaiting = new Promise<void>((resolve) => (arrived = resolve));
  const server = await start({
    intercept: {
      before(request) {
        if (request.kind !== 'create') return;
        arrived();
        return waiting;
      },
    },
  });
  const container = await containerOf(server);
  const write = statusOf(container.items.create({ id: 'a', pk: 'p' }));
  await isWaiting;
  await container.delete();
  release();

  expect(await write).toBe(404);
});

test('a wrong key is refused, the right one serves every kind of request', async () => {
  const key = Buffer.from('a key of our own').toString('base64');
  const server = await start({ key });
  const container = await containerOf(server);
  await container.items.create({ id: 'ä b%', pk: 'p' });

  expect((await container.item('ä b%', 'p').read()).statusCode).toBe(200);
  expect((await container.items.query('SELECT * FROM c').fetchAll()).resources).toHaveLength(1);
  const stranger = clientOf(server, Buffer.from('another').toString('base64'));
  expect(await statusOf(stranger.database('d').read())).toBe(401);
  expect((await raw(server, { method: 'GET', path: '/dbs' })).status).toBe(401);
});

test('a busy port is told by code and port', async () => {
  const { port } = await start();

  await expect(startCosmos({ file: ':memory:', port })).rejects.toMatchObject({
    code: 'EADDRINUSE',
    port,
  });
});

test('the charge of every answer is counted', async () => {
  const server = await start();
  const container = await containerOf(server);
  const before = server.usage();

  const created = await container.items.create({ id: 'a', pk: 'p', n: 1 });
  const read = await container.item('a', 'p').read();

  const after = server.usage();
  expect(after.requests - before.requests).toBe(2);
  const units = after.requestUnits - before.requestUnits;
  expect(units).toBeCloseTo(created.requestCharge + read.requestCharge, 1);
  expect(after.perKind['read']).toBeCloseTo(read.requestCharge, 1);
});

test('a container that was given a throughput answers 429 until its units are back', async () => {
  const clock = virtualClock();
  const server = await start({ clock });
  await containerOf(server, { throughput: 400 });
  const body = (id: number) => JSON.stringify({ id: `i${id}`, pk: 'p', b: 'x'.repeat(100_000) });
  const create = (id: number) =>
    raw(server, { method: 'POST', path: items, headers: inP, body: body(id) });

  const statuses: number[] = [];
  for (let id = 0; id < 20; id++) statuses.push((await create(id)).status);
  const refused = await create(99);
  await clock.advance(1_000);

  expect(new Set(statuses)).toEqual(new Set([201, 429]));
  expect(refused.headers['x-ms-substatus']).toBe('3200');
  expect(Number(refused.headers['x-ms-retry-after-ms'])).toBeGreaterThan(0);
  expect((await create(100)).status).toBe(201);
});

test('a session token of a later time than the data is 404/1002', async () => {
  const server = await start();
  const container = await containerOf(server);
  await container.items.create({ id: 'a', pk: 'p' });
  const read = (token: string) =>
    raw(server, {
      method: 'GET',
      path: `${items}/a`,
      headers: { ...inP, 'x-ms-session-token': token },
    });

  expect((await read('0:-1#1')).status).toBe(200);
  const later = await read('0:-1#999999999');
  expect([later.status, later.headers['x-ms-substatus']]).toEqual([404, '1002']);
});

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
