// Faults on demand, seen through the official client: what it makes of them, and how it goes on.
import { ServiceBusClient } from '@azure/service-bus';
import { afterEach, describe, expect, test } from 'vitest';
import { virtualClock } from '../../shared/clock.ts';
import type { VirtualClock } from '../../shared/clock.ts';
import { startBroker } from '../../infra/local/broker/broker.ts';
import type { Broker, BrokerOptions } from '../../infra/local/broker/broker.ts';
import { until } from '../support/until.ts';
import { bodies, codeOf, take } from '../contract/service-bus.contract.ts';

const base = { lockDurationSeconds: 60, maxDeliveryCount: 10, deadLetterOnExpiration: false };
const config = {
  queues: [
    { name: 'orders', properties: { ...base, requiresSession: true } },
    { name: 'plain', properties: { ...base, requiresSession: false } },
    {
      name: 'once',
      properties: { ...base, requiresSession: false, duplicateDetectionSeconds: 600 },
    },
  ],
  topics: [],
};

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function start(options: Partial<BrokerOptions> = {}): Promise<Broker> {
  const broker = await startBroker({ config, file: ':memory:', port: 0, ...options });
  closers.push(() => broker.close());
  return broker;
}

/** A client that tries again waits for a lost answer only shortly. */
function connect(broker: Broker, maxRetries = 0): ServiceBusClient {
  const timeoutInMs = maxRetries === 0 ? 5_000 : 1_000;
  const retryOptions = { maxRetries, timeoutInMs, retryDelayInMs: 5 };
  const client = new ServiceBusClient(broker.connectionString, { retryOptions });
  closers.push(() => client.close());
  return client;
}

/** From a queue without sessions. */
async function plain(client: ServiceBusClient, count: number) {
  const receiver = client.createReceiver('plain');
  const messages = [];
  while (messages.length < count) {
    messages.push(...(await receiver.receiveMessages(count - messages.length)));
  }
  return messages;
}

const one = { body: 1, sessionId: 'A', messageId: 'm1' };

describe('throttling', () => {
  test('a throttled send is ServiceBusy, and a patient client gets through', async () => {
    const broker = await start();
    broker.faults.add({ fault: 'throttled', kinds: ['send'], times: 2 });

    const refused = await codeOf(connect(broker).createSender('orders').sendMessages(one));
    await connect(broker, 3).createSender('orders').sendMessages(one);

    expect(refused).toBe('ServiceBusy');
    expect(broker.faults.list()).toMatchObject([{ met: 2 }]);
  });

  test('an accept, a receive, a settlement and a management request can be throttled', async () => {
    const broker = await start();
    const client = connect(broker);
    await client.createSender('orders').sendMessages(one);
    await client.createSender('plain').sendMessages({ body: 1 });
    const once = (kind: 'accept' | 'deliver' | 'settle' | 'manage' | 'renew') =>
      broker.faults.add({ fault: 'throttled', kinds: [kind], times: 1 });
    once('accept');
    const accept = await codeOf(client.acceptSession('orders', 'A'));
    const receiver = await client.acceptSession('orders', 'A');
    once('renew');
    const renew = await codeOf(receiver.renewSessionLock());
    once('manage');
    const manage = await codeOf(receiver.getSessionState());
    const [message] = await take(receiver, 1);
    if (!message) throw new Error('nothing received');
    once('settle');
    const settle = await codeOf(receiver.completeMessage(message));
    once('deliver');
    const receive = await codeOf(client.createReceiver('plain').receiveMessages(1));

    const busy = 'ServiceBusy';
    // The client takes every refusal of a named session for a lock of somebody else.
    expect(accept).toBe('SessionCannotBeLocked');
    expect([renew, manage, settle, receive]).toEqual([busy, busy, busy, busy]);
    const again = await client.createReceiver('plain').receiveMessages(1);
    expect(bodies(again)).toEqual([1]);
  });

  test('a rate lets so many a second pass', async () => {
    const clock = virtualClock(Date.now());
    const broker = await start({ clock });
    broker.faults.add({ fault: 'throttled', kinds: ['send'], perSecond: 2 });
    const sender = connect(broker).createSender('plain');
    const codes = async (): Promise<string[]> => {
      const seen = [];
      for (let sent = 0; sent < 3; sent++)
        seen.push(await codeOf(sender.sendMessages({ body: 1 })));
      return seen;
    };

    const first = await codes();
    await clock.advance(1_000);

    expect([first, await codes()]).toEqual([
      ['no error', 'no error', 'ServiceBusy'],
      ['no error', 'no error', 'ServiceBusy'],
    ]);
  });
});

/** Moves a test's clock on while something waits for it. */
async function passing<T>(clock: VirtualClock, waiting: Promise<T>): Promise<T> {
  let isDone = false;
  const done = waiting.finally(() => (isDone = true));
  while (!isDone) {
    await clock.advance(100);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return done;
}

test('slow sends, deliveries and settlements are made when their time has come', async () => {
  const clock = virtualClock(Date.now());
  const broker = await start({ clock });
  const client = connect(broker);
  const startedAt = clock.now();
  broker.faults.add({ fault: 'slow', kinds: ['send', 'deliver', 'settle'], delayMs: 2_000 });

  await passing(clock, client.createSender('orders').sendMessages(one));
  const sentAt = clock.now();
  const receiver = await client.acceptSession('orders', 'A');
  const [message] = await passing(clock, take(receiver, 1));
  const receivedAt = clock.now();
  if (message) await passing(clock, receiver.completeMessage(message));

  expect(sentAt - startedAt).toBeGreaterThanOrEqual(2_000);
  expect(receivedAt - sentAt).toBeGreaterThanOrEqual(2_000);
  expect(clock.now() - receivedAt).toBeGreaterThanOrEqual(2_000);
});

test('a doubled message comes twice, unless the queue detects duplicates', async () => {
  const broker = await start();
  const client = connect(broker);
  broker.faults.add({ fault: 'doubled', messageId: 'twice' });
  for (const queue of ['plain', 'once']) {
    await client.createSender(queue).sendMessages([
      { body: 1, messageId: 'twice' },
      { body: 2, messageId: 'single' },
    ]);
  }

  expect(bodies(await plain(client, 3))).toEqual([1, 1, 2]);
  expect(bodies(await client.createReceiver('once').peekMessages(5))).toEqual([1, 2]);
});

test('a refused accept has its condition, and only where the rule says so', async () => {
  const broker = await start();
  const client = connect(broker);
  const condition = 'com.microsoft:session-cannot-be-locked';
  const number = broker.faults.add({
    fault: 'refused',
    kinds: ['accept'],
    sessionId: 'A',
    condition,
  });

  const refused = await codeOf(client.acceptSession('orders', 'A'));
  const other = await codeOf(client.acceptSession('orders', 'B'));
  broker.faults.remove(number);

  expect([refused, other]).toEqual(['SessionCannotBeLocked', 'no error']);
  expect(await codeOf(client.acceptSession('orders', 'A'))).toBe('no error');
});

describe('losses', () => {
  test('a lost message lock refuses the settlement, the message comes again', async () => {
    const broker = await start();
    const client = connect(broker);
    await client.createSender('plain').sendMessages({ body: 1 });
    const receiver = client.createReceiver('plain');
    const [message] = await receiver.receiveMessages(1);
    if (!message) throw new Error('nothing received');

    const lost = broker.loseMessageLocks('plain');
    const code = await codeOf(receiver.completeMessage(message));
    const [again] = await receiver.receiveMessages(1);

    expect([lost, code, again?.deliveryCount]).toEqual([1, 'MessageLockLost', 1]);
  });

  test('a lost session lock refuses the settlement', async () => {
    const broker = await start();
    const client = connect(broker);
    await client.createSender('orders').sendMessages(one);
    const receiver = await client.acceptSession('orders', 'A');
    const [message] = await take(receiver, 1);
    if (!message) throw new Error('nothing received');

    broker.loseSessionLock('orders', 'A');
    // A settlement that crosses the detach would wait for its time-out, as against the service.
    await until(
      () => receiver.isClosed,
      (isClosed) => isClosed,
    );

    expect(await codeOf(receiver.completeMessage(message))).toBe('SessionLockLost');
  });

  test('detached links are opened anew by their sender and receiver', async () => {
    const broker = await start();
    const client = connect(broker, 3);
    const sender = client.createSender('plain');
    const receiver = client.createReceiver('plain');
    await sender.sendMessages({ body: 1 });
    await receiver.receiveMessages(1);

    const count = broker.detachLinks('plain', 'amqp:link:detach-forced');
    await sender.sendMessages({ body: 2 });

    expect(count).toBe(2);
    expect(bodies(await receiver.receiveMessages(1))).toEqual([2]);
  });

  test('cut connections are opened anew by their sender', async () => {
    const broker = await start();
    const sender = connect(broker, 3).createSender('plain');
    await sender.sendMessages({ body: 1 });

    const count = broker.dropConnections();
    await sender.sendMessages({ body: 2 });

    expect(count).toBe(1);
    expect(bodies(await plain(connect(broker), 2))).toEqual([1, 2]);
  });
});

describe('the fault port', () => {
  const post = (broker: Broker, path: string, body: unknown) =>
    fetch(`http://localhost:${broker.managementPort}/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });

  test('is not there unless it was asked for', async () => {
    const broker = await start();

    const answer = await post(broker, 'faults', { fault: 'throttled' });

    expect(answer.status).toBe(401);
    expect(broker.faults.isQuiet).toBe(true);
  });

  test('adds, lists and removes rules', async () => {
    const broker = await start({ allowsFaults: true });
    const added = await post(broker, 'faults', { fault: 'throttled', kinds: ['send'], times: 1 });
    const sender = connect(broker).createSender('plain');
    const code = await codeOf(sender.sendMessages({ body: 1 }));
    const url = `http://localhost:${broker.managementPort}/faults`;

    const listed: unknown = await (await fetch(url)).json();
    const removed = await fetch(url, { method: 'DELETE' });

    expect([added.status, await added.json(), code]).toEqual([201, { number: 1 }, 'ServiceBusy']);
    expect(listed).toMatchObject([{ number: 1, met: 1, rule: { fault: 'throttled' } }]);
    expect([removed.status, broker.faults.isQuiet]).toEqual([204, true]);
  });

  test('does what it is told at once, and names what is wrong', async () => {
    const broker = await start({ allowsFaults: true });
    const client = connect(broker);
    await client.createSender('orders').sendMessages(one);
    await client.acceptSession('orders', 'A');

    const lost = await post(broker, 'faults/lose-session-lock', {
      queue: 'orders',
      sessionId: 'A',
    });
    const wrong = await post(broker, 'faults', { fault: 'throttled', often: true });
    const page = await fetch(`http://localhost:${broker.managementPort}/faults`, {
      method: 'POST',
      body: '{"fault":"throttled"}',
    });

    expect(await lost.json()).toEqual({ count: 1 });
    expect([wrong.status, await wrong.json()]).toEqual([
      400,
      { message: "A rule has no member 'often'." },
    ]);
    expect([page.status, broker.faults.isQuiet]).toEqual([400, true]);
  });
});

test('a broker closed twice, at once and later, is closed', async () => {
  const broker = await start();

  await Promise.all([broker.close(), broker.close()]);

  await expect(broker.close()).resolves.toBeUndefined();
});
