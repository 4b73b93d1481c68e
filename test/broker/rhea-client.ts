// A generic AMQP 1.0 client, below the Azure SDK: what it sends is what the test says.
import { once } from 'node:events';
import type { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';

export interface ClientLink extends EventEmitter {
  name: string;
  session: ClientSession;
  error?: { condition: string; description: string };
  send(message: object): unknown;
  add_credit(count: number): void;
  close(): void;
}
export interface ClientSession extends EventEmitter {
  local: { channel: number };
  links: Record<string, ClientLink>;
  begin(): void;
  close(): void;
}
export interface ClientConnection extends EventEmitter {
  create_session(): ClientSession;
  open_sender(options: object): ClientLink;
  open_receiver(options: object): ClientLink;
  close(): void;
  _write_frame(channel: number, frame: unknown): void;
}
export interface ClientMessage {
  body: unknown;
  application_properties?: Record<string, unknown>;
  delivery_count?: number;
}
export interface ClientDelivery {
  release(): void;
  modified(fields: object): void;
}
export interface Received {
  message: ClientMessage;
  delivery: ClientDelivery;
}

// rhea is untyped here as in the broker.
const require = createRequire(import.meta.url);
const rhea = require('rhea') as {
  types: { wrap_int(value: number): unknown; wrap_timestamp(ms: number): unknown };
  create_container(): { connect(options: object): ClientConnection };
};
export const { types } = rhea;
export const frames = require('rhea/lib/frames.js') as {
  detach(fields: object): unknown;
  end(fields: object): unknown;
};

/** Connects and waits for the open; by default with PLAIN and the broker's key. */
export async function connect(port: number, options: object = {}): Promise<ClientConnection> {
  const login = { username: 'RootManageSharedAccessKey', password: 'SAS_KEY_VALUE' };
  const where = { host: '127.0.0.1', port, reconnect: false };
  const connection = rhea.create_container().connect({ ...where, ...login, ...options });
  // A refused link or a cut is the test's business, not an uncaught event.
  for (const name of ['disconnected', 'receiver_error', 'sender_error', 'session_error']) {
    connection.on(name, () => {});
  }
  await once(connection, 'connection_open');
  return connection;
}

/** What an attach comes to: 'open', or the condition of the refusal. */
export async function outcomeOf(link: ClientLink): Promise<string> {
  const refused = ['receiver_error', 'sender_error'].map((name) =>
    once(link, name).then(() => link.error?.condition ?? 'no error'),
  );
  const opened = ['receiver_open', 'sender_open'].map((name) =>
    once(link, name).then(async () => {
      // A refusal is an attach too, with the error right behind it.
      await new Promise((resolve) => setTimeout(resolve, 20));
      return link.error?.condition ?? 'open';
    }),
  );
  return Promise.race([...refused, ...opened]);
}

/** The next message of a receiving link. */
export async function nextMessage(link: ClientLink): Promise<Received> {
  const [event] = await once(link, 'message');
  return event as Received;
}

/** Makes the client forget the name of a link, so that it can give it to another one. */
export function freeName(link: ClientLink): void {
  const { links } = link.session;
  delete links[link.name];
  links[`${link.name} before`] = link;
}

/** Asks the management node of a queue; the reply's status and body. */
export async function ask(
  connection: ClientConnection,
  { queue, operation, body }: { queue: string; operation: string; body: object },
): Promise<[status: unknown, body: unknown]> {
  const address = `${queue}/$management`;
  const sender = connection.open_sender({ target: { address } });
  const receiver = connection.open_receiver({ source: { address } });
  await Promise.all([once(sender, 'sendable'), once(receiver, 'receiver_open')]);
  const application_properties = { operation: `com.microsoft:${operation}` };
  sender.send({ message_id: 'r1', reply_to: receiver.name, application_properties, body });
  const { message } = await nextMessage(receiver);
  return [message.application_properties?.['statusCode'], message.body];
}
