// Claims about the container `windows` (H13).
import { expect } from 'vitest';
import { rollUpItem } from '../../shared/engine/roll-up.ts';
import { windowIdOf } from '../../shared/keys.ts';
import { type ContributionItem, type RollUpItem, itemIds } from '../../shared/store/items.ts';
import type { ConvoyStore } from '../../shared/store/store.ts';
import { type Claim, expectRefused } from './store-claims.ts';
import { freshConvoy } from './store-items.ts';
import { pagesOf } from './store-lists.contract.ts';

const ttl = 86_400;

function headItem(convoy: string, start: number, changes: Partial<RollUpItem> = {}): RollUpItem {
  const window = { convoy, window: 'day', start, end: start + 10 };
  const written = { attempt: 0, revision: -1, digest: '', published: -1, publishedAt: null };
  const head = { ...window, ...written, totals: null, parts: 0, createdAt: 1, keepMs: 1 };
  const item = rollUpItem({ ...head, phase: 'open', dirty: false, dueAt: 1, missed: 0 });
  return { ...item, ...changes };
}

function contributionItem(windowId: string, key: string, revision = 0): ContributionItem {
  const sums = { count: 1, sum: 1, min: 1, max: 1, first: 1, last: 1 };
  const id = itemIds.contribution(key);
  return { id, windowId, kind: 'contribution', key, revision, ...sums, ttl };
}

/** Instants of its own for each test: the question goes to all partitions. */
let lastInstant = Date.UTC(1980, 0, 1) + Math.floor(Math.random() * 1e9);
const freshInstant = (): number => (lastInstant += 1_000_000);

async function createAll(store: ConvoyStore, items: (RollUpItem | ContributionItem)[]) {
  for (const item of items) expect((await store.createWindowsItem(item)).applied).toBe(true);
}

export function rollUpClaims(claim: Claim): void {
  writeClaims(claim);
  scanClaims(claim);
  headListClaims(claim);
}

function writeClaims(claim: Claim): void {
  claim('H13: an item is created once and replaced only as it was read', async ({ store }) => {
    const head = headItem(freshConvoy(), 0);
    const { windowId } = head;

    expect((await store.readRollUp(windowId, '')).found).toBeUndefined();
    const created = await store.createWindowsItem(head);
    if (!created.applied) throw new Error('not created');
    expect(await store.createWindowsItem(head)).toEqual({ applied: false, status: 409 });
    expect((await store.readRollUp(windowId, created.session)).found).toEqual({
      item: head,
      etag: created.etag,
    });
    const closing = { ...head, phase: 'closing' as const };
    const replaced = await store.replaceWindowsItem(closing, created.etag);
    if (!replaced.applied) throw new Error('not replaced');
    expect(await store.replaceWindowsItem(head, created.etag)).toEqual({
      applied: false,
      status: 412,
    });
    expect((await store.readRollUp(windowId, replaced.session)).found?.item).toEqual(closing);
  });

  claim('H13: replace never creates, and never goes without an etag', async ({ store }) => {
    const head = headItem(freshConvoy(), 0);

    expect(await store.replaceWindowsItem(head, '"no-such"')).toEqual({
      applied: false,
      status: 404,
    });
    const work = store.replaceWindowsItem(head, '');
    await expectRefused(work, 400);
    expect((await store.readRollUp(head.windowId, '')).found).toBeUndefined();
  });

  claim('H13: a contribution is found by its key', async ({ store }) => {
    const windowId = windowIdOf(freshConvoy(), 'day', 0);
    const item = { ...contributionItem(windowId, 'K/1 ä'), result: { top: [1, 2] } };
    await createAll(store, [item]);

    const read = await store.readContribution(windowId, 'K/1 ä');
    expect(read.found?.item).toEqual(item);
    expect(read.session).not.toBe('');
    expect((await store.readContribution(windowId, 'K/2')).found).toBeUndefined();
  });
}

function scanClaims(claim: Claim): void {
  claim('H13: a scan holds every contribution once, and no head', async ({ store }) => {
    const head = headItem(freshConvoy(), 0);
    const { windowId } = head;
    const keys = Array.from({ length: 25 }, (_, i) => `k${i}`);
    await createAll(store, [head, ...keys.map((key) => contributionItem(windowId, key))]);
    const { session } = await store.readRollUp(windowId, '');

    const pages = await pagesOf(10, (at) =>
      store.listContributions(windowId, { session, limit: 10, ...at }),
    );

    expect(pages.map(({ length }) => length)).toEqual([10, 10, 5]);
    const ids = pages.flat().map(({ id }) => id);
    expect(ids).toEqual([...ids].sort());
    expect(
      pages
        .flat()
        .map(({ key }) => key)
        .sort(),
    ).toEqual([...keys].sort());
  });
}

function headListClaims(claim: Claim): void {
  claim('H13: due heads are found by their due time, oldest first', async ({ store }) => {
    const t = freshInstant();
    const convoy = freshConvoy();
    await createAll(store, [
      headItem(convoy, 1, { dueAt: t + 20 }),
      headItem(convoy, 2, { dueAt: t + 10 }),
      headItem(convoy, 3, { dueAt: null }),
      headItem(convoy, 4, { dueAt: t + 31 }),
      headItem(convoy, 5, { dueAt: t }),
      contributionItem(windowIdOf(convoy, 'day', 1), 'k'),
    ]);
    const starts = async (limit: number) =>
      (await store.rollUpsDue({ after: t, upTo: t + 30 }, limit)).map(({ start }) => start);

    expect(await starts(10)).toEqual([2, 1]);
    expect(await starts(1)).toEqual([2]);
  });

  claim('H13: the roll-ups of a window are listed by its start, in pages', async ({ store }) => {
    const convoy = freshConvoy();
    const starts = [-86_400_000, 0, 5, 40, 1_000_000_000_000];
    await createAll(store, [
      ...starts.map((start) => headItem(convoy, start)),
      headItem(freshConvoy(), 5),
    ]);
    const read = async (from: number, to: number) =>
      (
        await pagesOf(2, (at) =>
          store.listRollUps({ series: `${convoy}:day`, from, to, limit: 2, ...at }),
        )
      ).map((page) => page.map(({ start }) => start));

    expect(await read(-1e12, 1e13)).toEqual([[-86_400_000, 0], [5, 40], [1_000_000_000_000]]);
    expect((await read(0, 40)).flat()).toEqual([0, 5, 40]);
    expect((await read(41, 50)).flat()).toEqual([]);
  });
}
