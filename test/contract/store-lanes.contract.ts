// Claims about the layout of a convoy's lanes and the fences on their way to them.
import { expect } from 'vitest';
import { emptyLayout } from '../../shared/engine/layout.ts';
import { type FenceItem, type LayoutItem, itemIds } from '../../shared/store/items.ts';
import type { Claim } from './store-claims.ts';
import { apply, applyTo, create, freshConvoy, freshId, quarantineItem } from './store-items.ts';

const generation = { count: 4, queue: 'q', announcedAt: null };

export function laneClaims(claim: Claim): void {
  claim('a layout is read with its etag, and replaced only by who has read it', async (target) => {
    const { store } = target;
    const convoy = freshConvoy();
    const keys = { 'a/b~1.0': [generation], ünï: [] };
    const item: LayoutItem = { ...emptyLayout(convoy), all: [generation], keys };
    expect(await store.readLayout(convoy)).toBeUndefined();
    await create(store, [item, quarantineItem(convoy, 'm')]);

    const read = await store.readLayout(convoy);
    const ifMatch = read?.etag ?? '';
    const dated = { ...item, all: [{ ...generation, announcedAt: 5 }] };
    await apply(store, [{ kind: 'replace', item: dated, ifMatch }]);
    const late = await store.batch(item.convoyId, [{ kind: 'replace', item, ifMatch }]);

    expect(read?.item).toMatchObject(item);
    expect(late).toMatchObject({ applied: false, status: 412 });
    expect((await store.readLayout(convoy))?.item).toMatchObject(dated);
    expect((await store.listQuarantine(convoy, { limit: 10 })).items).toHaveLength(1);
  });

  claim('a fence is one of its lane and its generation', async ({ store }) => {
    const convoyId = freshId('k~1.0');
    const id = itemIds.fence(2);
    const item: FenceItem = {
      ...{ id, convoyId, kind: 'fence', generation: 2 },
      ...{ sentAt: 1, ttl: 60 },
    };
    await create(store, [item]);
    await applyTo(store, convoyId, [{ kind: 'set', id, fields: { passedAt: 2 } }]);
    const unknown = [{ kind: 'set' as const, id: itemIds.fence(3), fields: { passedAt: 2 } }];

    expect(await store.readFence(convoyId, 2)).toMatchObject({ ...item, passedAt: 2 });
    expect(await store.readFence(convoyId, 3)).toBeUndefined();
    expect(await store.batch(convoyId, unknown)).toMatchObject({ applied: false, status: 404 });
  });
}
