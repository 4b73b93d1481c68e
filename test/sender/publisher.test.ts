// [H11] Publishing over a broker that does not answer: a send ends by its own limit, and the repeat
// of what was stored after all is one message.
import { ServiceBusClient } from '@azure/service-bus';
import { expect, test } from 'vitest';
import { parseNamespaceConfig, startBroker } from '../../infra/local/broker/broker.ts';
import { virtualClock } from '../../shared/clock.ts';
import type { Output } from '../../shared/convoy/state.ts';
import { createPublisher } from '../../shared/publisher.ts';

const config = parseNamespaceConfig({
  UserConfig: {
    Namespaces: [
      {
        Name: 'sbemulatorns',
        Queues: [
          {
            Name: 'orders-out',
            Properties: {
              RequiresSession: true,
              RequiresDuplicateDetection: true,
              DuplicateDetectionHistoryTimeWindow: 'PT5M',
            },
          },
        ],
        Topics: [],
      },
    ],
    Logging: { Type: 'File' },
  },
});
const output = (position: number): Output => ({
  ...{ position, n: 1, type: 'order.placed', bodyText: '{}' },
  ...{ causationId: `m${position}`, epoch: 1 },
});

test('a send without an answer is given up, the next may take twice as long', async () => {
  const held = Promise.withResolvers<void>();
  let isHolding = false;
  const intercept = {
    beforeStep: ({ kind }: { kind: string }) =>
      isHolding && kind === 'send' ? held.promise : undefined,
  };
  await using started = new AsyncDisposableStack();
  const broker = started.adopt(
    await startBroker({ config, file: ':memory:', port: 0, intercept }),
    (one) => one.close(),
  );
  started.defer(() => held.resolve());
  const clock = virtualClock();
  const open = async () => new ServiceBusClient(broker.connectionString);
  const publisher = started.adopt(createPublisher(open, { clock }), (one) => one.close());
  const publish = (position: number) => publisher.publish('orders', 'A-17', [output(position)]);
  const failure = async (): Promise<unknown> => {
    let error: unknown;
    publish(2).catch((reason: unknown) => (error = reason));
    while (error === undefined) {
      await clock.advance(1_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return error;
  };

  await publish(1);
  isHolding = true;
  const failures = [await failure(), await failure()];
  held.resolve();
  await publish(2);

  expect(failures.map(String)).toEqual([
    'Error: no answer within 5000 ms',
    'Error: no answer within 10000 ms',
  ]);
  expect(clock.armed).toBe(0);
  const client = started.adopt(await open(), (one) => one.close());
  const seen = await client.createReceiver('orders-out').peekMessages(10);
  expect(seen.map(({ messageId }) => messageId)).toEqual(['orders:A-17:1:1', 'orders:A-17:2:1']);
});

test('a sender whose link has failed is not used again; being busy is no such fault', async () => {
  let made = 0;
  class CountingClient extends ServiceBusClient {
    override createSender(...[queue, options]: Parameters<ServiceBusClient['createSender']>) {
      made += 1;
      return super.createSender(queue, options);
    }
  }
  await using started = new AsyncDisposableStack();
  const broker = started.adopt(await startBroker({ config, file: ':memory:', port: 0 }), (one) =>
    one.close(),
  );
  const retryOptions = { maxRetries: 0 };
  const open = async () => new CountingClient(broker.connectionString, { retryOptions });
  const publisher = started.adopt(createPublisher(open), (one) => one.close());
  const publish = (position: number) => publisher.publish('orders', 'A-17', [output(position)]);
  const madeAfter = async (fault: 'throttled' | 'refused'): Promise<number> => {
    broker.faults.add({ fault, kinds: ['send'], times: 1 });
    await expect(publish(2)).rejects.toThrow();
    await publish(2);
    return made;
  };

  await publish(1);

  expect(await madeAfter('throttled')).toBe(1);
  expect(await madeAfter('refused')).toBe(2);
});
