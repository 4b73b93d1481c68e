// The connections of the session listeners, over clients that never connect.
import { ServiceBusClient } from '@azure/service-bus';
import { expect, test } from 'vitest';
import { createClientPool } from '../../infra/local/host/service-bus-clients.ts';

const open = () =>
  new ServiceBusClient(
    'Endpoint=sb://localhost:1;SharedAccessKeyName=a;SharedAccessKey=b;' +
      'UseDevelopmentEmulator=true;',
  );

test('B3: when one call finds the connection failed, no other waits for its answer', async () => {
  const pool = createClientPool(open);
  const [hanging, failing] = [pool.take(), pool.take()];
  const claim = new Promise<never>(() => {});
  const waiting = hanging.outlasts(claim);

  failing.discard();

  expect(await waiting).toBe(false);
  const next = pool.take();
  expect(next.client).not.toBe(hanging.client);
  expect(await next.outlasts(Promise.resolve())).toBe(true);
  await pool.close();
});
