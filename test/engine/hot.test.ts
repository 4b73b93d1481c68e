// A hot key through the drain: what its commits note rides along with them, the log hears of it
// once, and another instance goes on with the measure.
import { expect, test } from 'vitest';
import { z } from 'zod';
import { virtualClock } from '../../shared/clock.ts';
import { defineConvoy } from '../../shared/convoy/definition.ts';
import { hotOf } from '../../shared/convoy/hot.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import { admitMessage } from '../../shared/engine/admit.ts';
import { drain } from '../../shared/engine/drain.ts';
import { type Engine, defaultSettings } from '../../shared/engine/ports.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';

const place = { convoy: 'hot', key: 'k' };

/** A key whose effect takes 100 ms and whose store answers in 5 ms; every call is counted. */
function world() {
  const clock = virtualClock();
  const seen = { calls: 0, told: [] as unknown[] };
  const store = createMemoryStore({
    clock,
    async intercept() {
      seen.calls += 1;
      await clock.advance(5);
    },
  });
  const definition = defineConvoy({
    name: 'hot',
    schema: z.object({}),
    initialState: 0,
    effect: async () => clock.advance(100),
    apply: (n) => n + 1,
  });
  const instance = (): Engine => ({
    store,
    publisher: { publish: async () => undefined },
    instances: { start: async () => {}, wake: async () => 'raised' },
    clock,
    log: {
      info: () => undefined,
      warn: (fact, fields) => void seen.told.push({ fact, ...fields }),
    },
    definitions: new Map([['hot', definition]]),
    limits: defaultLimits,
    settings: { ...defaultSettings, drainSecondsMax: 20 },
    started: new Set(),
    startedAt: clock.now(),
  });
  let sent = 0;
  const send = async (count: number): Promise<void> => {
    for (const end = sent + count; sent < end; sent += 1) {
      const now = clock.now();
      const text = { type: 'Put', bodyText: '{}', schemaVersion: 1 };
      const message = { ...text, messageId: `m${sent}`, occurredAt: now, enqueuedAt: now };
      await admitMessage(instance(), { ...place, message, sequence: sent });
    }
  };
  const drainOnce = () => drain(instance(), { ...place, epoch: 1, mayClose: false });
  const items = async () => {
    const gate = await store.readGate('hot:k');
    const progress = await store.readProgress('hot:k');
    if (!gate || !progress) throw new Error('no such key');
    return { gate: gate.item, progress: progress.item };
  };
  return { clock, seen, send, drainOnce, items };
}

test('a key without a pause is hot: measured by its commits, told once', async () => {
  const { clock, seen, send, drainOnce, items } = world();
  await send(400);
  const drains = [await drainOnce(), await drainOnce()];
  const { gate, progress } = await items();
  const hot = hotOf(gate, progress, clock.now());
  const still = await drainOnce();

  expect([...drains, still].map(({ kind }) => kind)).toEqual(['more', 'more', 'waiting']);
  expect(hot).toMatchObject({ limit: 'handler', sinceSeconds: expect.any(Number) });
  expect(hot?.shares.handler).toBeGreaterThan(0.75);
  expect(hot?.shares.store).toBeGreaterThan(0.05);
  // 100 ms of effect and some calls of 5 ms make 8 to 9 a second.
  expect(hot?.messagesPerSecond).toBeGreaterThan(7);
  expect(hot?.messagesPerSecond).toBeLessThan(10);
  expect(seen.told).toEqual([
    expect.objectContaining({ fact: 'hot key', convoyId: 'hot:k', limit: 'handler' }),
  ]);
});

test('after a pause a busy time begins anew, and is told anew', async () => {
  const { clock, seen, send, drainOnce, items } = world();
  await send(500);
  while ((await drainOnce()).kind !== 'waiting');
  const paused = await items();
  const pausedAt = clock.now();
  await clock.advance(10_000);
  await send(500);
  while ((await drainOnce()).kind !== 'waiting');

  expect(hotOf(paused.gate, paused.progress, pausedAt + 10_000)).toBeNull();
  expect(seen.told).toHaveLength(2);
});

test('a key with pauses pays nothing: not a byte, not a call', async () => {
  const { seen, send, drainOnce, items } = world();
  await send(3);
  const before = seen.calls;
  await drainOnce();
  const { progress } = await items();

  expect(progress.work).toBeNull();
  // Gate, progress and inbox of each pass, a commit for each effect, the wait: as ever.
  expect(seen.calls - before - 2).toBe(4 + 3 + 3 + 1 + 1);
});
