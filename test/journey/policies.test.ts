// Every policy of a definition through the whole stack: one story each, seen through the HTTP API
// and the output queue, as a user of the app sees it.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { OutgoingMessage } from '../../shared/sender.ts';
import { until } from '../support/doors.ts';
import { type Detail, Policies, type Sent, at, secondsOf } from '../support/policies.ts';

const limit = { timeout: 60_000 };
let policies: Policies;

beforeAll(async () => {
  policies = await Policies.open();
}, limit.timeout);

afterAll(async () => policies?.[Symbol.asyncDispose]());

beforeEach(() => policies.nextKey());

const send = (convoy: string, ...messages: Sent[]) => policies.send(convoy, ...messages);
const shown = (convoy: string, holds: (seen: Detail) => boolean) => policies.shown(convoy, holds);
const settled = (convoy: string, tail: number) => policies.settled(convoy, tail);
const outcomes = (convoy: string) => policies.outcomes(convoy);
const outputs = (convoy: string) => policies.outputs(convoy);
const act = (convoy: string, action: string) => policies.act(convoy, action);

test('park: a poisonous message is set aside; a replay settles it after all', limit, async () => {
  await send('park', 'a', 'b!', 'c');
  const parked = await settled('park', 3);
  const list = await policies.api.list<{ key: string }>('/convoys?convoy=park&parked=true');
  policies.world.isMended = true;
  await act('park', 'replay');
  const healed = await shown('park', ({ state }) => state.length === 3);

  expect(parked).toMatchObject({ state: ['a', 'c'], parked: 1, backlog: 0 });
  expect(list.map((one) => one.key)).toEqual([policies.key]);
  expect(healed).toMatchObject({ state: ['a', 'c', 'b'], parked: 0 });
  expect(await outcomes('park')).toEqual(['a applied', 'b applied', 'c applied']);
  const noted = (await outputs('park')).map(({ body }) => body['id']);
  expect(noted).toEqual(['a', 'c', 'b']);
});

test('park: an operator sets the message aside that holds the key', limit, async () => {
  await send('gap-block', { id: 'a', senderPosition: 1, body: { breaks: true } });
  await send('gap-block', { id: 'b', senderPosition: 2 });
  await shown('gap-block', (seen) => seen.phase === 'held');
  await act('gap-block', 'park');

  expect(await settled('gap-block', 2)).toMatchObject({ state: ['b'], parked: 1 });
  expect(await outcomes('gap-block')).toEqual(['a parked CVY_PARKED', 'b applied']);
});

test('park-lane: followers wait as they come, and settle in order', limit, async () => {
  await send('park-lane', 'a', 'b!', 'c');
  await settled('park-lane', 3);
  await send('park-lane', 'd');
  const waiting = await settled('park-lane', 4);
  policies.world.isMended = true;
  await act('park-lane', 'replay');
  const healed = await shown('park-lane', ({ state }) => state.length === 4);

  expect(waiting).toMatchObject({ state: ['a'], backlog: 3, parked: 3 });
  expect(waiting.aside.lane).toMatchObject({ code: 'CVY_HANDLER', messages: 3 });
  expect(healed.state).toEqual(['a', 'b', 'c', 'd']);
});

const numbered = (...positions: number[]): Partial<OutgoingMessage>[] =>
  positions.map((senderPosition) => ({ id: `s${senderPosition}`, senderPosition }));

test('order sender: out of order in, in order out; what is missing is named', limit, async () => {
  await send('gap-block', ...numbered(3, 1, 5));
  const waiting = await shown('gap-block', ({ gap }) => gap?.messages === 2);
  const blocked = await shown('gap-block', ({ hold }) => hold.kind === 'blocked');
  await send('gap-block', ...numbered(2, 4));
  await shown('gap-block', ({ tail }) => tail === 5);
  await act('gap-block', 'retry');

  expect(waiting).toMatchObject({ state: ['s1'], gap: { from: 2, to: 2, messages: 2 } });
  expect(blocked.hold).toMatchObject({ code: 'CVY_GAP', position: 1 });
  expect((await settled('gap-block', 5)).state).toEqual(['s1', 's2', 's3', 's4', 's5']);
});

test('order sender: a gap can be gone on without; what comes then is stale', limit, async () => {
  await send('gap-continue', ...numbered(1, 3));
  await shown('gap-continue', ({ state }) => state.length === 2);
  await send('gap-continue', ...numbered(2));
  await settled('gap-continue', 3);

  expect(await outcomes('gap-continue')).toEqual([
    's1 applied',
    's3 applied',
    's2 skipped CVY_STALE',
  ]);
});

test('an effect runs with the same key at each attempt; its result is applied', limit, async () => {
  await send('effect', 'a', 'b!', 'c');
  const { state } = await settled('effect', 3);

  expect(state).toEqual(['a:1', 'b:2', 'c:1']);
  const ofB = policies.world.effects.filter(({ id }) => id === 'b');
  expect(ofB.map(({ attempt }) => attempt)).toEqual([1, 2]);
  expect(new Set(ofB.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
});

test.each([
  ['end-park', 'x parked CVY_COMPLETED', ['end']],
  ['end-reject', 'x rejected CVY_COMPLETED', ['end']],
  ['end-reopen', 'x applied', ['end', 'x']],
])('after complete(): %s', limit, async (convoy, outcome, state) => {
  await send(convoy, { id: 'end', type: 'End' }, { id: 'x' });
  const seen = await settled(convoy, 2);

  expect(await outcomes(convoy)).toEqual(['end applied', outcome]);
  expect(seen.state).toEqual(state);
});

test.each([
  ['late-drop', 'late applied', [[0, 1]]],
  [
    'late-next',
    'late applied',
    [
      [0, 1],
      [60, 4],
    ],
  ],
  ['late-park', 'late parked CVY_LATE', [[0, 1]]],
] as const)('%s', limit, async (convoy, outcome, expected) => {
  const n = (id: string, seconds: number, value: number): Partial<OutgoingMessage> => {
    return { id, body: { n: value }, occurredAt: at(seconds) };
  };
  await send(convoy, n('a', 10, 1), n('b', 70, 2), n('late', 20, 2));
  await settled(convoy, 3);
  const windows = await policies.windows(convoy);
  const seen = windows.map(({ start, sum }) => [secondsOf(start), sum]);

  expect((await outcomes(convoy)).at(-1)).toBe(outcome);
  expect(seen.slice(0, expected.length)).toEqual(
    convoy === 'late-next' ? expect.arrayContaining([...expected]) : expected,
  );
});

test('hopping, session and calendar windows, early results and a reducer', limit, async () => {
  const n = (id: string, seconds: number): Partial<OutgoingMessage> => {
    return { id, body: { n: 1 }, occurredAt: at(seconds) };
  };
  await send('kinds', n('a', 10), n('b', 40), n('c', 200), n('d', 86_400));
  await settled('kinds', 4);
  const emitted = (await outputs('kinds')).filter(({ subject }) => subject !== 'noted');
  const of = (window: string, subject = 'window.closed') =>
    emitted
      .filter((one) => one.subject === subject && one.body['window'] === window)
      .map(({ body }) => [secondsOf(body['start']), body['count']]);

  expect(of('hop')).toEqual(
    expect.arrayContaining([
      [-30, 1],
      [0, 2],
      [30, 1],
      [150, 1],
      [180, 1],
    ]),
  );
  expect(of('hop', 'window.early')).toEqual([[0, 2]]);
  expect(of('session')).toEqual([
    [10, 2],
    [200, 1],
  ]);
  // 2 PM in Berlin is noon UTC in June: the day of a, b and c.
  expect(of('shop-day')).toEqual([[0, 3]]);
  const day = emitted.find(({ body }) => body['window'] === 'shop-day');
  expect(day?.body['result']).toEqual(['a', 'b', 'c']);
});

test(
  'messages of an earlier version are upcast; a newer one waits for its deployment',
  limit,
  async () => {
    await send(
      'versions',
      { id: 'old' },
      { id: 'now', schemaVersion: 2 },
      { id: 'new', schemaVersion: 3 },
    );
    const { state, hold } = await shown('versions', (seen) => seen.hold.kind === 'blocked');

    expect(state).toEqual(['old:true', 'now:false']);
    expect(hold).toMatchObject({ code: 'CVY_VERSION', position: 3 });
  },
);

test('cancel ends the convoy: windows close, what comes is set aside', limit, async () => {
  await send('late-drop', { id: 'a', body: { n: 1 }, occurredAt: at(10) });
  await settled('late-drop', 1);
  await act('late-drop', 'cancel');
  await until(
    () => outputs('late-drop'),
    (all) => all.some(({ subject }) => subject === 'window.closed'),
  );
  await send('late-drop', { id: 'b', body: { n: 1 }, occurredAt: at(11) });
  await settled('late-drop', 2);

  expect(await outcomes('late-drop')).toEqual(['a applied', 'b parked CVY_COMPLETED']);
});
