// Claims about what holds the items: databases, containers, their policies and throughput.
import type { ContainerRequest } from '@azure/cosmos';
import { expect } from 'vitest';
import { isThere, statusOf, type Claim } from './cosmos.contract.ts';

export function accountClaims(claim: Claim): void {
  claim('a database is made once, listed, asked for and deleted', async ({ client, target }) => {
    const id = `${target.databaseId}-other`;
    const { database } = await client.databases.create({ id });
    const again = await statusOf(client.databases.create({ id }));
    const query = {
      query: 'SELECT * FROM d WHERE d.id = @id',
      parameters: [{ name: '@id', value: id }],
    };
    const found = (await client.databases.query(query).fetchAll()).resources;
    await database.delete();

    expect([again, found.length]).toEqual([409, 1]);
    expect(await statusOf(database.read())).toBe(404);
    expect(await statusOf(client.databases.create({ id: 'x'.repeat(256) }))).toBe(400);
  });

  claim('a container keeps what it was made with', async ({ database }) => {
    const uniqueKeyPolicy = { uniqueKeys: [{ paths: ['/mail', '/inner/name'] }] };
    const made = await database.containers.create({
      id: 'kept',
      partitionKey: { paths: ['/inner/key'] },
      uniqueKeyPolicy,
      defaultTtl: 60,
      indexingPolicy: { includedPaths: [{ path: '/*' }], excludedPaths: [{ path: '/big/*' }] },
    });
    const { resource } = await made.container.read();

    expect(resource).toMatchObject({ uniqueKeyPolicy, defaultTtl: 60 });
    expect(resource?.partitionKey).toMatchObject({ paths: ['/inner/key'], kind: 'Hash' });
    const excluded = resource?.indexingPolicy?.excludedPaths?.map(({ path }) => path);
    expect(excluded).toEqual(['/big/*', '/"_etag"/?']);
    expect(await statusOf(database.containers.create({ id: 'kept' }))).toBe(409);
  });

  claim('a definition that cannot be is refused', async ({ database }) => {
    const bad: ContainerRequest[] = [
      { id: 'a/b', partitionKey: '/pk' },
      { id: 'a', partitionKey: '/p k' },
      { id: 'a', partitionKey: { paths: ['/pk/'] } },
      { id: 'a', partitionKey: { paths: ['/a', '/b'] } },
      { id: 'a', partitionKey: '/pk', defaultTtl: 0 },
      { id: 'a', partitionKey: '/pk', throughput: 410 },
      { id: 'a', partitionKey: '/pk', indexingPolicy: { includedPaths: [{ path: '/a/?' }] } },
    ];
    for (const definition of bad) {
      const create = async () => database.containers.create(definition);
      // The client refuses some by itself.
      const status = await statusOf(create()).catch(() => 400);
      expect([definition, status]).toEqual([definition, 400]);
    }
  });

  claim('a replaced container keeps its items and its keys', async ({ container }) => {
    await container.items.create({ id: 'a', pk: 'p' });
    const { resource } = await container.read();
    const other = { ...resource!, partitionKey: { paths: ['/other'] } };

    await container.replace({ ...resource!, defaultTtl: 1000 });

    expect(await statusOf(container.replace(other))).toBe(400);
    expect((await container.read()).resource).toMatchObject({ defaultTtl: 1000 });
    expect(await isThere(container, 'a')).toBe(true);
  });

  claim('throughput is read and changed', async ({ client, database }) => {
    const definition = { id: 'offered', partitionKey: '/pk', throughput: 500 };
    const { container } = await database.containers.create(definition);
    const { resource } = await container.readOffer();
    const offer = client.offer(resource!.id!);
    const asked = (offerThroughput: number) =>
      offer.replace({ ...resource!, content: { ...resource!.content!, offerThroughput } });

    await asked(900);

    expect(resource?.content?.offerThroughput).toBe(500);
    expect((await container.readOffer()).resource?.content?.offerThroughput).toBe(900);
    expect(await statusOf(asked(910))).toBe(400);
  });

  claim('autoscale is kept, and a database may have the throughput', async ({ client, target }) => {
    const id = `${target.databaseId}-shared`;
    const { database } = await client.databases.create({ id, maxThroughput: 2000 });
    const { container } = await database.containers.create({ id: 'in', partitionKey: '/pk' });
    try {
      const { resource } = await database.readOffer();
      expect(resource?.content?.offerAutopilotSettings).toMatchObject({ maxThroughput: 2000 });
      expect((await container.readOffer()).resource).toBeUndefined();
    } finally {
      await database.delete();
    }
  });

  claim('all items of a partition key are deleted at once', async ({ container }) => {
    for (const id of ['a', 'b']) await container.items.create({ id, pk: 'p' });
    await container.items.create({ id: 'a', pk: 'q' });

    await container.deleteAllItemsForPartitionKey('p');

    const there = [await isThere(container, 'a'), await isThere(container, 'a', 'q')];
    expect(there).toEqual([false, true]);
  });

  claim('no write conflicts where one region writes', async ({ container }) => {
    expect((await container.conflicts.readAll().fetchAll()).resources).toEqual([]);
  });
}
