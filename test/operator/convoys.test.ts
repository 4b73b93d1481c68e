import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { initialGate, noHold } from '../../shared/convoy/state.ts';
import { keyFault, toPathKey } from '../../shared/keys.ts';
import { ask, createWorld, tell } from './world.ts';

const blocked = {
  kind: 'blocked' as const,
  code: 'CVY_HANDLER',
  reason: 'no stock',
  position: 2,
  attempts: 3,
  since: Date.UTC(2026, 0, 1),
};

describe('GET /convoys', () => {
  test('an idle key without backlog has every field of the contract', async () => {
    const world = createWorld();
    await tell(world, 'A/17', { outcomes: ['applied', 'rejected'] });

    const { status, body } = await ask(world, 'GET /convoys');

    expect(status).toBe(200);
    expect(body).toEqual({
      items: [
        {
          convoy: 'orders',
          key: 'A/17',
          pathKey: 'A~2f17',
          phase: 'idle',
          epoch: 1,
          tail: 2,
          cursor: 2,
          backlog: 0,
          headAgeSeconds: null,
          parked: 0,
          hold: {
            kind: 'none',
            reason: null,
            code: null,
            remedy: null,
            position: null,
            attempts: null,
            nextAttemptAt: null,
            since: null,
          },
          hot: null,
          updatedAt: '2026-01-01T00:00:00Z',
        },
      ],
    });
  });

  test('the age of the head is that of the first message not taken yet', async () => {
    const world = createWorld();
    await tell(world, 'A', { outcomes: ['applied', 'waiting', 'waiting'] });
    await world.clock.advance(90_500);

    const { body } = await ask(world, 'GET /convoys');

    expect(body.items[0]).toMatchObject({ cursor: 1, tail: 3, backlog: 2, headAgeSeconds: 90 });
  });

  test('a held gate shows the hold it carries, an active one that of the progress', async () => {
    const world = createWorld();
    await tell(world, 'held', {
      outcomes: ['applied', 'waiting'],
      progress: { hold: blocked },
      gate: { phase: 'held', hold: blocked, cursor: 1 },
    });
    const hold = { ...noHold, kind: 'retrying' as const, nextAttemptAt: world.clock.now() + 1_500 };
    await tell(world, 'retry', { outcomes: ['waiting'], progress: { hold } });

    const { body } = await ask(world, 'GET /convoys');

    const holds = Object.fromEntries(
      body.items.map((i: { key: string; hold: unknown }) => [i.key, i.hold]),
    );
    expect(holds['held']).toMatchObject({ kind: 'blocked', code: 'CVY_HANDLER', position: 2 });
    expect(holds['held'].remedy).toContain('mend the convoy');
    expect(holds['retry']).toMatchObject({
      kind: 'retrying',
      nextAttemptAt: '2026-01-01T00:00:01.500Z',
    });
  });

  test.each([
    ['status=active', ['busy', 'retry']],
    ['status=idle', ['calm', 'other']],
    ['status=held', ['stuck']],
    ['status=blocked', ['stuck']],
    ['status=retrying', ['retry']],
    ['status=paused', []],
    ['status=none', ['busy', 'calm', 'other']],
    ['backlog=true', ['busy', 'retry', 'stuck']],
    ['backlog=true&status=held', ['stuck']],
    ['backlog=false&convoy=ledger', ['other']],
    ['parked=true', []],
  ])('%s lists exactly %j', async (query, keys) => {
    const world = createWorld();
    await tell(world, 'calm', { outcomes: ['applied'] });
    await tell(world, 'other', { convoy: 'ledger', outcomes: ['applied'] });
    await tell(world, 'busy', { outcomes: ['applied', 'waiting'] });
    const retrying = { ...noHold, kind: 'retrying' as const };
    await tell(world, 'retry', { outcomes: ['waiting'], progress: { hold: retrying } });
    await tell(world, 'stuck', {
      outcomes: ['waiting'],
      progress: { hold: blocked },
      gate: { phase: 'held', hold: blocked, cursor: 0 },
    });

    const { body } = await ask(world, `GET /convoys?${query}`);

    expect(body.items.map((item: { key: string }) => item.key).sort()).toEqual(keys);
    expect(body.continuation).toBeUndefined();
  });

  test('hot=true lists the keys without a pause, with what was measured', async () => {
    const world = createWorld();
    const since = world.clock.now();
    const busy = { busy: { since, position: 0, queuedMs: 0 } };
    const spent = { handlerMs: 25_000, storeMs: 1_000, publishMs: 0, requestUnits: 500 };
    const work = { busySince: since, since, messages: 60, isTold: true, ...spent };
    const outcomes = ['applied' as const, ...Array.from({ length: 9 }, () => 'waiting' as const)];
    await tell(world, 'hot', { outcomes, gate: busy, progress: { work } });
    const retrying = { hold: { ...noHold, kind: 'retrying' as const } };
    await tell(world, 'retry', { outcomes, gate: busy, progress: retrying });
    await tell(world, 'cool', { outcomes });
    await world.clock.advance(30_000);

    const { body } = await ask(world, 'GET /convoys?hot=true');
    const detail = await ask(world, 'GET /convoys/orders/hot');

    expect(body.items).toHaveLength(1);
    expect(body.items[0]).toMatchObject({
      key: 'hot',
      hot: { sinceSeconds: 30, messagesPerSecond: 2, backlog: 9, limit: 'handler' },
    });
    expect(body.items[0].hot.advice).toContain('83 %');
    expect(detail.body.hot).toEqual(body.items[0].hot);
  });

  test('pages by continuation give every key once, whatever the filter', async () => {
    const world = createWorld();
    const keys = Array.from({ length: 23 }, (_, at) => `k${String(at).padStart(2, '0')}`);
    for (const [at, key] of keys.entries()) {
      await tell(world, key, { outcomes: [at % 3 === 0 ? 'waiting' : 'applied'] });
    }

    for (const filter of ['', 'backlog=true&', 'status=none&']) {
      const found: string[] = [];
      let continuation = '';
      do {
        const { status, body } = await ask(world, `GET /convoys?${filter}limit=4${continuation}`);
        expect(status).toBe(200);
        expect(body.items.length).toBeLessThanOrEqual(4);
        found.push(...body.items.map((item: { key: string }) => item.key));
        continuation = body.continuation ? `&continuation=${body.continuation}` : '';
      } while (continuation);
      const expected = filter.startsWith('backlog') ? keys.filter((_, at) => at % 3 === 0) : keys;
      expect(found.sort()).toEqual(expected);
    }
  });

  test('a continuation with other filters, or a made-up one, is refused', async () => {
    const world = createWorld();
    for (const key of ['a', 'b', 'c']) await tell(world, key, { outcomes: ['applied'] });
    const first = await ask(world, 'GET /convoys?limit=1');

    const other = await ask(world, `GET /convoys?phase=&limit=1`);
    const moved = await ask(
      world,
      `GET /convoys?convoy=orders&limit=1&continuation=${first.body.continuation}`,
    );
    const madeUp = await ask(world, 'GET /convoys?continuation=abc');

    expect(other.body.received).toContain("'phase'");
    expect(moved.body).toMatchObject({ status: 400, code: 'CVY_BAD_REQUEST' });
    expect(moved.body.received).toContain('other filters');
    expect(madeUp.body).toMatchObject({ status: 400, code: 'CVY_BAD_REQUEST' });
  });
});

describe('GET /convoys/{convoy}/{key}', () => {
  test('the detail adds state, open windows, chain, instance and counts', async () => {
    const world = createWorld();
    const start = Date.UTC(2026, 0, 1);
    const window = { window: 'daily', start, end: start + 86_400_000, count: 2, sum: 5 };
    const open = { ...window, min: 2, max: 3, first: 2, last: 3 };
    await tell(world, 'A', {
      outcomes: ['applied'],
      progress: { openWindows: [open], chain: 'abc', settled: 1 },
    });

    const { body } = await ask(world, 'GET /convoys/orders/A');

    expect(body).toMatchObject({
      key: 'A',
      state: { total: 1 },
      chain: 'abc',
      lanes: [],
      settled: 1,
      windows: [{ ...open, start: '2026-01-01T00:00:00Z', end: '2026-01-02T00:00:00Z' }],
    });
    expect(body.instanceId).toMatch(/^orders-[0-9a-f]{40}-1$/);
  });

  test('a stale gate behind the cursor never shows a negative backlog', async () => {
    const world = createWorld();
    await tell(world, 'A', {
      outcomes: ['applied', 'applied', 'applied'],
      gate: { ...initialGate(), tail: 1 },
    });

    const { body } = await ask(world, 'GET /convoys/orders/A');

    expect(body).toMatchObject({ cursor: 3, tail: 3, backlog: 0, headAgeSeconds: null });
  });

  test('an unknown key, convoy or route is a 404 with code and remedy', async () => {
    const world = createWorld();
    for (const path of ['/convoys/orders/nope', '/convoys/Bad_Name/x', '/nothing/here'] as const) {
      const { status, headers, body } = await ask(world, `GET ${path}`);

      expect([path, status]).toEqual([path, 404]);
      expect(headers['content-type']).toBe('application/problem+json');
      expect(body).toMatchObject({ status: 404, code: 'CVY_NOT_FOUND' });
      expect(Object.keys(body).sort()).toEqual([
        'code',
        'detail',
        'received',
        'remedy',
        'status',
        'title',
        'type',
      ]);
    }
  });

  test('a wrong method answers 404 as the host would, with a problem', async () => {
    const { status, body } = await ask(createWorld(), 'PUT /convoys/orders/A');

    expect([status, body.code]).toEqual([404, 'CVY_NOT_FOUND']);
  });
});

describe('keys in paths', () => {
  test('every legal key is reached by the pathKey that answers carry', async () => {
    const legalKey = fc
      .string({ minLength: 1, maxLength: 128, unit: 'binary' })
      .filter((key) => keyFault(key) === undefined);
    await fc.assert(
      fc.asyncProperty(legalKey, async (key) => {
        const world = createWorld();
        await tell(world, key, { outcomes: ['applied'] });
        const listed = await ask(world, 'GET /convoys');
        const { body } = await ask(world, `GET /convoys/orders/${listed.body.items[0].pathKey}`);
        expect(body.key).toBe(key);
      }),
      { numRuns: 150 },
    );
  });

  test.each(['A.17', 'Grüße 1', '東京', 'a+b', '🚚'])(
    'plain percent-encoding of %s is accepted: it can mean nothing else',
    async (key) => {
      const world = createWorld();
      await tell(world, key, { outcomes: ['applied'] });

      const { body } = await ask(world, `GET /convoys/orders/${encodeURIComponent(key)}`);

      expect(body.key).toBe(key);
    },
  );

  test.each(['a%2Fb', 'a%252Fb', 'a~b', 'A~41', 'a~2F'])(
    'the equivocal %s is refused and the path form is named',
    async (text) => {
      const { status, body } = await ask(createWorld(), `GET /convoys/orders/${text}`);

      expect([status, body.code]).toEqual([400, 'CVY_BAD_REQUEST']);
      expect(body.received).toContain('~hh');
    },
  );

  test('an illegal key is refused before anything is read', async () => {
    const path = toPathKey('a\u0000b');
    const { status, body } = await ask(createWorld(), `GET /convoys/orders/${path}`);

    expect([status, body.code]).toEqual([400, 'CVY_KEY_INVALID']);
  });
});

describe('a service that limits the rate', () => {
  test('is named in the detail of a key whose drains fail for it', async () => {
    const asked: string[] = [];
    const since = Date.UTC(2026, 0, 1);
    const world = createWorld({
      async customStatusOf(instanceId) {
        asked.push(instanceId);
        return { throttled: { by: 'cosmos', since } };
      },
    });
    await tell(world, 'busy', { outcomes: ['waiting'] });
    await tell(world, 'calm', { outcomes: ['applied'] });

    const busy = await ask(world, 'GET /convoys/orders/busy');
    const calm = await ask(world, 'GET /convoys/orders/calm');

    expect(busy.body.throttled).toEqual({ by: 'cosmos', since: '2026-01-01T00:00:00Z' });
    expect(calm.body.throttled).toBeNull();
    expect(asked).toEqual([busy.body.instanceId]); // an idle key has no instance to ask
  });

  test.each([null, 'text', {}, { throttled: null }])('a custom status %j says none', async (s) => {
    const world = createWorld({ customStatusOf: async () => s });
    await tell(world, 'busy', { outcomes: ['waiting'] });

    expect((await ask(world, 'GET /convoys/orders/busy')).body.throttled).toBeNull();
  });

  test('a hub that does not answer leaves the detail whole', async () => {
    const customStatusOf = () => Promise.reject(new Error('the hub is away'));
    const world = createWorld({ customStatusOf });
    await tell(world, 'busy', { outcomes: ['waiting'] });

    const { status, body } = await ask(world, 'GET /convoys/orders/busy');

    expect([status, body.throttled]).toEqual([200, null]);
  });
});
