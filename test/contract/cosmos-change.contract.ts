// Claims about patch, time to live and what answers carry.
import type { PatchOperation } from '@azure/cosmos';
import { expect } from 'vitest';
import { isThere, statusOf, type Claim } from './cosmos.contract.ts';

export function changeClaims(claim: Claim): void {
  claim('a patch changes paths in order', async ({ container }) => {
    // The service knows it, the client's types do not.
    const move = { op: 'move', from: '/t', path: '/moved' } as unknown as PatchOperation;
    const item = container.item('a', 'p');
    await container.items.create({ id: 'a', pk: 'p', n: 1, list: [1, 2, 3], o: { x: 1 }, t: 'x' });

    await item.patch([
      { op: 'add', path: '/list/-', value: 4 },
      { op: 'add', path: '/list/0', value: 0 },
      { op: 'set', path: '/o/y', value: { z: null } },
      { op: 'replace', path: '/list/1', value: 9 },
      { op: 'remove', path: '/o/x' },
      { op: 'incr', path: '/n', value: -3 },
      { op: 'incr', path: '/fresh', value: 2 },
      move,
    ]);

    const { resource } = await item.read();
    expect(resource).toMatchObject({ n: -2, list: [0, 9, 2, 3, 4], fresh: 2, moved: 'x' });
    expect([resource.o, 't' in resource]).toEqual([{ y: { z: null } }, false]);
  });

  claim('a patch applies whole or not', async ({ container }) => {
    const item = container.item('a', 'p');
    await container.items.create({ id: 'a', pk: 'p', n: 1, t: 'x' });
    const patches: PatchOperation[][] = [
      [
        { op: 'incr', path: '/n', value: 1 },
        { op: 'remove', path: '/none' },
      ],
      [{ op: 'replace', path: '/none', value: 1 }],
      [{ op: 'incr', path: '/t', value: 1 }],
      [{ op: 'add', path: '/no/where', value: 1 }],
      [{ op: 'set', path: '/_etag', value: 'x' }],
      [{ op: 'set', path: '/id', value: 'b' }],
      Array.from({ length: 11 }, () => ({ op: 'incr', path: '/n', value: 1 }) as const),
    ];

    for (const patch of patches) expect(await statusOf(item.patch(patch))).toBe(400);
    expect((await item.read()).resource).toMatchObject({ n: 1, t: 'x' });
  });

  claim('the condition of a patch is about this item only', async ({ container }) => {
    await container.items.create({ id: 'a', pk: 'p', state: 'Open', ownerId: 'w' });
    await container.items.create({ id: 'a', pk: 'q', state: 'Shut' });
    const patch = (condition: string) =>
      container
        .item('a', 'p')
        .patch({ condition, operations: [{ op: 'incr', path: '/n', value: 1 }] });

    expect((await patch("from c where c.state = 'Open'")).resource).toMatchObject({ n: 1 });
    expect(await statusOf(patch("from c where c.state = 'Shut'"))).toBe(412);
    expect(await statusOf(patch("from c where c.ownerId = 'selected'"))).toBe(412);
  });

  claim('an item expires by its own TTL, else by that of the container', async (world) => {
    const { container, target } = world;
    await container.items.create({ id: 'short', pk: 'p', ttl: 10 });
    await container.items.create({ id: 'never', pk: 'p' });
    await container.items.create({ id: 'always', pk: 'p', ttl: -1 });

    await target.pass(9_000);
    expect(await isThere(container, 'short')).toBe(true);
    await target.pass(2_000);

    expect(await isThere(container, 'short')).toBe(false);
    const ids = container.items.query('SELECT VALUE c.id FROM c', { partitionKey: 'p' });
    expect(new Set((await ids.fetchAll()).resources)).toEqual(new Set(['always', 'never']));
    expect((await container.items.create({ id: 'short', pk: 'p' })).statusCode).toBe(201);
    expect(await statusOf(container.items.create({ id: 'z', pk: 'p', ttl: 0 }))).toBe(400);
  });

  claim('a TTL set later counts from the last write', async ({ container, target }) => {
    await container.items.create({ id: 'a', pk: 'p' });
    await container.items.create({ id: 'b', pk: 'p', ttl: -1 });
    const { resource } = await container.read();
    await target.pass(5_000);
    await container.replace({ ...resource!, defaultTtl: 8 });

    expect(await isThere(container, 'a')).toBe(true);
    await target.pass(4_000);

    expect([await isThere(container, 'a'), await isThere(container, 'b')]).toEqual([false, true]);
  });

  claim('answers carry charge, session token and position', async ({ container }) => {
    const small = await container.items.create({ id: 'a', pk: 'p', b: 'x' });
    const large = await container.items.create({ id: 'b', pk: 'p', b: 'x'.repeat(100_000) });
    const read = await container.item('a', 'p').read();

    expect(small.requestCharge).toBeGreaterThan(read.requestCharge);
    expect(large.requestCharge).toBeGreaterThan(small.requestCharge);
    expect(large.headers['x-ms-session-token']).toMatch(/^\d+:\S*\d+$/);
  });
}
