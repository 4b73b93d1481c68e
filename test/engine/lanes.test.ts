// Lanes in the engine, step by step: announcing, the fence, retiring, and replay in a retired lane.
import { beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type VirtualClock, virtualClock } from '../../shared/clock.ts';
import { defineConvoy } from '../../shared/convoy/definition.ts';
import type { Lanes } from '../../shared/convoy/lane-plan.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import { drain } from '../../shared/engine/drain.ts';
import { receiveMessage } from '../../shared/engine/intake.ts';
import { tryOpenLane } from '../../shared/engine/lane-fence.ts';
import { announceLanes, confirmLayout } from '../../shared/engine/layout.ts';
import { operate } from '../../shared/engine/operate.ts';
import { type Engine, type Fence, defaultSettings } from '../../shared/engine/ports.ts';
import { sweep } from '../../shared/engine/sweep.ts';
import { createLog } from '../../shared/log.ts';
import { type MemoryCall, createMemoryStore } from '../../shared/store/memory.ts';
import { type ConvoyStore, StoreUnavailable } from '../../shared/store/store.ts';

const definitionWith = (lanes: Lanes | Record<string, Lanes> | undefined) =>
  defineConvoy({
    name: 'hot',
    schema: z.object({}),
    initialState: [] as string[],
    lingerSeconds: 0,
    ...(lanes !== undefined && { lanes }),
    apply: (ids, message) => [...ids, message.id],
  });

let clock: VirtualClock;
let store: ConvoyStore;
let calls: MemoryCall[];
let fault: ((call: MemoryCall) => void) | undefined;
let fences: Fence[];

beforeEach(() => {
  clock = virtualClock();
  calls = [];
  fault = undefined;
  fences = [];
  store = createMemoryStore({
    clock,
    async intercept(call) {
      calls.push(call);
      fault?.(call);
    },
  });
});

function engineWith(lanes: Lanes | Record<string, Lanes> | undefined): Engine {
  return {
    store,
    publisher: { publish: async () => {} },
    instances: { start: async () => {}, wake: async () => 'raised' },
    clock,
    log: createLog('warn', () => undefined),
    definitions: new Map([['hot', definitionWith(lanes)]]),
    limits: defaultLimits,
    settings: defaultSettings,
    started: new Set(),
    startedAt: clock.now(),
    layouts: new Map(),
    sendFence: async (fence) => void fences.push(fence),
  };
}

/** Lets virtual time pass until the work has ended. */
async function during<Result>(work: Promise<Result>): Promise<Result> {
  let isOver = false;
  const over = work.finally(() => (isOver = true));
  over.catch(() => undefined);
  while (!isOver) await clock.advance(1);
  return over;
}

async function receive(
  engine: Engine,
  session: string,
  given: { id?: string; laneKey?: string; fence?: number; queue?: string },
): Promise<void> {
  const { id = 'm', laneKey, fence, queue = 'hot' } = given;
  const at = { occurredAt: clock.now(), enqueuedAt: clock.now() };
  const message = { messageId: id, type: 'Put', bodyText: '{}', schemaVersion: 1, ...at };
  const parsed = {
    kind: 'message' as const,
    key: session,
    message: { ...message, ...(laneKey !== undefined && { laneKey }) },
    sequence: null,
    ...(fence !== undefined && { fence }),
    warnings: [],
  };
  const received = { body: Buffer.from(id), metadata: {} };
  await receiveMessage(engine, { convoy: 'hot', queue, parsed, received });
}

/** Runs the key's instance until it has ended. */
async function settleKey(engine: Engine, key: string): Promise<void> {
  for (let i = 0; i < 20; i += 1) {
    const gate = await store.readGate(`hot:${key}`);
    if (gate?.item.phase !== 'active') return;
    const { epoch } = gate.item;
    await during(drain(engine, { convoy: 'hot', key, epoch, mayClose: true }));
  }
}

const progressOf = async (key: string) => (await store.readProgress(`hot:${key}`))?.item;
const gateOf = async (key: string) => (await store.readGate(`hot:${key}`))?.item;
const outcomesOf = async (key: string) =>
  (await store.listMessages(`hot:${key}`, { from: 1, limit: 100 })).items.map((item) =>
    [item.messageId, item.outcome, item.code].filter(Boolean).join(' '),
  );

/** `K` has settled a and b, and its one lane `K~1.0` waits with c. */
async function splitKey(): Promise<Engine> {
  const before = engineWith(undefined);
  for (const id of ['a', 'b']) await receive(before, 'K', { id });
  await settleKey(before, 'K');
  const engine = engineWith([1]);
  await announceLanes(engine, definitionWith([1]));
  await receive(engine, 'K~1.0', { id: 'c' });
  return engine;
}

/** As soon as it may be: the senders' time, then the fence, then idle and drained. */
async function openKey(engine: Engine): Promise<void> {
  await clock.advance(125_000);
  await tryOpenLane(engine, { convoy: 'hot', key: 'K~1.0' });
  await receive(engine, 'K', { fence: 1 });
  await tryOpenLane(engine, { convoy: 'hot', key: 'K~1.0' });
}

describe('announcing', () => {
  test('A1: a generation is dated by a second write; later ticks change nothing', async () => {
    const engine = engineWith([2]);
    const writes = () => calls.filter(({ method }) => method === 'batch').length;

    const layout = await announceLanes(engine, definitionWith([2]));
    const after = writes();
    await sweep(engine, Infinity);
    await announceLanes(engineWith([2]), definitionWith([2]));

    expect(layout.all).toEqual([{ count: 2, queue: 'hot', announcedAt: clock.now() }]);
    expect([after, writes()]).toEqual([2, 2]);
  });

  test('A1: after a death between the two writes anybody dates it later', async () => {
    let batches = 0;
    fault = ({ method }) => {
      if (method === 'batch' && (batches += 1) === 2) throw new StoreUnavailable('died');
    };
    await expect(announceLanes(engineWith([2]), definitionWith([2]))).rejects.toThrow('died');
    expect((await store.readLayout('hot'))?.item.all).toMatchObject([{ announcedAt: null }]);

    await clock.advance(60_000);
    const layout = await announceLanes(engineWith(undefined), definitionWith(undefined));

    expect(layout.all).toMatchObject([{ announcedAt: clock.now() }]);
  });

  test('A2: an older definition uses the longer layout, a newer one appends to it', async () => {
    await announceLanes(engineWith([2]), definitionWith([2, 4]));
    const first = clock.now();
    await clock.advance(5_000);

    const older = await announceLanes(engineWith([2]), definitionWith([2]));
    const newer = await announceLanes(engineWith([2]), definitionWith([2, 4, 8]));

    expect(older.all.map(({ count }) => count)).toEqual([2, 4]);
    expect(newer.all.map(({ announcedAt }) => announcedAt)).toEqual([first, first, clock.now()]);
  });

  test.each<[string, Lanes | Record<string, Lanes>, RegExp]>([
    ['another count', [3], /every key: lanes \[3 in hot\]; announced is \[2 in hot\]/],
    ['another queue', [{ count: 2, queue: 'fast' }], /2 in fast/],
    ['named keys instead of all', { K: [2] }, /splits the keys K; announced is every key/],
  ])('A2: %s is a contradiction: both are named, lanes stay held', async (_, lanes, named) => {
    await announceLanes(engineWith([2]), definitionWith([2]));
    const engine = engineWith(lanes);

    await expect(announceLanes(engine, definitionWith(lanes))).rejects.toThrow(named);
    await receive(engine, 'K~1.0', { id: 'c' });
    await clock.advance(300_000);
    await sweep(engine, Infinity);

    expect(await gateOf('K~1.0')).toMatchObject({
      phase: 'held',
      hold: { code: 'CVY_LANE_FENCE' },
    });
    expect(fences).toEqual([]);
  });

  test('A3: a stale read of no layout does not pass for one', async () => {
    await announceLanes(engineWith([2]), definitionWith([2]));
    let reads = 0;
    const stale: ConvoyStore = {
      ...store,
      readLayout: async (convoy) => ((reads += 1) < 4 ? undefined : store.readLayout(convoy)),
    };

    const layout = await during(confirmLayout({ store: stale, clock }, 'hot'));

    expect(layout.all).toHaveLength(1);
  });
});

describe('L3-L5: from one generation to the next', () => {
  test('a lane is held for the senders, for the fence and for the drain, in turn', async () => {
    const engine = await splitKey();
    expect(await gateOf('K~1.0')).toMatchObject({ phase: 'held', tail: 1, epoch: 0 });
    expect(await progressOf('K~1.0')).toMatchObject({ lane: { key: 'K', generation: 1, lane: 0 } });

    await clock.advance(124_000);
    await sweep(engine, Infinity);
    expect(fences).toEqual([]);

    await clock.advance(1_000);
    await sweep(engine, Infinity);
    expect(fences).toEqual([{ queue: 'hot', session: 'K', generation: 1 }]);

    // Sent in time, and still in the queue before the fence.
    await receive(engine, 'K', { id: 'late but in time' });
    await receive(engine, 'K', { fence: 1 });
    await clock.advance(30_000);
    await sweep(engine, Infinity);
    expect(await gateOf('K~1.0')).toMatchObject({ phase: 'held' });

    await settleKey(engine, 'K');
    await clock.advance(30_000);
    await sweep(engine, Infinity);
    expect(await progressOf('K')).toMatchObject({ retired: { generation: 1, tail: 3 } });
    expect(await gateOf('K~1.0')).toMatchObject({ phase: 'active', epoch: 2, dueAt: null });

    await settleKey(engine, 'K~1.0');
    expect(await outcomesOf('K')).toEqual(['a applied', 'b applied', 'late but in time applied']);
    expect(await outcomesOf('K~1.0')).toEqual(['c applied']);
  });

  test('an admit that comes while the lane retires is not behind the tail unseen', async () => {
    const engine = await splitKey();
    await clock.advance(125_000);
    await tryOpenLane(engine, { convoy: 'hot', key: 'K~1.0' });
    await receive(engine, 'K', { fence: 1 });
    let admitting: Promise<void> | undefined;
    const racing: ConvoyStore = {
      ...store,
      async batch(convoyId, operations) {
        const isRetiring = operations.some(
          (o) => 'item' in o && 'retired' in o.item && o.item.retired,
        );
        if (isRetiring) await (admitting ??= receive(engine, 'K', { id: 'between' }));
        return store.batch(convoyId, operations);
      },
    };

    await tryOpenLane({ ...engine, store: racing }, { convoy: 'hot', key: 'K~1.0' });

    expect(await progressOf('K')).toMatchObject({ retired: null });
    expect(await gateOf('K~1.0')).toMatchObject({ phase: 'held' });
    await settleKey(engine, 'K');
    await tryOpenLane(engine, { convoy: 'hot', key: 'K~1.0' });
    expect(await progressOf('K')).toMatchObject({ retired: { tail: 3 } });
    expect(await gateOf('K~1.0')).toMatchObject({ phase: 'active' });
  });

  test('a death at any call is resumed', async () => {
    for (let deadly = 0; deadly < 40; deadly += 1) {
      const engine = await splitKey();
      await clock.advance(125_000);
      await tryOpenLane(engine, { convoy: 'hot', key: 'K~1.0' });
      await receive(engine, 'K', { fence: 1 });
      let count = 0;
      fault = () => {
        if (count++ === deadly) throw new StoreUnavailable('died');
      };
      await tryOpenLane(engine, { convoy: 'hot', key: 'K~1.0' });
      fault = undefined;

      await clock.advance(90_000);
      await sweep(engine, Infinity);
      await settleKey(engine, 'K~1.0');

      expect([deadly, await outcomesOf('K~1.0')]).toEqual([deadly, ['c applied']]);
      if (count <= deadly) return;
      store = createMemoryStore({ clock, intercept: async (call) => fault?.(call) });
    }
    throw new Error('the calls do not end');
  });

  test('a lane behind its fence takes no action of an operator', async () => {
    const engine = await splitKey();
    const request = { convoy: 'hot', key: 'K~1.0', reason: 'by test' } as const;

    for (const action of ['resume', 'pause', 'cancel', 'replay'] as const) {
      await expect(operate(engine, { ...request, action })).rejects.toThrow(/CVY_CONFLICT.*fence/);
    }
    expect(await gateOf('K~1.0')).toMatchObject({ phase: 'held' });
  });
});

describe('L5: a lane that there is not', () => {
  test.each([
    ['a lane beyond the count', 'K~1.1', {}],
    ['a generation that nobody announced', 'K~2.0', {}],
    ['the unsplit key by the name of operators', 'K~0.0', {}],
    ['another lane than that of the lane key', 'K~1.0', { laneKey: 'a', lanes: 8 }],
    ['a lane by another queue than its own', 'K~1.0', { queue: 'fast' }],
  ])(
    '%s is quarantined',
    async (_, session, { lanes = 1, ...given }: { lanes?: number } & object) => {
      const engine = engineWith([lanes]);
      await announceLanes(engine, definitionWith([lanes]));

      await during(receive(engine, session, given));

      const { items } = await store.listQuarantine('hot', { limit: 10 });
      expect(items).toMatchObject([{ code: 'CVY_LANE_UNKNOWN', sessionId: session }]);
      expect(await gateOf(session)).toBeUndefined();
    },
  );

  test('where no key has lanes such a key is a key', async () => {
    const engine = engineWith(undefined);

    await receive(engine, 'K~1.0', {});

    expect(await gateOf('K~1.0')).toMatchObject({ phase: 'active', tail: 1 });
  });
});

describe('L6, L7: duplicates across generations, and replay', () => {
  test('an id of the older lane is skipped; one that was parked there is not', async () => {
    const engine = await splitKey();
    await openKey(engine);
    await receive(engine, 'K', { id: 'stale' }); // behind the tail
    await settleKey(engine, 'K');
    for (const id of ['a', 'stale', 'new']) await receive(engine, 'K~1.0', { id });
    await settleKey(engine, 'K~1.0');

    expect(await outcomesOf('K')).toEqual([
      'a applied',
      'b applied',
      'stale parked CVY_LANE_RETIRED',
    ]);
    const laned = ['c applied', 'a skipped CVY_LANE_DUPLICATE', 'stale applied', 'new applied'];
    expect(await outcomesOf('K~1.0')).toEqual(laned);

    await operate(engine, { convoy: 'hot', key: 'K', action: 'replay', reason: 'by test' });
    await settleKey(engine, 'K');
    expect((await outcomesOf('K')).at(-1)).toBe('stale skipped CVY_LANE_MOVED');
    expect(await outcomesOf('K~1.0')).toEqual(laned);
  });

  test('a replay moves in order, and after a death at any write it moves the rest', async () => {
    for (let deadly = 0; deadly < 20; deadly += 1) {
      const engine = await splitKey();
      await openKey(engine);
      for (const id of ['x', 'y', 'z']) await receive(engine, 'K', { id });
      await settleKey(engine, 'K');
      const request = { convoy: 'hot', key: 'K', action: 'replay', reason: 'by test' } as const;
      let writes = 0;
      fault = ({ method }) => {
        if (method === 'batch' && writes++ === deadly) throw new StoreUnavailable('died');
      };
      await operate(engine, request).catch(() => undefined);
      fault = undefined;

      await operate(engine, request).catch(() => undefined);
      await settleKey(engine, 'K');
      await settleKey(engine, 'K~1.0');

      const moved = ['x', 'y', 'z'].map((id) => `${id} skipped CVY_LANE_MOVED`);
      expect((await outcomesOf('K')).slice(2)).toEqual(moved);
      expect(await outcomesOf('K~1.0')).toEqual(['c', 'x', 'y', 'z'].map((id) => `${id} applied`));
      if (writes <= deadly) return;
      store = createMemoryStore({ clock, intercept: async (call) => fault?.(call) });
    }
    throw new Error('the writes do not end');
  });

  test('a laned message costs what any does, once older ids are forgotten', async () => {
    const engine = await splitKey();
    await openKey(engine);
    await settleKey(engine, 'K~1.0');
    const costOf = async (session: string, id: string): Promise<string[]> => {
      calls.length = 0;
      await receive(engine, session, { id });
      await settleKey(engine, session);
      return calls.map(({ method }) => method);
    };
    const plain = await costOf('other', 'm1').then(() => costOf('other', 'm2'));

    const young = await costOf('K~1.0', 'm1');
    await clock.advance(8 * 86_400_000);
    const steady = await costOf('K~1.0', 'm2');

    expect(young.filter((method) => method === 'readSeen')).toHaveLength(1);
    expect(steady).toEqual(plain);
  });
});
