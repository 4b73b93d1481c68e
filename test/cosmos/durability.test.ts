// kill -9 of the server: what was answered is there, and no half of a batch ever is.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { CosmosClient, type Container } from '@azure/cosmos';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { prng } from '../support/prng.ts';

const program = new URL('crash-child.ts', import.meta.url).pathname;
const connectionPolicy = { retryOptions: { maxRetryAttemptCount: 0 } as never };

let folder: string;
let child: ChildProcess | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cosmos-'));
});

afterEach(async () => {
  await kill();
  await rm(folder, { recursive: true, force: true });
});

async function start(): Promise<CosmosClient> {
  child = spawn(process.execPath, [program, join(folder, 'cosmos.db')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (!child.stdout) throw new Error('no output');
  const [connectionString] = await once(createInterface(child.stdout), 'line');
  return new CosmosClient({ connectionString: String(connectionString), connectionPolicy });
}

async function kill(): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

async function open(client: CosmosClient): Promise<Container> {
  const { database } = await client.databases.createIfNotExists({ id: 'd' });
  const definition = { id: 'items', partitionKey: '/pk' };
  return (await database.containers.createIfNotExists(definition)).container;
}

/** Commits batches on one key until the server dies; returns how many were answered. */
async function commitUntilDead(container: Container, pk: string, killAt: number): Promise<number> {
  let { resource } = await container.item('head', pk).read();
  resource ??= (await container.items.create({ id: 'head', pk, seq: 0 })).resource;
  let answered: number = resource.seq;
  let etag: string = resource._etag;
  try {
    for (;;) {
      const seq = answered + 1;
      const { code, result } = await container.items.batch(
        [
          { operationType: 'Create', resourceBody: { id: `event${seq}`, pk } },
          {
            operationType: 'Replace',
            id: 'head',
            ifMatch: etag,
            resourceBody: { id: 'head', pk, seq },
          },
        ],
        pk,
      );
      if (code !== 200) throw new Error(`batch was answered ${code}`);
      answered = seq;
      etag = String(result?.[1]?.eTag);
      if (pk === 'p0' && seq >= killAt) child?.kill('SIGKILL');
    }
  } catch (error) {
    if (String(error).includes('batch was answered')) throw error;
    return answered;
  }
}

test('after kill -9 every answered batch is there, and none by half', async () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
  const random = prng(seed);
  const keys = ['p0', 'p1', 'p2', 'p3'];
  let answered = keys.map(() => 0);
  for (let round = 0; round < 4; round++) {
    const client = await start();
    const container = await open(client);
    for (const [at, pk] of keys.entries()) {
      const { resource } = await container.item('head', pk).read();
      const events = container.items.query(
        "SELECT VALUE COUNT(1) FROM c WHERE STARTSWITH(c.id, 'event')",
        { partitionKey: pk },
      );
      const [count] = (await events.fetchAll()).resources;
      const where = `seed=${seed} round=${round} key=${pk}`;
      expect(count, where).toBe(resource?.seq ?? 0);
      expect(count, where).toBeGreaterThanOrEqual(answered[at] ?? 0);
    }
    const killAt = (answered[0] ?? 0) + 1 + random.below(80);
    answered = await Promise.all(keys.map((pk) => commitUntilDead(container, pk, killAt)));
    client.dispose();
    await kill();
    expect(answered[0], `seed=${seed}`).toBeGreaterThanOrEqual(killAt);
  }
});

test('the write order never falls back, not even when the newest items are gone', async () => {
  const first = await start();
  const container = await open(first);
  await container.items.create({ id: 'a', pk: 'p' });
  const last = await container.item('a', 'p').delete();
  await kill();
  first.dispose();

  const second = await start();
  const again = await (await open(second)).items.create({ id: 'b', pk: 'p' });
  second.dispose();

  const position = (token: unknown) => Number(String(token).split('#')[1]);
  expect(position(again.headers['x-ms-session-token'])).toBeGreaterThan(
    position(last.headers['x-ms-session-token']),
  );
});
