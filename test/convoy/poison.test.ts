// What becomes of messages that fail: block, park, park-lane, replays; completion, versions,
// effects.
import { expect, test } from 'vitest';
import { z } from 'zod';
import { type ConvoyOptions, defineConvoy } from '../../shared/convoy/definition.ts';
import type { Progress } from '../../shared/convoy/state.ts';
import { type TestMessage, runConvoy } from '../../shared/run-convoy.ts';

const schema = z.looseObject({});
type Options = Partial<ConvoyOptions<typeof schema, string[], unknown>>;

/** Ids in `broken` make the handler throw. */
const broken = new Set<string>();

const noting = (options: Options = {}) =>
  defineConvoy<typeof schema, string[], unknown>({
    name: 'noting',
    schema,
    initialState: [],
    apply(state, message, context) {
      if (broken.has(message.id)) throw new Error(`no ${message.id}`);
      if (message.type === 'end') context.complete();
      if (message.type === 'bad') context.reject('bad');
      context.emit('noted', message.id);
      return [...state, message.id];
    },
    ...options,
  });

const ids = (...names: string[]): TestMessage[] => names.map((id) => ({ id }));

function whileBroken<Result>(names: string[], act: () => Result): Result {
  for (const name of names) broken.add(name);
  try {
    return act();
  } finally {
    broken.clear();
  }
}

/** What `replay` of an operator does to progress (shared/engine/operate.ts). */
const replayed = (progress: Progress): Progress => ({
  ...progress,
  healing: [...progress.parked],
  laneParked: null,
});

test('park: the message is set aside and the key goes on; the chain says so', () => {
  const run = whileBroken(['b'], () =>
    runConvoy(noting({ onPoison: 'park', retry: { attempts: 2 } }), ids('a', 'b', 'c')),
  );

  expect(run.state).toEqual(['a', 'c']);
  expect(run.settlements.map((s) => [s.position, s.outcome, s.code, s.attempts])).toEqual([
    [1, 'applied', undefined, 1],
    [2, 'parked', 'CVY_HANDLER', 2],
    [3, 'applied', undefined, 1],
  ]);
  expect(run).toMatchObject({ parked: [2], hold: { kind: 'none' } });
  expect(run.progress.counts).toMatchObject({ applied: 2, parked: 1 });
});

test('O3: a replay settles what is parked in order, before anything that waits behind it', () => {
  const definition = noting({ onPoison: 'park' });
  const first = whileBroken(['a', 'c'], () => runConvoy(definition, ids('a', 'b', 'c')));

  const run = runConvoy(definition, ids('a', 'b', 'c', 'd'), {
    progress: replayed(first.progress),
  });

  expect(run.state).toEqual(['b', 'a', 'c', 'd']);
  expect(run.settlements.map((s) => [s.position, s.outcome, s.healed])).toEqual([
    [1, 'applied', true],
    [3, 'applied', true],
    [4, 'applied', undefined],
  ]);
  expect(run).toMatchObject({ parked: [] });
  expect(run.progress.counts).toMatchObject({ applied: 4, parked: 0, healed: 2 });
  expect(run.progress.settled - run.progress.counts.healed).toBe(run.progress.cursor);
});

test('a replay that fails again leaves its message parked; the others go on', () => {
  const definition = noting({ onPoison: 'park' });
  const first = whileBroken(['a', 'b'], () => runConvoy(definition, ids('a', 'b')));

  const run = whileBroken(['a'], () =>
    runConvoy(definition, ids('a', 'b', 'c'), { progress: replayed(first.progress) }),
  );

  expect(run.state).toEqual(['b', 'c']);
  expect(run).toMatchObject({ parked: [1], hold: { kind: 'none' } });
});

test('outputs of a healed message never take the number of a window closed at its position', () => {
  const definition = noting({
    onPoison: 'park',
    windows: [{ name: 'w', kind: 'tumbling', seconds: 60, value: () => 1 }],
  });
  const messages: TestMessage[] = [{ id: 'a' }, { id: 'b' }];
  const first = whileBroken(['b'], () => runConvoy(definition, messages));
  const closing = { ...first.progress, watermark: Date.UTC(2027, 0, 1) };
  const closed = runConvoy(definition, messages, { progress: closing });

  const healed = runConvoy(definition, messages, { progress: replayed(closed.progress) });

  expect(closed.outputs).toEqual([expect.objectContaining({ position: 2, n: 0 })]);
  expect(healed.outputs.map(({ position, n }) => [position, n >= 1_000_000])).toEqual([
    [2, true],
    [2, true],
  ]);
});

test('O2 park-lane: the message and its followers wait as they come, then settle in order', () => {
  const definition = noting({ onPoison: 'park-lane' });
  const first = whileBroken(['b'], () => runConvoy(definition, ids('a', 'b', 'c')));
  const more = runConvoy(definition, ids('a', 'b', 'c', 'd'), { progress: first.progress });

  const run = runConvoy(definition, ids('a', 'b', 'c', 'd', 'e'), {
    progress: replayed(more.progress),
  });

  expect(more).toMatchObject({ state: ['a'], waiting: [2, 3, 4], hold: { kind: 'none' } });
  expect(more.progress.laneParked).toMatchObject({ position: 2, code: 'CVY_HANDLER' });
  expect(more.progress.cursor).toBe(4);
  expect(run.state).toEqual(['a', 'b', 'c', 'd', 'e']);
  expect(run.settlements.map((s) => s.position)).toEqual([2, 3, 4, 5]);
});

test('park-lane keeps the order of the sender too', () => {
  const definition = noting({ onPoison: 'park-lane', order: 'sender' });
  const messages: TestMessage[] = [
    { id: 'b', senderPosition: 2 },
    { id: 'd', senderPosition: 4 },
    { id: 'a', senderPosition: 1 },
    { id: 'c', senderPosition: 3 },
  ];
  const first = whileBroken(['b'], () => runConvoy(definition, messages));

  const run = runConvoy(definition, messages, { progress: replayed(first.progress) });

  expect(first).toMatchObject({ state: ['a'], hold: { kind: 'none' } });
  expect(run.state).toEqual(['a', 'b', 'c', 'd']);
});

test('a lane that can take no more stops the key', () => {
  const run = whileBroken(['a'], () =>
    runConvoy(noting({ onPoison: 'park-lane' }), ids('a', 'b', 'c'), { limits: { parkedMax: 2 } }),
  );

  expect(run.hold).toMatchObject({ kind: 'blocked', code: 'CVY_PARKED_FULL', position: 1 });
  expect(run.waiting).toEqual([1, 2]);
});

test.each([
  [
    'park',
    [
      ['end', 'applied'],
      ['x', 'parked'],
    ],
    ['end'],
  ],
  [
    'reject',
    [
      ['end', 'applied'],
      ['x', 'rejected'],
    ],
    ['end'],
  ],
  [
    'reopen',
    [
      ['end', 'applied'],
      ['x', 'applied'],
    ],
    ['end', 'x'],
  ],
] as const)('after complete(), %s', (afterComplete, outcomes, state) => {
  const messages: TestMessage[] = [{ id: 'end', type: 'end' }, { id: 'x' }];

  const run = runConvoy(noting({ afterComplete }), messages);

  const idOf = (position: number) => messages[position - 1]?.id;
  expect(run.settlements.map((s) => [idOf(s.position), s.outcome])).toEqual(outcomes);
  expect(run.state).toEqual(state);
});

test('complete() closes every open window; none opens again', () => {
  const definition = noting({
    afterComplete: 'reopen',
    windows: [{ name: 'w', kind: 'tumbling', seconds: 3_600, graceSeconds: 60, value: () => 1 }],
  });

  const run = runConvoy(definition, [{ id: 'a' }, { id: 'end', type: 'end' }, { id: 'x' }]);

  expect(run.openWindows).toEqual([]);
  expect(run.closedWindows).toEqual([expect.objectContaining({ count: 3, revision: 1 })]);
});

test('messages of earlier versions are upcast step by step; newer ones hold the key', () => {
  const definition = noting({
    version: 3,
    upcast: {
      1: (body) => ({ ...(body as object), two: true }),
      2: (body) => ({ ...(body as object), three: true }),
    },
    apply: (state, message) => [...state, JSON.stringify(message.body)],
  });
  const at = (schemaVersion: number): TestMessage => ({ schemaVersion, body: {} });

  const run = runConvoy(definition, [at(1), at(2), at(3), at(4)]);

  expect(run.state).toEqual(['{"two":true,"three":true}', '{"three":true}', '{}']);
  expect(run.hold).toMatchObject({ kind: 'blocked', code: 'CVY_VERSION', position: 4 });
});

test('an older state is migrated before the first message; a newer one holds the key', () => {
  const definition = noting({
    version: 2,
    upcast: { 1: (body) => body },
    migrate: { 1: (state) => ['migrated', ...(state as string[])] },
  });
  const old = runConvoy(noting(), ids('a')).progress;

  const run = runConvoy(definition, ids('a', 'b'), { progress: old });
  const back = runConvoy(noting(), ids('a', 'b', 'c'), { progress: run.progress });

  expect(run.state).toEqual(['migrated', 'a', 'b']);
  expect(run.progress.stateVersion).toBe(2);
  expect(back.hold).toMatchObject({ kind: 'blocked', code: 'CVY_VERSION' });
  expect(back.state).toEqual(run.state);
});

test('an effect runs once per applied message, before it, and its result is applied', () => {
  const called: string[] = [];
  const definition = noting({
    effect: async () => 0,
    apply(state, message, context) {
      if (message.type === 'bad') context.reject('bad');
      return [...state, `${message.id}=${String(context.effect)}`];
    },
  });
  const messages: TestMessage[] = [{ id: 'a' }, { id: 'b', type: 'bad' }, { id: 'c' }];

  const run = runConvoy(definition, messages, {
    effect: (message) => called.push(message.id),
  });

  expect(called).toEqual(['a', 'c']);
  expect(run.state).toEqual(['a=1', 'c=2']);
  expect(run.settlements.map((s) => s.outcome)).toEqual(['applied', 'rejected', 'applied']);
});

test('an effect that fails is tried again, then poison; nothing of the message is kept', () => {
  let attempts = 0;
  const definition = noting({ effect: async () => 0, retry: { attempts: 3 } });

  const run = runConvoy(definition, ids('a', 'b'), {
    effect(message) {
      if (message.id === 'b') throw new Error(`no answer ${(attempts += 1)}`);
    },
  });

  expect(run.state).toEqual(['a']);
  expect(run.hold).toMatchObject({
    kind: 'blocked',
    code: 'CVY_EFFECT',
    attempts: 3,
    reason: 'no answer 3',
  });
});

test.each(['window.closed', 'window.early', 'window.rolledUp'])(
  'a handler cannot emit %s: that is what windows say',
  (type) => {
    const definition = noting({
      apply(state, _, context) {
        context.emit(type, {});
        return state;
      },
    });

    const { hold } = runConvoy(definition, ids('a'));

    expect(hold).toMatchObject({ kind: 'blocked', code: 'CVY_HANDLER' });
    expect(hold.reason).toContain(type);
  },
);
