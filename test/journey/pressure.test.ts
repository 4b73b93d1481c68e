// Too much at once, through the real clients: services that limit the rate, a key that never
// pauses, a key that never ends. Counts and order; nothing here measures time.
import { CosmosClient } from '@azure/cosmos';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { Faults } from '../../infra/local/cosmos/faults.ts';
import { realClock } from '../../shared/clock.ts';
import { createCosmosStore } from '../../shared/store/cosmos.ts';
import { runConvoy, until } from '../support/doors.ts';
import { Policies } from '../support/policies.ts';

const limit = { timeout: 60_000 };
const faults = new Faults({ clock: realClock });
let policies: Policies;

beforeAll(async () => {
  const settings = { CONVOY_LOG: 'warn' };
  policies = await Policies.open({ settings, intercepts: { cosmos: faults.intercept() } });
}, limit.timeout);

afterAll(async () => policies?.[Symbol.asyncDispose]());

beforeEach(() => policies.nextKey());

afterEach(() => {
  faults.clear();
  policies.stack.broker.faults.clear();
});

interface Throttling {
  instance: string;
  cosmos: { count: number; lastAt: string | null; retryAfterMs: number | null };
  serviceBus: { count: number; lastAt: string | null; code: string | null };
}

const throttling = async (from: 'stats' | 'health' = 'stats'): Promise<Throttling> =>
  (await policies.api.get<{ throttling: Throttling }>(`/${from}`)).throttling;

const ids = (count: number) => Array.from({ length: count }, (_, n) => `m${n + 1}`);

/** In order, each once, at the first attempt; nothing was given up. */
async function expectUntouched(convoy: string, expected: string[], keys: string[]): Promise<void> {
  for (const key of keys) {
    const { state } = await policies.settled(convoy, expected.length, key);
    const messages = await policies.api.list<{ outcome: string; attempts: number }>(
      `/convoys/${convoy}/${key}/messages`,
    );
    expect(state).toEqual(expected);
    expect(new Set(messages.map((one) => `${one.outcome} ${one.attempts}`))).toEqual(
      new Set(['applied 1']),
    );
  }
  expect(await policies.queues.isEmpty(convoy)).toBe(true);
}

test('429 here and there: slower, in order, none lost, every one counted', limit, async () => {
  const before = (await throttling()).cosmos.count;
  const { key } = policies;
  faults.add({ fault: 'throttled', partitionKey: [`kept:${key}`], probability: 0.3, times: 20 });
  await policies.send('kept', ...ids(30));

  await expectUntouched('kept', ids(30), [key]);
  const { met = 0 } = faults.list()[0] ?? {};
  const { cosmos, instance } = await throttling();
  expect(met).toBeGreaterThan(3);
  expect(cosmos).toMatchObject({ count: before + met, retryAfterMs: 10 });
  expect(Date.parse(cosmos.lastAt ?? '')).not.toBeNaN();
  expect(instance).toContain(String(process.pid));
  expect((await throttling('health')).cosmos).toEqual(cosmos);
});

test('429 for a while: the key says who throttles it, and goes on by itself', limit, async () => {
  const { key } = policies;
  const openGate = policies.closeGate();
  await policies.send('gated', ...ids(3));
  await policies.shown('gated', ({ tail }) => tail === 3);
  const batches = { kinds: ['batch'] as const, partitionKey: [`gated:${key}`] };
  faults.add({ fault: 'throttled', ...batches, retryAfterMs: 1_100 });
  openGate();
  const during = await policies.shown('gated', ({ throttled }) => throttled !== null);
  faults.clear();

  expect(during).toMatchObject({ throttled: { by: 'cosmos' }, hold: { kind: 'none' }, cursor: 0 });
  await expectUntouched('gated', ids(3), [key]);
  expect((await policies.api.show('gated', key)).hold.kind).toBe('none');
});

test('a container with too few RU/s: everything arrives, later', limit, async () => {
  const keys = Array.from({ length: 10 }, (_, n) => `${policies.key}-${n}`);
  const before = (await throttling()).cosmos.count;
  using client = disposable(new CosmosClient(policies.stack.cosmos));
  const { resource: offer, container } = await convoysOffer(client);
  await container.replace({ ...offer, content: throughput(400) });
  for (const key of keys) {
    policies.key = key;
    await policies.send('kept', ...ids(2));
  }
  // The queue is asked: asking the API would cost request units, too.
  const all = await until(
    () => policies.queues.peek('kept-out', { count: 500 }),
    (seen) => seen.filter(({ sessionId }) => keys.includes(sessionId ?? '')).length >= 20,
  );
  await container.replace({ ...offer, content: throughput(1_000_000) });

  for (const key of keys) {
    const of = all.filter(({ sessionId }) => sessionId === key);
    expect(of.map(({ body }) => (body as { id: string }).id)).toEqual(ids(2));
  }
  await expectUntouched('kept', ids(2), keys);
  expect((await throttling()).cosmos.count).toBeGreaterThan(before);
});

function disposable(client: CosmosClient): CosmosClient & Disposable {
  return Object.assign(client, { [Symbol.dispose]: () => client.dispose() });
}

const throughput = (offerThroughput: number) => {
  return { offerThroughput, offerIsRUPerMinuteThroughputEnabled: false };
};

/** The throughput of the container `convoys` as a resource. */
async function convoysOffer(client: CosmosClient) {
  const { resource } = await client.database('convoys').container('convoys').read();
  const { resources } = await client.offers.readAll().fetchAll();
  const offer = resources.find(({ offerResourceId }) => offerResourceId === resource?._rid);
  if (offer === undefined) throw new Error('the container has no throughput of its own');
  return { resource: offer, container: client.offer(offer.id ?? '') };
}

test('ServerBusy: outputs wait, and leave in order, once', limit, async () => {
  const { key } = policies;
  policies.stack.broker.faults.add({
    ...{ fault: 'throttled', kinds: ['send'], queue: 'park-out', times: 1 },
  });
  await policies.send('park', ...ids(5));
  const during = await policies.shown('park', ({ throttled }) => throttled !== null);

  expect(during).toMatchObject({ throttled: { by: 'serviceBus' }, hold: { kind: 'none' } });
  await expectUntouched('park', ids(5), [key]);
  expect((await policies.outputs('park')).map(({ body }) => body['id'])).toEqual(ids(5));
  expect((await throttling()).serviceBus).toMatchObject({ count: 1, code: 'ServiceBusy' });
});

test('hot: a key without a pause is listed with advice, by API and CLI', limit, async () => {
  const { key } = policies;
  const openGate = policies.closeGate();
  await policies.send('gated', ...ids(3));
  await policies.shown('gated', ({ tail }) => tail === 3);
  // A minute passes.
  const store = await createCosmosStore({ connectionString: policies.stack.cosmos });
  const busy = { since: Date.now() - 60_000, position: 0, queuedMs: 0 };
  await store.batch(`gated:${key}`, [{ kind: 'set', id: 'gate', fields: { busy } }]);
  store.close();
  const list = await policies.api.list<{ key: string }>('/convoys?hot=true');
  const cli = await runConvoy(['list', '--hot', '--url', policies.stack.url]);
  const { hot } = await policies.shown('gated', () => true);
  openGate();
  const after = await policies.settled('gated', 3);

  expect(list.map((one) => one.key)).toEqual([key]);
  expect(cli.stdout).toMatch(new RegExp(`gated +${key} +active .*0/s unknown`));
  expect(hot).toMatchObject({ limit: 'unknown', backlog: 3 });
  expect(after.hot).toBeNull();
});

test('fairness: a blocked and a stuck key delay nobody', limit, async () => {
  const stuck = policies.key;
  const openGate = policies.closeGate();
  await policies.send('gated', ...ids(25));
  await until(
    () => policies.world.effects.some(({ key }) => key === stuck),
    (isRunning) => isRunning,
  );
  policies.nextKey();
  const blocked = policies.key;
  await policies.send('late-drop', ...ids(50).map((id, n) => (n === 0 ? `${id}!` : id)));
  await policies.shown('late-drop', ({ phase, tail }) => phase === 'held' && tail === 50);
  const others = Array.from({ length: 12 }, (_, n) => `${stuck}-other-${n}`);
  for (const key of others) {
    policies.key = key;
    await policies.send('gated', ...ids(2));
    await policies.send('late-drop', ...ids(1));
  }

  // All of the others, before the second message of the stuck key and the first of the blocked.
  for (const convoy of ['gated', 'late-drop']) {
    const count = convoy === 'gated' ? 2 : 1;
    for (const key of others) await policies.settled(convoy, count, key);
  }
  const inEffect = policies.world.effects.filter(({ key }) => key === stuck);
  expect(inEffect.map(({ id }) => id)).toEqual(['m1']);
  expect(await policies.api.show('late-drop', blocked)).toMatchObject({ cursor: 0, backlog: 50 });
  openGate();
  expect((await policies.settled('gated', 25, stuck)).state).toEqual(ids(25));
});
