// The policies that need time, an operator or a copy of a message, through the whole stack.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createCosmosStore } from '../../shared/store/cosmos.ts';
import { itemIds } from '../../shared/store/items.ts';
import { adminOf } from '../contract/service-bus-admin-client.ts';
import { until } from '../support/doors.ts';
import { Policies, at, secondsOf } from '../support/policies.ts';

const limit = { timeout: 60_000 };
let policies: Policies;

beforeAll(async () => {
  policies = await Policies.open();
}, limit.timeout);

afterAll(async () => policies?.[Symbol.asyncDispose]());

beforeEach(() => policies.nextKey());

test(
  'retry: the key waits in order; the hold says what, how often and when next',
  limit,
  async () => {
    await policies.send('retry', 'a', 'b!', 'c');
    const waiting = await policies.shown('retry', ({ hold }) => (hold.attempts ?? 0) >= 2);
    policies.world.isMended = true;
    const done = await policies.settled('retry', 3);
    const messages = await policies.api.list<{ attempts: number }>(
      `/convoys/retry/${policies.key}/messages`,
    );

    expect(waiting).toMatchObject({ state: ['a'], cursor: 1, backlog: 2, phase: 'active' });
    expect(waiting.hold).toMatchObject({ kind: 'retrying', code: 'CVY_HANDLER', position: 2 });
    expect(Date.parse(waiting.hold.nextAttemptAt ?? '')).not.toBeNaN();
    expect(done.state).toEqual(['a', 'b', 'c']);
    expect(messages[1]?.attempts).toBeGreaterThan(2);
  },
);

test('retry: an operator need not wait for the next attempt', limit, async () => {
  await policies.send('retry', 'a!');
  await policies.shown('retry', ({ hold }) => hold.kind === 'retrying');
  await policies.act('retry', 'skip');

  expect((await policies.settled('retry', 1)).state).toEqual([]);
  expect(await policies.outcomes('retry')).toEqual(['a skipped CVY_SKIPPED']);
});

test('an effect that takes too long is aborted; its message fails', limit, async () => {
  await policies.send('time-out', 'a', { id: 'b', body: { isSlow: true } }, 'c');
  const { state } = await policies.settled('time-out', 3);

  expect(state).toEqual(['a', 'c']);
  expect(await policies.outcomes('time-out')).toContain('b parked CVY_EFFECT_TIMEOUT');
  expect(policies.world.aborted).toEqual(['b']);
});

test('healing: what comes meanwhile waits behind what is replayed', limit, async () => {
  await policies.send('gated', 'a', 'b!', 'c!', 'd');
  await policies.settled('gated', 4);
  const openGate = policies.closeGate();
  policies.world.isMended = true;
  await policies.act('gated', 'replay');
  await policies.send('gated', 'e', 'f');
  const meanwhile = await policies.shown('gated', ({ tail }) => tail === 6);
  openGate();
  const healed = await policies.settled('gated', 6);

  expect(meanwhile).toMatchObject({ state: ['a', 'd'], parked: 2, backlog: 2 });
  expect(healed.state).toEqual(['a', 'd', 'b', 'c', 'e', 'f']);
});

test('pause and resume: admitted, not taken; then all of it in order', limit, async () => {
  await policies.send('kept', 'a');
  await policies.settled('kept', 1);
  await policies.act('kept', 'pause');
  await policies.send('kept', 'b', 'c');
  const paused = await policies.shown('kept', (seen) => seen.tail === 3 && seen.phase === 'held');
  await policies.act('kept', 'resume');

  expect(paused).toMatchObject({ phase: 'held', state: ['a'], backlog: 2 });
  expect(paused.hold).toMatchObject({ kind: 'paused', code: 'CVY_PAUSED', reason: 'by test' });
  expect((await policies.settled('kept', 3)).state).toEqual(['a', 'b', 'c']);
});

test(
  'late: amend – the closed window is emitted again, with the next revision',
  limit,
  async () => {
    const n = (id: string, seconds: number, value: number) => {
      return { id, body: { n: value }, occurredAt: at(seconds) };
    };
    await policies.send('late-amend', n('a', 10, 1), n('b', 70, 2), n('late', 20, 4));
    await policies.settled('late-amend', 3);
    const emitted = (await policies.outputs('late-amend')).filter(
      ({ subject }) => subject === 'window.closed',
    );

    expect(await policies.outcomes('late-amend')).toContain('late applied');
    expect(emitted.map(({ body }) => [body['revision'], body['sum'], body['count']])).toEqual([
      [0, 1, 1],
      [1, 5, 2],
    ]);
  },
);

test('grace: a window closes only when its grace has passed, too', limit, async () => {
  const n = (id: string, seconds: number) => ({ id, body: { n: 1 }, occurredAt: at(seconds) });
  const closed = async () =>
    (await policies.outputs('grace'))
      .filter(({ subject }) => subject === 'window.closed')
      .map(({ body }) => [secondsOf(body['start']), body['count'], body['revision']]);
  await policies.send('grace', n('a', 10), n('b', 89), n('in-grace', 20));
  await policies.settled('grace', 3);
  const before = await closed();
  await policies.send('grace', n('c', 90));
  await policies.settled('grace', 4);

  expect(before).toEqual([]);
  expect(await closed()).toEqual([[0, 2, 0]]);
});

test('quiet: a key that falls silent closes its windows by the clock', limit, async () => {
  await policies.send('quiet', { id: 'a', body: { n: 7 }, occurredAt: at(10) });
  await policies.settled('quiet', 1);
  const emitted = await until(
    async () => {
      await policies.fire('sweep'); // as its timer does
      return policies.outputs('quiet');
    },
    (all) => all.some(({ subject }) => subject === 'window.closed'),
  );

  expect(emitted.at(-1)?.body).toMatchObject({ window: 'minute', sum: 7, revision: 0 });
});

test('duplicates are known after their window at the broker has passed', limit, async () => {
  // The queue has no duplicate detection: whatever comes again is beyond the broker's window.
  await policies.send('kept', 'a', 'b');
  await policies.settled('kept', 2);
  await policies.send('kept', 'a', 'c', 'b');
  const { state, repeats } = await policies.shown('kept', (seen) => seen.repeats === 2);

  expect(state.filter((id) => id !== 'c')).toEqual(['a', 'b']);
  expect(repeats).toBe(2);
  expect((await policies.settled('kept', 3)).state).toEqual(['a', 'b', 'c']);
});

test('duplicates are known after the queue was made again', limit, async () => {
  await policies.send('grace', 'a', 'b');
  await policies.settled('grace', 2);
  const admin = adminOf(policies.stack.serviceBusManagement);
  await admin.deleteQueue('grace');
  await admin.createQueue('grace', { requiresSession: true });
  await policies.stack.restartHost(); // else its listener finds the queue at its next try
  // Its numbers begin at 1 again, as those of a and b did.
  await until(
    () =>
      policies.send('grace', 'b', 'c').then(
        () => true,
        () => false,
      ),
    Boolean,
  );
  const { repeats } = await policies.shown('grace', (seen) => seen.cursor === 3);

  expect(await policies.outcomes('grace')).toEqual(['a applied', 'b applied', 'c applied']);
  expect(repeats).toBeGreaterThanOrEqual(1);
});

test('retention: what has settled expires, the key and what waits do not', limit, async () => {
  await policies.send('kept', 'a', 'b');
  await policies.settled('kept', 2);
  await policies.act('kept', 'pause');
  await policies.send('kept', 'c');
  await policies.shown('kept', ({ tail }) => tail === 3);
  const convoyId = `kept:${policies.key}`;
  const store = await createCosmosStore({ connectionString: policies.stack.cosmos });
  const { items } = await store.listMessages(convoyId, { from: 1, limit: 9 });
  const seen = await store.readSeen(convoyId, 'a');
  // Time passes: of the minute that a and b are kept, none is left.
  await store.batch(
    convoyId,
    [1, 2].map((position) => {
      return { kind: 'set', id: itemIds.inbox(position), fields: { ttl: 1 } } as const;
    }),
  );
  store.close();
  const left = await until(
    () => policies.outcomes('kept'),
    (all) => all.length === 1,
  );
  await policies.act('kept', 'resume');
  await policies.send('kept', 'a');
  await policies.shown('kept', (one) => one.repeats === 1);

  expect(items.map(({ ttl }) => ttl)).toEqual([60, 60, undefined]);
  expect(seen?.ttl).toBe(3600);
  expect(left).toEqual(['c waiting']);
  expect((await policies.settled('kept', 3)).state).toEqual(['a', 'b', 'c']);
});
