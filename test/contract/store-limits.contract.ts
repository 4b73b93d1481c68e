// Claims about limits: what a batch may hold, what is refused, which keys there may be.
import { expect } from 'vitest';
import type { ConvoyItem } from '../../shared/store/items.ts';
import type { StoreOperation } from '../../shared/store/store.ts';
import { expectRefused, type Claim } from './store-claims.ts';
import { create, freshId, gateItem, inboxItem, progressItem, seenItem } from './store-items.ts';

const all = { from: 1, to: 1000, limit: 1000 };

export function limitClaims(claim: Claim): void {
  sizeClaims(claim);
  refusalClaims(claim);
  keyClaims(claim);
}

function sizeClaims(claim: Claim): void {
  claim('a batch takes 100 operations and refuses 101 and none', async ({ store }) => {
    const id = freshId();
    const items = Array.from({ length: 101 }, (_, n) => inboxItem(id, n + 1));
    const creates = items.map((item): StoreOperation => ({ kind: 'create', item }));

    await expectRefused(store.batch(id, creates), 413);
    await expectRefused(store.batch(id, []), 400);
    expect(await store.readInbox(id, all)).toEqual([]);
    expect(await store.batch(id, creates.slice(0, 100))).toMatchObject({ applied: true });
    expect(await store.readInbox(id, all)).toHaveLength(100);
  });

  claim('an item over 2 MB is refused and nothing of its batch applied', async ({ store }) => {
    const id = freshId();
    const large = inboxItem(id, 1, { bodyText: 'x'.repeat(2_200_000) });
    const work = store.batch(id, [
      { kind: 'create', item: gateItem(id) },
      { kind: 'create', item: large },
    ]);

    await expectRefused(work, 413);
    expect(await store.readGate(id)).toBeUndefined();
  });

  claim('items that are over 2 MB only together are refused together', async ({ store }) => {
    const id = freshId();
    const half = (position: number): StoreOperation => ({
      kind: 'create',
      item: inboxItem(id, position, { bodyText: 'x'.repeat(1_200_000) }),
    });

    await expectRefused(store.batch(id, [half(1), half(2)]), 413);
    expect(await store.readInbox(id, { from: 1, to: 2, limit: 2 })).toEqual([]);
    expect(await store.batch(id, [half(1)])).toMatchObject({ applied: true });
    expect((await store.readInbox(id, { from: 1, to: 1, limit: 1 }))[0]?.bodyText).toHaveLength(
      1_200_000,
    );
  });
}

function refusalClaims(claim: Claim): void {
  const refused: [string, (id: string) => StoreOperation][] = [
    ['an item of another partition', () => ({ kind: 'create', item: gateItem(freshId()) })],
    ['an id with a slash', (id) => ({ kind: 'delete', id: `${id}/x` })],
    ['an empty id', () => ({ kind: 'delete', id: '' })],
    [
      'an id of another kind',
      (id) => ({ kind: 'create', item: { ...gateItem(id), id: 'progress' } }),
    ],
    ['a replace without etag', (id) => ({ kind: 'replace', item: gateItem(id), ifMatch: '' })],
    ['a set without fields', () => ({ kind: 'set', id: 'gate', fields: { tail: undefined } })],
    ['a set of the partition key', () => ({ kind: 'set', id: 'gate', fields: { convoyId: 'x' } })],
    ['a ttl of 0', (id) => ({ kind: 'create', item: seenItem(id, 'm', { ttl: 0 }) })],
    ['a ttl of 1.5', () => ({ kind: 'set', id: 'gate', fields: { ttl: 1.5 } })],
    ['a bigint', (id) => ({ kind: 'create', item: progressItem(id, { state: { n: 10n } }) })],
    [
      'a set of eleven fields',
      () => ({
        kind: 'set',
        id: 'gate',
        fields: Object.fromEntries(Array.from({ length: 11 }, (_, n) => [`f${n}`, n])),
      }),
    ],
  ];
  for (const [title, operation] of refused) {
    claim(`${title} is refused and nothing applied`, async ({ store }) => {
      const id = freshId();
      const seen: ConvoyItem = seenItem(id, 'first');

      await expectRefused(store.batch(id, [{ kind: 'create', item: seen }, operation(id)]), 400);
      expect(await store.readSeen(id, 'first')).toBeUndefined();
    });
  }
}

const unusualKeys = [
  'a/b#?~ %',
  '%2F',
  '"quotes" and \\ and \'',
  ' edges ',
  '+&=;:,',
  '../..',
  '🚚'.repeat(64),
  'ä'.repeat(128),
  'x'.repeat(128),
  'ключ',
];

function keyClaims(claim: Claim): void {
  for (const key of unusualKeys) {
    claim(`key ${JSON.stringify(key).slice(0, 30)} works in every read`, async ({ store }) => {
      const id = freshId(key);
      await create(store, [gateItem(id), progressItem(id), inboxItem(id, 1), inboxItem(id, 2)]);

      expect((await store.readGate(id))?.item.key).toBe(key);
      expect(await store.readInbox(id, all)).toHaveLength(2);
      expect((await store.listMessages(id, { from: 1, limit: 1 })).items).toHaveLength(1);
      expect(await store.progressOf([id])).toEqual([progressItem(id)]);
    });
  }

  claim('keys that differ only in case or blanks do not meet', async ({ store }) => {
    const id = freshId('a');
    const others = [id.replace(/a$/, 'A'), `${id} `, id.replace(/:a$/, ': a'), `${id}:a`];
    await create(store, [gateItem(id), inboxItem(id, 1)]);

    for (const other of others) {
      expect(await store.readGate(other)).toBeUndefined();
      expect(await store.readInbox(other, all)).toEqual([]);
      await create(store, [gateItem(other)]);
    }
  });
}
