// Claims about ranges and lists inside one partition.
import { expect } from 'vitest';
import type { Page } from '../../shared/store/store.ts';
import { expectRefused, type Claim } from './store-claims.ts';
import {
  create,
  deadItem,
  freshConvoy,
  freshId,
  gateItem,
  inboxItem,
  outboxItem,
  progressItem,
  quarantineItem,
  seenItem,
  windowItem,
} from './store-items.ts';

export function listClaims(claim: Claim): void {
  inboxClaims(claim);
  messageClaims(claim);
  windowClaims(claim);
  otherListClaims(claim);
}

/** All pages of a list; fails when a page is too long or the list does not end. */
export async function pagesOf<Item>(
  limit: number,
  read: (continuation: { continuation?: string }) => Promise<Page<Item>>,
): Promise<Item[][]> {
  const pages: Item[][] = [];
  let continuation: string | undefined;
  do {
    const page = await read(continuation === undefined ? {} : { continuation });
    expect(page.items.length).toBeLessThanOrEqual(limit);
    pages.push(page.items);
    continuation = page.continuation;
  } while (continuation !== undefined && pages.length < 100);
  expect(continuation).toBeUndefined();
  return pages;
}

const positionsOf = (items: { position: number }[]): number[] =>
  items.map(({ position }) => position);

function inboxClaims(claim: Claim): void {
  claim('the inbox comes in the order of positions, across powers of ten', async ({ store }) => {
    const id = freshId();
    const positions = [1000, 9, 100, 2, 99, 1, 10, 101, 999, 11];
    await create(store, [
      gateItem(id),
      progressItem(id),
      seenItem(id, 'm-1'),
      outboxItem(id, 1, 1),
      ...positions.map((position) => inboxItem(id, position)),
    ]);
    const read = async (from: number, to: number, limit = 100) =>
      positionsOf(await store.readInbox(id, { from, to, limit }));

    expect(await read(1, 1000)).toEqual([1, 2, 9, 10, 11, 99, 100, 101, 999, 1000]);
    expect(await read(2, 100)).toEqual([2, 9, 10, 11, 99, 100]);
    expect(await read(3, 8)).toEqual([]);
    expect(await read(1, 1000, 3)).toEqual([1, 2, 9]);
    expect(await read(99, 99)).toEqual([99]);
    expect(await read(98, 98)).toEqual([]);
    expect(await read(5, 4)).toEqual([]);
  });

  claim('a range of more items than a page has is read whole', async ({ store }) => {
    const id = freshId();
    const bodyText = 'x'.repeat(10_000);
    const items = Array.from({ length: 350 }, (_, n) => inboxItem(id, n + 1, { bodyText }));
    await create(store, items);

    const found = await store.readInbox(id, { from: 1, to: 350, limit: 1000 });

    expect(positionsOf(found)).toEqual(positionsOf(items));
  });

  claim('the outbox comes lowest settlement first', async ({ store }) => {
    const id = freshId();
    const places: [number, number][] = [
      [10, 1],
      [2, 10],
      [2, 9],
      [100, 1],
      [9, 1],
    ];
    await create(store, [inboxItem(id, 1), ...places.map(([s, n]) => outboxItem(id, s, n))]);

    expect((await store.readOutbox(id)).map((item) => item.id)).toEqual(
      [
        [2, 9],
        [2, 10],
        [9, 1],
        [10, 1],
        [100, 1],
      ].map(([s = 0, n = 0]) => outboxItem(id, s, n).id),
    );
  });

  claim('a limit below 1 or above 1000 is refused', async ({ store }) => {
    const id = freshId();
    for (const limit of [0, -1, 1.5, 1001, Number.NaN]) {
      await expectRefused(store.readInbox(id, { from: 1, to: 2, limit }), 400);
      await expectRefused(store.listMessages(id, { from: 1, limit }), 400);
      await expectRefused(store.listGates({ limit }), 400);
      await expectRefused(store.gatesDue({ after: 0, upTo: 1 }, limit), 400);
    }
  });
}

function messageClaims(claim: Claim): void {
  claim('messages are listed page by page, each exactly once', async ({ store }) => {
    const id = freshId();
    await create(store, [
      seenItem(id, 'm-1'),
      ...Array.from({ length: 10 }, (_, n) => inboxItem(id, n + 1)),
    ]);
    const pages = await pagesOf(4, (at) => store.listMessages(id, { from: 2, limit: 4, ...at }));

    expect(pages.map(positionsOf)).toEqual([[2, 3, 4, 5], [6, 7, 8, 9], [10]]);
  });

  claim('a last page that is full has no continuation', async ({ store }) => {
    const id = freshId();
    await create(
      store,
      [1, 2, 3, 4].map((position) => inboxItem(id, position)),
    );
    const pages = await pagesOf(2, (at) => store.listMessages(id, { from: 1, limit: 2, ...at }));

    expect(pages.map(positionsOf)).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  claim('messages are listed by outcome', async ({ store }) => {
    const id = freshId();
    const outcome = (n: number) => (n % 3 === 0 ? ('rejected' as const) : ('applied' as const));
    await create(
      store,
      Array.from({ length: 12 }, (_, n) => inboxItem(id, n + 1, { outcome: outcome(n + 1) })),
    );
    const list = (filter: { from: number; outcome: 'rejected' | 'parked' }) =>
      pagesOf(3, (at) => store.listMessages(id, { ...filter, limit: 3, ...at }));

    expect((await list({ from: 1, outcome: 'rejected' })).flatMap(positionsOf)).toEqual([
      3, 6, 9, 12,
    ]);
    expect((await list({ from: 7, outcome: 'rejected' })).flatMap(positionsOf)).toEqual([9, 12]);
    expect(await list({ from: 1, outcome: 'parked' })).toEqual([[]]);
  });

  claim('messages that come between two pages are neither lost nor doubled', async ({ store }) => {
    const id = freshId();
    await create(
      store,
      [1, 2, 3].map((position) => inboxItem(id, position)),
    );
    const first = await store.listMessages(id, { from: 1, limit: 2 });
    await create(store, [inboxItem(id, 4)]);
    const continuation = first.continuation ?? '';
    const second = await store.listMessages(id, { from: 1, limit: 2, continuation });

    expect([...first.items, ...second.items].map(({ position }) => position)).toEqual([1, 2, 3, 4]);
  });

  claim('a continuation that is not of this list is refused', async ({ store }) => {
    const id = freshId();
    const continuation = 'garbage';

    await expectRefused(store.listMessages(id, { from: 1, limit: 2, continuation }), 400);
    await expectRefused(store.listWindows(id, { limit: 2, continuation }), 400);
  });
}

function windowClaims(claim: Claim): void {
  claim('windows are listed by name, earliest first, page by page', async ({ store }) => {
    const id = freshId();
    const day = 86_400_000;
    const starts = [21_000, 20_000, 20_002, 20_001].map((n) => n * day);
    await create(store, [
      ...starts.map((start) => windowItem(id, 'day', start)),
      windowItem(id, 'day-part', 20_000 * day),
      windowItem(id, 'dax', 20_000 * day),
      windowItem(id, 'hour', 20_000 * day),
    ]);
    const days = await pagesOf(3, (at) =>
      store.listWindows(id, { window: 'day', limit: 3, ...at }),
    );
    const any = await pagesOf(3, (at) => store.listWindows(id, { limit: 3, ...at }));

    expect(days.map((page) => page.map(({ start }) => start / day))).toEqual([
      [20_000, 20_001, 20_002],
      [21_000],
    ]);
    expect(any.flat()).toHaveLength(7);
    expect(new Set(any.flat().map((item) => item.id)).size).toBe(7);
  });

  claim('closed sessions that touch a span, ends included, earliest first', async ({ store }) => {
    const id = freshId();
    // Each is 10 long.
    const starts = [140, 100, 120, 89, 131, 90];
    await create(store, [
      ...starts.map((start) => windowItem(id, 'day', start)),
      windowItem(id, 'day-part', 120),
    ]);

    const found = await store.readSessions(id, 'day', { start: 100, end: 130 });
    const none = await store.readSessions(id, 'day', { start: 111, end: 119 });

    expect(found.map(({ start }) => start)).toEqual([90, 100, 120]);
    expect(none).toEqual([]);
  });
}

function otherListClaims(claim: Claim): void {
  claim('dead messages are listed in the order of the broker', async ({ store }) => {
    const id = freshId();
    await create(store, [...[100, 20, 3].map((n) => deadItem(id, n)), inboxItem(id, 1)]);

    const listed = await store.listDead(id, { limit: 10 });
    const pages = await pagesOf(2, (at) => store.listDead(id, { limit: 2, ...at }));

    expect(listed).toEqual({ items: [3, 20, 100].map((n) => deadItem(id, n)) });
    expect(pages.map((page) => page.map(({ sequence }) => sequence))).toEqual([[3, 20], [100]]);
    expect(await store.readDead(id, deadItem(id, 20).id)).toEqual(deadItem(id, 20));
    expect(await store.readDead(id, deadItem(id, 21).id)).toBeUndefined();
  });

  claim('quarantine is listed per convoy, apart from its keys', async ({ store }) => {
    const convoy = freshConvoy();
    const items = ['m-1', 'm-2', 'm-3'].map((messageId) => quarantineItem(convoy, messageId));
    await create(store, items);
    await create(store, [inboxItem(`${convoy}:K`, 1)]);
    const sorted = items.sort((a, b) => (a.id < b.id ? -1 : 1));
    const [first] = sorted;

    const pages = await pagesOf(2, (at) => store.listQuarantine(convoy, { limit: 2, ...at }));

    expect(pages).toEqual([sorted.slice(0, 2), sorted.slice(2)]);
    expect(await store.listQuarantine(freshConvoy(), { limit: 10 })).toEqual({ items: [] });
    expect(await store.readQuarantine(convoy, first?.id ?? '')).toEqual(first);
    expect(await store.readQuarantine(freshConvoy(), first?.id ?? '')).toBeUndefined();
  });

  claim('repeats are summed over the seen items of the key', async ({ store }) => {
    const id = freshId();
    await create(store, [
      seenItem(id, 'm-1', { repeats: 2 }),
      seenItem(id, 'm-2'),
      seenItem(id, 'm-3', { repeats: 40 }),
      gateItem(id),
    ]);
    await create(store, [seenItem(freshId(), 'm-1', { repeats: 1000 })]);

    expect(await store.countRepeats(id)).toBe(42);
  });
}
