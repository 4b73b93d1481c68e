// The server itself: atomicity under load, faults, keys, ports, charges.
import { createHmac } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, expect, test } from 'vitest';
import {
  CosmosFault,
  startCosmos,
  type CosmosRequestInfo,
} from '../../infra/local/cosmos/server.ts';
import { virtualClock } from '../../shared/clock.ts';
import { statusOf } from '../contract/cosmos.contract.ts';
import { until } from '../support/until.ts';
import {
  asBatch,
  clientOf,
  closeAll,
  containerOf,
  inP,
  items,
  raw,
  start,
} from './server-under-test.ts';

afterEach(closeAll);

test('200 writers with If-Match on five items: each commits once, none is lost', async () => {
  const container = await containerOf(await start());
  const heads = ['h0', 'h1', 'h2', 'h3', 'h4'];
  for (const id of heads) await container.items.create({ id, pk: 'p', seq: 0 });
  const commit = async (writer: number): Promise<void> => {
    const id = heads[writer % heads.length]!;
    for (;;) {
      const { resource, etag } = await container.item(id, 'p').read();
      const seq: number = resource.seq + 1;
      const event = { id: `e${seq}-${writer}`, pk: 'p', seq, head: id };
      const { code } = await container.items.batch(
        [
          { operationType: 'Create', resourceBody: event },
          { operationType: 'Replace', id, ifMatch: etag, resourceBody: { id, pk: 'p', seq } },
        ],
        'p',
      );
      if (code === 200) return;
      expect(code).toBe(207);
    }
  };

  await Promise.all(Array.from({ length: 200 }, (_, writer) => commit(writer)));

  for (const id of heads) {
    const query = `SELECT VALUE c.seq FROM c WHERE c.head = '${id}'`;
    const { resources } = await container.items.query(query, { partitionKey: 'p' }).fetchAll();
    const committed = (resources as number[]).toSorted((a, b) => a - b);
    expect(committed).toEqual(Array.from({ length: 40 }, (_, at) => at + 1));
    expect((await container.item(id, 'p').read()).resource.seq).toBe(40);
  }
});

test('one failing write in a shared commit spoils no other', async () => {
  const container = await containerOf(await start());
  const ids = ['a', 'b', 'a', 'c', 'b'];

  const statuses = await Promise.all(
    ids.map((id) => statusOf(container.items.create({ id, pk: 'p' }))),
  );

  expect(statuses.filter((status) => status === 409)).toHaveLength(2);
  const all = await container.items.query('SELECT VALUE c.id FROM c').fetchAll();
  expect(new Set(all.resources)).toEqual(new Set(ids));
  expect(all.resources).toHaveLength(3);
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

test('a signature is good for 15 minutes, before and after its date', async () => {
  const key = Buffer.from('a key of our own').toString('base64');
  const server = await start({ key });
  const list = async (minutesAgo: number): Promise<number> => {
    const date = new Date(Date.now() - minutesAgo * 60_000).toUTCString();
    const signature = createHmac('sha256', Buffer.from(key, 'base64'))
      .update(`get\ndbs\n\n${date.toLowerCase()}\n\n`)
      .digest('base64');
    const authorization = encodeURIComponent(`type=master&ver=1.0&sig=${signature}`);
    const headers = { authorization, 'x-ms-date': date };
    return (await raw(server, { method: 'GET', path: '/dbs', headers })).status;
  };

  expect(await Promise.all([0, 14, -14, 16, -16].map(list))).toEqual([200, 200, 200, 403, 403]);
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

test('containers without a throughput share that of their database', async () => {
  const clock = virtualClock();
  const server = await start({ clock });
  const client = clientOf(server);
  const { database } = await client.databases.create({ id: 'd', maxThroughput: 1000 });
  for (const id of ['a', 'b', 'own']) {
    const own = id === 'own' && { throughput: 400 };
    await database.containers.create({ id, partitionKey: '/pk', ...own });
  }
  const create = async (id: string, at: number) => {
    const body = JSON.stringify({ id: `i${at}`, pk: 'p', b: 'x'.repeat(100_000) });
    const path = `/dbs/d/colls/${id}/docs`;
    return (await raw(server, { method: 'POST', path, headers: inP, body })).status;
  };
  let admitted = 0;
  while ((await create('a', admitted)) === 201) admitted++;

  expect(await create('b', 0)).toBe(429);
  expect(await create('own', 0)).toBe(201);
  await clock.advance(1000);
  expect(await create('b', 0)).toBe(201);
  // 36 units each: a thousand units are a second's worth.
  expect(admitted).toBeGreaterThan(20);
  expect(admitted).toBeLessThan(40);
  await clock.advance(1000);
  const { resource } = await database.readOffer();
  const content = { ...resource!.content!, offerAutopilotSettings: { maxThroughput: 4000 } };
  await client.offer(resource!.id!).replace({ ...resource!, content } as never);
  await clock.advance(1000);
  let more = 0;
  while ((await create('b', 100 + more)) === 201) more++;
  expect(more).toBeGreaterThan(2 * admitted);
});

test('the client library waits out 429 by itself and loses nothing', async () => {
  let refused = 0;
  const after = (_: CosmosRequestInfo, status: number): void => {
    if (status === 429) refused++;
  };
  const server = await start({ intercept: { after } });
  const container = await containerOf(server, { throughput: 400 });
  const create = (at: number) =>
    container.items.create({ id: `i${at}`, pk: 'p', b: 'x'.repeat(100_000) });

  await Promise.all(Array.from({ length: 18 }, (_, at) => create(at)));

  expect(refused).toBeGreaterThan(0);
  const count = await container.items
    .query('SELECT VALUE COUNT(1) FROM c', { partitionKey: 'p' })
    .fetchAll();
  expect(count.resources).toEqual([18]);
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

  for (const known of ['0:-1#1', '0:-1#-1', '0:1', '0:-1#1,1:-1#1']) {
    expect([known, (await read(known)).status]).toEqual([known, 200]);
  }
  expect((await read('junk')).status).toBe(400);
  expect((await read('0:-1#1,1:-1#999999999')).status).toBe(404);
  const later = await read('0:-1#999999999');
  expect([later.status, later.headers['x-ms-substatus']]).toEqual([404, '1002']);
});

test('what has expired is deleted in small steps, all of it at the next sweep', async () => {
  const clock = virtualClock();
  const folder = await mkdtemp(join(tmpdir(), 'cosmos-'));
  const file = join(folder, 'cosmos.sqlite');
  const container = await containerOf(await start({ clock, file }), { defaultTtl: 10 });
  for (let from = 0; from < 700; from += 100) {
    const operations = Array.from({ length: 100 }, (_, at) => ({
      operationType: 'Create' as const,
      resourceBody: { id: `i${from + at}`, pk: 'p', ...(from + at === 0 && { ttl: -1 }) },
    }));
    await container.items.batch(operations, 'p');
  }
  await clock.advance(16_000);
  const left = (): number => {
    const sql = new DatabaseSync(file, { readOnly: true });
    const count = Number(sql.prepare('SELECT count(*) AS n FROM items_1').get()?.['n']);
    sql.close();
    return count;
  };

  expect(await until(left, (count) => count === 1)).toBe(1);
  expect((await container.item('i0', 'p').read()).statusCode).toBe(200);
  await closeAll();
  await rm(folder, { recursive: true, force: true });
});
