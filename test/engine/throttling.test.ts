// A service that limits the rate: counted, told once in a period, waited for as it asks, and never
// the fault of a message.
import { expect, test } from 'vitest';
import { realClock, virtualClock } from '../../shared/clock.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import { admitMessage } from '../../shared/engine/admit.ts';
import { drain } from '../../shared/engine/drain.ts';
import { persist } from '../../shared/engine/patience.ts';
import { type Engine, defaultSettings } from '../../shared/engine/ports.ts';
import { createLog } from '../../shared/log.ts';
import { brokerBusy } from '../../shared/service-bus.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import { StoreUnavailable } from '../../shared/store/store.ts';
import { BrokerBusy, createThrottling, throttlingAnswer } from '../../shared/throttling.ts';
import { summing } from '../convoy/settling.ts';

test('what was refused is counted per service, and told once a minute', async () => {
  const clock = virtualClock();
  const lines: string[] = [];
  const throttling = createThrottling({ clock, log: createLog('warn', (l) => lines.push(l)) });
  const refused = { code: '429', retryAfterMs: 40 };
  throttling.note('cosmos', refused);
  throttling.note('cosmos', refused);
  await clock.advance(1_000);
  throttling.note('serviceBus', { code: 'ServiceBusy', retryAfterMs: 2_000 });
  await clock.advance(59_000);
  throttling.note('cosmos', { ...refused, retryAfterMs: 7 });

  expect(throttlingAnswer(throttling, 'here')).toEqual({
    instance: 'here',
    since: '2026-01-01T00:00:00Z',
    cosmos: { count: 3, lastAt: '2026-01-01T00:01:00Z', code: '429', retryAfterMs: 7 },
    serviceBus: {
      ...{ count: 1, lastAt: '2026-01-01T00:00:01Z' },
      ...{ code: 'ServiceBusy', retryAfterMs: 2_000 },
    },
  });
  expect(lines.map((line) => /"dependency":"(\w+)"/.exec(line)?.[1])).toEqual([
    'cosmos',
    'serviceBus',
    'cosmos',
  ]);
});

const clientError = (code: string, message: string): Error =>
  Object.assign(new Error(message), { code });

test.each([
  ['ServiceBusy', 'throttled. Please wait 2 seconds and try again.', 2_000],
  ['ServiceBusy', 'Please wait 10 seconds and try again.', 10_000],
  ['ServiceBusy', 'no hint', 2_000],
  ['QuotaExceeded', 'the queue is full', undefined],
])('%s: "%s" is a busy broker', (code, message, retryAfterMs) => {
  expect(brokerBusy(clientError(code, message))).toMatchObject({ code, retryAfterMs });
});

test.each(['ServiceTimeout', 'MessageSizeExceeded', 'GeneralError'])('%s is not', (code) => {
  expect(brokerBusy(clientError(code, 'wait 2 seconds'))).toBeUndefined();
});

test('intake tries again no sooner than it was asked to', async () => {
  const clock = virtualClock();
  const triedAt: number[] = [];
  const startedAt = clock.now();
  const done = persist(clock, { deadlineAt: startedAt + 600_000 }, async () => {
    triedAt.push(clock.now() - startedAt);
    if (triedAt.length > 2) return 'admitted';
    const options = { isThrottled: true, retryAfterMs: triedAt.length === 1 ? 3_000 : 0 };
    throw new StoreUnavailable('429', options);
  });
  await new Promise((resolve) => setImmediate(resolve)); // the first try has failed
  await clock.advance(10_000);

  expect(await done).toBe('admitted');
  expect(triedAt).toEqual([0, 3_000, 3_200]);
});

const busy = new BrokerBusy({ code: 'ServiceBusy', retryAfterMs: 2_000 }, { cause: undefined });
const throttled = new StoreUnavailable('429', { isThrottled: true, retryAfterMs: 40 });

test.each([
  ['cosmos', { store: throttled }, { by: 'cosmos', retryAfterMs: 40 }],
  ['serviceBus', { broker: busy }, { by: 'serviceBus', retryAfterMs: 2_000 }],
])('a drain that %s throttles has failed, its message has not', async (_, fault, expected) => {
  const told: string[] = [];
  const faults: { store?: Error; broker?: Error } = {};
  const engine: Engine = {
    store: createMemoryStore({
      async intercept({ method }) {
        if (method === 'batch' && faults.store) throw faults.store;
      },
    }),
    publisher: {
      async publish() {
        if (faults.broker) throw faults.broker;
      },
    },
    instances: { start: async () => {}, wake: async () => 'raised' },
    clock: realClock,
    log: createLog('warn', (line) => told.push(line)),
    definitions: new Map([['summing', summing()]]),
    limits: defaultLimits,
    settings: defaultSettings,
    started: new Set(),
    startedAt: 0,
  };
  const place = { convoy: 'summing', key: 'k' };
  const text = { type: 'added', bodyText: '{"n":1}', schemaVersion: 1 };
  const message = { ...text, messageId: 'm', occurredAt: 0, enqueuedAt: 0 };
  await admitMessage(engine, { ...place, message, sequence: 1 });
  Object.assign(faults, fault);
  const refused = await drain(engine, { ...place, epoch: 1, mayClose: false });
  const during = await engine.store.readProgress('summing:k');
  delete faults.store;
  delete faults.broker;
  const after = await drain(engine, { ...place, epoch: 1, mayClose: false });
  const done = await engine.store.listMessages('summing:k', { from: 1, limit: 9 });

  expect(refused).toMatchObject({ kind: 'failed', throttled: expected });
  expect(during?.item.hold).toEqual({ kind: 'none' });
  expect(after.kind).toBe('waiting');
  expect(done.items).toMatchObject([{ outcome: 'applied', attempts: 1 }]);
  expect(told).toEqual([]); // the one who counts has told it
});
