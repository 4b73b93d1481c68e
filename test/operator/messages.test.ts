import { describe, expect, test } from 'vitest';
import { isoInstant } from '../../shared/clock.ts';
import { contribute } from '../../shared/convoy/roll-up.ts';
import { rollUpItem } from '../../shared/engine/roll-up.ts';
import { convoyIdOf } from '../../shared/keys.ts';
import { itemIds } from '../../shared/store/items.ts';
import type { WindowItem } from '../../shared/store/items.ts';
import { ask, createWorld, tell } from './world.ts';

const day = 86_400_000;
const start = Date.UTC(2026, 0, 1);

function windowItem(key: string, at: number, revision = 0): WindowItem {
  const id = itemIds.window('daily', at);
  return {
    id,
    convoyId: convoyIdOf('orders', key),
    kind: 'window',
    window: 'daily',
    start: at,
    end: at + day,
    count: 2,
    sum: '12345678901234567890',
    min: 1,
    max: 4,
    first: 4,
    last: 1,
    revision,
    closedAt: at + day + 1,
  };
}

describe('GET …/messages', () => {
  test('lists settled and waiting messages in order with their bodies', async () => {
    const world = createWorld();
    await tell(world, 'A', { outcomes: ['applied', 'rejected', 'waiting'] });

    const { body } = await ask(world, 'GET /convoys/orders/A/messages');

    expect(body.items.map((m: { position: number }) => m.position)).toEqual([1, 2, 3]);
    expect(body.items[0]).toMatchObject({
      messageId: 'm-1',
      type: 'OrderPlaced',
      outcome: 'applied',
      attempts: 1,
      occurredAt: '2026-01-01T00:00:00Z',
      settledAt: '2026-01-01T00:00:00Z',
      body: { amount: 1 },
    });
    expect(body.items[2]).toMatchObject({ outcome: 'waiting', attempts: 0, settledAt: null });
  });

  test('from and outcome narrow the list, pages go on where they ended', async () => {
    const world = createWorld();
    const outcomes = Array.from({ length: 12 }, (_, at) =>
      at % 2 === 0 ? ('applied' as const) : ('rejected' as const),
    );
    await tell(world, 'A', { outcomes });
    const base = '/convoys/orders/A/messages?from=4&outcome=applied&limit=2' as const;

    const first = await ask(world, `GET ${base}`);
    const second = await ask(world, `GET ${base}&continuation=${first.body.continuation}`);

    const positions = [first, second].map(({ body }) =>
      body.items.map((m: { position: number }) => m.position),
    );
    expect(positions).toEqual([
      [5, 7],
      [9, 11],
    ]);
  });

  test('a message whose body could not be kept shows its code and no body', async () => {
    const world = createWorld();
    await tell(world, 'A', { outcomes: ['applied'] });
    const convoyId = convoyIdOf('orders', 'A');
    const [kept] = await world.store.readInbox(convoyId, { from: 1, to: 1, limit: 1 });
    const { bodyText: _, ...rest } = kept!;
    const fault = { code: 'CVY_BODY_NOT_JSON', reason: 'Unexpected token' };
    await world.put(convoyId, [
      { ...rest, position: 2, id: itemIds.inbox(2), outcome: 'invalid', fault },
    ]);

    const { body } = await ask(world, 'GET /convoys/orders/A/messages?outcome=invalid');

    expect(body.items).toMatchObject([
      { position: 2, outcome: 'invalid', code: 'CVY_BODY_NOT_JSON', body: null },
    ]);
    expect(body.items[0].remedy).toContain('JSON');
  });

  test('dead-lettered messages are found under a key that never admitted any', async () => {
    const world = createWorld();
    const dead = {
      id: itemIds.dead(7),
      convoyId: convoyIdOf('orders', 'D'),
      kind: 'dead' as const,
      messageId: 'm-7',
      type: 'OrderPaid',
      bodyText: '{"amount":1}',
      schemaVersion: 1,
      occurredAt: start,
      enqueuedAt: start,
      sequence: 7,
      reason: 'MaxDeliveryCountExceeded',
      recordedAt: start,
    };
    await world.put(dead.convoyId, [dead]);

    const listed = await ask(world, 'GET /convoys/orders/D/messages?outcome=deadLettered');
    const all = await ask(world, 'GET /convoys/orders/D/messages');

    expect(listed.body.items).toMatchObject([
      { messageId: 'm-7', outcome: 'deadLettered', reason: 'MaxDeliveryCountExceeded' },
    ]);
    expect(all.status).toBe(404);
  });

  test.each(['limit=501', 'limit=0', 'limit=1e2', 'from=0', 'from=-1', 'outcome=done', 'x=1'])(
    '%s is refused with what was received',
    async (query) => {
      const { status, body } = await ask(createWorld(), `GET /convoys/orders/A/messages?${query}`);

      expect([status, body.code]).toEqual([400, 'CVY_BAD_REQUEST']);
      expect(body.received).toContain(query.split('=')[0]);
    },
  );
});

describe('GET …/windows', () => {
  test('closed windows come first, open ones after, big sums as decimal text', async () => {
    const world = createWorld();
    const {
      kind: _,
      id: __,
      convoyId: ___,
      revision: ____,
      closedAt: _____,
      ...open
    } = windowItem('A', start + 2 * day);
    await tell(world, 'A', {
      outcomes: ['applied'],
      progress: { openWindows: [open] },
      more: [windowItem('A', start), windowItem('A', start + day, 1)],
    });

    const pages = [];
    for (let next = ''; pages.length < 9;) {
      const { body } = await ask(world, `GET /convoys/orders/A/windows?limit=1${next}`);
      pages.push(...body.items);
      if (!body.continuation) break;
      next = `&continuation=${body.continuation}`;
    }

    expect(pages.map(({ state, revision, final }) => [state, revision, final])).toEqual([
      ['closed', 0, true],
      ['closed', 1, true],
      ['open', 0, false],
    ]);
    expect(pages[0]).toMatchObject({
      window: 'daily',
      start: '2026-01-01T00:00:00Z',
      end: '2026-01-02T00:00:00Z',
      count: 2,
      sum: '12345678901234567890',
      min: 1,
      max: 4,
      first: 4,
      last: 1,
    });
  });

  test('a window that closes between the two reads is listed once, as closed', async () => {
    const world = createWorld();
    const { kind: _, id: __, convoyId: ___, revision: ____, ...open } = windowItem('A', start);
    const { closedAt: _____, ...stillOpen } = open;
    // Progress as it was before the window closed: the items were read at different moments.
    await tell(world, 'A', {
      outcomes: ['applied'],
      progress: { openWindows: [stillOpen] },
      more: [windowItem('A', start)],
    });

    const { body } = await ask(world, 'GET /convoys/orders/A/windows');

    expect(body.items.map(({ state }: { state: string }) => state)).toEqual(['closed']);
  });

  test('a window name the key does not keep gives an empty list, an unknown key 404', async () => {
    const world = createWorld();
    await tell(world, 'A', { outcomes: ['applied'], more: [windowItem('A', start)] });

    const other = await ask(world, 'GET /convoys/orders/A/windows?window=hourly');
    const unknown = await ask(world, 'GET /convoys/orders/B/windows');

    expect(other.body).toEqual({ items: [] });
    expect(unknown.status).toBe(404);
  });

  test('a malformed window name or an instant without zone is refused', async () => {
    const nobody = await ask(createWorld(), 'GET /windows/orders/Daily');
    const zoneless = await ask(createWorld(), 'GET /windows/orders/daily?to=2026-01-01T00:00:00');

    expect(nobody.body).toMatchObject({ status: 404, code: 'CVY_NOT_FOUND' });
    expect(zoneless.body).toMatchObject({ status: 400, code: 'CVY_BAD_REQUEST' });
  });
});

describe('GET /windows/{convoy}/{window}', () => {
  const hourMs = 3_600_000;

  test('lists roll-ups by the start of their window, in pages', async () => {
    const world = createWorld();
    const start = world.clock.now();
    for (const n of [0, 1, 2]) {
      const window = { convoy: 'orders', window: 'hour', start: start + n * hourMs };
      const end = window.start + hourMs;
      const timing = { now: start, delayMs: 1_000, keepMs: hourMs };
      const step = contribute(undefined, { ...window, end }, timing);
      if (step.kind === 'none') throw new Error('no head');
      const totals = { keys: 2, count: 3, sum: '7', min: 1, max: 4 };
      const published = { revision: 1, published: 1, publishedAt: end, totals, parts: 1 };
      const head = n > 0 ? step.head : { ...step.head, ...published, dueAt: null };
      await world.store.createWindowsItem(
        rollUpItem(n > 0 ? head : { ...head, phase: 'published' }),
      );
    }

    const first = await ask(world, 'GET /windows/orders/hour?limit=2');
    const { continuation } = first.body;
    const rest = await ask(world, `GET /windows/orders/hour?limit=2&continuation=${continuation}`);
    const at = isoInstant(start + hourMs);
    const one = await ask(world, `GET /windows/orders/hour?from=${at}&to=${at}`);

    expect(first.body.items).toHaveLength(2);
    expect(first.body.items[0]).toEqual({
      convoy: 'orders',
      window: 'hour',
      start: isoInstant(start),
      end: isoInstant(start + hourMs),
      state: 'published',
      ...{ keys: 2, count: 3, sum: '7', min: 1, max: 4, parts: 1 },
      revision: 1,
      final: true,
      dueAt: null,
      publishedAt: isoInstant(start + hourMs),
      missed: 0,
    });
    expect(first.body.items[1]).toMatchObject({ state: 'open', keys: null, revision: null });
    expect(rest.body).toMatchObject({ items: [{ start: isoInstant(start + 2 * hourMs) }] });
    expect(rest.body.continuation).toBeUndefined();
    expect(one.body.items).toHaveLength(1);
  });
});

describe('GET /quarantine/{convoy}', () => {
  test('a message without a usable key is listed with code and remedy', async () => {
    const world = createWorld();
    await world.put('orders:', [
      {
        id: itemIds.quarantine('q'),
        convoyId: 'orders:',
        kind: 'quarantine',
        convoy: 'orders',
        code: 'CVY_KEY_MISSING',
        reason: 'no session id',
        remedy: 'send it',
        messageId: 'm',
        sessionId: '',
        bodyBase64: 'e30=',
        applicationProperties: '{"a":1}',
        metadata: '{}',
        sequence: 3,
        recordedAt: start,
      },
    ]);

    const { body } = await ask(world, 'GET /quarantine/orders');

    expect(body.items).toMatchObject([
      { code: 'CVY_KEY_MISSING', remedy: 'send it', applicationProperties: { a: 1 } },
    ]);
  });
});
