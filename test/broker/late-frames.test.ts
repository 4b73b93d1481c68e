// Frames that come late, from a client below the Azure SDK.
import { once } from 'node:events';
import { createRequire } from 'node:module';
import type { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { parseNamespaceConfig, startBroker } from '../../infra/local/broker/broker.ts';

interface ClientSession extends EventEmitter {
  local: { channel: number };
  begin(): void;
  close(): void;
}
interface ClientConnection extends EventEmitter {
  create_session(): ClientSession;
  close(): void;
  _write_frame(channel: number, frame: unknown): void;
}

// rhea is untyped here as in the broker.
const require = createRequire(import.meta.url);
const rhea = require('rhea') as {
  create_container(): { connect(options: object): ClientConnection };
};
const frames = require('rhea/lib/frames.js') as {
  detach(fields: object): unknown;
  end(fields: object): unknown;
};

test('a detach and an end after the end of their session cost nobody the connection', async () => {
  const Queues = [{ Name: 'q', Properties: { RequiresSession: true } }];
  const Namespaces = [{ Name: 'n', Queues, Topics: [] }];
  const config = parseNamespaceConfig({ UserConfig: { Namespaces } });
  const broker = await startBroker({ config, file: ':memory:', port: 0 });
  const connection = rhea
    .create_container()
    .connect({ host: '127.0.0.1', port: broker.port, username: 'anonymous', reconnect: false });
  await once(connection, 'connection_open');
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
