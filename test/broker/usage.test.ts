// Billed operations as Azure counts them [SB 18.6], per entity.
import { ServiceBusClient } from '@azure/service-bus';
import Long from 'long';
import { expect, test } from 'vitest';
import { parseNamespaceConfig, startBroker } from '../../infra/local/broker/broker.ts';

test('operations are counted per message, slice, settlement and request', async () => {
  const Subscriptions = [{ Name: 's1' }, { Name: 's2' }];
  const Topics = [{ Name: 't', Subscriptions }];
  const Namespaces = [{ Name: 'n', Queues: [{ Name: 'q' }], Topics }];
  const config = parseNamespaceConfig({ UserConfig: { Namespaces } });
  const broker = await startBroker({ config, file: ':memory:', port: 0 });
  const client = new ServiceBusClient(broker.connectionString);
  const operations = (path: string): number => broker.usage().perEntity[path] ?? 0;
  const sender = client.createSender('q');

  await sender.sendMessages({ body: 'x'.repeat(140_000) });
  const large = operations('q');
  await sender.scheduleMessages({ body: 1 }, new Date(Date.now() + 60_000));
  const scheduled = operations('q') - large;
  const receiver = client.createReceiver('q');
  const [message] = await receiver.receiveMessages(1);
  if (message) await receiver.deferMessage(message);
  const deferred = operations('q') - large - scheduled;
  await receiver.receiveDeferredMessages(Long.fromNumber(1));
  const again = operations('q') - large - scheduled - deferred;
  await client.createSender('t').sendMessages({ body: 1 });
  await client.createReceiver('t', 's1').receiveMessages(1);

  expect({ large, scheduled, deferred, again }).toEqual({
    ...{ large: 3, scheduled: 1 },
    // Three slices received, one settlement; three slices by number.
    ...{ deferred: 4, again: 3 },
  });
  expect([operations('t'), operations('t/Subscriptions/s1')]).toEqual([1, 1]);
  expect(operations('t/Subscriptions/s2')).toBe(0);
  await client.close();
  await broker.close();
});
