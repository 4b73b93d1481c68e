// Lanes over HTTP: the layout for senders, a split key as a whole, and its lanes by name.
import { beforeEach, describe, expect, test } from 'vitest';
import { fenceHold } from '../../shared/convoy/handoff.ts';
import { noHold } from '../../shared/convoy/state.ts';
import { emptyLayout } from '../../shared/engine/layout.ts';
import { ConvoyError } from '../../shared/errors.ts';
import { toPathKey } from '../../shared/keys.ts';
import { ask, createWorld, tell, type World } from './world.ts';

const merge = (lanes: readonly { generation: number; lane: number; state: unknown }[]) => ({
  total: lanes.reduce((sum, { state }) => sum + (state as { total: number }).total, 0),
});
const at = Date.UTC(2026, 0, 1);

/** `hot` had one session, then two lanes, then two in another queue. */
async function splitWorld(options: { merge?: typeof merge } = { merge }): Promise<World> {
  const world = createWorld({ convoys: [{ name: 'orders', queue: 'orders', ...options }] });
  const generations = [
    { count: 2, queue: 'orders', announcedAt: at },
    { count: 2, queue: 'orders-hot', announcedAt: null },
  ];
  const keys = { hot: generations };
  await world.put('orders:', [{ ...emptyLayout('orders'), refreshSeconds: 30, keys }]);
  const retired = { generation: 1, tail: 2, at };
  const total = (n: number) => ({ state: { total: n } });
  await tell(world, 'hot', {
    outcomes: ['applied', 'applied'],
    progress: { retired, ...total(5) },
  });
  const lane = { key: 'hot', generation: 1, lane: 1 };
  await tell(world, 'hot~1.1', {
    outcomes: ['applied', 'waiting'],
    progress: { lane, ...total(7) },
  });
  const hold = fenceHold(at);
  await tell(world, 'hot~2.0', {
    outcomes: ['waiting'],
    gate: { phase: 'held', hold, cursor: 0, epoch: 0 },
    progress: { lane: { ...lane, generation: 2, lane: 0 }, hold, ...total(0) },
  });
  return world;
}

let world: World;
beforeEach(async () => {
  world = await splitWorld();
});

describe('the layout', () => {
  test('is what senders may go by, generation by generation', async () => {
    const { status, body } = await ask(world, 'GET /lanes/orders');

    expect(status).toBe(200);
    expect(body).toMatchObject({ convoy: 'orders', refreshSeconds: 30, all: [] });
    expect(body.keys.hot).toEqual([
      {
        ...{ count: 2, queue: 'orders', announcedAt: '2026-01-01T00:00:00Z' },
        opensAt: '2026-01-01T00:02:05Z',
      },
      { count: 2, queue: 'orders-hot', announcedAt: null, opensAt: null },
    ]);
  });

  test('is empty without lanes, and refused where definition and store differ', async () => {
    const plain = await ask(createWorld(), 'GET /lanes/orders');
    const broken = createWorld({
      currentLanes: async () => Promise.reject(new ConvoyError('CVY_LANES', '[4], announced [2]')),
    });

    expect(plain.body).toEqual({ convoy: 'orders', refreshSeconds: 60, all: [], keys: {} });
    expect(await ask(broken, 'GET /lanes/orders')).toMatchObject({ status: 409 });
    expect(await ask(createWorld(), 'GET /lanes/nobody')).toMatchObject({ status: 404 });
  });
});

describe('a split key', () => {
  test('shows the sums, the merged state and every lane', async () => {
    const { body } = await ask(world, 'GET /convoys/orders/hot');

    expect(body).toMatchObject({
      ...{ key: 'hot', phase: 'active', tail: 5, cursor: 3, backlog: 2, state: { total: 12 } },
      hold: { kind: 'paused', code: 'CVY_LANE_FENCE' },
    });
    expect(
      body.lanes.map((lane: Record<string, unknown>) => [lane['key'], lane['phase'], lane['tail']]),
    ).toEqual([
      ['hot~0.0', 'idle', 2],
      ['hot~1.1', 'active', 2],
      ['hot~2.0', 'held', 1],
    ]);
    expect(body.lanes[0]).toMatchObject({ retired: { generation: 1, tail: 2 }, generation: 0 });
    expect(body.lanes[0]).not.toHaveProperty('state');
    expect(body.lanes[1].pathKey).toBe(toPathKey('hot~1.1'));
  });

  test('without merge shows the states lane by lane; a merge that throws is named', async () => {
    const plain = await ask(await splitWorld({}), 'GET /convoys/orders/hot');
    const throwing = () => {
      throw new Error('no such total');
    };
    const failing = await ask(await splitWorld({ merge: throwing }), 'GET /convoys/orders/hot');

    expect(plain.body.state).toBeNull();
    expect(plain.body.lanes.map((lane: { state: unknown }) => lane.state)).toEqual(
      [5, 7, 0].map((total) => ({ total })),
    );
    expect(failing.body).toMatchObject({ state: null, mergeFault: 'no such total' });
  });

  test('takes no action as a whole: the refusal names its lanes', async () => {
    const body = { reason: 'by test' };
    const { status, body: problem } = await ask(world, 'POST /convoys/orders/hot/pause', { body });

    expect(status).toBe(400);
    expect(problem.received).toContain('hot~0.0, hot~1.0, hot~1.1, hot~2.0, hot~2.1');
    expect(world.operated).toEqual([]);
  });

  test('is acted on lane by lane; the key before the split is lane ~0.0', async () => {
    const body = { reason: 'by test' };
    const first = toPathKey('hot~0.0');
    const [before, lane] = [
      await ask(world, `POST /convoys/orders/${first}/pause`, { body }),
      await ask(world, `POST /convoys/orders/${toPathKey('hot~1.1')}/pause`, { body }),
    ];

    expect(world.operated.map(({ key }) => key)).toEqual(['hot', 'hot~1.1']);
    expect(before).toMatchObject({ status: 202, body: { key: 'hot', pathKey: first, lanes: [] } });
    expect(lane.body.lane).toEqual({ key: 'hot', generation: 1, lane: 1 });
    const messages = await ask(world, `GET /convoys/orders/${first}/messages`);
    expect(messages.body.items).toHaveLength(2);
  });

  test('another key of the convoy is as it was', async () => {
    await tell(world, 'cold', { outcomes: ['applied'], progress: { hold: noHold } });

    const { body } = await ask(world, 'GET /convoys/orders/cold');

    expect(body).toMatchObject({ key: 'cold', lanes: [], lane: null, state: { total: 1 } });
    expect(await ask(world, `GET /convoys/orders/${toPathKey('cold~0.0')}`)).toMatchObject({
      status: 404,
    });
  });
});

test('a message may carry its lane key', async () => {
  const body = { type: 'OrderPlaced', body: {}, laneKey: 'customer-7' };
  await ask(world, 'POST /convoys/orders/hot/messages', { body });
  const wrong = await ask(world, 'POST /convoys/orders/hot/messages', {
    body: { ...body, laneKey: 7 },
  });

  expect(world.sent[0]?.messages[0]).toMatchObject({ laneKey: 'customer-7' });
  expect(wrong).toMatchObject({ status: 400 });
});
