// The $management operations that the installed client does not offer yet or not in public, asked
// over bare AMQP; and what is refused by name there.
import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { ServiceBusClient } from '@azure/service-bus';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseNamespaceConfig, startBroker } from '../../infra/local/broker/broker.ts';
import type { Broker } from '../../infra/local/broker/broker.ts';
import { bodies, numbered } from '../contract/service-bus.contract.ts';
import { connect, nextMessage, outcomeOf } from './rhea-client.ts';
import type { ClientConnection, ClientLink } from './rhea-client.ts';

const { types } = createRequire(import.meta.url)('rhea') as {
  types: Record<'wrap_int' | 'wrap_timestamp', (value: number) => unknown> & {
    wrap_described(value: unknown, descriptor: number): unknown;
    wrap_list(items: unknown[]): unknown;
  };
};

let broker: Broker;
let client: ServiceBusClient;
let connection: ClientConnection;

beforeEach(async () => {
  const Queues = [
    { Name: 'plain', Properties: {} },
    { Name: 'sessions', Properties: { RequiresSession: true } },
  ];
  const Topics = [{ Name: 'topic', Subscriptions: [{ Name: 'sub' }] }];
  const Namespaces = [{ Name: 'n', Queues, Topics }];
  const config = parseNamespaceConfig({ UserConfig: { Namespaces } });
  broker = await startBroker({ config, file: ':memory:', port: 0 });
  client = new ServiceBusClient(broker.connectionString);
  connection = await connect(broker.port);
});

afterEach(async () => {
  connection.close();
  await client.close();
  await broker.close();
});

interface Reply {
  code: unknown;
  condition: unknown;
  body: Record<string, unknown> | undefined;
}

/** Sends one request to the management node of an entity. */
async function ask(entity: string, operation: string, body: object = {}): Promise<Reply> {
  const address = `${entity}/$management`;
  const replyTo = randomUUID();
  const receiver = connection.open_receiver({ source: { address }, target: { address: replyTo } });
  const sender = connection.open_sender({ target: { address } });
  await Promise.all([outcomeOf(receiver), outcomeOf(sender)]);
  const reply = nextMessage(receiver);
  sender.send({
    message_id: randomUUID(),
    reply_to: replyTo,
    application_properties: { operation: `com.microsoft:${operation}` },
    body,
  });
  const { message } = await reply;
  const properties = Reflect.get(message, 'application_properties') as Record<string, unknown>;
  const { statusCode: code, errorCondition: condition } = properties;
  return { code, condition, body: message.body as Record<string, unknown> | undefined };
}

const int = (value: number): unknown => types.wrap_int(value);
const instant = (ms: number): unknown => types.wrap_timestamp(ms);

describe('batch-delete-messages', () => {
  test('deletes the oldest up to the count, enqueued before the instant', async () => {
    const sender = client.createSender('plain');
    await sender.sendMessages([1, 2, 3].map((body) => ({ body })));
    const now = Date.now() + 1_000;

    const some = await ask('plain', 'batch-delete-messages', {
      'message-count': int(2),
      'enqueued-time-utc': instant(now),
    });
    const older = await ask('plain', 'batch-delete-messages', {
      'message-count': int(9),
      'enqueued-time-utc': instant(now - 3_600_000),
    });

    expect(some).toMatchObject({ code: 200, body: { 'message-count': 2 } });
    expect(older).toMatchObject({ code: 204, condition: 'com.microsoft:message-not-found' });
    expect(bodies(await client.createReceiver('plain').peekMessages(9))).toEqual([3]);
  });

  test('leaves what is locked, deferred or scheduled', async () => {
    const sender = client.createSender('plain');
    await sender.sendMessages([1, 2, 3].map((body) => ({ body })));
    await sender.scheduleMessages({ body: 4 }, new Date(Date.now() + 3_600_000));
    const receiver = client.createReceiver('plain');
    const [, deferred] = await receiver.receiveMessages(2);
    if (deferred) await receiver.deferMessage(deferred);

    const { body } = await ask('plain', 'batch-delete-messages', { 'message-count': int(99) });

    expect(body).toEqual({ 'message-count': 1 });
    expect(bodies(await receiver.peekMessages(9))).toEqual([1, 2, 4]);
  });

  test('empties one session, or all of them', async () => {
    const sent = [...numbered('A', 2), ...numbered('B', 2, 8), ...numbered('C', 1, 5)];
    await client.createSender('sessions').sendMessages(sent);

    const one = await ask('sessions', 'batch-delete-messages', {
      'message-count': int(99),
      'session-id': 'A',
    });
    const left = bodies(await client.createReceiver('sessions').peekMessages(9));
    const all = await ask('sessions', 'batch-delete-messages', { 'message-count': int(99) });

    expect([one.body, all.body]).toEqual([{ 'message-count': 2 }, { 'message-count': 3 }]);
    expect(left).toEqual([8, 9, 5]);
  });
});

test('get-message-sessions lists those with messages, or with changed state', async () => {
  const sent = [...numbered('A', 1), ...numbered('B', 1), ...numbered('C', 1)];
  await client.createSender('sessions').sendMessages(sent);
  const holder = await client.acceptSession('sessions', 'idle');
  await holder.setSessionState({ a: 1 });
  const list = (at: number, skip: number, top: number): Promise<Reply> =>
    ask('sessions', 'get-message-sessions', {
      'last-updated-time': instant(at),
      skip: int(skip),
      top: int(top),
    });
  const never = Date.UTC(9999, 11, 31);

  const first = await list(never, 0, 2);
  const second = await list(never, 2, 2);
  const changed = await list(Date.now() - 60_000, 0, 9);
  const none = await list(Date.now() + 60_000, 0, 9);

  expect(first.body).toMatchObject({ skip: 2, 'sessions-ids': ['A', 'B'] });
  expect(second.body).toMatchObject({ skip: 3, 'sessions-ids': ['C'] });
  expect(changed.body).toMatchObject({ 'sessions-ids': ['idle'] });
  expect(none.code).toBe(204);
});

describe('refused by name', () => {
  test('unknown operations, rules where there are none', async () => {
    expect(await ask('plain', 'cook')).toMatchObject({
      code: 501,
      condition: 'amqp:not-implemented',
    });
    const rule = { 'rule-name': 'r', 'rule-description': { 'sql-filter': { expression: '1=1' } } };
    expect(await ask('plain', 'add-rule', rule)).toMatchObject({
      code: 400,
      condition: 'com.microsoft:argument-error',
    });
    expect(await ask('topic', 'enumerate-rules')).toMatchObject({ code: 400 });
    const sub = 'topic/Subscriptions/sub';
    expect(await ask(sub, 'add-rule', rule)).toMatchObject({ code: 200 });
    expect(await ask(sub, 'add-rule', rule)).toMatchObject({ code: 409 });
    expect(await ask(sub, 'add-rule', { 'rule-name': 'x' })).toMatchObject({ code: 400 });
  });

  test('transactions, send-via and transfer dead-letter queues', async () => {
    const coordinator = connection.open_sender({ target: { address: 'plain' } });
    // rhea knows no coordinator: its described type takes the place of the target [AMQP 4.5.1].
    const { attach } = Reflect.get(coordinator, 'local') as { attach: Record<string, unknown> };
    attach['target'] = types.wrap_described(types.wrap_list([]), 0x30);
    const via = connection.open_sender({
      target: { address: 'plain' },
      properties: { 'com.microsoft:transfer-destination-address': 'sessions' },
    });
    const transfer = connection.open_receiver({
      source: { address: 'plain/$Transfer/$DeadLetterQueue' },
    });

    const refusal = async (link: ClientLink): Promise<unknown> => [
      await outcomeOf(link),
      link.error?.description,
    ];
    const not = (what: string): unknown[] => [
      'amqp:not-implemented',
      `The local broker does not support ${what}.`,
    ];
    expect(await Promise.all([coordinator, via, transfer].map(refusal))).toEqual([
      not('transactions (coordinator links)'),
      not('sending via another entity'),
      not('transfer dead-letter queues'),
    ]);
  });

  test('tokens of Entra', async () => {
    const credential = {
      getToken: () =>
        Promise.resolve({ token: 'a.b.c', expiresOnTimestamp: Date.now() + 3_600_000 }),
    };
    const endpoint = `localhost:${broker.port}`;
    const other = new ServiceBusClient(endpoint, credential, {
      retryOptions: { maxRetries: 0, timeoutInMs: 2_000 },
    });
    // Without a connection string the client speaks TLS only; the broker answers plain.
    const config = Reflect.get(Reflect.get(other, '_connectionContext') as object, 'connection');
    const options = Reflect.get(config as object, 'options') as Record<string, unknown>;
    options['transport'] = 'tcp';

    const error: unknown = await other
      .createSender('plain')
      .sendMessages({ body: 1 })
      .catch((thrown: unknown) => thrown);

    await other.close();
    expect(error).toMatchObject({ code: 'UnauthorizedAccess' });
    expect(String(error)).toContain('shared access signatures only');
  });
});
