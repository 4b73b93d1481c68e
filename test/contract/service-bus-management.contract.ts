// Claims about the operations behind $management that the client offers, where no other file has
// them already.
import Long from 'long';
import { expect } from 'vitest';
import { bodies, codeOf, noRenewal, numbered, take } from './service-bus.contract.ts';
import type { Claim } from './service-bus.contract.ts';

export function managementClaims(claim: Claim): void {
  claim('a peek goes on where the last one ended, or where it is told', async (world) => {
    const { client, queue } = world;
    await client.createSender(queue).sendMessages(numbered('A', 5));
    const receiver = client.createReceiver(queue);

    const parts = [
      bodies(await receiver.peekMessages(2)),
      bodies(await receiver.peekMessages(2)),
      bodies(await receiver.peekMessages(2)),
      bodies(await receiver.peekMessages(2)),
      bodies(await receiver.peekMessages(2, { fromSequenceNumber: Long.fromNumber(2) })),
    ];

    expect(parts).toEqual([[1, 2], [3, 4], [5], [], [2, 3]]);
  });

  claim('a peek shows every state and locks nothing', async ({ client, target }) => {
    const queue = target.plainQueue;
    const sender = client.createSender(queue);
    const later = new Date(Date.now() + 3_600_000);
    await sender.sendMessages([{ body: 1 }, { body: 2 }, { body: 3 }]);
    await sender.scheduleMessages({ body: 4 }, later);
    const receiver = client.createReceiver(queue, noRenewal);
    const [locked, deferred] = await receiver.receiveMessages(2);
    if (!locked || !deferred) throw new Error('nothing received');
    await receiver.deferMessage(deferred);

    const peeked = await receiver.peekMessages(9, { fromSequenceNumber: Long.ONE });

    expect(peeked.map((m) => [m.body, m.state])).toEqual([
      [1, 'active'],
      [2, 'deferred'],
      [3, 'active'],
      [4, 'scheduled'],
    ]);
    expect(bodies(await receiver.receiveMessages(1))).toEqual([3]);
  });

  claim('deferred messages are settled in every way, also with properties', async (world) => {
    const { client, target } = world;
    const queue = target.plainQueue;
    await client.createSender(queue).sendMessages([1, 2, 3, 4].map((body) => ({ body })));
    const receiver = client.createReceiver(queue, noRenewal);
    const received = await receiver.receiveMessages(4);
    for (const message of received) await receiver.deferMessage(message, { stage: 'one' });
    const numbers = received.map((m) => m.sequenceNumber ?? Long.ZERO);
    const again = await receiver.receiveDeferredMessages(numbers);
    const why = { deadLetterReason: 'late', deadLetterErrorDescription: 'too late' };
    const [a, b, c, d] = again;
    if (!a || !b || !c || !d) throw new Error('nothing received');

    await receiver.completeMessage(a);
    await receiver.abandonMessage(b, { stage: 'two' });
    await receiver.deferMessage(c, { stage: 'three' });
    await receiver.deadLetterMessage(d, { ...why, stage: 'four' });

    const left = await receiver.receiveDeferredMessages(numbers.slice(1, 3));
    const dead = client.createReceiver(queue, { subQueueType: 'deadLetter' });
    expect(left.map((m) => [m.body, m.applicationProperties])).toEqual([
      [2, { stage: 'two' }],
      [3, { stage: 'three' }],
    ]);
    expect(await dead.peekMessages(2)).toMatchObject([{ body: 4, deadLetterReason: 'late' }]);
    expect(await codeOf(receiver.receiveDeferredMessages(numbers.slice(0, 1)))).toBe(
      'MessageNotFound',
    );
  });

  claim('a deferred message can be received and deleted at once', async (world) => {
    const { client, target } = world;
    const queue = target.plainQueue;
    await client.createSender(queue).sendMessages({ body: 1 });
    const receiver = client.createReceiver(queue, noRenewal);
    const [message] = await receiver.receiveMessages(1);
    if (!message?.sequenceNumber) throw new Error('nothing received');
    await receiver.deferMessage(message);

    const taker = client.createReceiver(queue, { receiveMode: 'receiveAndDelete' });
    const taken = await taker.receiveDeferredMessages(message.sequenceNumber);

    expect(bodies(taken)).toEqual([1]);
    expect(await receiver.peekMessages(1, { fromSequenceNumber: Long.ONE })).toEqual([]);
  });

  claim('only what is scheduled can be cancelled, all or nothing', async ({ client, queue }) => {
    const sender = client.createSender(queue);
    const later = new Date(Date.now() + 3_600_000);
    const numbers = await sender.scheduleMessages(numbered('A', 2), later);

    const code = await codeOf(sender.cancelScheduledMessages([...numbers, Long.fromNumber(99)]));
    const kept = await client.createReceiver(queue).peekMessages(5);
    await sender.cancelScheduledMessages(numbers);

    const left = await client
      .createReceiver(queue)
      .peekMessages(5, { fromSequenceNumber: Long.ONE });
    expect(code).toBe('MessageNotFound');
    expect([bodies(kept), left]).toEqual([[1, 2], []]);
  });

  claim('session state is text, bytes or nothing', async ({ client, queue }) => {
    const receiver = await client.acceptSession(queue, 'A');
    await receiver.setSessionState(Buffer.from([1, 2, 255]));
    const bytes: unknown = await receiver.getSessionState();
    await receiver.setSessionState('text');

    expect(bytes).toEqual(Buffer.from([1, 2, 255]));
    expect(await receiver.getSessionState()).toBe('text');
  });

  claim('a session operation needs the lock', async ({ client, queue, target }) => {
    await client.createSender(queue).sendMessages(numbered('A', 1));
    const receiver = await client.acceptSession(queue, 'A', noRenewal);
    await take(receiver, 1);
    await target.pass(target.lockSeconds * 1000 + 1);

    const codes = [
      await codeOf(receiver.renewSessionLock()),
      await codeOf(receiver.setSessionState({ a: 1 })),
    ];

    expect(new Set(codes)).toEqual(new Set(['SessionLockLost']));
  });
}
