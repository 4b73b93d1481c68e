// kill -9 in mid-traffic, a full disk, a file that cannot be written.
//
// ROUNDS=20 SEED=n repeats what `npm test` does three times; a failure names its seed.
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { CosmosClient, type Container, type JSONObject } from '@azure/cosmos';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Storage } from '../../infra/local/cosmos/storage.ts';
import { prng, type Prng } from '../support/prng.ts';
import { until } from '../support/until.ts';
import { ServerProcess } from './server-process.ts';
import { closeAll, containerOf, start } from './server-under-test.ts';

const rounds = Number(process.env['ROUNDS'] ?? 3);
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const connectionPolicy = { retryOptions: { maxRetryAttemptCount: 0 } as never };

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

function clientOf(server: ServerProcess): CosmosClient {
  return new CosmosClient({ connectionString: server.connectionString, connectionPolicy });
}

async function open(client: CosmosClient): Promise<Container> {
  const { database } = await client.databases.createIfNotExists({ id: 'd' });
  const definition = { id: 'items', partitionKey: '/pk' };
  return (await database.containers.createIfNotExists(definition)).container;
}

/** One key's items as the server must have them: what was answered, or one step further. */
interface Model {
  pk: string;
  answered: number;
  random: Prng;
}

// Step n: event n comes, event n-40 goes, the head counts, its tail is patched. All or nothing.
function stepOf({ pk, random }: Model, seq: number, etag: string): object[] {
  const text = 'x'.repeat(random.below(3000));
  const event: JSONObject = { id: `event${seq}`, pk, seq, text };
  return [
    { operationType: 'Create', resourceBody: event },
    ...(seq > 40 ? [{ operationType: 'Delete', id: `event${seq - 40}` }] : []),
    { operationType: 'Replace', id: 'head', ifMatch: etag, resourceBody: { id: 'head', pk, seq } },
    {
      operationType: 'Patch',
      id: 'tail',
      resourceBody: { operations: [{ op: 'incr', path: '/seq', value: 1 }] },
    },
  ];
}

async function workUntilDead(container: Container, model: Model): Promise<void> {
  const { pk } = model;
  try {
    let etag = (await container.item('head', pk).read()).etag;
    if (etag === undefined) {
      await container.items.create({ id: 'tail', pk, seq: 0 });
      etag = (await container.items.create({ id: 'head', pk, seq: 0 })).etag;
    }
    for (let seq = model.answered + 1; ; seq++) {
      const step = stepOf(model, seq, etag);
      const { code, result } = await container.items.batch(step as never, pk);
      if (code !== 200) throw new Error(`step ${seq} of ${pk} was answered ${code}`);
      model.answered = seq;
      etag = String(result?.at(-2)?.eTag);
    }
  } catch (error) {
    if (String(error).includes('was answered')) throw error;
  }
}

/** Large reads, so that replicas work while the process dies. */
async function askUntilDead(container: Container): Promise<void> {
  try {
    for (;;)
      await container.items.query('SELECT c.pk, COUNT(1) AS n FROM c GROUP BY c.pk').fetchAll();
  } catch {
    // That it died is the end.
  }
}

// Looked at with SQLite itself: no word of the server is taken for it.
function assertWhole(models: readonly Model[], where: string): void {
  const sql = new DatabaseSync(file);
  expect(sql.prepare('PRAGMA integrity_check').get(), where).toEqual({ integrity_check: 'ok' });
  const all = sql.prepare('SELECT pk,id,body FROM items_1').all();
  sql.close();
  for (const model of models) {
    const own = all.filter(({ pk }) => pk === JSON.stringify([model.pk]));
    const items = own.map(({ body }) => JSON.parse(String(body)) as { id: string; seq: number });
    const seqOf = (id: string): number | undefined => items.find((item) => item.id === id)?.seq;
    const seq = seqOf('head') ?? 0;
    const events = items.filter(({ id }) => id.startsWith('event')).map((event) => event.seq);
    const wanted = Array.from({ length: Math.min(seq, 40) }, (_, at) => seq - at);

    expect(seq, where).toBeGreaterThanOrEqual(model.answered);
    expect(seq, where).toBeLessThanOrEqual(model.answered + 1);
    expect(seqOf('tail') ?? 0, where).toBe(seq);
    expect(
      events.toSorted((a, b) => b - a),
      where,
    ).toEqual(wanted);
    model.answered = seq;
  }
}

test(
  `kill -9 in mid-traffic, ${rounds} rounds: nothing torn, nothing answered is lost`,
  async () => {
    const random = prng(seed);
    const models = ['p0', 'p1', 'p2', 'p3', 'p4', 'p5'].map((pk) => ({ pk, answered: 0, random }));
    for (let round = 0; round < rounds; round++) {
      await using server = await ServerProcess.start(file);
      const client = clientOf(server);
      const container = await open(client);
      const traffic = [...models.map((model) => workUntilDead(container, model))];
      traffic.push(askUntilDead(container));
      const before = models.map(({ answered }) => answered);
      await until(
        () => models.every(({ answered }, at) => answered > (before[at] ?? 0)),
        (areAllUnderWay) => areAllUnderWay,
      );
      await pause(random.below(400));
      await server.kill();
      await Promise.all(traffic);
      client.dispose();
      assertWhole(models, `seed=${seed} round=${round}`);
    }
  },
  20_000 + rounds * 20_000,
);

test('a full file: 5xx that says so, all else goes on, deleting makes room again', async () => {
  const container = await containerOf(await start({ file, fileBytesMax: 1_000_000 }));
  const text = 'x'.repeat(50_000);
  const create = (id: string) => container.items.create({ id, pk: 'p', text });
  const made: string[] = [];
  let failure: { code?: unknown; message?: unknown } = {};
  for (let at = 0; at < 40 && failure.code === undefined; at++) {
    await create(`i${at}`).then(
      () => made.push(`i${at}`),
      (error: typeof failure) => (failure = error),
    );
  }

  expect(made.length).toBeGreaterThan(5);
  expect(Number(failure.code)).toBeGreaterThanOrEqual(500);
  expect(String(failure.message)).toContain('disk is full');
  for (const id of made) expect((await container.item(id, 'p').read()).statusCode).toBe(200);
  for (const id of made.splice(0, 3)) await container.item(id, 'p').delete();
  expect((await create('again')).statusCode).toBe(201);
  const count = await container.items.query('SELECT VALUE COUNT(1) FROM c').fetchAll();
  expect(count.resources).toEqual([made.length + 1]);
});

test('a disk that takes no more: 503, and whole again when there is room', async (context) => {
  // A limit on the size of files stands for the disk; only Linux lets us lift it from outside.
  if (spawnSync('prlimit', ['--version']).error) context.skip('there is no prlimit');
  await using server = await ServerProcess.start(file, ['prlimit', '--fsize=3000000:unlimited']);
  const client = clientOf(server);
  const container = await open(client);
  const text = 'x'.repeat(100_000);
  const create = (id: string) => container.items.create({ id, pk: 'p', text });
  let made = 0;
  let failure: { code?: unknown; message?: unknown } | undefined;
  while (!failure && made < 200) {
    await create(`i${made}`).then(
      () => made++,
      (error: NonNullable<typeof failure>) => (failure = error),
    );
  }
  spawnSync('prlimit', ['--fsize=unlimited', '--pid', String(server.pid)]);

  expect(made).toBeGreaterThan(5);
  expect(failure?.code).toBe(503);
  expect(String(failure?.message)).toContain('could not be committed');
  expect((await create('late')).statusCode).toBe(201);
  const count = await container.items.query('SELECT VALUE COUNT(1) FROM c').fetchAll();
  client.dispose();
  expect(count.resources).toEqual([made + 1]);
});

test('a file that turned read-only: 503 that says so, and writes again afterwards', async () => {
  const storage = new Storage(file);
  const insert = () => storage.sql.exec("INSERT INTO meta VALUES('x',1)");
  storage.sql.exec('PRAGMA query_only=ON');

  await expect(storage.write(insert)).rejects.toMatchObject({
    status: 503,
    message: expect.stringContaining('readonly') as unknown,
  });
  storage.sql.exec('PRAGMA query_only=OFF');
  await storage.write(insert);
  storage.close();
});

test('a folder that is not there is named', async () => {
  await expect(start({ file: join(folder, 'none', 'cosmos.sqlite') })).rejects.toThrow(
    /none.cosmos\.sqlite cannot be written/,
  );
});
