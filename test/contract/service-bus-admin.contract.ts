// Claims about the administration client.
import { expect } from 'vitest';
import { codeOf, numbered, take } from './service-bus.contract.ts';
import type { Claim } from './service-bus.contract.ts';
import { topicWith } from './service-bus-topics.contract.ts';

const never = 'P10675199DT2H48M5.4775807S';
const deadLetter = { subQueueType: 'deadLetter' } as const;

export function adminClaims(claim: Claim): void {
  claim('a new queue has the defaults of the service', async ({ admin, target }) => {
    const name = target.nameOf('queue');

    const created = await admin.createQueue(name);

    expect(created).toMatchObject({
      ...{ name, lockDuration: 'PT1M', maxDeliveryCount: 10, maxSizeInMegabytes: 1024 },
      ...{ requiresSession: false, requiresDuplicateDetection: false, status: 'Active' },
      ...{ defaultMessageTimeToLive: never, autoDeleteOnIdle: never },
      ...{ deadLetteringOnMessageExpiration: false, enableBatchedOperations: true },
      duplicateDetectionHistoryTimeWindow: 'PT10M',
    });
    expect(await admin.getQueue(name)).toEqual(created);
  });

  claim('a queue keeps what it was created and updated with', async ({ admin, target }) => {
    const name = target.nameOf('queue');
    const options = {
      ...{ lockDuration: 'PT45S', requiresSession: true, maxDeliveryCount: 3 },
      ...{ defaultMessageTimeToLive: 'P2D', deadLetteringOnMessageExpiration: true },
      ...{ requiresDuplicateDetection: true, duplicateDetectionHistoryTimeWindow: 'PT1M' },
      ...{ userMetadata: 'a <b> & "c"', autoDeleteOnIdle: 'PT1H', enableBatchedOperations: false },
    };
    const created = await admin.createQueue(name, options);

    const changes = { lockDuration: 'PT30S', maxDeliveryCount: 5, userMetadata: 'other' };
    await admin.updateQueue({ ...created, ...changes });

    expect(created).toMatchObject(options);
    expect(await admin.getQueue(name)).toMatchObject({ ...options, ...changes });
  });

  claim('an updated queue behaves as it says', async ({ admin, client, queue }) => {
    await client.createSender(queue).sendMessages(numbered('A', 1));
    const before = await admin.getQueue(queue);
    await admin.updateQueue({ ...before, maxDeliveryCount: 2 });
    const receiver = await client.acceptSession(queue, 'A');

    for (let attempt = 0; attempt < 2; attempt++) {
      const [message] = await take(receiver, 1);
      if (message) await receiver.abandonMessage(message);
    }

    const [dead] = await client.createReceiver(queue, deadLetter).receiveMessages(1);
    expect(dead).toMatchObject({ body: 1, deadLetterReason: 'MaxDeliveryCountExceeded' });
  });

  claim('what is fixed, wrong or out of bounds is refused by name', async ({ admin, target }) => {
    const name = target.nameOf('queue');
    const messageOf = async (promise: Promise<unknown>): Promise<string> => {
      const error: unknown = await promise.then(() => 'no error').catch((thrown) => thrown);
      return error instanceof Error ? error.message : String(error);
    };
    const created = await admin.createQueue(name);

    expect(await messageOf(admin.updateQueue({ ...created, requiresSession: true }))).toMatch(
      /RequiresSession/i,
    );
    for (const [property, options] of Object.entries({
      LockDuration: { lockDuration: 'PT6M' },
      MaxDeliveryCount: { maxDeliveryCount: 0 },
      DefaultMessageTimeToLive: { defaultMessageTimeToLive: 'soon' },
    })) {
      const message = await messageOf(admin.createQueue(target.nameOf('wrong'), options));
      expect(message).toMatch(new RegExp(property, 'i'));
    }
  });

  claim('what is there cannot be created, what is not cannot be had', async (world) => {
    const { admin, target } = world;
    const topic = await topicWith(world, { s: {} });
    const gone = target.nameOf('gone');

    const taken = [
      await codeOf(admin.createTopic(topic)),
      await codeOf(admin.createQueue(topic)),
      await codeOf(admin.createSubscription(topic, 's')),
      await codeOf(admin.createRule(topic, 's', '$Default', { subject: 'x' })),
    ];
    const missing = [
      await codeOf(admin.getQueue(gone)),
      await codeOf(admin.deleteQueue(gone)),
      await codeOf(admin.getTopic(gone)),
      await codeOf(admin.getSubscription(topic, 'gone')),
      await codeOf(admin.getRule(topic, 's', 'gone')),
      await codeOf(admin.createSubscription(gone, 's')),
    ];

    expect(new Set(taken)).toEqual(new Set(['MessageEntityAlreadyExistsError']));
    expect(new Set(missing)).toEqual(new Set(['MessageEntityNotFoundError']));
    expect([await admin.topicExists(topic), await admin.queueExists(gone)]).toEqual([true, false]);
  });

  claim('lists come in pages', async (world) => {
    const { admin, target } = world;
    const names = ['one', 'two', 'three', 'four', 'five'];
    const topic = await topicWith(world, Object.fromEntries(names.map((name) => [name, {}])));
    const queues = await Promise.all(
      names.map(async () => (await admin.createQueue(target.nameOf('listed'))).name),
    );

    const pages: string[][] = [];
    for await (const page of admin.listSubscriptions(topic).byPage({ maxPageSize: 2 })) {
      pages.push(page.map(({ subscriptionName }) => subscriptionName));
    }
    const listed: string[] = [];
    for await (const { name } of admin.listQueues()) listed.push(name);

    expect(pages.map(({ length }) => length)).toEqual([2, 2, 1]);
    expect(pages.flat().toSorted()).toEqual(names.toSorted());
    expect(listed).toEqual(expect.arrayContaining(queues));
  });

  claim('runtime properties count what is where', async (world) => {
    const { admin, client, queue } = world;
    const topic = await topicWith(world, { s: {} });
    const later = { scheduledEnqueueTimeUtc: new Date(Date.now() + 3_600_000) };
    await client.createSender(queue).sendMessages(numbered('A', 3));
    await client.createSender(queue).sendMessages({ body: 4, sessionId: 'A', ...later });
    await client.createSender(topic).sendMessages([{ body: 1 }, { body: 2 }]);
    const receiver = await client.acceptSession(queue, 'A');
    const [first] = await take(receiver, 1);
    if (first) await receiver.deadLetterMessage(first);

    const counts = await admin.getQueueRuntimeProperties(queue);
    const subscription = await admin.getSubscriptionRuntimeProperties(topic, 's');
    const ofTopic = await admin.getTopicRuntimeProperties(topic);

    expect(counts).toMatchObject({
      ...{ activeMessageCount: 2, deadLetterMessageCount: 1, scheduledMessageCount: 1 },
      ...{ totalMessageCount: 4, transferMessageCount: 0, transferDeadLetterMessageCount: 0 },
    });
    expect(counts.sizeInBytes).toBeGreaterThan(0);
    expect(counts.accessedAt.getTime()).toBeGreaterThanOrEqual(counts.createdAt.getTime());
    expect(subscription).toMatchObject({ activeMessageCount: 2, totalMessageCount: 2 });
    expect(ofTopic).toMatchObject({ subscriptionCount: 1, scheduledMessageCount: 0 });
  });

  claim('a disabled entity lets nobody in', async ({ admin, client, target }) => {
    const name = target.nameOf('queue');
    const created = await admin.createQueue(name);
    await client.createSender(name).sendMessages({ body: 1 });
    await admin.updateQueue({ ...created, status: 'ReceiveDisabled' });
    const soon = { maxWaitTimeInMs: 500 };
    const receiving = await codeOf(client.createReceiver(name).receiveMessages(1, soon));
    await admin.updateQueue({ ...created, status: 'SendDisabled' });

    const [message] = await client.createReceiver(name).receiveMessages(1);
    const sending = await codeOf(client.createSender(name).sendMessages({ body: 2 }));

    expect([receiving, sending]).toEqual(['MessagingEntityDisabled', 'MessagingEntityDisabled']);
    expect(message?.body).toBe(1);
  });

  claim('a deleted queue is gone with its messages, its name is free', async (world) => {
    const { admin, client, target } = world;
    const name = target.nameOf('queue');
    await admin.createQueue(name);
    const sender = client.createSender(name);
    await sender.sendMessages({ body: 1 });
    const receiver = client.createReceiver(name);
    await receiver.receiveMessages(1);
    await admin.deleteQueue(name);
    const after = await codeOf(client.createSender(name).sendMessages({ body: 2 }));
    await admin.createQueue(name);

    await client.createSender(name).sendMessages({ body: 3 });
    const [message] = await client.createReceiver(name).receiveMessages(1);

    expect(after).toBe('MessagingEntityNotFound');
    expect(message).toMatchObject({ body: 3, deliveryCount: 0 });
    expect(message?.sequenceNumber?.toNumber()).toBe(1);
  });

  claim('a deleted topic takes its subscriptions along', async (world) => {
    const { admin, client } = world;
    const topic = await topicWith(world, { s: {} });
    await admin.deleteTopic(topic);
    await admin.createTopic(topic);

    expect(await admin.subscriptionExists(topic, 's')).toBe(false);
    const code = await codeOf(client.createReceiver(topic, 's').receiveMessages(1));
    expect(code).toBe('MessagingEntityNotFound');
  });

  claim('an idle entity goes, one in use stays', async ({ admin, client, target }) => {
    const [idle, sentTo, received] = ['idle', 'sent', 'received'].map(target.nameOf);
    if (!idle || !sentTo || !received) throw new Error('no names');
    for (const name of [idle, sentTo, received]) {
      await admin.createQueue(name, { autoDeleteOnIdle: 'PT5M' });
    }
    // The link stays open behind this.
    await client.createReceiver(received).receiveMessages(1, { maxWaitTimeInMs: 1 });
    await target.pass(200_000);
    await client.createSender(sentTo).sendMessages({ body: 1 });
    await target.pass(200_000);

    const codes = [idle, sentTo, received].map((name) =>
      codeOf(client.createReceiver(name).peekMessages(1)),
    );
    expect(await Promise.all(codes)).toEqual(['MessagingEntityNotFound', 'no error', 'no error']);
  });

  claim('the namespace describes itself', async ({ admin }) => {
    const { name, messagingSku } = await admin.getNamespaceProperties();

    expect(name).toMatch(/./);
    expect(['Standard', 'Premium']).toContain(messagingSku);
  });
}
