import { ServiceBusClient } from '@azure/service-bus';
import { expect, test } from 'vitest';
import { startLocalStack } from '../../infra/local/stack.ts';
import { fixtureDir, tempFolder } from './processes.ts';

test('a stack in one process serves, restarts its host in place and closes its port', async () => {
  await using stack = await startLocalStack({ appDir: fixtureDir, memory: true });
  const { url } = stack;

  // A kept connection would meet the end of the first host.
  const once = { headers: { connection: 'close' } };
  const before = await fetch(`${url}/api/hello`, once);
  await stack.restartHost();
  const after = await fetch(`${stack.host.url}/api/hello`, once);

  expect([before.status, after.status, stack.host.url]).toEqual([200, 200, url]);
  expect(stack.usage()).toMatchObject({ serviceBusOperations: 0, storageTransactions: 0 });
  await stack[Symbol.asyncDispose]();
  await expect(fetch(`${url}/api/hello`)).rejects.toThrow();
});

test('K1: what a stack on a folder has accepted is there for the next one', async () => {
  using data = tempFolder();
  const options = { appDir: fixtureDir, dataDir: data.path };
  {
    await using stack = await startLocalStack(options);
    await using client = Object.assign(new ServiceBusClient(stack.serviceBus), {
      [Symbol.asyncDispose]: () => client.close(),
    });
    await client.createSender('orders').sendMessages({ sessionId: 'A', body: 'kept' });
  }

  await using stack = await startLocalStack(options);
  const client = new ServiceBusClient(stack.serviceBus);
  const peeked = await client.createReceiver('orders').peekMessages(10);
  await client.close();

  expect(peeked).toMatchObject([{ sessionId: 'A', body: 'kept' }]);
});
