import { noCounts } from '../../shared/convoy/state.ts';
import { describe, expect, test } from 'vitest';
import { ConvoyError } from '../../shared/errors.ts';
import { StoreUnavailable } from '../../shared/store/store.ts';
import { ask, createWorld, tell } from './world.ts';

describe('POST …/messages', () => {
  test('enqueues under the Idempotency-Key and answers 202 with the id', async () => {
    const world = createWorld();

    const { status, body } = await ask(world, 'POST /convoys/orders/A~2f17/messages', {
      headers: { 'idempotency-key': 'order-1' },
      body: { type: 'OrderPlaced', body: { amount: 3 }, senderPosition: 1 },
    });

    expect(status).toBe(202);
    expect(body).toEqual({
      convoy: 'orders',
      key: 'A/17',
      pathKey: 'A~2f17',
      messageId: 'order-1',
    });
    expect(world.sent).toEqual([
      {
        convoy: 'orders',
        key: 'A/17',
        messages: [{ id: 'order-1', type: 'OrderPlaced', body: { amount: 3 }, senderPosition: 1 }],
      },
    ]);
  });

  test.each([
    ['no body at all', { text: '' }, 400, 'CVY_BAD_REQUEST'],
    ['no JSON', { text: '{' }, 400, 'CVY_BAD_REQUEST'],
    ['a list', { body: [] }, 400, 'CVY_BAD_REQUEST'],
    ['no type', { body: { body: 1 } }, 400, 'CVY_BAD_REQUEST'],
    ['no body field', { body: { type: 'T' } }, 400, 'CVY_BAD_REQUEST'],
    ['an unknown field', { body: { type: 'T', body: 1, sessionId: 'x' } }, 400, 'CVY_BAD_REQUEST'],
    [
      'a position of zero',
      { body: { type: 'T', body: 1, senderPosition: 0 } },
      400,
      'CVY_BAD_REQUEST',
    ],
  ])('%s: refused, nothing enqueued', async (_, request, status, code) => {
    const world = createWorld();

    const asked = await ask(world, 'POST /convoys/orders/A/messages', request);

    expect([asked.status, asked.body.code]).toEqual([status, code]);
    expect(world.sent).toEqual([]);
  });

  test('two different ids in header and body are refused', async () => {
    const world = createWorld();

    const { body } = await ask(world, 'POST /convoys/orders/A/messages', {
      headers: { 'idempotency-key': 'a' },
      body: { id: 'b', type: 'T', body: 1 },
    });

    expect(body).toMatchObject({ status: 400, code: 'CVY_BAD_REQUEST' });
    expect(world.sent).toEqual([]);
  });

  test('an unregistered convoy is 404, an oversized body 413, a silent broker 503', async () => {
    const unknown = await ask(createWorld(), 'POST /convoys/nope/A/messages', {
      body: { type: 'T', body: 1 },
    });
    const failing = (code: 'CVY_BODY_TOO_LARGE' | 'CVY_UNREACHABLE') => {
      const send = () => Promise.reject(new ConvoyError(code, 'it is so'));
      return ask(createWorld({ sender: { send } }), 'POST /convoys/orders/A/messages', {
        body: { type: 'T', body: 1 },
      });
    };
    const large = await failing('CVY_BODY_TOO_LARGE');
    const silent = await failing('CVY_UNREACHABLE');

    expect([unknown.status, unknown.body.code]).toEqual([404, 'CVY_CONVOY_UNKNOWN']);
    expect([large.status, large.body.code]).toEqual([413, 'CVY_BODY_TOO_LARGE']);
    expect([silent.status, silent.headers['retry-after']]).toEqual([503, '5']);
  });
});

describe('POST …/{action}', () => {
  test('hands the action to the engine and answers 202 with the new detail', async () => {
    const world = createWorld();
    await tell(world, 'A', { outcomes: ['applied'] });

    const { status, body } = await ask(world, 'POST /convoys/orders/A/pause', {
      body: { reason: 'stock take', by: 'kim', expectedCursor: 1 },
    });

    expect([status, body.key]).toEqual([202, 'A']);
    expect(world.operated).toEqual([
      {
        convoy: 'orders',
        key: 'A',
        action: 'pause',
        reason: 'stock take',
        by: 'kim',
        expectedCursor: 1,
      },
    ]);
  });

  test('a conflict is 409 with its remedy', async () => {
    const operate = () => Promise.reject(new ConvoyError('CVY_CONFLICT', 'cursor is 9, not 8'));

    const { status, body } = await ask(createWorld({ operate }), 'POST /convoys/orders/A/skip', {
      body: { reason: 'poison', expectedCursor: 8 },
    });

    expect([status, body.code, body.received]).toEqual([409, 'CVY_CONFLICT', 'cursor is 9, not 8']);
  });

  test.each([{}, { reason: ' ' }, { reason: 'x', expectedCursor: '8' }, { reason: 'x', at: 1 }])(
    'the body %j is refused and nothing is done',
    async (body) => {
      const world = createWorld();

      const asked = await ask(world, 'POST /convoys/orders/A/retry', { body });

      expect([asked.status, asked.body.code]).toEqual([400, 'CVY_BAD_REQUEST']);
      expect(world.operated).toEqual([]);
    },
  );

  test('an action that never existed is 404 with those that do', async () => {
    const dance = await ask(createWorld(), 'POST /convoys/orders/A/dance', { body: {} });

    expect([dance.status, dance.body.code]).toEqual([404, 'CVY_NOT_FOUND']);
    expect(dance.body.received).toContain('park, replay, cancel');
  });
});

describe('GET /health and /stats', () => {
  test('health is 503 as soon as one dependency fails, and names it with its latency', async () => {
    const well = await ask(createWorld(), 'GET /health');
    const pingServiceBus = () => Promise.reject(new ConvoyError('CVY_UNREACHABLE', 'no broker'));
    const ill = await ask(createWorld({ pingServiceBus }), 'GET /health');

    expect([well.status, well.body.status]).toEqual([200, 'ok']);
    expect([ill.status, ill.body.status]).toEqual([503, 'failing']);
    expect(ill.body.dependencies).toMatchObject([
      { name: 'store', status: 'ok', latencyMs: 0 },
      { name: 'serviceBus', status: 'failing', code: 'CVY_UNREACHABLE', reason: 'no broker' },
    ]);
  });

  test('a dependency that never answers is failing after five seconds', async () => {
    const world = createWorld({ pingServiceBus: () => new Promise(() => {}) });

    const asking = ask(world, 'GET /health');
    while (world.clock.armed === 0) await new Promise((resolve) => setImmediate(resolve));
    await world.clock.advance(5_000);
    const { status, body } = await asking;

    expect([status, body.dependencies[1].status]).toEqual([503, 'failing']);
    expect(body.dependencies[1].latencyMs).toBe(5_000);
    expect(world.clock.armed).toBe(0);
  });

  test('stats sum what was admitted and what waits', async () => {
    const world = createWorld();
    const counts = { ...noCounts, applied: 2, rejected: 1 };
    await tell(world, 'A', {
      outcomes: ['applied', 'applied', 'rejected', 'waiting'],
      progress: { counts },
    });

    const { body } = await ask(world, 'GET /stats');

    expect(body).toMatchObject({
      convoys: 1,
      phases: { active: 1 },
      messages: { admitted: 4, applied: 2, rejected: 1, waiting: 1 },
    });
  });
});

describe('errors nobody foresaw', () => {
  test('a store that does not answer is 503, a bug is 500; neither shows its inside', async () => {
    const world = createWorld();
    const silent = {
      ...world.store,
      totals: () => Promise.reject(new StoreUnavailable('429 at host x')),
    };
    const broken = { ...world.store, totals: () => Promise.reject(new TypeError('secret text')) };

    const unavailable = await ask(
      { ...world, deps: { ...world.deps, store: silent } },
      'GET /stats',
    );
    const bug = await ask({ ...world, deps: { ...world.deps, store: broken } }, 'GET /stats');

    expect([unavailable.status, unavailable.body.code]).toEqual([503, 'CVY_UNREACHABLE']);
    expect([bug.status, bug.body.code]).toEqual([500, 'CVY_INTERNAL']);
    expect(JSON.stringify([unavailable.body, bug.body])).not.toMatch(/secret|host x/);
    expect(world.errors).toHaveLength(2);
  });
});
