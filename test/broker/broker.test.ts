// What the stack and the tests of others use: ports, hooks, forced losses, management, usage.
import { ServiceBusAdministrationClient, ServiceBusClient } from '@azure/service-bus';
import { afterEach, describe, expect, test } from 'vitest';
import { startBroker } from '../../infra/local/broker/broker.ts';
import type { Broker, BrokerIntercept, BrokerStep } from '../../infra/local/broker/broker.ts';
import { until } from '../support/until.ts';
import { bodies, codeOf, numbered, take } from '../contract/service-bus.contract.ts';

const config = {
  queues: [
    {
      name: 'orders',
      properties: {
        requiresSession: true,
        lockDurationSeconds: 60,
        maxDeliveryCount: 10,
        deadLetterOnExpiration: false,
      },
    },
  ],
};

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function start(intercept?: BrokerIntercept): Promise<Broker> {
  const broker = await startBroker({
    config,
    file: ':memory:',
    port: 0,
    ...(intercept ? { intercept } : {}),
  });
  closers.push(() => broker.close());
  return broker;
}

function connect(broker: Broker): ServiceBusClient {
  const retryOptions = { maxRetries: 0, timeoutInMs: 5_000 };
  const client = new ServiceBusClient(broker.connectionString, { retryOptions });
  closers.push(() => client.close());
  return client;
}

test('a busy port is named in the error', async () => {
  const { port, managementPort } = await start();

  await expect(startBroker({ config, file: ':memory:', port })).rejects.toMatchObject({
    code: 'EADDRINUSE',
    port,
  });
  await expect(
    startBroker({ config, file: ':memory:', port: 0, managementPort }),
  ).rejects.toMatchObject({ code: 'EADDRINUSE', port: managementPort });
});

test('a forced loss frees the session and counts the delivery', async () => {
  const broker = await start();
  const client = connect(broker);
  await client.createSender('orders').sendMessages(numbered('A', 1));
  await take(await client.acceptSession('orders', 'A'), 1);

  const wasHeld = broker.loseSessionLock('orders', 'A');
  const [again] = await take(await client.acceptSession('orders', 'A'), 1);

  expect([wasHeld, broker.loseSessionLock('orders', 'B')]).toEqual([true, false]);
  expect(again).toMatchObject({ body: 1, deliveryCount: 1 });
});

test('cut connections free their sessions, senders come back', async () => {
  const broker = await start();
  const client = connect(broker);
  const sender = client.createSender('orders');
  await sender.sendMessages(numbered('A', 2));
  await take(await client.acceptSession('orders', 'A'), 1);

  broker.dropConnections();
  const other = connect(broker);
  const messages = await take(await other.acceptSession('orders', 'A'), 2);

  expect(messages.map((m) => [m.body, m.deliveryCount])).toEqual([
    [1, 0],
    [2, 0],
  ]);
});

test('S2: a waiter whose connection was cut is given no session', async () => {
  const broker = await start();
  const waiting = codeOf(connect(broker).acceptNextSession('orders'));
  const client = connect(broker);
  await client.createSender('orders').sendMessages(numbered('first', 1));
  await waiting;
  const { operations } = broker.usage();
  const second = codeOf(connect(broker).acceptNextSession('orders'));
  // The accept is counted when it has arrived; cut earlier, the client would simply come later.
  await until(
    () => broker.usage().operations,
    (now) => now > operations,
  );

  broker.dropConnections();
  const other = connect(broker);
  await other.createSender('orders').sendMessages(numbered('A', 1));
  const receiver = await other.acceptSession('orders', 'A');

  expect(bodies(await take(receiver, 1))).toEqual([1]);
  expect(await second).not.toBe('no error');
});

describe('hooks', () => {
  test('each kind of step is announced with queue, session and message', async () => {
    const steps: BrokerStep[] = [];
    const broker = await start({ beforeStep: async (step) => void steps.push(step) });
    const client = connect(broker);
    await client.createSender('orders').sendMessages({ body: 1, sessionId: 'A', messageId: 'm1' });
    const receiver = await client.acceptSession('orders', 'A');
    const [message] = await take(receiver, 1);
    await receiver.renewSessionLock();
    if (message) await receiver.completeMessage(message);

    const step = { queue: 'orders', sessionId: 'A' };
    expect(steps).toEqual([
      { kind: 'send', ...step, messageId: 'm1' },
      { kind: 'accept', ...step },
      { kind: 'deliver', ...step, messageId: 'm1' },
      { kind: 'renew', ...step },
      { kind: 'settle', ...step, messageId: 'm1' },
    ]);
  });

  test('sends held by a hook keep their order, a failing hook refuses its step', async () => {
    const gate = Promise.withResolvers<void>();
    const broker = await start({
      async beforeStep(step) {
        if (step.kind === 'send' && step.messageId === '1') await gate.promise;
        if (step.kind === 'send' && step.messageId === '2') {
          throw Object.assign(new Error('full'), { condition: 'amqp:resource-limit-exceeded' });
        }
      },
    });
    const sender = connect(broker).createSender('orders');
    const sends = ['1', '2', '3'].map((messageId) =>
      codeOf(sender.sendMessages({ body: messageId, sessionId: 'A', messageId })),
    );
    gate.resolve();

    expect(await Promise.all(sends)).toEqual(['no error', 'QuotaExceeded', 'no error']);
    const receiver = await connect(broker).acceptSession('orders', 'A');
    expect(bodies(await take(receiver, 2))).toEqual(['1', '3']);
  });

  test('a settlement that a hook holds beyond the lock is refused', async () => {
    const reached = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    const broker = await start({
      async beforeStep({ kind }) {
        if (kind !== 'settle') return;
        reached.resolve();
        await gate.promise;
      },
    });
    const client = connect(broker);
    await client.createSender('orders').sendMessages(numbered('A', 1));
    const receiver = await client.acceptSession('orders', 'A');
    const [message] = await take(receiver, 1);
    if (!message) throw new Error('nothing received');
    const settling = codeOf(receiver.completeMessage(message));
    await reached.promise;

    gate.resolve();
    broker.loseSessionLock('orders', 'A');

    expect(['SessionLockLost', 'ServiceTimeout', 'GeneralError']).toContain(await settling);
    const other = await connect(broker).acceptSession('orders', 'A');
    expect(bodies(await take(other, 1))).toEqual([1]);
  });
});

describe('management', () => {
  test('health and usage answer as documented', async () => {
    const broker = await start();
    const client = connect(broker);
    await client.createSender('orders').sendMessages(numbered('A', 3));
    const receiver = await client.acceptSession('orders', 'A');
    for (const message of await take(receiver, 3)) await receiver.completeMessage(message);
    const url = `http://localhost:${broker.managementPort}`;

    const health = await (await fetch(`${url}/health`)).json();
    const usage = await (await fetch(`${url}/usage`)).json();

    expect(health).toEqual({ status: 'healthy', message: 'Service is healthy.' });
    // Three sends, one accept, three receives, three settlements.
    expect(usage).toEqual({ serviceBusOperations: 10, perEntity: { orders: 10 } });
    expect(broker.usage().operations).toBe(10);
  });

  test('the administration client reads a queue and its counts', async () => {
    const broker = await start();
    const client = connect(broker);
    await client.createSender('orders').sendMessages(numbered('A', 3));
    const receiver = await client.acceptSession('orders', 'A');
    const [first] = await take(receiver, 1);
    if (first) await receiver.deadLetterMessage(first);
    const admin = administrationClient(broker);

    const queue = await admin.getQueue('orders');
    const runtime = await admin.getQueueRuntimeProperties('orders');

    expect(queue).toMatchObject({
      name: 'orders',
      requiresSession: true,
      lockDuration: 'PT1M',
      maxDeliveryCount: 10,
      enablePartitioning: false,
    });
    expect(runtime).toMatchObject({
      totalMessageCount: 3,
      activeMessageCount: 2,
      deadLetterMessageCount: 1,
    });
    await expect(admin.getQueue('nowhere')).rejects.toMatchObject({ statusCode: 404 });
  });

  test('a request without a good signature is refused', async () => {
    const { managementPort } = await start();

    const answer = await fetch(`http://localhost:${managementPort}/orders`);

    expect(answer.status).toBe(401);
  });
});

interface PlainRequest {
  url: string;
  allowInsecureConnection: boolean;
}

/** 7.9.5 knows no emulator here: plain http is forced, as in the emulator's own sample [SB
 *  16.1]. */
function administrationClient(broker: Broker): ServiceBusAdministrationClient {
  const client = new ServiceBusAdministrationClient(broker.managementConnectionString);
  const http = Reflect.get(client, '_httpClient');
  const sendRequest = http.sendRequest.bind(http);
  http.sendRequest = (request: PlainRequest) => {
    request.url = request.url.replace('https:', 'http:');
    request.allowInsecureConnection = true;
    return sendRequest(request);
  };
  return client;
}
