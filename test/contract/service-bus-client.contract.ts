// Claims that the official client's own test suites make of the service, each found by a run of
// them against the local broker (infra/local/DIFFERENCES.md, "The client's own suites").
import { createHmac } from 'node:crypto';
import { ServiceBusClient, parseServiceBusConnectionString } from '@azure/service-bus';
import Long from 'long';
import { expect } from 'vitest';
import { codeOf, noRenewal, numbered, take } from './service-bus.contract.ts';
import type { Claim } from './service-bus.contract.ts';

/** The connection string with a signature for one queue in place of the key. */
function signedString(connectionString: string, queue: string): string {
  const { endpoint, sharedAccessKey, sharedAccessKeyName } =
    parseServiceBusConnectionString(connectionString);
  const resource = encodeURIComponent(`${endpoint}${queue}`);
  const expiry = Math.floor(Date.now() / 1000) + 3600;
  const signature = createHmac('sha256', sharedAccessKey ?? '')
    .update(`${resource}\n${expiry}`)
    .digest('base64');
  const token =
    `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signature)}` +
    `&se=${expiry}&skn=${sharedAccessKeyName}`;
  return connectionString.replace(/SharedAccessKeyName=.*?;SharedAccessKey=[^;]*/, () => {
    return `SharedAccessSignature=${token}`;
  });
}

export function clientClaims(claim: Claim): void {
  claim('a connection string with a signature opens, without SASL', async ({ target, queue }) => {
    const client = new ServiceBusClient(signedString(target.connectionString, queue));
    try {
      await client.createSender(queue).sendMessages(numbered('A', 1));

      const [message] = await take(await client.acceptSession(queue, 'A'), 1);

      expect(message?.body).toBe(1);
    } finally {
      await client.close();
    }
  });

  claim('an unknown queue is named by its whole address', async ({ client }) => {
    const answer = client.createReceiver('none').receiveMessages(1, { maxWaitTimeInMs: 1000 });

    await expect(answer).rejects.toMatchObject({
      code: 'MessagingEntityNotFound',
      message: expect.stringContaining(
        `The messaging entity 'sb://${client.fullyQualifiedNamespace.replace(/:\d+$/, '')}/none'` +
          ' could not be found.',
      ),
    });
  });

  claim('a deferral counts as a delivery, the next one too', async ({ client, queue }) => {
    await client.createSender(queue).sendMessages(numbered('A', 1));
    const receiver = await client.acceptSession(queue, 'A');
    const counts: unknown[] = [];
    let [message] = await take(receiver, 1);
    for (let round = 0; message?.sequenceNumber && round < 3; round++) {
      counts.push(message.deliveryCount);
      if (round === 1) await receiver.abandonMessage(message);
      else await receiver.deferMessage(message);
      [message] = await receiver.receiveDeferredMessages(message.sequenceNumber);
    }
    if (message) await receiver.deadLetterMessage(message);
    const letters = client.createReceiver(queue, { subQueueType: 'deadLetter' });
    const [letter] = await letters.receiveMessages(1);

    expect(counts).toEqual([0, 1, 2]);
    // Dead-lettering on request adds nothing.
    expect(letter?.deliveryCount).toBe(3);
  });

  claim('a deferred message carries its lock where the Python client looks', async (world) => {
    const { client, queue } = world;
    await client.createSender(queue).sendMessages(numbered('A', 1));
    const receiver = await client.acceptSession(queue, 'A');
    const [message] = await take(receiver, 1);
    if (!message?.sequenceNumber) throw new Error('nothing received');
    await receiver.deferMessage(message);

    const [deferred] = await receiver.receiveDeferredMessages(message.sequenceNumber);

    // The client's conversion of dates makes a plain object of the bytes.
    const token: unknown = deferred?._rawAmqpMessage.deliveryAnnotations?.['x-opt-lock-token'];
    expect(Buffer.from(Object.values(Object(token))).toString('hex')).toBe(
      deferred?.lockToken?.replaceAll('-', ''),
    );
  });

  claim('deferrals alone never reach the maximum', async ({ client, queue }) => {
    await client.createSender(queue).sendMessages(numbered('A', 1));
    const receiver = await client.acceptSession(queue, 'A');
    let [message] = await take(receiver, 1);
    for (let round = 0; message?.sequenceNumber && round < 12; round++) {
      await receiver.deferMessage(message);
      [message] = await receiver.receiveDeferredMessages(message.sequenceNumber);
    }

    expect(message?.deliveryCount).toBe(12);
  });

  claim('a dead-letter queue counts no deliveries', async ({ client, queue, target }) => {
    await client.createSender(queue).sendMessages(numbered('A', 1));
    const receiver = await client.acceptSession(queue, 'A');
    const [message] = await take(receiver, 1);
    if (!message) throw new Error('nothing received');
    await receiver.deadLetterMessage(message);
    const letters = client.createReceiver(queue, { ...noRenewal, subQueueType: 'deadLetter' });
    const counts: unknown[] = [];

    const [first] = await letters.receiveMessages(1);
    counts.push(first?.deliveryCount);
    if (first) await letters.abandonMessage(first);
    const [second] = await letters.receiveMessages(1);
    counts.push(second?.deliveryCount);
    const refused = second && (await codeOf(letters.deadLetterMessage(second)));
    await target.pass(target.lockSeconds * 1100);
    const [third] = await letters.receiveMessages(1);
    counts.push(third?.deliveryCount);

    expect(counts).toEqual([0, 0, 0]);
    expect(refused).toBe('GeneralError');
  });

  claim('the header comes back as sent, count and time-to-live apart', async (world) => {
    const { client, queue } = world;
    const header = { durable: false, firstAcquirer: false, priority: 20, timeToLive: 100_000 };
    const annotated = {
      body: 'x',
      bodyType: 'data' as const,
      header: { ...header, deliveryCount: 10 },
      messageAnnotations: { mine: 'kept' },
      footer: { mine: 'too' },
      properties: { groupId: 'A' },
    };
    await client.createSender(queue).sendMessages(annotated);

    const [message] = await take(await client.acceptSession(queue, 'A'), 1);

    expect(message?._rawAmqpMessage).toMatchObject({
      header: { ...header, deliveryCount: 0 },
      messageAnnotations: { mine: 'kept' },
      footer: { mine: 'too' },
    });
  });

  claim('a peek that wants no body gets none', async ({ client, queue }) => {
    await client.createSender(queue).sendMessages({ body: 'x', sessionId: 'A', subject: 'kept' });

    // 7.9.5 knows the option, its types do not.
    const options = { fromSequenceNumber: Long.ONE, omitMessageBody: true };

    const [peeked] = await client.createReceiver(queue).peekMessages(1, options);

    expect(peeked).toMatchObject({ subject: 'kept', sessionId: 'A' });
    expect(peeked?.body).toBeUndefined();
  });

  claim('an instant that has passed delays nothing and leaves no trace', async (world) => {
    const { client, queue } = world;
    const scheduledEnqueueTimeUtc = new Date(Date.now() - 1000);
    await client
      .createSender(queue)
      .sendMessages({ ...numbered('A', 1)[0], body: 1, scheduledEnqueueTimeUtc });

    const [message] = await take(await client.acceptSession(queue, 'A'), 1);

    expect(message).toMatchObject({ state: 'active', scheduledEnqueueTimeUtc });
  });

  claim('a message that was scheduled and is then deferred says so', async (world) => {
    const { client, queue, target } = world;
    const at = new Date(Date.now() + 30_000);
    await client.createSender(queue).scheduleMessages(numbered('A', 1), at);
    await target.pass(31_000);
    const receiver = await client.acceptSession(queue, 'A');
    const [message] = await take(receiver, 1);
    if (!message?.sequenceNumber) throw new Error('nothing received');

    await receiver.deferMessage(message);
    const [deferred] = await receiver.receiveDeferredMessages(message.sequenceNumber);

    expect([message.state, deferred?.state]).toEqual(['scheduled', 'deferred']);
  });
}
