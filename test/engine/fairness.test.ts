// Bounded work per drain: where drains have one slot and wait in line for it, a key with an endless
// backlog has what one drain may do, and then everybody else has a turn. Work is counted, not time:
// the clock is virtual, every call takes 5 ms of it.
import { expect, test } from 'vitest';
import { virtualClock } from '../../shared/clock.ts';
import { defineConvoy } from '../../shared/convoy/definition.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import { admitMessage } from '../../shared/engine/admit.ts';
import { drain } from '../../shared/engine/drain.ts';
import { type Engine, defaultSettings } from '../../shared/engine/ports.ts';
import { createLog } from '../../shared/log.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import { z } from 'zod';

const callMs = 5;
const drainSecondsMax = 1;

/** Keys with so many messages each, and one slot for their drains, first come, first served. */
async function world(backlogs: Record<string, number>, { breaks = '' } = {}) {
  const clock = virtualClock();
  let callsTakeTime = false;
  const store = createMemoryStore({
    clock,
    intercept: async () => void (callsTakeTime && (await clock.advance(callMs))),
  });
  const counting = defineConvoy({
    name: 'counting',
    schema: z.object({}),
    initialState: 0,
    lingerSeconds: 0,
    apply(n, message) {
      if (message.key === breaks) throw new RangeError('asked to fail');
      return n + 1;
    },
  });
  const engine: Engine = {
    store,
    publisher: { publish: async () => undefined },
    instances: { start: async () => {}, wake: async () => 'raised' },
    clock,
    log: createLog('warn', () => undefined),
    definitions: new Map([['counting', counting]]),
    limits: defaultLimits,
    settings: { ...defaultSettings, drainSecondsMax },
    started: new Set(),
    startedAt: 0,
  };
  for (const [key, count] of Object.entries(backlogs)) {
    for (let n = 1; n <= count; n += 1) {
      const text = { type: 'Put', bodyText: '{}', schemaVersion: 1 };
      const message = { ...text, messageId: `m${n}`, occurredAt: 0, enqueuedAt: 0 };
      await admitMessage(engine, { convoy: 'counting', key, message, sequence: n });
    }
  }
  callsTakeTime = true;
  const line = Object.keys(backlogs);
  /** One drain of the key whose turn it is; a drain with work left goes to the end of the line. */
  const turn = async (): Promise<string | undefined> => {
    const key = line.shift();
    if (key === undefined) return undefined;
    const result = await drain(engine, { convoy: 'counting', key, epoch: 1, mayClose: true });
    if (result.kind === 'more') line.push(key);
    return key;
  };
  const settled = async (key: string): Promise<number> =>
    (await store.readProgress(`counting:${key}`))?.item.settled ?? 0;
  return { line, turn, settled };
}

test('a hot key at the head of the line delays the others by one drain', async () => {
  const others = Array.from({ length: 10 }, (_, n) => [`k${n}`, 3] as const);
  const { line, turn, settled } = await world({ hot: 6_000, ...Object.fromEntries(others) });
  await turn();
  const first = await settled('hot');
  for (const _ of others) await turn();

  // At least two calls for each commit: the gate and the commit itself.
  const commitsMax = (drainSecondsMax * 1000) / callMs / 2;
  expect(first).toBeGreaterThan(0);
  expect(first).toBeLessThanOrEqual((commitsMax + 1) * defaultSettings.messagesPerCommit);
  expect(await Promise.all(others.map(([key]) => settled(key)))).toEqual(others.map(() => 3));
  expect(await settled('hot')).toBe(first);
  expect(line).toEqual(['hot']); // and it goes on, in its turn
});

test('of two hot keys neither has more than one drain before the other has one', async () => {
  const { turn, settled } = await world({ a: 5_000, b: 5_000 });
  const turns: (string | undefined)[] = [];
  for (let n = 0; n < 4; n += 1) turns.push(await turn());

  expect(turns).toEqual(['a', 'b', 'a', 'b']);
  expect(await settled('a')).toBe(await settled('b'));
});

test('a blocked key uses one drain and no more', async () => {
  const { line, turn, settled } = await world({ bad: 500, good: 2 }, { breaks: 'bad' });
  const turns = [await turn(), await turn(), await turn()];

  expect(turns).toEqual(['bad', 'good', undefined]);
  expect([await settled('bad'), await settled('good')]).toEqual([0, 2]);
  expect(line).toEqual([]);
});
