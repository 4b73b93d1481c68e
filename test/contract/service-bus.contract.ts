// What Convoy relies on from Azure Service Bus, said through the official client. The same claims
// run on the local broker and, with a target that opens a namespace of Azure, against the real
// service.
import { ServiceBusClient } from '@azure/service-bus';
import type { ServiceBusAdministrationClient, ServiceBusMessage } from '@azure/service-bus';
import type { ServiceBusSessionReceiver } from '@azure/service-bus';
import Long from 'long';
import { describe, expect } from 'vitest';
import { adminOf } from './service-bus-admin-client.ts';
import { type ClaimOf, type Contract as ContractOf, claimsOf } from './claims.ts';

/** A namespace with three empty queues, ten deliveries each. */
export interface Target {
  connectionString: string;
  /** The same for the administration client. */
  adminConnectionString: string;
  sessionQueue: string;
  /** Without sessions; expired messages are dead-lettered. */
  plainQueue: string;
  /** With sessions and duplicate detection. */
  dedupQueue: string;
  lockSeconds: number;
  /** How long duplicates are remembered. */
  windowSeconds: number;
  /** A name of its own for an entity that a claim creates; it goes with the target. */
  nameOf(what: string): string;
  /** Lets time pass for the service. */
  pass(ms: number): Promise<void>;
  close(): Promise<void>;
}

export type Contract = ContractOf<Target>;

export interface World {
  target: Target;
  client: ServiceBusClient;
  admin: ServiceBusAdministrationClient;
  queue: string;
}

export type Claim = ClaimOf<World>;

/** No retries: a claim must see the first answer. */
const clientOptions = { retryOptions: { maxRetries: 0, timeoutInMs: 5_000 } };

export const claimsFor = (contract: Contract): Claim =>
  claimsOf<Target, World>(contract, async (target, body) => {
    const client = new ServiceBusClient(target.connectionString, clientOptions);
    try {
      const admin = adminOf(target.adminConnectionString);
      await body({ target, client, admin, queue: target.sessionQueue });
    } finally {
      await client.close();
    }
  });

export const numbered = (sessionId: string, count: number, from = 1): ServiceBusMessage[] =>
  Array.from({ length: count }, (_, index) => ({ body: from + index, sessionId }));

/** Receives up to `count`; one at a time keeps the order a strict consumer sees. */
export async function take(receiver: ServiceBusSessionReceiver, count: number) {
  const messages = [];
  while (messages.length < count) {
    const some = await receiver.receiveMessages(count - messages.length, { maxWaitTimeInMs: 1000 });
    if (some.length === 0) break;
    messages.push(...some);
  }
  return messages;
}

export const bodies = (messages: { body: unknown }[]): unknown[] => messages.map((m) => m.body);

export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'no error';
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}

/** What both sides wrote before has been read by the other when this resolves: one connection keeps
 *  the order of its frames. */
export async function roundTrip({ client, target }: World): Promise<void> {
  await client.createReceiver(target.plainQueue).peekMessages(1);
}

/** The lock renewer of the client runs on real time; claims about locks switch it off. */
export const noRenewal = { maxAutoLockRenewalDurationInMs: 0 };

function sendingClaims(claim: Claim): void {
  claim('messages arrive with everything the sender said', async ({ client, queue }) => {
    const sent = {
      body: { text: 'ä', n: 1 },
      sessionId: 'A',
      messageId: 'm1',
      subject: 'placed',
      contentType: 'application/json',
      correlationId: 'c1',
      applicationProperties: { k: 1, flag: true, text: 'x', ratio: 1.5 },
    };
    await client.createSender(queue).sendMessages(sent);

    const [message] = await take(await client.acceptSession(queue, 'A'), 1);

    expect(message).toMatchObject({ ...sent, deliveryCount: 0, state: 'active' });
    expect(message?.sequenceNumber?.toString()).toBe('1');
    expect(message?.enqueuedTimeUtc).toBeInstanceOf(Date);
  });

  claim('a message without id is given one', async ({ client, queue }) => {
    await client.createSender(queue).sendMessages({ body: 1, sessionId: 'A' });

    const [message] = await take(await client.acceptSession(queue, 'A'), 1);

    expect(message?.messageId).toMatch(/^[0-9a-f]{32}$/);
  });

  claim('a batch with one bad message is refused whole', async ({ client, queue }) => {
    const batch = [{ body: 1, sessionId: 'A' }, { body: 2 }];

    const code = await codeOf(client.createSender(queue).sendMessages(batch));

    expect(code).toBe('GeneralError');
    expect(await client.createReceiver(queue).peekMessages(10)).toEqual([]);
  });

  claim('good and bad sends of one tick are answered singly', async ({ client, queue }) => {
    const sender = client.createSender(queue);
    await sender.createMessageBatch(); // opens the link

    const codes = await Promise.all([
      codeOf(sender.sendMessages({ body: 1, sessionId: 'A' })),
      codeOf(sender.sendMessages({ body: 2 })),
      codeOf(sender.sendMessages({ body: 3, sessionId: 'A' })),
    ]);

    expect(codes).toEqual(['no error', 'GeneralError', 'no error']);
    expect(bodies(await client.createReceiver(queue).peekMessages(10))).toEqual([1, 3]);
  });

  claim('a message over 256 KB is refused', async ({ client, queue }) => {
    const body = Buffer.alloc(300_000);

    const code = await codeOf(client.createSender(queue).sendMessages({ body, sessionId: 'A' }));

    expect(code).toBe('MessageSizeExceeded');
  });

  claim('a large message and a large batch arrive whole and in order', async (world) => {
    const { client, queue } = world;
    const sender = client.createSender(queue);
    await sender.sendMessages({ body: Buffer.alloc(200_000, 7), sessionId: 'A' });
    await sender.sendMessages(numbered('A', 1_000));

    const messages = await take(await client.acceptSession(queue, 'A'), 1_001);

    expect(messages[0]?.body).toEqual(Buffer.alloc(200_000, 7));
    expect(bodies(messages.slice(1))).toEqual(bodies(numbered('A', 1_000)));
  });

  claim('an unknown queue is named', async ({ client }) => {
    const code = await codeOf(client.createSender('nowhere').sendMessages({ body: 1 }));

    expect(code).toBe('MessagingEntityNotFound');
  });

  claim('a wrong key is refused', async ({ target }) => {
    const wrong = target.connectionString.replace(/SharedAccessKey=[^;]+/, 'SharedAccessKey=wrong');
    const client = new ServiceBusClient(wrong, clientOptions);

    const code = await codeOf(client.createSender(target.sessionQueue).sendMessages({ body: 1 }));

    await client.close();
    expect(code).toBe('UnauthorizedAccess');
  });

  claim('a repeated id within the window is accepted and dropped', async ({ client, target }) => {
    const sender = client.createSender(target.dedupQueue);
    const message = { body: 1, sessionId: 'A', messageId: 'same' };

    await sender.sendMessages(message);
    await sender.sendMessages([message, { body: 2, sessionId: 'B', messageId: 'same' }]);
    const within = await client.createReceiver(target.dedupQueue).peekMessages(10);
    await target.pass(target.windowSeconds * 1000 + 1_000);
    await sender.sendMessages({ ...message, body: 3 });

    const peek = client.createReceiver(target.dedupQueue);
    const after = await peek.peekMessages(10, { fromSequenceNumber: Long.ONE });
    expect(bodies(within)).toEqual([1]);
    expect(bodies(after)).toEqual([1, 3]);
  });
}

function sessionClaims(claim: Claim): void {
  claim('a session is locked by one receiver at a time', async ({ client, queue }) => {
    await client.createSender(queue).sendMessages(numbered('A', 1));
    const first = await client.acceptNextSession(queue);

    const code = await codeOf(client.acceptSession(queue, 'A'));
    await first.close();
    const second = await client.acceptSession(queue, 'A');

    expect(code).toBe('SessionCannotBeLocked');
    expect(bodies(await take(second, 1))).toEqual([1]);
  });

  claim('the next session is one that nobody holds', async ({ client, queue }) => {
    const sender = client.createSender(queue);
    await sender.sendMessages([...numbered('A', 2), ...numbered('B', 2)]);

    const first = await client.acceptNextSession(queue);
    const second = await client.acceptNextSession(queue);

    expect([first.sessionId, second.sessionId].sort()).toEqual(['A', 'B']);
  });

  claim('the wait for a session ends as the client asked', async (world) => {
    const waiting = codeOf(world.client.acceptNextSession(world.queue));
    await roundTrip(world);

    await world.target.pass(5_000);

    expect(await waiting).toBe('ServiceTimeout');
  });

  claim('a waiting receiver gets the session that comes later', async ({ client, queue }) => {
    const waiting = client.acceptNextSession(queue);
    await client.createSender(queue).sendMessages(numbered('C', 1));

    const receiver = await waiting;

    expect(receiver.sessionId).toBe('C');
    expect(bodies(await take(receiver, 1))).toEqual([1]);
  });

  claim('a receiver that gave up waiting keeps no session', async (world) => {
    const { client, queue } = world;
    const abort = new AbortController();
    const waiting = codeOf(client.acceptNextSession(queue, { abortSignal: abort.signal }));
    await roundTrip(world);
    // The client notices only when the answer comes; by then the session has been given to it.
    abort.abort();
    await client.createSender(queue).sendMessages(numbered('G', 1));

    const receiver = await client.acceptNextSession(queue);
    const [message] = await take(receiver, 1);

    expect(await waiting).not.toBe('no error');
    expect(receiver.sessionId).toBe('G');
    expect(message?.deliveryCount).toBe(0);
  });

  claim('a closed session returns in order with counts unchanged', async ({ client, queue }) => {
    await client.createSender(queue).sendMessages(numbered('A', 3));
    const first = await client.acceptSession(queue, 'A');
    await take(first, 2);
    await first.close();

    const messages = await take(await client.acceptSession(queue, 'A'), 3);

    expect(messages.map((m) => [m.body, m.deliveryCount])).toEqual([
      [1, 0],
      [2, 0],
      [3, 0],
    ]);
  });

  claim('a lost lock refuses settlement and redelivers in order', async (world) => {
    const { client, queue, target } = world;
    await client.createSender(queue).sendMessages(numbered('A', 2));
    const lost = await client.acceptSession(queue, 'A', noRenewal);
    const [message] = await take(lost, 1);
    await target.pass(target.lockSeconds * 1000 + 1);
    await roundTrip(world);

    const code = message ? await codeOf(lost.completeMessage(message)) : 'nothing received';
    const next = await take(await client.acceptSession(queue, 'A'), 2);

    expect(code).toBe('SessionLockLost');
    expect(next.map((m) => [m.body, m.deliveryCount])).toEqual([
      [1, 1],
      [2, 0],
    ]);
  });

  claim('a renewed lock holds on', async ({ client, queue, target }) => {
    await client.createSender(queue).sendMessages(numbered('A', 1));
    const receiver = await client.acceptSession(queue, 'A', noRenewal);
    const [message] = await take(receiver, 1);

    for (let round = 0; round < 3; round++) {
      await target.pass(target.lockSeconds * 800);
      await receiver.renewSessionLock();
    }
    if (message) await receiver.completeMessage(message);

    expect(await receiver.peekMessages(10)).toEqual([]);
  });

  claim('session state outlives its holder', async ({ client, queue }) => {
    const first = await client.acceptSession(queue, 'A');
    const before = await first.getSessionState();
    await first.setSessionState({ cursor: 7 });
    await first.close();

    const second = await client.acceptSession(queue, 'A');

    expect(before).toBeNull();
    expect(await second.getSessionState()).toEqual({ cursor: 7 });
  });

  claim('the wrong kind of receiver is refused', async ({ client, queue, target }) => {
    const plain = client.createReceiver(queue).receiveMessages(1, { maxWaitTimeInMs: 1000 });

    const codes = [await codeOf(plain), await codeOf(client.acceptSession(target.plainQueue, 'A'))];

    // For a refused named session the client has one code, whatever the reason.
    expect(codes).toEqual(['GeneralError', 'SessionCannotBeLocked']);
  });
}

/** Runs every claim. */
export function runContract(contract: Contract, more: ((claim: Claim) => void)[] = []): void {
  const claim = claimsFor(contract);
  describe('sending', () => sendingClaims(claim));
  describe('sessions', () => sessionClaims(claim));
  for (const claims of more) claims(claim);
}
