// What clients other than the JavaScript one say on the wire, replayed with a generic AMQP client:
// the Python client (addresses), the .NET one (its SASL mechanism), Qpid and the like (PLAIN).
import { once } from 'node:events';
import { ServiceBusClient } from '@azure/service-bus';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseNamespaceConfig, startBroker } from '../../infra/local/broker/broker.ts';
import type { Broker } from '../../infra/local/broker/broker.ts';
import { ask, connect, freeName, nextMessage, outcomeOf, types } from './rhea-client.ts';
import type { ClientDelivery, ClientMessage } from './rhea-client.ts';

let broker: Broker;

beforeEach(async () => {
  const Queues = [
    { Name: 'plain', Properties: {} },
    { Name: 'sessions', Properties: { RequiresSession: true } },
    { Name: 'folder/plain', Properties: {} },
  ];
  const Namespaces = [{ Name: 'n', Queues, Topics: [] }];
  const config = parseNamespaceConfig({ UserConfig: { Namespaces } });
  broker = await startBroker({ config, file: ':memory:', port: 0 });
});

afterEach(() => broker.close());

describe('addresses', () => {
  const forms = ['plain', '/plain', 'PLAIN', 'amqps://localhost/plain', 'sb://host:5671/plain'];

  for (const address of [...forms, 'folder/plain', '/folder%2Fplain']) {
    test(`'${address}' is found, to send and to receive`, async () => {
      const connection = await connect(broker.port);
      const sender = connection.open_sender({ target: { address } });
      const sending = await outcomeOf(sender);
      const receiver = connection.open_receiver({ source: { address }, credit_window: 0 });
      const receiving = await outcomeOf(receiver);
      connection.close();

      expect([sending, receiving]).toEqual(['open', 'open']);
    });
  }
});

describe('who may', () => {
  test('PLAIN with the key needs no token, with another key nothing opens', async () => {
    const good = await connect(broker.port);
    const opened = await outcomeOf(good.open_sender({ target: { address: 'plain' } }));
    good.close();

    const refused = connect(broker.port, { password: 'wrong' });

    expect(opened).toBe('open');
    await expect(refused).rejects.toThrow();
  });

  for (const [name, options] of Object.entries({
    ANONYMOUS: { password: undefined },
    'no SASL at all': { username: undefined, password: undefined },
  })) {
    test(`${name} connects, but opens no link before a token`, async () => {
      const connection = await connect(broker.port, options);
      const sending = await outcomeOf(connection.open_sender({ target: { address: 'plain' } }));
      const tokens = await outcomeOf(connection.open_sender({ target: { address: '$cbs' } }));
      connection.close();
      await once(connection, 'connection_close');

      expect([sending, tokens]).toEqual(['amqp:unauthorized-access', 'open']);
    });
  }
});

describe('settlements in words the Azure clients do not use', () => {
  /** What the next receiver sees after this settlement of a fresh message. */
  async function after(settle: (delivery: ClientDelivery) => void): Promise<ClientMessage> {
    const connection = await connect(broker.port);
    connection.open_sender({ target: { address: 'plain' } }).send({ body: 'x' });
    const receiver = connection.open_receiver({
      source: { address: 'plain' },
      ...{ rcv_settle_mode: 1, autoaccept: false, credit_window: 0 },
    });
    receiver.add_credit(2);
    settle((await nextMessage(receiver)).delivery);
    const { message } = await nextMessage(receiver);
    connection.close();
    return message;
  }

  test('released gives back without counting', async () => {
    const message = await after((delivery) => delivery.release());

    expect(message.delivery_count ?? 0).toBe(0);
  });

  test('modified counts, whatever it says about the delivery', async () => {
    const failed = await after((delivery) => delivery.modified({ delivery_failed: true }));
    const quiet = await after((delivery) => delivery.modified({ delivery_failed: false }));

    expect([failed.delivery_count, quiet.delivery_count]).toEqual([1, 1]);
  });
});

describe('the next version of the client', () => {
  test('purges in steps of 4,000 and takes a shorter step for the end', async () => {
    const client = new ServiceBusClient(broker.connectionString);
    const messages = Array.from({ length: 600 }, (_, body) => ({ body }));
    await client.createSender('plain').sendMessages(messages);
    await client.close();
    const connection = await connect(broker.port);
    const body = {
      'message-count': types.wrap_int(4_000),
      'enqueued-time-utc': types.wrap_timestamp(Date.now()),
    };
    const request = { queue: 'plain', operation: 'batch-delete-messages', body };

    const first = await ask(connection, request);
    const second = await ask(connection, request);
    connection.close();

    expect(first).toEqual([200, { 'message-count': 600 }]);
    expect(second[0]).toBe(204);
  });
});

describe('WebSockets', () => {
  test('the client speaks wss only, also to an emulator, so there are none here', async () => {
    const urls: string[] = [];
    class Recorder {
      onmessage = null;
      onopen = null;
      onclose = null;
      onerror = null;
      send(): void {}
      close(): void {}
      constructor(url: string) {
        urls.push(url);
        throw new Error('recorded');
      }
    }
    const webSocketOptions = { webSocket: Recorder };
    const retryOptions = { maxRetries: 0 };
    const client = new ServiceBusClient(broker.connectionString, {
      webSocketOptions,
      retryOptions,
    });

    await expect(client.createSender('plain').sendMessages({ body: 'x' })).rejects.toThrow();
    await client.close();

    expect(urls).toEqual([`wss://localhost:${broker.port}/$servicebus/websocket`]);
  });
});

describe('names of links', () => {
  test('P9: sender and receiver of one AMQP session may share a name, as with Qpid', async () => {
    const connection = await connect(broker.port);
    const sender = connection.open_sender({ name: 'x', target: { address: 'plain' } });
    const first = await outcomeOf(sender);
    freeName(sender);
    const receiver = connection.open_receiver({ name: 'x', source: { address: 'plain' } });
    const second = await outcomeOf(receiver);

    sender.send({ body: 'through' });
    const { message } = await nextMessage(receiver);
    connection.close();

    expect([first, second, message.body]).toEqual(['open', 'open', 'through']);
  });

  test('P9: a name is free again as soon as its link was detached', async () => {
    const connection = await connect(broker.port);
    const outcomes: string[] = [];
    for (let round = 0; round < 5; round++) {
      const sender = connection.open_sender({ name: 'x', target: { address: 'plain' } });
      outcomes.push(await outcomeOf(sender));
      // The detach and the next attach leave in one write.
      sender.close();
      freeName(sender);
    }
    connection.close();

    expect(outcomes).toEqual(['open', 'open', 'open', 'open', 'open']);
  });
});
