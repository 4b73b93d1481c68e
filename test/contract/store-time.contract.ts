// Claims about the life of items [H12]: seconds of `ttl` count from the last write.
import { expect } from 'vitest';
import { itemIds } from '../../shared/store/items.ts';
import type { Claim, StoreTarget } from './store-claims.ts';
import { applyTo, create, freshId, gateItem, inboxItem, seenItem } from './store-items.ts';

const all = { from: 1, to: 100, limit: 100 };

/** Cosmos counts in whole seconds: tests stay two seconds away from every edge. */
async function pass(target: StoreTarget, seconds: number): Promise<void> {
  if (!target.advance) throw new Error('this target cannot move its clock');
  await target.advance(seconds * 1000);
}

export function timeClaims(claim: Claim): void {
  claim(
    'an item is absent from every read once its ttl has passed since its last write',
    async (target) => {
      const { store } = target;
      const id = freshId();
      await create(store, [
        seenItem(id, 'm-1', { ttl: 60, repeats: 5 }),
        inboxItem(id, 1, { ttl: 60 }),
        inboxItem(id, 2, { ttl: 60 }),
        inboxItem(id, 3),
      ]);
      await pass(target, 40);
      await applyTo(store, id, [{ kind: 'set', id: itemIds.inbox(2), fields: { attempts: 1 } }]);
      expect(await store.readInbox(id, all)).toHaveLength(3);
      await pass(target, 22);

      expect(await store.readSeen(id, 'm-1')).toBeUndefined();
      expect(await store.countRepeats(id)).toBe(0);
      expect((await store.readInbox(id, all)).map(({ position }) => position)).toEqual([2, 3]);
      expect(await store.readInbox(id, { from: 1, to: 1, limit: 1 })).toEqual([]);
      expect((await store.listMessages(id, { from: 1, limit: 9 })).items).toHaveLength(2);
      await pass(target, 40);
      expect((await store.readInbox(id, all)).map(({ position }) => position)).toEqual([3]);
    },
  );

  claim('a set of ttl starts the time of an item that had none', async (target) => {
    const { store } = target;
    const id = freshId();
    await create(store, [seenItem(id, 'm-1')]);
    await pass(target, 20_000);
    await applyTo(store, id, [{ kind: 'set', id: itemIds.seen('m-1'), fields: { ttl: 3600 } }]);
    await pass(target, 3598);
    expect(await store.readSeen(id, 'm-1')).toMatchObject({ ttl: 3600 });
    await pass(target, 4);

    expect(await store.readSeen(id, 'm-1')).toBeUndefined();
  });

  claim(
    'an expired id can be created again, and nothing else can be done to it',
    async (target) => {
      const { store } = target;
      const id = freshId();
      const seen = seenItem(id, 'm-1', { ttl: 10 });
      const [etag = ''] = await create(store, [seen]);
      await pass(target, 12);

      const failed = { applied: false, failed: 0, status: 404 };
      expect(await store.batch(id, [{ kind: 'delete', id: seen.id }])).toEqual(failed);
      expect(await store.batch(id, [{ kind: 'replace', item: seen, ifMatch: etag }])).toEqual(
        failed,
      );
      const fields = { repeats: 1 };
      expect(await store.batch(id, [{ kind: 'set', id: seen.id, fields }])).toEqual(failed);
      await create(store, [seenItem(id, 'm-1', { position: 2 })]);
      expect((await store.readSeen(id, 'm-1'))?.position).toBe(2);
    },
  );

  claim('a ttl of -1 and no ttl at all keep an item', async (target) => {
    const { store } = target;
    const id = freshId();
    await create(store, [gateItem(id), seenItem(id, 'm-1', { ttl: -1 })]);
    await pass(target, 20_000);

    expect(await store.readGate(id)).toBeDefined();
    expect(await store.readSeen(id, 'm-1')).toBeDefined();
  });
}
