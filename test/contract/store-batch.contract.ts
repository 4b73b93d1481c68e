// Claims about point reads and the one way to write: the batch.
import { expect } from 'vitest';
import { itemIds } from '../../shared/store/items.ts';
import type { ConvoyStore, StoreOperation } from '../../shared/store/store.ts';
import type { Claim } from './store-claims.ts';
import {
  apply,
  applyTo,
  asStored,
  create,
  freshId,
  gateItem,
  inboxItem,
  progressItem,
  seenItem,
  windowItem,
} from './store-items.ts';

const all = { from: 1, to: 1000, limit: 1000 };

export function batchClaims(claim: Claim): void {
  pointReadClaims(claim);
  etagClaims(claim);
  preconditionClaims(claim);
  setClaims(claim);
  contentionClaims(claim);
}

function pointReadClaims(claim: Claim): void {
  claim('a partition that nobody wrote to is empty in every read', async ({ store }) => {
    const id = freshId();

    expect(await store.readGate(id)).toBeUndefined();
    expect(await store.readProgress(id)).toBeUndefined();
    expect(await store.readSeen(id, 'm-1')).toBeUndefined();
    expect(await store.readWindow(id, 'day', 0)).toBeUndefined();
    expect(await store.readInbox(id, all)).toEqual([]);
    expect(await store.readInbox(id, { from: 1, to: 1, limit: 1 })).toEqual([]);
    expect(await store.readOutbox(id)).toEqual([]);
    expect(await store.listMessages(id, { from: 1, limit: 10 })).toEqual({ items: [] });
    expect(await store.listWindows(id, { limit: 10 })).toEqual({ items: [] });
    expect(await store.listDead(id, { limit: 10 })).toEqual({ items: [] });
    expect(await store.countRepeats(id)).toBe(0);
    expect(await store.progressOf([id])).toEqual([]);
  });

  claim('an item comes back as it was written, without undefined fields', async ({ store }) => {
    const id = freshId();
    const hold = { kind: 'blocked' as const, reason: 'ümlaut "quoted" \u2028 🚚', position: 3 };
    const state = { nested: { list: [1, 'two', null, { three: 3.5 }] }, gone: undefined };
    const gate = gateItem(id, { hold, tail: 7 });
    const progress = progressItem(id, { state });
    const seen = seenItem(id, 'id with / and #');
    const window = windowItem(id, 'day', 86_400_000);

    await create(store, [gate, progress, seen, window]);

    expect((await store.readGate(id))?.item).toEqual(asStored(gate));
    expect((await store.readProgress(id))?.item).toEqual(asStored(progress));
    expect(Object.keys(Object((await store.readProgress(id))?.item.state))).toEqual(['nested']);
    expect(await store.readSeen(id, 'id with / and #')).toEqual(seen);
    expect(await store.readWindow(id, 'day', 86_400_000)).toEqual(window);
  });

  claim('what a caller changes afterwards does not reach the store', async ({ store }) => {
    const id = freshId();
    const gate = gateItem(id, { tail: 1 });
    await create(store, [gate]);
    gate.tail = 2;
    const read = await store.readGate(id);
    if (read) read.item.tail = 3;

    expect((await store.readGate(id))?.item.tail).toBe(1);
  });
}

function etagClaims(claim: Claim): void {
  claim('etags come in the order of the operations, empty for a delete', async ({ store }) => {
    const id = freshId();
    const first = await create(store, [gateItem(id), progressItem(id), seenItem(id, 'm-1')]);
    const second = await apply(store, [
      { kind: 'delete', id: itemIds.seen('m-1') },
      { kind: 'replace', item: gateItem(id, { tail: 1 }), ifMatch: first[0] ?? '' },
      { kind: 'set', id: itemIds.progress, fields: { cursor: 1 } },
      { kind: 'put', item: inboxItem(id, 1) },
    ]);

    expect(second).toHaveLength(4);
    expect(second[0]).toBe('');
    expect((await store.readGate(id))?.etag).toBe(second[1]);
    expect((await store.readProgress(id))?.etag).toBe(second[2]);
    expect(second[3]).toMatch(/./);
    expect(second[1]).not.toBe(first[0]);
    expect(second[2]).not.toBe(first[1]);
  });

  claim('an etag changes with every write, also of equal content', async ({ store }) => {
    const id = freshId();
    const [created = ''] = await create(store, [gateItem(id)]);
    const [replaced = ''] = await apply(store, [
      { kind: 'replace', item: gateItem(id), ifMatch: created },
    ]);
    const [put = ''] = await apply(store, [{ kind: 'put', item: gateItem(id) }]);
    const [set = ''] = await applyTo(store, id, [{ kind: 'set', id: 'gate', fields: { tail: 0 } }]);

    expect(new Set([created, replaced, put, set]).size).toBe(4);
    expect((await store.readGate(id))?.etag).toBe(set);
    expect((await store.readGate(id))?.etag).toBe(set);
  });

  claim('the etag that a batch answers fences the next one without a read', async ({ store }) => {
    const id = freshId();
    let [etag = ''] = await create(store, [gateItem(id)]);
    for (let tail = 1; tail <= 3; tail++) {
      [etag = ''] = await apply(store, [
        { kind: 'replace', item: gateItem(id, { tail }), ifMatch: etag },
      ]);
    }

    expect((await store.readGate(id))?.item.tail).toBe(3);
  });
}

/** Every operation that can fail, on a partition with a gate and `inbox:1`. */
const failures: { title: string; operation: (id: string) => StoreOperation; status: number }[] = [
  {
    title: 'create of what is there',
    operation: (id) => ({ kind: 'create', item: inboxItem(id, 1) }),
    status: 409,
  },
  {
    title: 'replace with an etag of before',
    operation: (id) => ({ kind: 'replace', item: gateItem(id), ifMatch: '"0000-of-before"' }),
    status: 412,
  },
  {
    title: 'replace of what is not there',
    operation: (id) => ({ kind: 'replace', item: progressItem(id), ifMatch: '"any"' }),
    status: 404,
  },
  {
    title: 'set on what is not there',
    operation: () => ({ kind: 'set', id: itemIds.progress, fields: { cursor: 1 } }),
    status: 404,
  },
  {
    title: 'delete of what is not there',
    operation: () => ({ kind: 'delete', id: itemIds.progress }),
    status: 404,
  },
];

function preconditionClaims(claim: Claim): void {
  for (const { title, operation, status } of failures) {
    claim(`${title} fails with ${status} and nothing is applied`, async ({ store }) => {
      const id = freshId();
      await create(store, [gateItem(id), inboxItem(id, 1), seenItem(id, 'm-1')]);
      const before = await store.readGate(id);

      const result = await store.batch(id, [
        { kind: 'create', item: inboxItem(id, 2) },
        { kind: 'put', item: seenItem(id, 'm-2') },
        { kind: 'set', id: itemIds.gate, fields: { tail: 99 } },
        { kind: 'delete', id: itemIds.seen('m-1') },
        operation(id),
        { kind: 'create', item: inboxItem(id, 3) },
      ]);

      expect(result).toEqual({ applied: false, failed: 4, status });
      expect(await store.readGate(id)).toEqual(before);
      expect((await store.readInbox(id, all)).map(({ position }) => position)).toEqual([1]);
      expect(await store.readSeen(id, 'm-1')).toBeDefined();
      expect(await store.readSeen(id, 'm-2')).toBeUndefined();
    });

    claim(`${title}, alone in its batch, fails with ${status}`, async ({ store }) => {
      const id = freshId();
      await create(store, [gateItem(id), inboxItem(id, 1)]);

      expect(await store.batch(id, [operation(id)])).toEqual({ applied: false, failed: 0, status });
    });
  }

  claim('of several failures the first is told', async ({ store }) => {
    const id = freshId();
    await create(store, [gateItem(id)]);

    const result = await store.batch(id, [
      { kind: 'put', item: gateItem(id, { tail: 1 }) },
      { kind: 'delete', id: itemIds.progress },
      { kind: 'create', item: gateItem(id) },
    ]);

    expect(result).toEqual({ applied: false, failed: 1, status: 404 });
  });

  claim('an operation sees what the ones before it did', async ({ store }) => {
    const id = freshId();
    await apply(store, [
      { kind: 'create', item: gateItem(id, { tail: 1 }) },
      { kind: 'set', id: itemIds.gate, fields: { tail: 2 } },
      { kind: 'create', item: inboxItem(id, 1) },
      { kind: 'delete', id: itemIds.inbox(1) },
      { kind: 'create', item: inboxItem(id, 1, { type: 'Second' }) },
    ]);

    expect((await store.readGate(id))?.item.tail).toBe(2);
    expect((await store.readInbox(id, all)).map(({ type }) => type)).toEqual(['Second']);
  });

  claim('put creates what is missing and overwrites what is there', async ({ store }) => {
    const id = freshId();
    await apply(store, [{ kind: 'put', item: inboxItem(id, 1, { code: 'CVY_SCHEMA' }) }]);
    await apply(store, [{ kind: 'put', item: inboxItem(id, 1, { type: 'Paid' }) }]);

    expect(await store.readInbox(id, all)).toEqual([inboxItem(id, 1, { type: 'Paid' })]);
  });
}

function setClaims(claim: Claim): void {
  claim('set changes the named fields and no other', async ({ store }) => {
    const id = freshId();
    const item = inboxItem(id, 1);
    await create(store, [item]);
    const fields = { outcome: 'applied' as const, settledAt: 5, reason: undefined };
    await applyTo(store, id, [{ kind: 'set', id: item.id, fields }]);

    expect(await store.readInbox(id, all)).toEqual([{ ...item, outcome: 'applied', settledAt: 5 }]);
  });

  claim('set overwrites objects whole and takes any field name', async ({ store }) => {
    const id = freshId();
    await create(store, [progressItem(id, { state: { a: 1, b: { c: 2 } } })]);
    const fields = { state: { b: 3 }, 'a/b': 1, 'c~d': 2, 'e~1f': 3 };
    await applyTo(store, id, [{ kind: 'set', id: itemIds.progress, fields }]);

    expect((await store.readProgress(id))?.item).toMatchObject(fields);
    expect((await store.readProgress(id))?.item.state).toEqual({ b: 3 });
  });
}

const writers = 50;

/** [H1] in small: gate If-Match and inbox in one batch, again after every conflict. */
async function admitOne(store: ConvoyStore, id: string, writer: number): Promise<number> {
  for (let tries = 1; tries <= writers * 4; tries++) {
    const gate = await store.readGate(id);
    const tail = (gate?.item.tail ?? 0) + 1;
    const result = await store.batch(id, [
      gate
        ? { kind: 'replace', item: gateItem(id, { tail }), ifMatch: gate.etag }
        : { kind: 'create', item: gateItem(id, { tail }) },
      { kind: 'create', item: inboxItem(id, tail, { messageId: `m-${writer}` }) },
      { kind: 'create', item: seenItem(id, `m-${writer}`, { position: tail }) },
    ]);
    if (result.applied) return tail;
    expect([409, 412]).toContain(result.status);
  }
  throw new Error(`writer ${writer} never got in`);
}

function contentionClaims(claim: Claim): void {
  claim('50 parallel writers of one gate lose and double nothing', async ({ store }) => {
    const id = freshId();
    const numbers = Array.from({ length: writers }, (_, n) => n);
    const positions = await Promise.all(numbers.map((writer) => admitOne(store, id, writer)));

    const inbox = await store.readInbox(id, all);
    const expected = numbers.map((n) => n + 1);
    expect([...positions].sort((a, b) => a - b)).toEqual(expected);
    expect(inbox.map(({ position }) => position)).toEqual(expected);
    expect((await store.readGate(id))?.item.tail).toBe(writers);
    for (const [writer, position] of positions.entries()) {
      expect(inbox[position - 1]?.messageId).toBe(`m-${writer}`);
      expect((await store.readSeen(id, `m-${writer}`))?.position).toBe(position);
    }
  });

  claim('of 50 parallel creates of one item exactly one is applied', async ({ store }) => {
    const id = freshId();
    const results = await Promise.all(
      Array.from({ length: writers }, (_, tail) =>
        store.batch(id, [{ kind: 'create', item: gateItem(id, { tail }) }]),
      ),
    );

    const applied = results.flatMap((result, tail) => (result.applied ? [tail] : []));
    expect(applied).toHaveLength(1);
    expect((await store.readGate(id))?.item.tail).toBe(applied[0]);
  });
}
