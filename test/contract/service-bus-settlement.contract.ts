// Claims about settlement, dead letters, deferral, time and queues without sessions.
import Long from 'long';
import { expect } from 'vitest';
import { bodies, codeOf, noRenewal, numbered, roundTrip, take } from './service-bus.contract.ts';
import type { Claim } from './service-bus.contract.ts';

const deadLetter = { subQueueType: 'deadLetter' } as const;

export function settlementClaims(claim: Claim): void {
  claim('an abandoned message comes next, counted once more', async ({ client, queue }) => {
    await client.createSender(queue).sendMessages(numbered('A', 3));
    const receiver = await client.acceptSession(queue, 'A');
    const [first] = await take(receiver, 1);
    if (first) await receiver.abandonMessage(first, { why: 'again' });

    const messages = await take(receiver, 3);

    expect(messages.map((m) => [m.body, m.deliveryCount])).toEqual([
      [1, 1],
      [2, 0],
      [3, 0],
    ]);
    expect(messages[0]?.applicationProperties).toMatchObject({ why: 'again' });
  });

  claim('the tenth failure dead-letters, followers go on', async ({ client, queue }) => {
    await client.createSender(queue).sendMessages(numbered('A', 2));
    const receiver = await client.acceptSession(queue, 'A');
    for (let attempt = 0; attempt < 10; attempt++) {
      const [poison] = await take(receiver, 1);
      expect([poison?.body, poison?.deliveryCount]).toEqual([1, attempt]);
      if (poison) await receiver.abandonMessage(poison);
    }

    const [follower] = await take(receiver, 1);
    const [dead] = await client.createReceiver(queue, deadLetter).receiveMessages(1);

    expect(follower?.body).toBe(2);
    expect(dead).toMatchObject({
      body: 1,
      sessionId: 'A',
      deadLetterReason: 'MaxDeliveryCountExceeded',
      deadLetterSource: queue,
    });
  });

  claim('dead letters keep reason, properties and order', async ({ client, queue }) => {
    const messages = numbered('A', 2).map((m) => ({ ...m, applicationProperties: { k: m.body } }));
    await client.createSender(queue).sendMessages(messages);
    const receiver = await client.acceptSession(queue, 'A');
    for (const message of await take(receiver, 2)) {
      const why = { deadLetterReason: 'bad', deadLetterErrorDescription: 'very bad', by: 'me' };
      await receiver.deadLetterMessage(message, why);
    }

    const dead = client.createReceiver(queue, deadLetter);
    const letters = await dead.receiveMessages(2);
    for (const letter of letters) await dead.completeMessage(letter);

    expect(letters.map((m) => [m.body, m.applicationProperties?.['k']])).toEqual([
      [1, 1],
      [2, 2],
    ]);
    expect(letters[1]).toMatchObject({
      deadLetterReason: 'bad',
      deadLetterErrorDescription: 'very bad',
      applicationProperties: { by: 'me' },
      sequenceNumber: Long.fromNumber(2),
    });
    expect(await dead.peekMessages(10, { fromSequenceNumber: Long.ONE })).toEqual([]);
  });

  claim('a deferred message waits until it is asked for', async ({ client, queue }) => {
    await client.createSender(queue).sendMessages(numbered('A', 2));
    const receiver = await client.acceptSession(queue, 'A');
    const [first] = await take(receiver, 1);
    if (!first?.sequenceNumber) throw new Error('nothing received');
    await receiver.deferMessage(first);
    const [second] = await take(receiver, 1);

    const [deferred] = await receiver.receiveDeferredMessages(first.sequenceNumber);
    if (deferred) await receiver.completeMessage(deferred);

    expect(second?.body).toBe(2);
    expect(deferred).toMatchObject({ body: 1, state: 'deferred' });
    expect(bodies(await receiver.peekMessages(10))).toEqual([2]);
  });

  claim('a deferred message that is not there is not found', async ({ client, queue }) => {
    const receiver = await client.acceptSession(queue, 'A');

    const code = await codeOf(receiver.receiveDeferredMessages(Long.fromNumber(99)));

    expect(code).toBe('MessageNotFound');
  });

  claim('receive-and-delete leaves nothing', async ({ client, queue }) => {
    await client.createSender(queue).sendMessages(numbered('A', 3));
    const receiver = await client.acceptSession(queue, 'A', { receiveMode: 'receiveAndDelete' });

    const messages = await take(receiver, 3);

    expect(bodies(messages)).toEqual([1, 2, 3]);
    expect(await client.createReceiver(queue).peekMessages(10)).toEqual([]);
  });

  claim('peek sees a session queue whole, a session receiver its own', async (world) => {
    const { client, queue } = world;
    const sent = [...numbered('A', 2), ...numbered('B', 2, 3), ...numbered('A', 1, 5)];
    await client.createSender(queue).sendMessages(sent);
    const receiver = await client.acceptSession(queue, 'A');
    await take(receiver, 1);

    const all = await client.createReceiver(queue).peekMessages(10);
    const own = await receiver.peekMessages(10, { fromSequenceNumber: Long.ONE });

    expect(bodies(all)).toEqual([1, 2, 3, 4, 5]);
    expect(bodies(own)).toEqual([1, 2, 5]);
  });

  claim('three thousand messages pass one link strictly in order', async ({ client, queue }) => {
    const sender = client.createSender(queue);
    for (let from = 1; from < 3_000; from += 1_000) {
      await sender.sendMessages(numbered('A', 1_000, from));
    }
    const receiver = await client.acceptSession(queue, 'A');
    const seen: unknown[] = [];
    while (seen.length < 3_000) {
      const some = await receiver.receiveMessages(200);
      await Promise.all(some.map((message) => receiver.completeMessage(message)));
      seen.push(...bodies(some));
    }

    expect(seen).toEqual(Array.from({ length: 3_000 }, (_, index) => index + 1));
  });

  claim('short polls that race with sends never cost the session', async ({ client, queue }) => {
    const sender = client.createSender(queue);
    await sender.sendMessages(numbered('A', 1));
    const receiver = await client.acceptSession(queue, 'A');
    const seen: unknown[] = [];
    for (let round = 0; round < 40; round++) {
      const poll = receiver.receiveMessages(3, { maxWaitTimeInMs: 1 + (round % 5) });
      await sender.sendMessages(numbered('A', 1, round + 2));
      const some = await poll;
      for (const message of some) await receiver.completeMessage(message);
      seen.push(...bodies(some));
    }
    seen.push(...bodies(await take(receiver, 41 - seen.length)));

    expect(receiver.isClosed).toBe(false);
    expect(seen).toEqual(Array.from({ length: 41 }, (_, index) => index + 1));
  });
}

export function timeClaims(claim: Claim): void {
  claim('a scheduled message appears at its instant, a cancelled one never', async (world) => {
    const { client, queue, target } = world;
    const sender = client.createSender(queue);
    const at = new Date(Date.now() + 60_000);
    const sent = await sender.scheduleMessages([...numbered('A', 1), ...numbered('B', 1, 2)], at);
    await sender.cancelScheduledMessages(sent[1] ?? Long.ZERO);
    const before = await client.createReceiver(queue).peekMessages(10);
    await target.pass(61_000);

    const [message] = await take(await client.acceptNextSession(queue), 1);

    expect(before.map((m) => [m.body, m.state])).toEqual([[1, 'scheduled']]);
    // It keeps saying that it had waited.
    expect(message).toMatchObject({ body: 1, sessionId: 'A', state: 'scheduled' });
    // Activation gives a new number: the cancelled message had the second one.
    expect(message?.sequenceNumber?.toString()).toBe('3');
  });

  claim('an expired message is dead-lettered where the queue says so', async (world) => {
    const { client, target } = world;
    const sender = client.createSender(target.plainQueue);
    await sender.sendMessages([{ body: 1, timeToLive: 5_000 }, { body: 2 }]);
    await target.pass(6_000);

    const live = await client.createReceiver(target.plainQueue).receiveMessages(2);
    const [dead] = await client.createReceiver(target.plainQueue, deadLetter).receiveMessages(1);

    expect(bodies(live)).toEqual([2]);
    expect(dead).toMatchObject({ body: 1, deadLetterReason: 'TTLExpiredException' });
  });

  claim('an expired message elsewhere is gone', async ({ client, queue, target }) => {
    const sender = client.createSender(queue);
    await sender.sendMessages([{ body: 1, sessionId: 'A', timeToLive: 5_000 }]);
    await sender.sendMessages(numbered('A', 1, 2));
    await target.pass(6_000);

    const messages = await take(await client.acceptNextSession(queue), 1);

    expect(bodies(messages)).toEqual([2]);
  });
}

export function plainClaims(claim: Claim): void {
  claim('a message lock that runs out counts, a renewed one holds', async (world) => {
    const { client, target } = world;
    await client.createSender(target.plainQueue).sendMessages([{ body: 1 }, { body: 2 }]);
    const receiver = client.createReceiver(target.plainQueue, noRenewal);
    const [kept, lost] = await receiver.receiveMessages(2);
    if (!kept || !lost) throw new Error('nothing received');
    await target.pass(target.lockSeconds * 700);
    await receiver.renewMessageLock(kept);
    await target.pass(target.lockSeconds * 700);

    const codes = [
      await codeOf(receiver.completeMessage(kept)),
      await codeOf(receiver.completeMessage(lost)),
    ];
    const [again] = await receiver.receiveMessages(1);

    expect(codes).toEqual(['no error', 'MessageLockLost']);
    expect(again).toMatchObject({ body: 2, deliveryCount: 1 });
  });

  claim('a message can be settled when its receiver has gone', async ({ client, target }) => {
    await client.createSender(target.plainQueue).sendMessages({ body: 1 });
    const receiver = client.createReceiver(target.plainQueue, noRenewal);
    const [message] = await receiver.receiveMessages(1);
    if (!message) throw new Error('nothing received');
    // The plain queue is read over another link of the connection, which outlives the receiver's.
    const other = client.createReceiver(target.plainQueue);
    await other.peekMessages(1);

    await receiver.completeMessage(message);

    expect(await other.peekMessages(1, { fromSequenceNumber: Long.ONE })).toEqual([]);
  });

  claim('receivers of a plain queue share the messages', async (world) => {
    const { client, target } = world;
    const sent = Array.from({ length: 20 }, (_, index) => ({ body: index }));
    const [one, two] = [1, 2].map(() => client.createReceiver(target.plainQueue, noRenewal));
    if (!one || !two) throw new Error('no receivers');
    await client.createSender(target.plainQueue).sendMessages(sent);

    const parts = [await one.receiveMessages(10), await two.receiveMessages(10)];
    await roundTrip(world);

    const all = parts.flatMap(bodies).sort((a, b) => Number(a) - Number(b));
    expect(all).toEqual(bodies(sent));
  });
}
