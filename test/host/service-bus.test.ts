import { afterEach, describe, expect, test } from 'vitest';
import { ServiceBusClient } from '@azure/service-bus';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startHost } from '../../infra/local/host/host.ts';
import {
  bodyText,
  createBus,
  fixture,
  openBroker,
  openBusStack,
  overrides,
  sendAll,
  type BusStack,
  type Seen,
} from './harness.ts';

let stack: BusStack | undefined;
afterEach(async () => {
  await stack?.close();
  stack = undefined;
});

const texts = (seen: Seen[], name = 'ordersIn'): string[] =>
  seen.filter((one) => one.name === name).map(bodyText);
const order = (sessionId: string, body: string) => ({ sessionId, body: Buffer.from(body) });

describe('session queue, cardinality one', () => {
  test('each session comes in order, one message at a time, sessions side by side', async () => {
    stack = await openBusStack();
    const { bus, send } = stack;
    const running = new Map<string, number>();
    let overlaps = 0;
    let together = 0;
    bus.act = async ({ triggerMetadata }) => {
      const key = String(triggerMetadata['sessionId']);
      if (running.has(key)) overlaps++;
      running.set(key, 1);
      together = Math.max(together, running.size);
      await new Promise((resolve) => setImmediate(resolve));
      running.delete(key);
    };

    for (let n = 0; n < 20; n++) {
      await send(
        'orders',
        ['a', 'b', 'c'].map((key) => order(key, `${key}${n}`)),
      );
    }
    await bus.until(() => bus.seen.length === 60);

    for (const key of ['a', 'b', 'c']) {
      const own = texts(bus.seen).filter((text) => text.startsWith(key));
      expect(own).toEqual(Array.from({ length: 20 }, (_, n) => `${key}${n}`));
    }
    expect(overlaps).toBe(0);
    expect(together).toBeGreaterThan(1);
  });

  test('a throw brings the same message back to the same session, counted', async () => {
    stack = await openBusStack();
    const { bus, send } = stack;
    bus.act = (one) => {
      if (bodyText(one) === 'bad' && one.triggerMetadata['deliveryCount'] === 1) {
        throw new Error('once');
      }
    };

    await send('orders', [order('s', 'bad'), order('s', 'next')]);
    await bus.until(() => bus.seen.length === 3);

    expect(texts(bus.seen)).toEqual(['bad', 'bad', 'next']);
    expect(bus.seen.map((one) => one.triggerMetadata['deliveryCount'])).toEqual([1, 2, 1]);
  });

  test('at the maximum the dead-letter trigger gets it and its followers go on', async () => {
    stack = await openBusStack();
    const { bus, send } = stack;
    bus.act = (one) => {
      if (one.name === 'ordersIn' && bodyText(one) === 'poison') throw new Error('always');
    };

    await send('orders', [order('s', 'poison'), order('s', 'after')]);
    await bus.until(() => bus.seen.some(({ name }) => name === 'ordersDead'));
    await bus.until(() => texts(bus.seen).includes('after'));

    expect(texts(bus.seen)).toEqual(['poison', 'poison', 'poison', 'after']);
    const dead = bus.seen.find(({ name }) => name === 'ordersDead');
    expect(dead).toMatchObject({
      body: 'poison',
      triggerMetadata: {
        sessionId: 's',
        applicationProperties: { deadLetterReason: 'MaxDeliveryCountExceeded' },
      },
    });
  });

  test('a slot keeps a session until it is idle, then takes the next', async () => {
    stack = await openBusStack({
      maxConcurrentSessions: '1',
      sessionIdleTimeout: '00:00:00.2000000',
    });
    const { bus, send } = stack;
    let sentMore = false;
    bus.act = async () => {
      if (sentMore) return;
      sentMore = true;
      // b waits in front of a2, but the slot holds a
      await send('orders', [order('b', 'b1')]);
      await send('orders', [order('a', 'a2')]);
    };

    await send('orders', [order('a', 'a1')]);
    await bus.until(() => bus.seen.length === 3);

    expect(texts(bus.seen)).toEqual(['a1', 'a2', 'b1']);
  });

  test('maxConcurrentCallsPerSession runs so many of one session side by side', async () => {
    stack = await openBusStack({ maxConcurrentCallsPerSession: '2' });
    const { bus, send } = stack;
    let running = 0;
    let together = 0;
    bus.act = async () => {
      together = Math.max(together, ++running);
      await bus.until(() => bus.seen.length >= 2);
      running--;
    };

    await send(
      'orders',
      ['1', '2', '3', '4'].map((body) => order('s', body)),
    );
    await bus.until(() => bus.seen.length === 4 && running === 0);

    expect(together).toBe(2);
  });

  test('the lock is renewed while a handler runs longer than it', async () => {
    stack = await openBusStack({}, { lockDurationSeconds: 1 });
    const { bus, send, lines } = stack;
    bus.act = async (one) => {
      if (bodyText(one) === 'slow') await new Promise((resolve) => setTimeout(resolve, 2_200));
    };

    await send('orders', [order('s', 'slow'), order('s', 'next')]);
    await bus.until(() => texts(bus.seen).includes('next'));

    expect(texts(bus.seen)).toEqual(['slow', 'next']);
    expect(lines.join('\n')).not.toContain('Action=');
  });

  test('a spent renewal budget lets the lock lapse, counted from accept', async () => {
    stack = await openBusStack(
      { maxAutoLockRenewalDuration: '00:00:00' },
      { lockDurationSeconds: 1 },
    );
    const { bus, send, lines } = stack;
    let finishFirst = (): void => {};
    bus.act = (one) =>
      one.triggerMetadata['deliveryCount'] === 1
        ? new Promise<void>((resolve) => (finishFirst = resolve))
        : undefined;

    await send('orders', [order('s', 'm')]);
    await bus.until(() => bus.seen.length === 2); // another slot has it while the first still runs
    finishFirst();

    expect(bus.seen.map((one) => one.triggerMetadata['deliveryCount'])).toEqual([1, 2]);
    await stack.close();
    stack = undefined;
    expect(lines.join('\n')).toContain('Action=Complete');
  });

  test('a lock lost mid-handler stops nothing; its completion fails and is said', async () => {
    stack = await openBusStack();
    const { bus, broker, send, lines } = stack;
    let isFirst = true;
    bus.act = async () => {
      if (!isFirst) return;
      isFirst = false;
      broker.loseSessionLock('orders', 's');
      await bus.until(() => bus.seen.length === 2);
    };

    await send('orders', [order('s', 'm')]);
    await bus.until(() => bus.seen.length === 2);

    expect(bus.seen.map((one) => one.triggerMetadata['deliveryCount'])).toEqual([1, 2]);
    await stack.close();
    stack = undefined;
    expect(lines.join('\n')).toContain(
      'Message processing error (Action=Complete, EntityPath=orders, SessionId=s',
    );
  });

  test('a message in flight when the host stops is settled; what waits stays', async () => {
    stack = await openBusStack();
    const { bus, host, broker, send } = stack;
    let finish = (): void => {};
    bus.act = () => new Promise<void>((resolve) => (finish = resolve));
    await send('orders', [order('s', 'first'), order('s', 'second')]);
    await bus.until(() => bus.seen.length === 1);

    const drained = host.drain();
    finish();
    await drained;

    const client = new ServiceBusClient(broker.connectionString);
    const left = await client.createReceiver('orders').peekMessages(10);
    await client.close();
    expect(left.map(({ body, deliveryCount }) => [String(body), deliveryCount])).toEqual([
      ['second', 0],
    ]);
  });

  test('the only slot survives a restart of the broker, in order', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'convoy-host-'));
    const file = join(dir, 'broker.sqlite');
    let broker = await openBroker(30, { file, port: 0 });
    const { port, connectionString } = broker;
    const bus = createBus();
    const host = await startHost({
      appDir: fixture('bus'),
      port: 0,
      dataDir: ':memory:',
      log: () => {},
      settings: { BusConnection: connectionString, ...overrides({ maxConcurrentSessions: '1' }) },
    });
    const client = new ServiceBusClient(connectionString);
    const wanted = Array.from({ length: 30 }, (_, n) => String(n));
    let restarted: Promise<void> | undefined;
    bus.act = () => {
      if (bus.seen.length === 10) {
        restarted = broker.close().then(async () => {
          broker = await openBroker(30, { file, port });
        });
      }
    };

    await sendAll(
      client,
      'orders',
      wanted.map((text) => order('s', text)),
    );
    await bus.until(() => texts(bus.seen).includes('29'));
    await restarted;

    // at least once: a message whose completion was cut off comes again, before its followers
    const firsts = texts(bus.seen).filter((text, at, all) => all.indexOf(text) === at);
    expect(firsts).toEqual(wanted);
    expect(bus.seen.length).toBeLessThanOrEqual(31);
    await host.close();
    await client.close();
    await broker.close();
    rmSync(dir, { recursive: true, force: true });
  });

  test('a missing broker is said once and the host runs on', async () => {
    const broker = await openBroker();
    const { connectionString } = broker;
    await broker.close();
    createBus();
    const lines: string[] = [];

    const host = await startHost({
      appDir: fixture('bus'),
      port: 0,
      dataDir: ':memory:',
      log: (line) => lines.push(line),
      settings: { BusConnection: connectionString },
    });
    const until = Date.now() + 5_000;
    const isSaid = (): boolean => lines.some((line) => line.includes("'orders' cannot receive"));
    while (!isSaid() && Date.now() < until) await new Promise((resolve) => setImmediate(resolve));
    const status = await fetch(`${host.url}/admin/host/status`);
    await host.close();

    expect(status.status).toBe(200);
    expect(lines.filter((line) => line.includes("'orders' cannot receive"))).toHaveLength(1);
  });
});

describe('plain queue', () => {
  test('messages run side by side and are completed; a throw brings one back', async () => {
    stack = await openBusStack({ maxConcurrentCalls: '5' });
    const { bus, broker, send } = stack;
    bus.act = (one) => {
      if (bodyText(one) === '3' && one.triggerMetadata['deliveryCount'] === 1) {
        throw new Error('once');
      }
    };

    await send(
      'plain',
      Array.from({ length: 10 }, (_, n) => ({ body: Buffer.from(String(n)) })),
    );
    await bus.until(() => bus.seen.length === 11);
    await stack.host.drain();

    const client = new ServiceBusClient(broker.connectionString);
    expect(await client.createReceiver('plain').peekMessages(10)).toEqual([]);
    await client.close();
    expect(texts(bus.seen, 'plainIn').filter((text) => text === '3')).toHaveLength(2);
  });
});

describe('what a handler sees', () => {
  test('metadata strings are parsed as JSON, and body fields overwrite metadata', async () => {
    stack = await openBusStack();
    const { bus, send } = stack;
    const body = Buffer.from(
      JSON.stringify({ MESSAGEID: 'from body', flag: true, at: '2026-01-02T03:04:05Z', list: [1] }),
    );

    await send('plain', [
      {
        body,
        messageId: '12345678901234567890',
        correlationId: '1e5',
        subject: '00123',
        contentType: 'application/json',
        applicationProperties: { UPPER: 1, TraceParent: 'x' },
      },
    ]);
    await bus.until(() => bus.seen.length === 1);

    const { triggerMetadata } = bus.seen[0]!;
    expect(triggerMetadata).toMatchObject({
      messageId: 'from body',
      correlationId: 100_000,
      subject: '00123',
      label: '00123',
      deliveryCount: 1,
      flag: 'True',
      at: '01/02/2026 03:04:05',
      applicationProperties: { uPPER: 1, traceParent: 'x' },
    });
    expect(triggerMetadata).not.toHaveProperty('list');
    expect(triggerMetadata['enqueuedTimeUtc']).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+$/);
    expect(triggerMetadata['enqueuedTime']).toMatch(/\+00:00$/);
    expect(typeof triggerMetadata['sequenceNumber']).toBe('number');
  });

  test("dataType 'binary' hands over any bytes and keeps the metadata", async () => {
    stack = await openBusStack();
    const { bus, send } = stack;

    await send('orders', [
      { sessionId: '42', messageId: 'm', body: Buffer.from('{"messageId":"x"}') },
      { sessionId: '42', messageId: 'n', body: Buffer.from([0xff, 0xfe]) },
    ]);
    await bus.until(() => bus.seen.length === 2);

    expect(bus.seen.map((one) => one.body)).toEqual([
      Buffer.from('{"messageId":"x"}'),
      Buffer.from([0xff, 0xfe]),
    ]);
    expect(bus.seen.map((one) => one.triggerMetadata['messageId'])).toEqual(['m', 'n']);
    expect(bus.seen[0]!.triggerMetadata['sessionId']).toBe(42);
  });
});
