// H11: more than 200 unpublished outputs stop the key, visibly, and only as long as they are there.
import { expect, test } from 'vitest';
import { virtualClock } from '../../shared/clock.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import { admitMessage } from '../../shared/engine/admit.ts';
import { drain } from '../../shared/engine/drain.ts';
import { type Engine, defaultSettings } from '../../shared/engine/ports.ts';
import { createLog } from '../../shared/log.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import { summing } from '../convoy/settling.ts';

const place = { convoy: 'summing', key: 'k' };

/** A key with one admitted message that emits 250 outputs, and a broker that can be away. */
async function keyWithManyOutputs() {
  const clock = virtualClock();
  const broker = { isAway: true, outputs: [] as number[] };
  const engine: Engine = {
    store: createMemoryStore({ clock }),
    publisher: {
      publish: async (_, __, outputs) => {
        if (broker.isAway) throw new TypeError('the broker is away');
        broker.outputs.push(...outputs.map(({ n }) => n));
      },
    },
    instances: { start: async () => {}, wake: async () => 'raised' },
    clock,
    log: createLog('warn', () => undefined),
    definitions: new Map([['summing', summing()]]),
    limits: defaultLimits,
    settings: defaultSettings,
    started: new Set(),
    startedAt: clock.now(),
  };
  const message = {
    messageId: 'm1',
    type: 'added',
    bodyText: JSON.stringify({ n: 1, emit: 250 }),
    schemaVersion: 1,
    occurredAt: clock.now(),
    enqueuedAt: clock.now(),
  };
  await admitMessage(engine, { ...place, message, sequence: 1 });
  const drainOnce = (mayClose: boolean) => drain(engine, { ...place, epoch: 1, mayClose });
  const hold = async () => (await engine.store.readProgress('summing:k'))?.item.hold;
  return { engine, broker, drainOnce, hold };
}

test('H11: while the broker is away the key is held as publishing and says so', async () => {
  const { drainOnce, hold } = await keyWithManyOutputs();

  expect(await drainOnce(false)).toMatchObject({ kind: 'failed' });
  expect(await hold()).toMatchObject({ kind: 'publishing', code: 'CVY_PUBLISH' });
});

test('H6, H11: when everything is published the hold has ended and the key closes', async () => {
  const { broker, drainOnce, hold } = await keyWithManyOutputs();
  await drainOnce(false);
  broker.isAway = false;

  expect(await drainOnce(false)).toMatchObject({ kind: 'waiting' });
  expect(await drainOnce(true)).toEqual({ kind: 'closed' });
  expect(await hold()).toEqual({ kind: 'none' });
  expect(broker.outputs).toEqual(Array.from({ length: 250 }, (_, n) => n));
});

test('H6: what a zombie attempt removed of the outbox leaves nothing behind', async () => {
  const { engine, broker, drainOnce } = await keyWithManyOutputs();
  const { store } = engine;
  const batch = store.batch.bind(store);
  let isZombieAlive = true;
  engine.store.batch = async (convoyId, operations) => {
    const [first] = operations.filter(({ kind }) => kind === 'delete');
    if (first && isZombieAlive) await batch(convoyId, [first]);
    if (first) isZombieAlive = false;
    return batch(convoyId, operations);
  };
  broker.isAway = false;

  expect(await drainOnce(false)).toMatchObject({ kind: 'waiting' });
  expect(await store.readOutbox('summing:k')).toEqual([]);
});
