// The namespace: the queues with what they need around them – store, clock, timers, receivers.
//
// Owns:    wiring of pure entities to time and durability; finding an entity by address; the set of
//          lanes with something to deliver, worked off once per turn, so that a message costs the
//          same with ten sessions as with ten thousand [SB 19.8].
// Leaves:  decisions to entity.ts, delivery to link.ts, AMQP to listener.ts.
//
// Invariants:
//   N1. A send is answered, and its messages become visible, after the commit that holds them.
//   N2. One timer per entity, at its next deadline.
//   N3. A turn delivers a bounded number of messages, so that a burst cannot keep drains and
//       renewals of others waiting: the client closes a link whose drain takes 200 ms [SB 6.2].
import { randomBytes } from 'node:crypto';
import type { Clock, Timer } from '../../../shared/clock.ts';
import { errorOf, refusals } from './conditions.ts';
import type { AmqpError } from './conditions.ts';
import type { NamespaceConfig, QueueProperties } from './config.ts';
import { Entity } from './entity.ts';
import type { Holder, Lane } from './lane.ts';
import type { Consumer } from './link.ts';
import { parseMessage } from './message.ts';
import { Store } from './store.ts';
import { Usage } from './usage.ts';

/** Size limit of one message, and of a batch, in bytes: the Standard tier's [SB 5.5]. */
export const messageBytesMax = 262_144;

/** Messages delivered per turn of the event loop [N3]: some 10 ms of work. */
const turnMessagesMax = 256;

/** A step of the broker before which a test may wait or fail. */
export interface BrokerStep {
  kind: 'send' | 'deliver' | 'settle' | 'accept' | 'renew';
  queue: string;
  sessionId?: string;
  messageId?: string;
}

/** Named points where a test may wait or fail: awaited before the step is made. */
export interface BrokerIntercept {
  beforeStep?(step: BrokerStep): Promise<void> | void;
}

/** What an address means. */
export interface Place {
  entity: Entity;
  isManagement: boolean;
}

export interface NamespaceOptions {
  config: NamespaceConfig;
  file: string;
  clock: Clock;
  intercept?: BrokerIntercept | undefined;
}

const deadLetterSuffix = '/$deadletterqueue';
const managementSuffix = '/$management';

/** Dead-letter queues: no sessions, no expiry, no delivery limit [SB 3.12, 10.5]. */
const deadLetterProperties = (of: QueueProperties): QueueProperties => ({
  requiresSession: false,
  lockDurationSeconds: of.lockDurationSeconds,
  maxDeliveryCount: Infinity,
  deadLetterOnExpiration: false,
});

export class Namespace {
  readonly entities = new Map<string, Entity>();
  readonly store: Store;
  readonly clock: Clock;
  readonly usage = new Usage();
  readonly intercept: BrokerIntercept | undefined;
  /** Receivers of queues without sessions, by entity. */
  private readonly consumers = new Map<Entity, Set<Consumer>>();
  private readonly timers = new Map<Entity, { at: number; timer: Timer }>();
  private awake = new Map<Lane, Entity>();
  private isPumpPlanned = false;
  private isClosed = false;
  private nextId: number;
  private readonly stampPrefix = randomBytes(10).toString('hex');
  private stamped = 0;

  constructor(options: NamespaceOptions) {
    this.clock = options.clock;
    this.intercept = options.intercept;
    this.store = new Store(options.file);
    this.nextId = this.store.lastId() + 1;
    for (const { name, properties } of options.config.queues) {
      const deadLetters = this.create(`${name}/$DeadLetterQueue`, deadLetterProperties(properties));
      this.create(name, properties, deadLetters);
    }
  }

  private create(path: string, properties: QueueProperties, deadLetters?: Entity): Entity {
    const entity: Entity = new Entity({
      path,
      properties,
      ...(deadLetters ? { deadLetters } : {}),
      port: {
        record: (change) => this.store.record(change),
        wake: (lane) => this.wake(lane, entity),
        due: (at) => this.arm(entity, at),
        sessionLost: (_lane, holder) => consumerOf(holder)?.loseSession(),
        nextId: () => this.nextId++,
      },
    });
    this.entities.set(path.toLowerCase(), entity);
    this.consumers.set(entity, new Set());
    entity.lastSequence = this.store.lastSequence(path);
    for (const { messageId, expiresAt } of this.store.seenIds(path)) {
      entity.restoreSeen(messageId, expiresAt);
    }
    // The list first: restoring may record changes, which must not meet an open read cursor.
    entity.restore([...this.store.entries(path)], this.clock.now());
    return entity;
  }

  /** [SB 3.1] Addresses are relative, case-insensitive, maybe encoded, maybe with a slash in
   *  front. `host` is the name of the namespace in a refusal. */
  find(address: unknown, host: string): Place {
    const path = pathOf(address);
    const isManagement = path.toLowerCase().endsWith(managementSuffix);
    const name = isManagement ? path.slice(0, -managementSuffix.length) : path;
    if (/\/\$transfer\b/i.test(name)) throw refusals.notSupported('transfer dead-letter queues');
    if (/\/subscriptions\//i.test(name)) throw refusals.notSupported('topics and subscriptions');
    const entity = this.entities.get(name.toLowerCase());
    if (!entity) throw refusals.entityNotFound(`sb://${host}/${name}`);
    return { entity, isManagement };
  }

  /** A queue by its configured name. */
  queue(name: string): Entity | undefined {
    return name.toLowerCase().endsWith(deadLetterSuffix)
      ? undefined
      : this.entities.get(name.toLowerCase());
  }

  /** The hook's promise when it wants to be awaited; throws when it fails at once. */
  ask(step: BrokerStep): Promise<void> | undefined {
    return this.intercept?.beforeStep?.(step) ?? undefined;
  }

  /** Makes a step after the hook agreed; in the same turn when there is none. */
  step(step: BrokerStep, make: () => void, refuse: (error: AmqpError) => void): void {
    try {
      const waiting = this.ask(step);
      if (waiting) waiting.then(make).catch((error: unknown) => refuse(errorOf(error)));
      else make();
    } catch (error) {
      refuse(errorOf(error));
    }
  }

  /** Reads and checks encoded messages; throws a Refusal. */
  parse(messages: readonly Buffer[]) {
    try {
      return messages.map((bytes) => parseMessage(bytes, () => this.stampId()));
    } catch (error) {
      throw refusals.malformed(error instanceof Error ? error.message : String(error));
    }
  }

  /** [SB 5.7] 32 hex digits, unique without asking the random source each time. */
  private stampId(): string {
    return this.stampPrefix + (++this.stamped).toString(16).padStart(12, '0');
  }

  /** Enqueues all or none; `answer` gets the numbers after the commit [N1]. */
  send(
    entity: Entity,
    messages: ReturnType<Namespace['parse']>,
    answer: (error: AmqpError | undefined, sequences: number[]) => void,
  ): void {
    try {
      const now = this.clock.now();
      const { entries, sequences } = entity.prepare(messages, now);
      for (const message of messages) this.usage.countMessage(entity.path, message.bare.length);
      this.commit((error) => {
        if (!error) entity.publish(entries, this.clock.now());
        answer(error, sequences);
      });
    } catch (error) {
      answer(errorOf(error), []);
    }
  }

  /** Calls back after everything recorded so far is durable. */
  commit(done: (error: AmqpError | undefined) => void): void {
    this.store.afterCommit(() => {
      done(this.store.failure === undefined ? undefined : errorOf(refusals.stopped()));
    });
  }

  addConsumer(consumer: Consumer): void {
    this.consumers.get(consumer.entity)?.add(consumer);
  }

  removeConsumer(consumer: Consumer): void {
    this.consumers.get(consumer.entity)?.delete(consumer);
  }

  /** Plans the delivery of what a lane has. */
  wake(lane: Lane, entity: Entity): void {
    this.awake.set(lane, entity);
    if (this.isPumpPlanned) return;
    this.isPumpPlanned = true;
    setImmediate(() => this.pumpAwake());
  }

  /** [N3] */
  private pumpAwake(): void {
    this.isPumpPlanned = false;
    if (this.isClosed) return;
    const lanes = this.awake;
    this.awake = new Map();
    let budget = turnMessagesMax;
    for (const [lane, entity] of lanes) {
      if (budget > 0) {
        const isSession = entity.properties.requiresSession;
        budget -= isSession
          ? (consumerOf(lane.holder)?.pump(budget) ?? 0)
          : this.pumpLine(entity, budget);
      }
      if (budget <= 0) this.wake(lane, entity);
    }
  }

  /** Competing receivers: one message each, in turn, as long as anybody takes one. */
  private pumpLine(entity: Entity, budget: number): number {
    const consumers = this.consumers.get(entity) ?? new Set<Consumer>();
    const [only] = consumers;
    if (only && consumers.size === 1) return only.pump(budget);
    let delivered = 0;
    for (let before = -1; before < delivered && delivered < budget;) {
      before = delivered;
      for (const consumer of consumers) delivered += consumer.pump(1);
    }
    return delivered;
  }

  /** [N2] */
  private arm(entity: Entity, at: number): void {
    if (this.isClosed) return;
    const armed = this.timers.get(entity);
    if (armed && armed.at <= at) return;
    armed?.timer.cancel();
    const delayMs = Math.max(1, at - this.clock.now());
    const timer = this.clock.after(delayMs, () => {
      this.timers.delete(entity);
      const next = entity.tick(this.clock.now());
      if (next !== undefined) this.arm(entity, next);
    });
    this.timers.set(entity, { at, timer });
  }

  close(): void {
    this.isClosed = true;
    for (const { timer } of this.timers.values()) timer.cancel();
    this.timers.clear();
    this.store.close();
  }
}

/** The holder of a session is always a consumer of ours: nobody else calls accept. */
function consumerOf(holder: Holder | undefined): Consumer | undefined {
  return holder as Consumer | undefined;
}

/** The path of an address, without a leading slash and decoded. */
function pathOf(address: unknown): string {
  const text = typeof address === 'string' ? address : '';
  try {
    return decodeURIComponent(text).replace(/^\/+/, '');
  } catch {
    return text.replace(/^\/+/, '');
  }
}
