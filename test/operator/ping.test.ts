import { expect, test } from 'vitest';
import { createServiceBusPing } from '../../functions/operator/health.ts';
import { startCloud } from '../../infra/local/cloud.ts';

/** The cloud of the local stack, with its queues; 0 = any port. */
const cloudOn = (amqp: number) =>
  startCloud({ dataDir: ':memory:', ports: { amqp, management: 0, cosmos: 0 } });

test('the ping fails while the broker is away and works again when it is back', async () => {
  const before = await cloudOn(0);
  const { broker } = before;
  const ping = createServiceBusPing(
    () => ({ connectionString: broker.connectionString }),
    'orders',
  );
  await ping();

  await before.close();
  await expect(ping()).rejects.toMatchObject({ code: 'CVY_UNREACHABLE' });
  const after = await cloudOn(broker.port);

  await expect(ping()).resolves.toBeUndefined();
  await after.close();
});

test('the ping fails on a queue that is not there', async () => {
  const cloud = await cloudOn(0);
  const address = () => ({ connectionString: cloud.broker.connectionString });

  await expect(createServiceBusPing(address, 'nope')()).rejects.toMatchObject({
    code: 'CVY_UNREACHABLE',
  });

  await cloud.close();
});
