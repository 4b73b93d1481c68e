// What the .NET session processor does on the wire [SB 15.2], replayed with the JavaScript client:
// several accept-next polls at once, one message at a time, renewal beyond the lock duration,
// abandon until dead-lettered; and the broker restarted on its port and file in mid-stream.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServiceBusClient } from '@azure/service-bus';
import type { ServiceBusReceivedMessage, ServiceBusSessionReceiver } from '@azure/service-bus';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startBroker } from '../../infra/local/broker/broker.ts';
import type { Broker } from '../../infra/local/broker/broker.ts';

const queue = 'q';
const options = { retryOptions: { maxRetries: 0, timeoutInMs: 3_000 } };
const properties = {
  requiresSession: true,
  lockDurationSeconds: 2,
  maxDeliveryCount: 3,
  deadLetterOnExpiration: false,
};

let folder: string;
let broker: Broker;
let client: ServiceBusClient;

const start = (port: number): Promise<Broker> => {
  const config = { queues: [{ name: queue, properties }], topics: [] };
  return startBroker({ config, file: join(folder, 'broker.db'), port });
};

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'processor-'));
  broker = await start(0);
  client = new ServiceBusClient(broker.connectionString, options);
});

afterEach(async () => {
  await client.close();
  await broker.close();
  rmSync(folder, { recursive: true });
});

type Handler = (message: ServiceBusReceivedMessage) => Promise<void>;

async function processSession(receiver: ServiceBusSessionReceiver, handle: Handler) {
  for (;;) {
    const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 200 });
    if (!message) return;
    try {
      await handle(message);
    } catch {
      await receiver.abandonMessage(message);
      continue;
    }
    await receiver.completeMessage(message);
  }
}

/** Polls for sessions until told to stop; whatever goes wrong, it begins anew. */
async function pump(client: ServiceBusClient, handle: Handler, isDone: () => boolean) {
  while (!isDone()) {
    let receiver: ServiceBusSessionReceiver | undefined;
    try {
      receiver = await client.acceptNextSession(queue);
      await processSession(receiver, handle);
    } catch {
      // No session, a lost lock, a broker that is away: the processor reports it and goes on.
      await new Promise((resolve) => setTimeout(resolve, 20));
    } finally {
      await receiver?.close().catch(() => {});
    }
  }
}

test(
  'sessions stay in order and apart through poison and a restart',
  { timeout: 30_000 },
  async () => {
    const [sessions, each] = [12, 25];
    const seen = new Map<string, number[]>();
    const inside = new Set<string>();
    const overlaps: string[] = [];
    let handled = 0;
    const handle: Handler = async ({ sessionId = '', body }) => {
      const key = `${sessionId}:${body}`;
      if (inside.has(sessionId)) overlaps.push(key);
      inside.add(sessionId);
      await new Promise((resolve) => setTimeout(resolve, 1));
      inside.delete(sessionId);
      if (body === 7) throw new Error('poison');
      const numbers = seen.get(sessionId) ?? [];
      seen.set(sessionId, numbers);
      // At least once: a repeat of the last one is allowed, nothing else.
      if (numbers.at(-1) !== body) {
        numbers.push(body);
        handled++;
      }
    };
    const sender = client.createSender(queue);
    for (let body = 0; body < each; body++) {
      const messages = Array.from({ length: sessions }, (_, at) => ({ body, sessionId: `s${at}` }));
      await sender.sendMessages(messages);
    }
    const total = sessions * (each - 1);
    const isDone = () => handled >= total;
    const run = (by: ServiceBusClient) => Array.from({ length: 8 }, () => pump(by, handle, isDone));
    void run(client);
    while (handled < total / 3) await new Promise((resolve) => setTimeout(resolve, 5));
    const { port } = broker;
    await broker.close();
    broker = await start(port);
    // The client lets a settlement that was under way wait for a minute; a fresh one goes on.
    const second = new ServiceBusClient(broker.connectionString, options);
    await Promise.all(run(second));

    const dead = second.createReceiver(queue, { subQueueType: 'deadLetter' });
    const letters: ServiceBusReceivedMessage[] = [];
    while (letters.length < sessions) letters.push(...(await dead.receiveMessages(sessions)));

    await second.close();
    const expected = Array.from({ length: each }, (_, body) => body).filter((body) => body !== 7);
    expect([...seen.values()]).toEqual(Array.from({ length: sessions }, () => expected));
    expect(letters.map(({ body, deadLetterReason }) => [body, deadLetterReason])).toEqual(
      Array.from({ length: sessions }, () => [7, 'MaxDeliveryCountExceeded']),
    );
    expect(overlaps).toEqual([]);
  },
);

test(
  'a handler longer than the lock keeps its session by renewal',
  { timeout: 30_000 },
  async () => {
    await client.createSender(queue).sendMessages([
      { body: 1, sessionId: 'A' },
      { body: 2, sessionId: 'A' },
    ]);
    const counts: unknown[] = [];
    let others = 0;
    const rival = new ServiceBusClient(broker.connectionString, options);
    const slow: Handler = async ({ body, deliveryCount }) => {
      counts.push([body, deliveryCount]);
      if (body === 2) return;
      await new Promise((resolve) => setTimeout(resolve, properties.lockDurationSeconds * 2_000));
      await rival.acceptSession(queue, 'A').then(
        () => others++,
        () => {},
      );
    };

    await pump(client, slow, () => counts.length >= 2);
    await rival.close();

    expect(counts).toEqual([
      [1, 0],
      [2, 0],
    ]);
    expect(others).toBe(0);
  },
);
