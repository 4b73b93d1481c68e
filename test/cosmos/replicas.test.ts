// What runs beside the event loop: the same answers as on it, each from one snapshot.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Container } from '@azure/cosmos';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Replicas } from '../../infra/local/cosmos/replicas.ts';
import type { Request } from '../../infra/local/cosmos/request.ts';
import { startCosmos } from '../../infra/local/cosmos/server.ts';
import { Storage } from '../../infra/local/cosmos/storage.ts';
import { statusOf } from '../contract/cosmos.contract.ts';
import { until } from '../support/until.ts';
import { asQuery, closeAll, containerOf, inP, items, raw, start } from './server-under-test.ts';

let folder: string;
let file: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cosmos-'));
  file = join(folder, 'cosmos.sqlite');
});

afterEach(async () => {
  await closeAll();
  await rm(folder, { recursive: true, force: true });
});

async function fill(container: Container, count: number, pk = 'p'): Promise<void> {
  for (let from = 0; from < count; from += 100) {
    const operations = Array.from({ length: Math.min(100, count - from) }, (_, at) => ({
      operationType: 'Create' as const,
      resourceBody: { id: `i${from + at}`, pk, n: from + at, status: `s${(from + at) % 700}` },
    }));
    expect((await container.items.batch(operations, pk)).code).toBe(200);
  }
}

async function valuesOf(container: Container, query: string): Promise<unknown[]> {
  return (await container.items.query(query).fetchAll()).resources;
}

test('a query over all partitions sees every write that was answered before it', async () => {
  const container = await containerOf(await start({ file }));
  for (let at = 0; at < 30; at++) {
    await container.items.create({ id: `i${at}`, pk: `p${at}` });
    expect(await valuesOf(container, `SELECT VALUE c.id FROM c WHERE c.pk = 'p${at}'`)).toEqual([
      `i${at}`,
    ]);
  }
});

test('a query over all partitions never sees half of a batch', async () => {
  const container = await containerOf(await start({ file }));
  let isWriting = true;
  const write = async (pk: string): Promise<void> => {
    for (let at = 0; isWriting; at++) {
      const both = ['a', 'b'].map((name) => ({
        operationType: 'Upsert' as const,
        resourceBody: { id: `${name}${at % 20}`, pk, at },
      }));
      await container.items.batch(both, pk);
    }
  };
  const writers = ['p', 'q', 'r'].map(write);
  for (let round = 0; round < 15; round++) {
    const query = 'SELECT c.pk, c.at, COUNT(1) AS n FROM c GROUP BY c.pk, c.at';
    for (const group of await valuesOf(container, query)) expect(group).toMatchObject({ n: 2 });
  }
  isWriting = false;
  await Promise.all(writers);
});

test('an error of a query is the same as on the event loop', async () => {
  const server = await start({ file });
  await containerOf(server);
  const body = JSON.stringify({ query: 'SELECT * FROM c WHERE c.' });

  const { status, text } = await raw(server, {
    method: 'POST',
    path: items,
    headers: asQuery,
    body,
  });

  expect(status).toBe(400);
  expect(text).toContain('Syntax error');
});

test('a large container is dropped, changed and made again while others are written', async () => {
  const server = await start({ file });
  const container = await containerOf(server);
  const other = await containerOf(server, { id: 'other' });
  await fill(container, 2500);
  const writes: Promise<number>[] = [];
  const write = (at: number) => statusOf(other.items.create({ id: `o${at}`, pk: 'p' }));

  const { resource } = await container.read();
  const changed = container.replace({ ...resource!, defaultTtl: 1000 });
  for (let at = 0; at < 20; at++) writes.push(write(at));
  await changed;
  const deleted = container.delete();
  for (let at = 20; at < 40; at++) writes.push(write(at));
  await deleted;

  expect(new Set(await Promise.all(writes))).toEqual(new Set([0]));
  expect((await container.item('i1', 'p').read()).statusCode).toBe(404);
  expect(await statusOf(container.items.create({ id: 'late', pk: 'p' }))).toBe(404);
  const again = await containerOf(server);
  await fill(again, 100);
  expect(await valuesOf(again, 'SELECT VALUE COUNT(1) FROM c')).toEqual([100]);
  expect(await valuesOf(other, 'SELECT VALUE COUNT(1) FROM c')).toEqual([40]);
});

test('a path asked for in a large container gets an index and keeps its answers', async () => {
  const server = await start({ file });
  const container = await containerOf(server);
  await fill(container, 2100);
  const query = "SELECT VALUE c.n FROM c WHERE c.status = 's69'";
  const before = await valuesOf(container, query);
  await container.items.create({ id: 'new', pk: 'q', n: 9999, status: 's69' });
  const metrics = async () => {
    const body = JSON.stringify({ query });
    const headers = { ...asQuery, 'x-ms-documentdb-populatequerymetrics': 'true' };
    const page = await raw(server, { method: 'POST', path: items, headers, body });
    return String(page.headers['x-ms-documentdb-query-metrics']);
  };

  expect(new Set(before)).toEqual(new Set([69, 769, 1469]));
  // It is made beside everything else; a page then looks at what it gives.
  await until(metrics, (seen) => seen.includes('retrievedDocumentCount=4;'));
  expect(await valuesOf(container, query)).toEqual([69, 769, 1469, 9999]);
  await container.item('i69', 'p').delete();
  expect(await valuesOf(container, query)).toEqual([769, 1469, 9999]);
});

test('the WAL is copied while writes go on, and starts over', async () => {
  const storage = new Storage(file);
  const replicas = new Replicas(storage, { walPagesMax: 100 });
  const put = storage.sql.prepare('INSERT OR REPLACE INTO meta VALUES(?,?)');
  const write = (at: number) => storage.write(() => put.run(`x${at % 50}`, 'x'.repeat(9000)));
  const pages = () => Number(storage.sql.prepare('PRAGMA wal_checkpoint(NOOP)').get()?.['log']);
  let longest = 0;
  for (let at = 0; at < 300; at++) {
    await write(at);
    longest = Math.max(longest, pages());
  }

  expect(longest).toBeGreaterThan(100);
  // As soon as a checkpoint has caught up the next write begins at its start.
  await until(
    async () => {
      for (let at = 0; at < 16; at++) await write(at);
      return pages();
    },
    (now) => now < longest,
  );
  await replicas.close();
  storage.close();
});

test('a second server on the same file is refused by name', async () => {
  const first = await start({ file });
  await containerOf(first);

  await expect(startCosmos({ file, port: 0 })).rejects.toThrow(/in use by another server/);
  await closeAll();
  const next = await start({ file });
  expect((await (await containerOf(next)).read()).statusCode).toBe(200);
});

test('several servers in one process keep to themselves, in memory and on disk', async () => {
  const servers = await Promise.all([
    start(),
    start(),
    start({ file }),
    start({ file: join(folder, 'other.sqlite') }),
  ]);
  const containers = await Promise.all(servers.map((server) => containerOf(server)));
  await Promise.all(
    containers.map((container, at) => container.items.create({ id: `i${at}`, pk: 'p' })),
  );

  expect(new Set(servers.map(({ port }) => port)).size).toBe(4);
  for (const [at, container] of containers.entries()) {
    expect(await valuesOf(container, 'SELECT VALUE c.id FROM c')).toEqual([`i${at}`]);
  }
});

const requestOf = (query: string): Request => ({
  ...{ method: 'POST', segments: ['dbs', 'd', 'colls', 'items', 'docs'], bodyBytes: 0 },
  ...{ nowMs: Date.now(), endpoint: 'http://localhost/', body: { query } },
  headers: { ...inP, ...asQuery },
});

const joins = ['t', 'u', 'v'].map((name) => `JOIN ${name} IN c.list`).join(' ');
const slow = "LENGTH(REVERSE(REPLICATE('abc', 3000 + t + u + v))) = 1";
/** A million combinations: seconds. */
const large = requestOf(`SELECT VALUE COUNT(1) FROM c ${joins} WHERE ${slow}`);

/** The storage of a server that has ended, with one item whose list makes `large` large. */
async function preparedStorage(): Promise<Storage> {
  const container = await containerOf(await start({ file }));
  await container.items.create({ id: 'a', pk: 'p', list: Array.from({ length: 100 }, () => 1) });
  await closeAll();
  return new Storage(file);
}

test('a query that takes too long ends alone: 408, and the next one is answered', async () => {
  const storage = await preparedStorage();
  const replicas = new Replicas(storage, { requestMsMax: 400 });

  await expect(replicas.read(large)).rejects.toMatchObject({ status: 408 });
  const reply = await replicas.read(requestOf('SELECT VALUE c.id FROM c'));

  expect(Buffer.from(reply.bytes ?? []).toString()).toContain('"Documents":["a"]');
  await replicas.close();
  storage.close();
});

test('no write waits for queries, however many take all threads', async () => {
  const storage = await preparedStorage();
  const replicas = new Replicas(storage);
  let ended = 0;
  const queries = Array.from({ length: 12 }, () =>
    replicas
      .read(large)
      .catch(() => {})
      .then(() => ended++),
  );
  const put = { ...large, method: 'PUT', segments: ['dbs', 'd', 'colls', 'items'] };
  const body = { id: 'items', partitionKey: { paths: ['/pk'] }, defaultTtl: 5 };

  expect((await replicas.write({ ...put, body, headers: {} })).status).toBe(200);
  await storage.write(() => storage.sql.exec("INSERT INTO meta VALUES('x',1)"));
  expect(ended).toBeLessThan(12);

  await replicas.close();
  await Promise.all(queries);
  storage.close();
});
