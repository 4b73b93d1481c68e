import { ServiceBusClient } from '@azure/service-bus';
import type { ServiceBusReceivedMessage } from '@azure/service-bus';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseNamespaceConfig, startBroker } from '../../infra/local/broker/broker.ts';
import type { Broker, BrokerIntercept } from '../../infra/local/broker/broker.ts';
import { brokerMessageId } from '../../shared/keys.ts';
import { createSender } from '../../shared/sender.ts';
import type { KeyedMessage, OutgoingMessage, SenderOptions } from '../../shared/sender.ts';
import { serviceBusAddress, serviceBusFault } from '../../shared/service-bus.ts';

const names = ['orders', 'trickle', 'gone', 'stream', 'twice', 'faulty', 'order-check'];
const config = parseNamespaceConfig({
  UserConfig: {
    Namespaces: [
      {
        Name: 'sbemulatorns',
        Queues: names.map((Name) => ({ Name, Properties: { RequiresSession: true } })),
        Topics: [],
      },
    ],
    Logging: { Type: 'File' },
  },
});
const openBroker = (port = 0, intercept?: BrokerIntercept): Promise<Broker> =>
  startBroker({ config, file: ':memory:', port, ...(intercept && { intercept }) });

async function peekAll(on: Broker, queue: string): Promise<ServiceBusReceivedMessage[]> {
  const client = new ServiceBusClient(on.connectionString);
  const receiver = client.createReceiver(queue);
  const all: ServiceBusReceivedMessage[] = [];
  for (;;) {
    const page = await receiver.peekMessages(500);
    all.push(...page);
    if (page.length === 0) break;
  }
  await client.close();
  return all;
}

describe('a sender on a broker', () => {
  let broker: Broker;
  const open = (options?: SenderOptions) =>
    createSender({ connectionString: broker.connectionString }, options);
  beforeAll(async () => void (broker = await openBroker()));
  afterAll(() => broker.close());

  test('stamps the table of the message contract', async () => {
    await using sender = open();
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

    const ids = await sender.send('orders', '42', {
      id: '1e5',
      type: 'OrderPlaced',
      body: { amount: 5, name: 'Zoë' },
      occurredAt: '2026-01-01T00:00:00Z',
      senderPosition: 3,
      schemaVersion: 2,
      traceparent,
    });

    expect(ids).toEqual(['1e5']);
    const [message] = await peekAll(broker, 'orders');
    expect(message).toMatchObject({
      sessionId: '42',
      messageId: brokerMessageId('42', '1e5'),
      subject: 'OrderPlaced',
      contentType: 'application/json',
      body: { amount: 5, name: 'Zoë' },
      applicationProperties: {
        convoyKey: '42',
        convoyMessageId: '1e5',
        convoyType: 'OrderPlaced',
        schemaVersion: 2,
        senderPosition: 3,
        occurredAt: '2026-01-01T00:00:00Z',
        traceparent,
        'Diagnostic-Id': traceparent,
      },
    });
  });

  test('N1: a stream over many keys lies on the queue in the order it was fed', async () => {
    await using sender = open();
    const fed: KeyedMessage[] = Array.from({ length: 2_500 }, (_, i) => ({
      key: `key-${i % 7}`,
      id: `${i}`,
      type: 'Counted',
      body: { i, filler: 'x'.repeat(300) },
    }));
    const progress: number[] = [];

    const { sent } = await sender.sendAll('order-check', fed, {
      onProgress: (now) => progress.push(now.sent),
    });

    expect(sent).toBe(2_500);
    expect(progress.at(-1)).toBe(2_500);
    const found = await peekAll(broker, 'order-check');
    expect(found.map(({ body }) => body.i)).toEqual(fed.map((_, i) => i));
  });

  test('a slow source is not made to wait for a full batch', async () => {
    await using sender = open();
    const arrived = Promise.withResolvers<void>();
    async function* slow(): AsyncGenerator<KeyedMessage> {
      yield { key: 'a', type: 'First', body: 1 };
      // The second is only given once the first has been accepted.
      await arrived.promise;
      yield { key: 'a', type: 'Second', body: 2 };
    }

    const { sent } = await sender.sendAll('trickle', slow(), {
      onProgress: () => arrived.resolve(),
    });

    expect(sent).toBe(2);
  });

  test('N2: a message refused in a stream is named; all before was sent, none after', async () => {
    await using sender = open();
    let wasClosed = false;
    function* withFault(): Generator<KeyedMessage> {
      try {
        for (const key of ['a', 'b', '', 'c']) yield { key, type: 'T', body: {} };
      } finally {
        wasClosed = true;
      }
    }

    const sending = sender.sendAll('stream', withFault());

    await expect(sending).rejects.toMatchObject({ code: 'CVY_KEY_MISSING' });
    expect((await peekAll(broker, 'stream')).map(({ sessionId }) => sessionId)).toEqual(['a', 'b']);
    expect(wasClosed).toBe(true);
  });

  test('calls for one queue that overlap keep their order', async () => {
    await using sender = open();

    await Promise.all(
      [1, 2, 3, 4, 5].map((n) => sender.send('twice', 'k', { id: `${n}`, type: 'T', body: n })),
    );

    expect((await peekAll(broker, 'twice')).map(({ body }) => body)).toEqual([1, 2, 3, 4, 5]);
  });

  const good: OutgoingMessage = { id: 'good', type: 'T', body: {} };
  const cyclic: Record<string, unknown> = {};
  cyclic['self'] = cyclic;
  test.each<[string, string, unknown, Partial<OutgoingMessage>]>([
    ['no key', 'CVY_KEY_MISSING', '', {}],
    ['an undefined key', 'CVY_KEY_MISSING', undefined, {}],
    ['a key that is a number', 'CVY_KEY_INVALID', 7, {}],
    ['a key of 129 characters', 'CVY_KEY_INVALID', 'k'.repeat(129), {}],
    ['a key with a control character', 'CVY_KEY_INVALID', 'a\u0000b', {}],
    ['a key of broken Unicode', 'CVY_KEY_INVALID', '\ud800', {}],
    ['an empty id', 'CVY_ID_INVALID', 'k', { id: '' }],
    ['an id of 1,025 characters', 'CVY_ID_INVALID', 'k', { id: 'i'.repeat(1025) }],
    ['no type', 'CVY_ENVELOPE', 'k', { type: '' }],
    ['an event time without zone', 'CVY_ENVELOPE', 'k', { occurredAt: '2026-01-01T00:00:00' }],
    ['a day that is none', 'CVY_ENVELOPE', 'k', { occurredAt: '2026-02-30T00:00:00Z' }],
    ['a position of zero', 'CVY_ENVELOPE', 'k', { senderPosition: 0 }],
    ['half a position', 'CVY_ENVELOPE', 'k', { senderPosition: 1.5 }],
    ['a schema version that is none', 'CVY_ENVELOPE', 'k', { schemaVersion: Number.NaN }],
    ['a trace context that is none', 'CVY_ENVELOPE', 'k', { traceparent: 'x' }],
    ['a body that is undefined', 'CVY_BODY_NOT_JSON', 'k', { body: undefined }],
    ['a body that refers to itself', 'CVY_BODY_NOT_JSON', 'k', { body: cyclic }],
    ['a body over the limit', 'CVY_BODY_TOO_LARGE', 'k', { body: 'x'.repeat(270_000) }],
  ])('%s is refused as %s and nothing of the call is sent', async (_, code, key, change) => {
    await using sender = open();

    const sending = sender.send('faulty', key as string, [good, { ...good, ...change }]);

    await expect(sending).rejects.toMatchObject({ name: 'ConvoyError', code });
    expect(await peekAll(broker, 'faulty')).toEqual([]);
  });

  test.each(['Orders', 'no-such-queue', '', 'a/b', 'x'.repeat(31)])(
    'an unknown convoy %j is refused',
    async (convoy) => {
      await using sender = open();

      const sending = sender.send(convoy, 'k', good);

      await expect(sending).rejects.toMatchObject({ code: 'CVY_CONVOY_UNKNOWN' });
    },
  );

  test('a wrong key is told at once, without a word of the key', async () => {
    const connectionString = broker.connectionString.replace(/SharedAccessKey=[^;]+/, (found) =>
      found.replace(/=.*/, '=WRONG_SECRET'),
    );
    await using sender = createSender({ connectionString });

    const error = await sender.send('orders', 'k', good).catch((thrown: Error) => thrown);

    expect(error).toMatchObject({ code: 'CVY_SETTINGS' });
    expect(String(error)).not.toContain('WRONG_SECRET');
  });
});

describe('a sender whose broker comes and goes', () => {
  test('nothing is sent twice or out of order when the broker is away in between', async () => {
    let broker = await openBroker();
    const { connectionString, port } = broker;
    await using sender = createSender({ connectionString }, { attemptWithinMs: 200 });
    await sender.send('gone', 'k', { id: '1', type: 'T', body: 1 });
    await broker.close();

    const second = sender.send('gone', 'k', { id: '2', type: 'T', body: 2 });
    const third = sender.send('gone', 'k', { id: '3', type: 'T', body: 3 });
    broker = await openBroker(port);
    await Promise.all([second, third]);

    expect((await peekAll(broker, 'gone')).map(({ body }) => body)).toEqual([2, 3]);
    await sender.close();
    await broker.close();
  });

  test('a broker that never was is unreachable after the time limit', async () => {
    const broker = await openBroker();
    const { connectionString } = broker;
    await broker.close();
    await using sender = createSender({ connectionString }, { connectWithinMs: 300 });

    const sending = sender.send('orders', 'k', { type: 'T', body: {} });

    await expect(sending).rejects.toMatchObject({ code: 'CVY_UNREACHABLE' });
  });

  test('a failure in the middle of a stream ends it and says so', async () => {
    let sends = 0;
    const broker = await openBroker(0, {
      beforeStep(step) {
        if (step.kind === 'send' && (sends += 1) > 1) broker.dropConnections();
      },
    });
    const { connectionString } = broker;
    await using sender = createSender(
      { connectionString },
      { retryForMs: 300, attemptWithinMs: 100 },
    );
    const big = { key: 'k', type: 'T', body: 'x'.repeat(200_000) };

    const sending = sender.sendAll('stream', [big, big, big, big]);

    await expect(sending).rejects.toMatchObject({ code: 'CVY_UNREACHABLE' });
    await sender.close();
    await broker.close();
  });
});

describe('the Service Bus seam', () => {
  test('an address is a connection string, else a namespace, else refused by its settings', () => {
    const fullyQualifiedNamespace = 'x.servicebus.windows.net';

    expect(serviceBusAddress({ ServiceBusConnection: 'Endpoint=sb://x' })).toEqual({
      connectionString: 'Endpoint=sb://x',
    });
    expect(
      serviceBusAddress({ ServiceBusConnection__fullyQualifiedNamespace: fullyQualifiedNamespace }),
    ).toEqual({ fullyQualifiedNamespace });
    expect(
      serviceBusAddress({
        ServiceBusConnection__fullyQualifiedNamespace: fullyQualifiedNamespace,
        ServiceBusConnection__clientId: 'c',
      }),
    ).toEqual({ fullyQualifiedNamespace, clientId: 'c' });
    expect(() => serviceBusAddress({})).toThrow('CVY_SETTINGS');
  });

  const error = (code: string, message: string): Error =>
    Object.assign(new Error(message), { name: 'ServiceBusError', code });
  test.each([
    [error('GeneralError', 'ECONNREFUSED: connect ECONNREFUSED ::1:5672'), 'transient'],
    [error('GeneralError', 'InvalidOperationError: needs a session id'), 'permanent'],
    [error('ServiceCommunicationProblem', 'The entity could not be found.'), 'notFound'],
    [error('MessageSizeExceeded', 'too large'), 'tooLarge'],
    [error('ServiceBusy', 'busy'), 'transient'],
    [new Error('Unknown error encountered.'), 'transient'],
    [new TypeError('no array'), 'permanent'],
    ['not even an error', 'permanent'],
  ])('the fault %s is %s', (fault, kind) => {
    expect(serviceBusFault(fault)).toBe(kind);
  });
});
