// Entities made at run time: what the data file keeps of them, and how they meet Config.json.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServiceBusClient } from '@azure/service-bus';
import { afterEach, describe, expect, test } from 'vitest';
import { parseNamespaceConfig, startBroker } from '../../infra/local/broker/broker.ts';
import type { Broker, NamespaceConfig } from '../../infra/local/broker/broker.ts';
import { Namespace } from '../../infra/local/broker/namespace.ts';
import type { Place } from '../../infra/local/broker/namespace.ts';
import { virtualClock } from '../../shared/clock.ts';
import { bodies, codeOf } from '../contract/service-bus.contract.ts';
import { adminOf } from '../contract/service-bus-admin-client.ts';

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

function dataFile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'convoy-entities-'));
  closers.push(() => rmSync(folder, { recursive: true }));
  return join(folder, 'broker.db');
}

interface Running {
  broker: Broker;
  client: ServiceBusClient;
  admin: ReturnType<typeof adminOf>;
  stop(): Promise<void>;
}

async function start(options: {
  config?: NamespaceConfig;
  file?: string;
  clock?: ReturnType<typeof virtualClock>;
}): Promise<Running> {
  const { config = { queues: [] }, file = ':memory:', clock } = options;
  const broker = await startBroker({ config, file, port: 0, ...(clock ? { clock } : {}) });
  const retryOptions = { maxRetries: 0, timeoutInMs: 5_000 };
  const client = new ServiceBusClient(broker.connectionString, { retryOptions });
  let isStopped = false;
  const stop = async (): Promise<void> => {
    if (isStopped) return;
    isStopped = true;
    await client.close();
    await broker.close();
  };
  closers.push(stop);
  return { broker, client, admin: adminOf(broker.managementConnectionString), stop };
}

/** A namespace with a topic and a queue. */
const declared = (rules: unknown[] = []): NamespaceConfig =>
  parseNamespaceConfig({
    UserConfig: {
      Namespaces: [
        {
          Queues: [{ Name: 'orders', Properties: { MaxDeliveryCount: 4 } }],
          Topics: [{ Name: 'events', Subscriptions: [{ Name: 'all', Rules: rules }] }],
        },
      ],
    },
  });

const red = {
  Name: 'red',
  Properties: { FilterType: 'Sql', SqlFilter: { SqlExpression: "color = 'red'" } },
};

describe('a restart', () => {
  test('keeps entities, rules, counts and messages as they were', async () => {
    const file = dataFile();
    const before = await start({ file });
    const { admin, client } = before;
    const queue = await admin.createQueue('q', {
      requiresSession: true,
      lockDuration: 'PT30S',
      userMetadata: 'mine',
    });
    await admin.createTopic('t', { requiresDuplicateDetection: true });
    await admin.createSubscription('t', 's', {
      defaultRuleOptions: {
        name: 'big',
        filter: { sqlExpression: 'n > @least', sqlParameters: { '@least': 5 } },
        action: { sqlExpression: 'SET size = 1.5' },
      },
    });
    const applicationProperties = { day: new Date(0), flag: true, text: 'ä"<' };
    await admin.createRule('t', 's', 'same', { subject: 'x', applicationProperties });
    const message = { body: 1, messageId: 'm', applicationProperties: { n: 9 } };
    await client.createSender('t').sendMessages(message);
    const rules = [await admin.getRule('t', 's', 'big'), await admin.getRule('t', 's', 'same')];
    await before.stop();

    const after = await start({ file });
    await after.client.createSender('t').sendMessages({ ...message, body: 2 });
    await after.client
      .createSender('t')
      .sendMessages({ body: 3, subject: 'x', applicationProperties });
    const messages = await after.client.createReceiver('t', 's').peekMessages(9);

    expect(await after.admin.getQueue('q')).toEqual(queue);
    expect([
      await after.admin.getRule('t', 's', 'big'),
      await after.admin.getRule('t', 's', 'same'),
    ]).toEqual(rules);
    expect(messages.map((m) => [m.body, m.applicationProperties?.['RuleName']])).toEqual([
      [1, 'big'],
      [3, undefined],
    ]);
  });

  test('keeps what a topic holds back, also past its instant', async () => {
    const file = dataFile();
    const before = await start({ file });
    await before.admin.createTopic('t');
    await before.admin.createSubscription('t', 's');
    const [soon, later] = [new Date(Date.now() + 200), new Date(Date.now() + 3_600_000)];
    const sender = before.client.createSender('t');
    await sender.sendMessages([{ body: 1, scheduledEnqueueTimeUtc: soon }]);
    await sender.sendMessages([{ body: 2, scheduledEnqueueTimeUtc: later }]);
    await before.stop();
    const clock = virtualClock(Date.now() + 1_000);

    const { client, admin } = await start({ file, clock });
    await clock.advance(1_000);
    const messages = await client.createReceiver('t', 's').receiveMessages(1);

    expect(bodies(messages)).toEqual([1]);
    expect((await admin.getTopicRuntimeProperties('t')).scheduledMessageCount).toBe(1);
  });

  test('G1: declared entities are as Config.json says again', async () => {
    const file = dataFile();
    const before = await start({ file, config: declared([red]) });
    const orders = await before.admin.getQueue('orders');
    await before.admin.updateQueue({ ...orders, maxDeliveryCount: 7 });
    await before.admin.createRule('events', 'all', 'added', { subject: 'x' });
    await before.admin.deleteRule('events', 'all', 'red');
    await before.client.createSender('orders').sendMessages({ body: 1 });
    await before.stop();

    const after = await start({ file, config: declared([red]) });
    const rules = [];
    for await (const { name } of after.admin.listRules('events', 'all')) rules.push(name);

    expect((await after.admin.getQueue('orders')).maxDeliveryCount).toBe(4);
    expect(rules).toEqual(['red']);
    expect(bodies(await after.client.createReceiver('orders').peekMessages(1))).toEqual([1]);
  });

  test('G1: a deleted declared queue comes back empty', async () => {
    const file = dataFile();
    const before = await start({ file, config: declared() });
    await before.client.createSender('orders').sendMessages({ body: 1 });
    await before.admin.deleteQueue('orders');
    await before.stop();

    const { client } = await start({ file, config: declared() });

    expect(await client.createReceiver('orders').peekMessages(1)).toEqual([]);
  });

  test('G2: a subscription added to a declared topic stays', async () => {
    const file = dataFile();
    const before = await start({ file, config: declared() });
    await before.admin.createSubscription('events', 'more');
    await before.stop();

    const { client } = await start({ file, config: declared() });
    await client.createSender('events').sendMessages({ body: 1 });

    expect(bodies(await client.createReceiver('events', 'more').peekMessages(1))).toEqual([1]);
    expect(bodies(await client.createReceiver('events', 'all').peekMessages(1))).toEqual([1]);
  });

  test('G3: what left Config.json waits for its name', async () => {
    const file = dataFile();
    const before = await start({ file, config: declared() });
    await before.client.createSender('orders').sendMessages({ body: 1 });
    await before.stop();
    const without = await start({ file });
    const code = await codeOf(without.client.createReceiver('orders').peekMessages(1));
    await without.stop();

    const { client } = await start({ file, config: declared() });

    expect(code).toBe('MessagingEntityNotFound');
    expect(bodies(await client.createReceiver('orders').peekMessages(1))).toEqual([1]);
  });
});

describe('while clients are there', () => {
  test('a deleted entity detaches its receivers, a waiting one too', async () => {
    const { admin, client } = await start({});
    await admin.createQueue('q');
    await admin.createQueue('s', { requiresSession: true });
    const receiving = codeOf(client.createReceiver('q').receiveMessages(1));
    const waiting = codeOf(client.acceptNextSession('s'));
    await client.createReceiver('q').peekMessages(1);
    await client.createReceiver('s').peekMessages(1);

    await admin.deleteQueue('q');
    await admin.deleteQueue('s');

    expect([await receiving, await waiting]).toEqual([
      'MessagingEntityNotFound',
      'MessagingEntityNotFound',
    ]);
  });

  test('a sender whose queue was made anew sends to the new one', async () => {
    const { admin, client } = await start({});
    await admin.createQueue('q');
    const sender = client.createSender('q');
    await sender.sendMessages({ body: 1 });
    await admin.deleteQueue('q');
    const between = await codeOf(sender.sendMessages({ body: 2 }));
    await admin.createQueue('q');
    await sender.sendMessages({ body: 3 });

    expect(between).toBe('MessagingEntityNotFound');
    expect(bodies(await client.createReceiver('q').peekMessages(5))).toEqual([3]);
  });

  test('what is being committed when its entity is deleted goes with it', async () => {
    const clock = virtualClock();
    const namespace = new Namespace({ config: declared(), file: ':memory:', clock });
    closers.push(() => namespace.close());
    const [orders, events] = ['orders', 'events'].map((name) => namespace.find(name, 'here'));
    if (!orders || !events) throw new Error('not declared');
    const answers: unknown[] = [];
    const sendAndRemove = (place: Place, path: string): void => {
      namespace.send(place, namespace.parse(Buffer.alloc(0)), (error) => answers.push(error));
      const item = namespace.catalog.find(path);
      if (item) namespace.catalog.remove(item);
    };
    sendAndRemove(events, 'events/Subscriptions/all');
    sendAndRemove(events, 'events');
    sendAndRemove(orders, 'orders');
    namespace.store.flush();

    expect(answers).toEqual([undefined, undefined, undefined]);
    expect([orders.entity.counts.active, namespace.isLive(orders.entity)]).toEqual([0, false]);
    expect(() => namespace.requireLive(orders.entity)).toThrow("'orders' could not be found");
  });

  test('T3: a filter that fails dead-letters, or only goes without', async () => {
    const { admin, client } = await start({});
    await admin.createTopic('t');
    const failing = { name: 'r', filter: { sqlExpression: 'n * 2 = 4' } };
    await admin.createSubscription('t', 'keeps', { defaultRuleOptions: failing });
    await admin.createSubscription('t', 'drops', {
      defaultRuleOptions: failing,
      deadLetteringOnFilterEvaluationExceptions: false,
    });

    await client.createSender('t').sendMessages([
      { body: 1, applicationProperties: { n: 'two' } },
      { body: 2, applicationProperties: { n: 2 } },
    ]);

    const deadOf = (name: string) =>
      client.createReceiver('t', name, { subQueueType: 'deadLetter' }).peekMessages(5);
    const dead = await deadOf('keeps');
    expect(dead.map((m) => [m.body, m.deadLetterReason, m.deadLetterSource])).toEqual([
      [1, 'FilterEvaluationException', 't/Subscriptions/keeps'],
    ]);
    expect(dead[0]?.deadLetterErrorDescription).toContain("'r'");
    expect(await deadOf('drops')).toEqual([]);
    for (const name of ['keeps', 'drops']) {
      expect(bodies(await client.createReceiver('t', name).peekMessages(5))).toEqual([2]);
    }
  });
});
