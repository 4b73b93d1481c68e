// Everything that waits, on the clock of the test: a week of schedules, expiries, locks and windows
// passes in an instant of real time, and each thing happens at its own.
import { ServiceBusClient } from '@azure/service-bus';
import { afterEach, expect, test } from 'vitest';
import { virtualClock } from '../../shared/clock.ts';
import { startBroker } from '../../infra/local/broker/broker.ts';
import { bodies, take } from '../contract/service-bus.contract.ts';

const hourMs = 3_600_000;
const base = { requiresSession: true, lockDurationSeconds: 60, maxDeliveryCount: 1_000 };

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

test('a week of schedules, time-to-live, locks and duplicate windows passes at once', async () => {
  // A week ago: at its end the tokens of the client, who has the real clock, are still good.
  const startedAt = Date.now() - 170 * hourMs;
  const clock = virtualClock(startedAt);
  const broker = await startBroker({
    ...{ clock, file: ':memory:', port: 0 },
    config: {
      queues: [
        { name: 'week', properties: { ...base, deadLetterOnExpiration: true } },
        {
          name: 'once',
          properties: {
            ...{ ...base, requiresSession: false, deadLetterOnExpiration: false },
            duplicateDetectionSeconds: 7 * 86_400,
          },
        },
      ],
      topics: [],
    },
  });
  closers.push(() => broker.close());
  const client = new ServiceBusClient(broker.connectionString, { retryOptions: { maxRetries: 0 } });
  closers.push(() => client.close());
  const sender = client.createSender('week');
  // One message for each hour of the week; every second one expires an hour after its instant.
  for (let hour = 1; hour <= 168; hour++) {
    const at = new Date(startedAt + hour * hourMs);
    const message = { body: hour, sessionId: 'A' };
    const timeToLive = hour % 2 === 0 ? hourMs : 8 * 86_400_000;
    await sender.scheduleMessages({ ...message, timeToLive }, at);
  }
  await sender.sendMessages({ body: 'locked', sessionId: 'B' });
  await client.createSender('once').sendMessages({ body: 1, messageId: 'm' });
  const holder = await client.acceptSession('week', 'B');
  await take(holder, 1);

  await clock.advance(3.5 * 24 * hourMs);
  await client.createSender('once').sendMessages({ body: 2, messageId: 'm' });
  await clock.advance(3.5 * 24 * hourMs + 2 * hourMs);
  await client.createSender('once').sendMessages({ body: 3, messageId: 'm' });

  const receiver = await client.acceptSession('week', 'A');
  const kept = await take(receiver, 84);
  const dead = client.createReceiver('week', { subQueueType: 'deadLetter' });
  const expired = await dead.receiveMessages(100);
  const [again] = await take(await client.acceptSession('week', 'B'), 1);
  const hours = Array.from({ length: 84 }, (_, index) => index * 2 + 1);
  expect(bodies(kept)).toEqual(hours);
  expect(bodies(expired)).toEqual(hours.map((hour) => hour + 1));
  const enqueuedAt = kept.map(({ enqueuedTimeUtc }) => Number(enqueuedTimeUtc) - startedAt);
  expect(enqueuedAt).toEqual(hours.map((hour) => hour * hourMs));
  expect(again).toMatchObject({ body: 'locked', deliveryCount: 1 });
  expect(bodies(await client.createReceiver('once').peekMessages(5))).toEqual([1, 3]);
});
