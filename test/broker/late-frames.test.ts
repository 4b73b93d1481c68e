// Frames that come late, from a client below the Azure SDK.
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { parseNamespaceConfig, startBroker } from '../../infra/local/broker/broker.ts';
import { connect, frames } from './rhea-client.ts';

test('a detach and an end after the end of their session cost nobody the connection', async () => {
  const Queues = [{ Name: 'q', Properties: { RequiresSession: true } }];
  const Namespaces = [{ Name: 'n', Queues, Topics: [] }];
  const config = parseNamespaceConfig({ UserConfig: { Namespaces } });
  const broker = await startBroker({ config, file: ':memory:', port: 0 });
  const connection = await connect(broker.port);
  const first = connection.create_session();
  first.begin();
  await once(first, 'session_open');
  const { channel } = first.local;
  first.close();
  await once(first, 'session_close');

  connection._write_frame(channel, frames.detach({ handle: 0, closed: true }));
  connection._write_frame(channel, frames.end({}));

  const second = connection.create_session();
  second.begin();
  const answered = await Promise.race([
    once(second, 'session_open').then(() => 'opened'),
    once(connection, 'disconnected').then(() => 'disconnected'),
    once(connection, 'connection_error').then(() => 'refused'),
  ]);
  expect(answered).toBe('opened');
  connection.close();
  await broker.close();
});
