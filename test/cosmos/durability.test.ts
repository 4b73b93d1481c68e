// What a restart keeps beside the items.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CosmosClient, type Container } from '@azure/cosmos';
import { expect, test } from 'vitest';
import { ServerProcess } from './server-process.ts';

async function open(client: CosmosClient): Promise<Container> {
  const { database } = await client.databases.createIfNotExists({ id: 'd' });
  const definition = { id: 'items', partitionKey: '/pk' };
  return (await database.containers.createIfNotExists(definition)).container;
}

test('the write order never falls back, not even when the newest items are gone', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'cosmos-'));
  const file = join(folder, 'cosmos.sqlite');
  const first = await ServerProcess.start(file);
  const before = new CosmosClient(first.connectionString);
  const container = await open(before);
  await container.items.create({ id: 'a', pk: 'p' });
  const last = await container.item('a', 'p').delete();
  await first.kill();
  before.dispose();

  const second = await ServerProcess.start(file);
  const after = new CosmosClient(second.connectionString);
  const again = await (await open(after)).items.create({ id: 'b', pk: 'p' });
  after.dispose();
  await second.kill();
  await rm(folder, { recursive: true, force: true });

  const position = (token: unknown) => Number(String(token).split('#')[1]);
  expect(position(again.headers['x-ms-session-token'])).toBeGreaterThan(
    position(last.headers['x-ms-session-token']),
  );
});
