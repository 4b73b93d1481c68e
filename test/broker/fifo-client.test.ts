// The same rule as fifo.test.ts through the real client: two receivers, lost locks, cut connections
// and restarts of the broker. A failure prints the seed; SEED repeats it.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServiceBusClient } from '@azure/service-bus';
import type { ServiceBusReceivedMessage, ServiceBusSessionReceiver } from '@azure/service-bus';
import { expect, test } from 'vitest';
import { startBroker } from '../../infra/local/broker/broker.ts';
import type { Broker } from '../../infra/local/broker/broker.ts';
import { prng } from '../support/prng.ts';
import { until } from '../support/until.ts';
import { OrderOracle } from './order-oracle.ts';

const seed = Number(process.env['SEED'] ?? 20261120);
const base = { requiresSession: true, lockDurationSeconds: 60, maxDeliveryCount: 1_000 };
const config = {
  queues: [{ name: 'q', properties: { ...base, deadLetterOnExpiration: false } }],
  topics: [],
};
const names = ['A', 'B'];

interface Held {
  session: string;
  receiver: ServiceBusSessionReceiver;
  inHand: ServiceBusReceivedMessage[];
}

class World {
  readonly oracle = new OrderOracle();
  private broker!: Broker;
  private client!: ServiceBusClient;
  private readonly file: string;
  private readonly held = new Map<string, Held>();
  private readonly numbers = new Map<string, number>();
  private holders = 0;

  constructor(file: string) {
    this.file = file;
  }

  async open(): Promise<void> {
    this.broker = await startBroker({ config, file: this.file, port: 0 });
    const retryOptions = { maxRetries: 0, timeoutInMs: 5_000 };
    this.client = new ServiceBusClient(this.broker.connectionString, { retryOptions });
  }

  async close(): Promise<void> {
    await this.client.close();
    await this.broker.close();
  }

  async send(session: string): Promise<void> {
    const from = this.numbers.get(session) ?? 0;
    const messages = [1, 2].map((step) => ({ body: from + step, sessionId: session }));
    await this.client.createSender('q').sendMessages(messages);
    for (const { body } of messages) this.oracle.sent(session, body);
    this.numbers.set(session, from + messages.length);
  }

  /** Takes a session that is free; one that is held must be refused. */
  async accept(session: string): Promise<void> {
    const isFree = !this.held.has(session);
    const holder = `r${++this.holders}`;
    try {
      const receiver = await this.client.acceptSession('q', session);
      this.oracle.accepted(session, holder);
      this.held.set(session, { session, receiver, inHand: [] });
    } catch (error) {
      expect([isFree, String(error)]).toEqual([
        false,
        expect.stringContaining('cannot be accepted'),
      ]);
    }
  }

  async take(session: string): Promise<void> {
    const held = this.held.get(session);
    for (const message of (await held?.receiver.receiveMessages(2, { maxWaitTimeInMs: 30 })) ??
      []) {
      this.oracle.delivered(session, Number(message.body), this.oracle.holderOf(session));
      held?.inHand.push(message);
    }
  }

  async settle(session: string, isDone: boolean): Promise<void> {
    const held = this.held.get(session);
    const message = held?.inHand.shift();
    if (!held || !message) return;
    const number = Number(message.body);
    if (isDone) await held.receiver.completeMessage(message);
    else await held.receiver.abandonMessage(message);
    if (isDone) this.oracle.done(session, number);
    else this.oracle.abandoned(session, number);
  }

  async lose(session: string): Promise<void> {
    const held = this.held.get(session);
    if (!held) return;
    this.free(session);
    expect(this.broker.loseSessionLock('q', session)).toBe(true);
    await until(
      () => held.receiver.isClosed,
      (isClosed) => isClosed,
    );
  }

  async leave(session: string): Promise<void> {
    const held = this.held.get(session);
    this.free(session);
    await held?.receiver.close();
  }

  private free(session: string): void {
    this.held.delete(session);
    this.oracle.released(session);
  }

  async cut(): Promise<void> {
    for (const session of names) this.free(session);
    this.broker.dropConnections();
    // Not awaited: it would try to say farewell on the cut connection.
    this.client.close().catch(() => {});
    const retryOptions = { maxRetries: 0, timeoutInMs: 5_000 };
    this.client = new ServiceBusClient(this.broker.connectionString, { retryOptions });
  }

  async restart(): Promise<void> {
    for (const session of names) this.free(session);
    await this.close();
    await this.open();
  }

  async drain(): Promise<void> {
    for (const session of names) {
      await this.leave(session);
      await this.accept(session);
      for (let left = -1; left !== this.oracle.open().length;) {
        left = this.oracle.open().length;
        await this.take(session);
        while (this.held.get(session)?.inHand.length) await this.settle(session, true);
      }
    }
  }
}

async function run(history: number): Promise<World> {
  const random = prng(seed + history);
  const folder = await mkdtemp(join(tmpdir(), 'broker-'));
  const world = new World(join(folder, 'broker.db'));
  await world.open();
  const steps = [
    ...[(s: string) => world.send(s), (s: string) => world.accept(s)],
    ...[(s: string) => world.take(s), (s: string) => world.take(s)],
    ...[(s: string) => world.settle(s, true), (s: string) => world.settle(s, false)],
    ...[(s: string) => world.lose(s), (s: string) => world.leave(s)],
    ...[() => world.cut(), () => world.restart()],
  ];
  for (let step = 0; step < 40; step++) {
    await steps[random.below(steps.length)]?.(names[random.below(names.length)] ?? 'A');
  }
  await world.drain();
  await world.close();
  await rm(folder, { recursive: true });
  return world;
}

test.each([1, 2, 3, 4, 5, 6])('history %i keeps order, completeness and one holder', async (n) => {
  const world = await run(n);

  expect(world.oracle.open(), `seed ${seed}`).toEqual([]);
});
