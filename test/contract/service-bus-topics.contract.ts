// Claims about topics and subscriptions.
import Long from 'long';
import { expect } from 'vitest';
import { bodies, codeOf, numbered, roundTrip, take } from './service-bus.contract.ts';
import type { Claim, World } from './service-bus.contract.ts';

const deadLetter = { subQueueType: 'deadLetter' } as const;
const soon = { maxWaitTimeInMs: 1_000 };

/** A topic with subscriptions of the given names. */
export async function topicWith(
  { admin, target }: World,
  subscriptions: Record<string, Parameters<World['admin']['createSubscription']>[2]>,
  options: Parameters<World['admin']['createTopic']>[1] = {},
): Promise<string> {
  const topic = target.nameOf('topic');
  await admin.createTopic(topic, options);
  for (const [name, of] of Object.entries(subscriptions)) {
    await admin.createSubscription(topic, name, of);
  }
  return topic;
}

export function topicClaims(claim: Claim): void {
  claim('each subscription gets its own copy, numbers and counts', async (world) => {
    const { client } = world;
    const topic = await topicWith(world, { one: {}, two: {} });
    const sender = client.createSender(topic);
    await sender.sendMessages({ body: 1, messageId: 'm1', applicationProperties: { k: 1 } });
    await sender.sendMessages([{ body: 2 }, { body: 3 }]);
    const [one, two] = [client.createReceiver(topic, 'one'), client.createReceiver(topic, 'two')];

    const [first] = await one.receiveMessages(1);
    if (first) await one.abandonMessage(first);
    const again = await one.receiveMessages(3);
    const others = await two.receiveMessages(3);

    expect(again.map((m) => [m.body, m.deliveryCount])).toEqual([
      [1, 1],
      [2, 0],
      [3, 0],
    ]);
    expect(others.map((m) => [m.body, m.deliveryCount, m.sequenceNumber?.toNumber()])).toEqual([
      [1, 0, 1],
      [2, 0, 2],
      [3, 0, 3],
    ]);
    expect(others[0]).toMatchObject({ messageId: 'm1', applicationProperties: { k: 1 } });
  });

  claim('what no subscription selects is gone', async (world) => {
    const { client, admin } = world;
    const topic = await topicWith(world, {});
    const sender = client.createSender(topic);
    await sender.sendMessages({ body: 1 });
    await admin.createSubscription(topic, 'late');
    await sender.sendMessages({ body: 2 });

    const receiver = client.createReceiver(topic, 'late');

    expect(bodies(await receiver.peekMessages(2))).toEqual([2]);
  });

  claim('a subscription with sessions keeps their order and state', async (world) => {
    const { client } = world;
    const topic = await topicWith(world, { s: { requiresSession: true } });
    const sent = [...numbered('A', 2), ...numbered('B', 1, 9), ...numbered('A', 1, 3)];
    await client.createSender(topic).sendMessages(sent);

    const held = await client.acceptSession(topic, 's', 'A');
    await held.setSessionState({ at: 3 });
    const messages = await take(held, 3);
    const code = await codeOf(client.acceptSession(topic, 's', 'A'));
    const other = await client.acceptNextSession(topic, 's');

    expect(bodies(messages)).toEqual([1, 2, 3]);
    expect([code, other.sessionId]).toEqual(['SessionCannotBeLocked', 'B']);
    expect(await held.getSessionState()).toEqual({ at: 3 });
  });

  claim('a subscription with sessions dead-letters what has none', async (world) => {
    const { client } = world;
    const topic = await topicWith(world, { s: { requiresSession: true }, plain: {} });
    await client.createSender(topic).sendMessages([{ body: 1 }, { body: 2, sessionId: 'A' }]);

    const dead = await client.createReceiver(topic, 's', deadLetter).peekMessages(2);
    const plain = await client.createReceiver(topic, 'plain').receiveMessages(2);

    expect(bodies(plain)).toEqual([1, 2]);
    expect(dead.map((m) => [m.body, m.deadLetterReason])).toEqual([[1, 'Session ID is null.']]);
  });

  claim('dead letters and deferred messages stay with their subscription', async (world) => {
    const { client } = world;
    const topic = await topicWith(world, { one: {}, two: {} });
    await client.createSender(topic).sendMessages([{ body: 1 }, { body: 2 }]);
    const one = client.createReceiver(topic, 'one');
    const [first, second] = await one.receiveMessages(2);
    if (!first || !second) throw new Error('nothing received');
    const why = { deadLetterReason: 'bad', deadLetterErrorDescription: 'very bad' };
    await one.deadLetterMessage(first, why);
    await one.deferMessage(second);

    const [dead] = await client.createReceiver(topic, 'one', deadLetter).receiveMessages(1);
    const [deferred] = await one.receiveDeferredMessages(second.sequenceNumber ?? Long.ZERO);
    const none = await client.createReceiver(topic, 'two', deadLetter).peekMessages(1);

    expect(dead).toMatchObject({ body: 1, deadLetterReason: 'bad' });
    expect(deferred).toMatchObject({ body: 2, state: 'deferred' });
    expect(none).toEqual([]);
    expect(bodies(await client.createReceiver(topic, 'two').peekMessages(5))).toEqual([1, 2]);
  });

  claim('what is scheduled on a topic reaches subscriptions at its instant', async (world) => {
    const { client, target, admin } = world;
    const topic = await topicWith(world, { one: {}, two: {} });
    const sender = client.createSender(topic);
    const at = new Date(Date.now() + 30_000);
    const numbers = await sender.scheduleMessages([{ body: 1 }, { body: 2 }], at);
    await sender.sendMessages({ body: 3, scheduledEnqueueTimeUtc: at });
    await sender.cancelScheduledMessages(numbers[1] ?? Long.ZERO);
    const before = await client.createReceiver(topic, 'one').peekMessages(5);
    const { scheduledMessageCount } = await admin.getTopicRuntimeProperties(topic);
    await target.pass(31_000);
    await roundTrip(world);

    for (const name of ['one', 'two']) {
      const messages = await client.createReceiver(topic, name).receiveMessages(2, soon);
      expect(bodies(messages)).toEqual([1, 3]);
    }
    expect([before, scheduledMessageCount]).toEqual([[], 2]);
  });

  claim('a topic drops repeats within its window', async (world) => {
    const { client, target } = world;
    const window = target.windowSeconds;
    const topic = await topicWith(
      world,
      { one: {}, two: {} },
      { requiresDuplicateDetection: true, duplicateDetectionHistoryTimeWindow: `PT${window}S` },
    );
    const sender = client.createSender(topic);
    await sender.sendMessages({ body: 1, messageId: 'same' });
    await sender.sendMessages([
      { body: 2, messageId: 'same' },
      { body: 3, messageId: 'other' },
    ]);
    await target.pass(window * 1000 + 1_000);
    await sender.sendMessages({ body: 4, messageId: 'same' });

    for (const name of ['one', 'two']) {
      const messages = await client.createReceiver(topic, name).peekMessages(9);
      expect(bodies(messages)).toEqual([1, 3, 4]);
    }
  });

  claim('the shortest time-to-live counts', async (world) => {
    const { client, target } = world;
    const topic = await topicWith(
      world,
      { short: { defaultMessageTimeToLive: 'PT2S' }, long: {} },
      { defaultMessageTimeToLive: 'PT8S' },
    );
    const sender = client.createSender(topic);
    await sender.sendMessages([{ body: 1, timeToLive: 3_600_000 }]);
    const [fresh] = await client.createReceiver(topic, 'long').peekMessages(1);
    await target.pass(4_000);
    const [short, long] = [
      await client.createReceiver(topic, 'short').receiveMessages(1, soon),
      await client.createReceiver(topic, 'long').receiveMessages(1, soon),
    ];

    expect([bodies(short), bodies(long)]).toEqual([[], [1]]);
    expect(fresh?.timeToLive).toBeLessThanOrEqual(3_600_000);
  });

  claim('topics are not received from, subscriptions not sent to', async (world) => {
    const { client } = world;
    const topic = await topicWith(world, { s: {} });
    const receive = client.createReceiver(topic).receiveMessages(1, soon);
    const send = client.createSender(`${topic}/Subscriptions/s`).sendMessages({ body: 1 });
    const unknown = client.createReceiver(topic, 'nobody').receiveMessages(1, soon);

    expect([await codeOf(receive), await codeOf(send)]).toEqual(['GeneralError', 'GeneralError']);
    expect(await codeOf(unknown)).toBe('MessagingEntityNotFound');
  });
}
