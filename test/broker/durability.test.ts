// kill -9 of the broker: what was answered is there, what was not may be there, locks are gone.
import Long from 'long';
import { expect, test } from 'vitest';
import { prng } from '../support/prng.ts';
import { brokerProcess } from './broker-process.ts';

const broker = brokerProcess();

test('all that was answered survives kill -9, locks do not, counts are unchanged', async () => {
  const client = await broker.start();
  const sender = client.createSender('orders');
  await sender.sendMessages(
    [1, 2, 3, 4, 5].map((n) => ({ body: n, sessionId: 'A', messageId: `m${n}` })),
  );
  await sender.scheduleMessages(
    { body: 9, sessionId: 'B', messageId: 'm9' },
    new Date(Date.now() + 3_600_000),
  );
  const receiver = await client.acceptSession('orders', 'A');
  const messages = await receiver.receiveMessages(4);
  const [first, second, third] = messages;
  if (!first || !second || !third) throw new Error('nothing received');
  await receiver.completeMessage(first);
  const why = { deadLetterReason: 'bad', deadLetterErrorDescription: 'very bad' };
  await receiver.deadLetterMessage(second, why);
  await receiver.deferMessage(third);
  await receiver.setSessionState({ cursor: 2 });

  await broker.kill();
  await client.close();
  const again = await broker.start();

  const holder = await again.acceptSession('orders', 'A');
  const rest = await holder.receiveMessages(2);
  const [deferred] = await holder.receiveDeferredMessages(Long.fromNumber(3));
  const dead = again.createReceiver('orders', { subQueueType: 'deadLetter' });
  const [letter] = await dead.receiveMessages(1);
  expect(rest.map((m) => [m.body, m.deliveryCount, m.sequenceNumber?.toNumber()])).toEqual([
    [4, 0, 4],
    [5, 0, 5],
  ]);
  expect(deferred?.body).toBe(3);
  expect(letter).toMatchObject({ body: 2, deadLetterReason: 'bad', sessionId: 'A' });
  expect(await holder.getSessionState()).toEqual({ cursor: 2 });
  // A repeated id is still known; a new message gets a new number; the schedule stands.
  await again.createSender('orders').sendMessages([
    { body: 'repeat', sessionId: 'C', messageId: 'm1' },
    { body: 'new', sessionId: 'C', messageId: 'm10' },
  ]);
  const peeked = await again
    .createReceiver('orders')
    .peekMessages(10, { fromSequenceNumber: Long.fromNumber(6) });
  expect(peeked.map((m) => [m.body, m.state, m.sequenceNumber?.toNumber()])).toEqual([
    [9, 'scheduled', 6],
    ['new', 'active', 7],
  ]);
  await again.close();
});

test('killed in mid-stream, no answered message is lost and none is out of order', async () => {
  const seed = 20261120;
  const random = prng(seed);
  const client = await broker.start();
  const sender = client.createSender('orders');
  const answered: number[] = [];
  const killAt = 50 + random.below(100);
  for (let from = 1; from <= 400; from += 4) {
    const batch = [0, 1, 2, 3].map((n) => ({
      body: from + n,
      sessionId: 'A',
      messageId: `${from + n}`,
    }));
    const sent = sender.sendMessages(batch);
    if (answered.length >= killAt) {
      // Its fate is open: stored or not, but never in part.
      sent.catch(() => {});
      await broker.kill();
      break;
    }
    await sent;
    answered.push(...batch.map((message) => message.body));
  }
  // Not awaited: with a send in flight the client waits for its own time-out.
  client.close().catch(() => {});
  const again = await broker.start();

  const kept = await again.createReceiver('orders').peekMessages(500);

  const keptBodies = kept.map((message) => Number(message.body));
  const expected = Array.from({ length: keptBodies.length }, (_, index) => index + 1);
  expect(keptBodies, `seed ${seed}`).toEqual(expected);
  expect(keptBodies.length, `seed ${seed}`).toBeGreaterThanOrEqual(answered.length);
  expect(keptBodies.length % 4, `batches are whole, seed ${seed}`).toBe(0);
  await again.close();
});
