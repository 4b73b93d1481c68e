// Fixture apps, a broker and a host in one process; handlers of the `bus` fixture are driven by
// the test through a global, because the app is loaded by path as Azure does.
import { fileURLToPath } from 'node:url';
import {
  ServiceBusClient,
  type ServiceBusMessage,
  type ServiceBusReceivedMessage,
} from '@azure/service-bus';
import { startBroker, type Broker } from '../../infra/local/broker/broker.ts';
import { startHost, type FunctionsHost, type HostOptions } from '../../infra/local/host/host.ts';

export const fixture = (name: string): string =>
  fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));

export interface Seen {
  name: string;
  body: unknown;
  triggerMetadata: Record<string, unknown>;
}

export interface TestBus {
  seen: Seen[];
  handle: (one: Seen) => Promise<void>;
  /** Resolves when the predicate holds; looked at after each handler call and each return. */
  until(isMet: () => boolean): Promise<void>;
  /** What a handler does, besides being seen. */
  act: (one: Seen) => Promise<void> | void;
}

export function createBus(): TestBus {
  let waiting: { isMet: () => boolean; resolve: () => void }[] = [];
  const look = (): void => {
    const met = waiting.filter(({ isMet }) => isMet());
    waiting = waiting.filter((one) => !met.includes(one));
    met.forEach(({ resolve }) => resolve());
  };
  const bus: TestBus = {
    seen: [],
    act: () => {},
    async handle(one) {
      look();
      try {
        await bus.act(one);
      } finally {
        queueMicrotask(look);
      }
    },
    until: (isMet) =>
      new Promise((resolve) => {
        waiting.push({ isMet, resolve });
        look();
      }),
  };
  (globalThis as { testBus?: TestBus }).testBus = bus;
  return bus;
}

/** The text of a body as the handler got it. */
export const bodyText = (one: Seen): string =>
  one.body instanceof Uint8Array ? Buffer.from(one.body).toString() : String(one.body);

export interface BusStack {
  bus: TestBus;
  broker: Broker;
  host: FunctionsHost;
  lines: string[];
  send(queue: string, messages: ServiceBusMessage[]): Promise<void>;
  /** Takes what is in a queue until so many have come. */
  take(queue: string, count: number): Promise<ServiceBusReceivedMessage[]>;
  close(): Promise<void>;
}

/** A broker in memory and a host on the `bus` fixture; `serviceBus` overrides host.json. */
export async function openBusStack(
  serviceBus: Record<string, string> = {},
  options: Partial<HostOptions> & { lockDurationSeconds?: number; app?: string } = {},
): Promise<BusStack> {
  const broker = await openBroker(options.lockDurationSeconds);
  const bus = createBus();
  const lines: string[] = [];
  const host = await startHost({
    appDir: fixture(options.app ?? 'bus'),
    port: 0,
    dataDir: ':memory:',
    log: (line) => lines.push(line),
    ...options,
    settings: {
      BusConnection: broker.connectionString,
      ...overrides(serviceBus),
      ...options.settings,
    },
  });
  const client = new ServiceBusClient(broker.connectionString);
  return {
    bus,
    broker,
    host,
    lines,
    send: (queue, messages) => sendAll(client, queue, messages),
    take: (queue, count) => takeAll(client, queue, count),
    async close() {
      await host.close();
      await client.close();
      await broker.close();
    },
  };
}

export function openBroker(
  lockDurationSeconds = 30,
  at: { file: string; port: number } = { file: ':memory:', port: 0 },
): Promise<Broker> {
  const shared = { maxDeliveryCount: 3, deadLetterOnExpiration: false, lockDurationSeconds };
  const config = {
    queues: [
      { name: 'orders', properties: { ...shared, requiresSession: true } },
      ...['plain', 'json', 'text', 'other'].map((name) => ({
        name,
        properties: { ...shared, requiresSession: false },
      })),
    ],
    topics: [
      {
        name: 'news',
        properties: {},
        subscriptions: [
          { name: 'all', properties: { ...shared, requiresSession: false }, rules: [] },
          { name: 'ordered', properties: { ...shared, requiresSession: true }, rules: [] },
        ],
      },
    ],
  };
  return startBroker({ config, ...at });
}

export const overrides = (serviceBus: Record<string, string>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(serviceBus).map(([key, value]) => [
      `AzureFunctionsJobHost__extensions__serviceBus__${key}`,
      value,
    ]),
  );

export async function sendAll(
  client: ServiceBusClient,
  queue: string,
  messages: ServiceBusMessage[],
): Promise<void> {
  const sender = client.createSender(queue);
  await sender.sendMessages(messages);
  await sender.close();
}

async function takeAll(
  client: ServiceBusClient,
  queue: string,
  count: number,
): Promise<ServiceBusReceivedMessage[]> {
  const receiver = client.createReceiver(queue, {
    receiveMode: 'receiveAndDelete',
    skipParsingBodyAsJson: true,
  });
  const taken: ServiceBusReceivedMessage[] = [];
  while (taken.length < count)
    taken.push(...(await receiver.receiveMessages(count - taken.length)));
  await receiver.close();
  return taken;
}
