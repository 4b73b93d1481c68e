// kill -9 at a random moment, twenty times on one file: what was answered holds – sends, the four
// settlements, schedules and their cancellation, session states. What was under way at the kill may
// have happened or not. A failure prints the seed; SEED repeats it.
import { setTimeout as pause } from 'node:timers/promises';
import { ServiceBusClient } from '@azure/service-bus';
import type {
  ServiceBusReceivedMessage,
  ServiceBusReceiver,
  ServiceBusSessionReceiver,
} from '@azure/service-bus';
import Long from 'long';
import { expect, test } from 'vitest';
import { prng } from '../support/prng.ts';
import { brokerProcess } from './broker-process.ts';

const seed = Number(process.env['SEED'] ?? 20261120);
const random = prng(seed);
const sessions = ['A', 'B', 'C'];

type Place = 'active' | 'deferred' | 'scheduled' | 'dead' | 'gone';

interface Known {
  place: Place;
  session: string;
  /** Where it may be instead: its fate was open at a kill. */
  other?: Place;
}

const broker = brokerProcess();

/** What the test was told, and one life of the broker after the other. */
class History {
  readonly known = new Map<string, Known>();
  readonly states = new Map<string, { state: unknown; other?: unknown }>();
  private readonly scheduled = new Map<string, Long>();
  private holders = new Map<string, ServiceBusSessionReceiver>();
  private inHand: { message: ServiceBusReceivedMessage; session: string }[] = [];
  private client!: ServiceBusClient;
  private lastId = 0;

  async enter(client: ServiceBusClient): Promise<void> {
    this.client = client;
    this.inHand = [];
    this.holders = new Map();
    for (const session of sessions) {
      this.holders.set(session, await client.acceptSession('orders', session));
    }
  }

  /** One operation: what it would change, and its making. */
  next(): { expect: () => void; doubt: () => void; make: () => Promise<unknown> } {
    const session = sessions[random.below(sessions.length)] ?? 'A';
    const kind = random.below(10);
    if (kind < 3) return this.send(session);
    if (kind < 5) return this.receive(session);
    if (kind === 5) return this.setState(session);
    if (kind === 6) return this.schedule(session);
    return this.inHand.length > 0 ? this.settle() : this.receive(session);
  }

  private moved(ids: readonly string[], session: string, to: Place) {
    return {
      expect: () => ids.forEach((id) => this.known.set(id, { place: to, session })),
      doubt: () => {
        for (const id of ids) {
          const place = this.known.get(id)?.place ?? 'gone';
          this.known.set(id, { place, session, other: to });
        }
      },
    };
  }

  private ids(count: number): string[] {
    return Array.from({ length: count }, () => `m${++this.lastId}`);
  }

  private send(session: string) {
    const ids = this.ids(1 + random.below(3));
    const messages = ids.map((messageId) => ({ body: messageId, messageId, sessionId: session }));
    const make = () => this.client.createSender('orders').sendMessages(messages);
    return { ...this.moved(ids, session, 'active'), make };
  }

  private schedule(session: string) {
    const [old] = this.scheduled.keys();
    if (old !== undefined && random.chance(0.5)) {
      const number = this.scheduled.get(old) ?? Long.ZERO;
      this.scheduled.delete(old);
      const make = () => this.client.createSender('orders').cancelScheduledMessages(number);
      return { ...this.moved([old], this.known.get(old)?.session ?? session, 'gone'), make };
    }
    const [id = ''] = this.ids(1);
    const make = async (): Promise<void> => {
      const at = new Date(Date.now() + 3_600_000);
      const message = { body: id, messageId: id, sessionId: session };
      const [number] = await this.client.createSender('orders').scheduleMessages(message, at);
      if (number) this.scheduled.set(id, number);
    };
    return { ...this.moved([id], session, 'scheduled'), make };
  }

  private receive(session: string) {
    const make = async (): Promise<void> => {
      const options = { maxWaitTimeInMs: 50 };
      const messages = (await this.holders.get(session)?.receiveMessages(2, options)) ?? [];
      this.inHand.push(...messages.map((message) => ({ message, session })));
    };
    return { expect: () => {}, doubt: () => {}, make };
  }

  private settle() {
    const [{ message, session }] = this.inHand.splice(random.below(this.inHand.length), 1) as [
      (typeof this.inHand)[number],
    ];
    const id = String(message.messageId);
    const holder = this.holders.get(session);
    const ways: [Place, () => Promise<void> | undefined][] = [
      ['gone', () => holder?.completeMessage(message)],
      ['active', () => holder?.abandonMessage(message)],
      ['deferred', () => holder?.deferMessage(message)],
      ['dead', () => holder?.deadLetterMessage(message)],
    ];
    const [to, make] = ways[random.below(message.deliveryCount ? 3 : 4)] ?? ways[0] ?? [];
    if (!to || !make) throw new Error('no way to settle');
    return { ...this.moved([id], session, to), make: async () => make() };
  }

  private setState(session: string) {
    const state = { step: random.below(1_000) };
    return {
      expect: () => void this.states.set(session, { state }),
      doubt: () => {
        this.states.set(session, { state: this.states.get(session)?.state, other: state });
      },
      make: async () => this.holders.get(session)?.setSessionState(state),
    };
  }

  /** Compares with what is there, and takes it for known from now on. */
  async verify(client: ServiceBusClient): Promise<void> {
    const found = new Map<string, Place>();
    for (const message of await peekAll(client.createReceiver('orders'))) {
      found.set(String(message.messageId), message.state);
    }
    const dead = client.createReceiver('orders', { subQueueType: 'deadLetter' });
    for (const message of await peekAll(dead)) found.set(String(message.messageId), 'dead');
    for (const [id, { place, other, session }] of this.known) {
      const seen = found.get(id) ?? 'gone';
      expect([place, other], `seed ${seed}, ${id}`).toContain(seen);
      this.known.set(id, { place: seen, session });
    }
    expect([...found.keys()].filter((id) => !this.known.has(id))).toEqual([]);
  }

  async verifyStates(): Promise<void> {
    for (const [session, { state, other }] of this.states) {
      const seen = await this.holders.get(session)?.getSessionState();
      expect([state ?? null, other ?? null], `seed ${seed}, ${session}`).toContainEqual(seen);
      this.states.set(session, { state: seen });
    }
  }
}

async function peekAll(receiver: ServiceBusReceiver): Promise<ServiceBusReceivedMessage[]> {
  const all: ServiceBusReceivedMessage[] = [];
  for (let from = Long.ZERO; ;) {
    const page = await receiver.peekMessages(100, { fromSequenceNumber: from });
    all.push(...page);
    const last = page.at(-1)?.sequenceNumber;
    if (!last) return all;
    from = last.add(1);
  }
}

test('twenty kills at random moments undo nothing that was answered', async () => {
  const history = new History();
  for (let round = 0; round < 20; round++) {
    const client = await broker.start();
    await history.verify(client);
    await history.enter(client);
    await history.verifyStates();
    for (let left = random.below(12); left > 0; left--) {
      const step = history.next();
      await step.make();
      step.expect();
    }
    const last = history.next();
    last.doubt();
    last.make().catch(() => {});
    await pause(random.below(4));
    await broker.kill();
    client.close().catch(() => {});
  }
  await history.verify(await broker.start());

  expect(history.known.size).toBeGreaterThan(20);
}, 240_000);
