// The namespace: the entities with what they need around them – store, clock, timers, receivers.
//
// Owns:    wiring of pure entities to time and durability; finding an entity by address.
// Leaves:  decisions to entity.ts and topic.ts, which entities there are to catalog.ts, delivery to
//          deliveries.ts and link.ts, AMQP to listener.ts.
//
// Invariants:
//   N1. A send is answered, and its messages become visible, after the commit that holds them.
//   N2. One timer per entity, at its next deadline.
import { randomBytes } from 'node:crypto';
import type { Clock, Timer } from '../../../shared/clock.ts';
import { Catalog } from './catalog.ts';
import type { Item } from './catalog.ts';
import { errorOf, refusals } from './conditions.ts';
import type { AmqpError } from './conditions.ts';
import type { NamespaceConfig } from './config.ts';
import { Deliveries, receiverOf, turnMessagesMax } from './deliveries.ts';
import type { Receiver } from './deliveries.ts';
import { Entity } from './entity.ts';
import { Faults } from './faults.ts';
import type { Lane } from './lane.ts';
import { parseMessage, splitTransfer } from './message.ts';
import type { ParsedMessage } from './message.ts';
import { pathOf } from './entity-path.ts';
import { idleSecondsOf } from './properties.ts';
import type { QueueProperties } from './properties.ts';
import { Store } from './store.ts';
import { Topic } from './topic.ts';
import type { Publication } from './topic.ts';
import type { BrokerIntercept, BrokerStep } from './step.ts';
import { Usage } from './usage.ts';

/** Size limit of one message, and of a batch, in bytes: the Standard tier's [SB 5.5]. */
export const messageBytesMax = 262_144;

/** What an address means. */
export interface Place {
  /** Of a topic: what holds its scheduled messages. */
  entity: Entity;
  topic?: Topic | undefined;
  isManagement: boolean;
}

export interface NamespaceOptions {
  config: NamespaceConfig;
  file: string;
  clock: Clock;
  intercept?: BrokerIntercept | undefined;
}

/** Locks are never written. */
const writingSteps = new Set<BrokerStep['kind']>(['send', 'settle', 'manage']);
const tickAgainMs = 250;
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
  readonly catalog: Catalog;
  /** In milliseconds. */
  readonly openedAt: number;
  readonly usage = new Usage();
  readonly faults: Faults;
  private readonly intercept: BrokerIntercept | undefined;
  private readonly deliveries = new Deliveries((entity, lane) =>
    this.releaseScheduled(entity, lane),
  );
  /** Every receiver of an entity, with or without a session. */
  private readonly receivers = new Map<Entity, Set<Receiver>>();
  /** The topics by the entity that holds what is scheduled. */
  private readonly topics = new Map<Entity, Topic>();
  private readonly timers = new Map<Entity, { at: number; timer: Timer }>();
  private readonly idleTimers = new Map<Entity, Timer>();
  private isClosed = false;
  private readonly stampPrefix = randomBytes(10).toString('hex');
  private stamped = 0;

  constructor(options: NamespaceOptions) {
    this.clock = options.clock;
    this.openedAt = options.clock.now();
    this.intercept = options.intercept;
    this.faults = new Faults(options.clock);
    this.store = new Store(options.file);
    this.store.onRecovered = () => this.resume();
    this.catalog = new Catalog({
      now: () => this.clock.now(),
      openQueue: (path, properties) => this.openQueue(path, properties),
      openTopic: (path, properties) => this.openTopic(path, properties),
      drop: (entity) => this.drop(entity),
      define: (path, text) => this.store.record({ kind: 'define', path, text }),
      undefine: (path) => this.store.record({ kind: 'undefine', path }),
      watchIdle: (item) => this.watchIdle(item),
    });
    this.catalog.load(options.config, this.store.definitions());
  }

  private openQueue(path: string, properties: QueueProperties): Entity {
    const deadLetters = this.open(`${path}/$DeadLetterQueue`, deadLetterProperties(properties));
    return this.open(path, properties, deadLetters);
  }

  private openTopic(path: string, properties: QueueProperties): Topic {
    const { duplicateDetectionSeconds, ...others } = properties;
    const entity = this.open(path, others);
    const opened = this.store.open(path);
    const topic = new Topic(entity, {
      record: (change) => this.store.record(change),
      read: (id) => this.store.read(id),
      seenUntil: (messageId) => this.store.seenUntil(opened, messageId),
      isLive: (other) => this.isLive(other),
    });
    topic.detectDuplicates(duplicateDetectionSeconds);
    this.topics.set(entity, topic);
    return topic;
  }

  private open(path: string, properties: QueueProperties, deadLetters?: Entity): Entity {
    const opened = this.store.open(path);
    const entity: Entity = new Entity({
      path,
      firstId: opened.firstId,
      properties,
      ...(deadLetters ? { deadLetters } : {}),
      port: {
        record: (change) => this.store.record(change),
        wake: (lane) => this.wake(lane, entity),
        due: (at) => this.arm(entity, at),
        sessionLost: (_lane, holder) => receiverOf(holder)?.loseSession(),
        load: (id) => this.store.load(id),
        hasFailed: () => this.isUnwritable,
        seenUntil: (messageId) => this.store.seenUntil(opened, messageId),
      },
    });
    this.entities.set(path.toLowerCase(), entity);
    this.receivers.set(entity, new Set());
    entity.lastSequence = opened.lastSequence;
    entity.restore((show) => this.store.eachStored(opened, show));
    return entity;
  }

  /** [SB 3.1] Addresses are relative, case-insensitive, maybe encoded, maybe with a slash in
   *  front. `host` is the name of the namespace in a refusal. */
  find(address: unknown, host: string): Place {
    const path = pathOf(address);
    const isManagement = path.toLowerCase().endsWith(managementSuffix);
    const name = isManagement ? path.slice(0, -managementSuffix.length) : path;
    if (/\/\$transfer\b/i.test(name)) throw refusals.notSupported('transfer dead-letter queues');
    const entity = this.entities.get(name.toLowerCase());
    if (!entity) throw refusals.entityNotFound(`sb://${host}/${name}`);
    return { entity, topic: this.topics.get(entity), isManagement };
  }

  /** The deletion of an entity: whoever is attached to it learns that it is gone. */
  private drop(entity: Entity): void {
    this.entities.delete(entity.path.toLowerCase());
    this.topics.delete(entity);
    const error = errorOf(refusals.entityNotFound(entity.path));
    for (const consumer of [...(this.receivers.get(entity) ?? [])]) consumer.expel(error);
    this.receivers.delete(entity);
    this.timers.get(entity)?.timer.cancel();
    this.timers.delete(entity);
    this.idleTimers.get(entity)?.cancel();
    this.idleTimers.delete(entity);
    // Behind everything that the departure of its receivers recorded.
    this.store.record({ kind: 'purge', queue: entity.path });
  }

  /** Whether the entity is still there, as the same one. */
  isLive(entity: Entity): boolean {
    return this.entities.get(entity.path.toLowerCase()) === entity;
  }

  /** Throws a Refusal when the entity has been deleted: nothing may happen to it any more. */
  requireLive(entity: Entity): void {
    if (!this.isLive(entity)) throw refusals.entityNotFound(entity.path);
  }

  /** The same place, or what has its address now: an entity may be deleted and created again. */
  refresh(place: Place): Place {
    const entity = this.entities.get(place.entity.path.toLowerCase());
    if (!entity || entity === place.entity) return place;
    return { ...place, entity, topic: this.topics.get(entity) };
  }

  /** Checks that clients may open a link, or send; throws a Refusal [SB 3.10, 3.11]. */
  checkUse({ entity, topic }: Place, use: 'send' | 'receive'): void {
    const item = this.catalog.itemOf(entity);
    if (use === 'receive' && topic) {
      throw refusals.wrongDirection(`Messages cannot be received from the topic '${entity.path}'.`);
    }
    if (use === 'send' && item?.kind === 'subscription') {
      throw refusals.wrongDirection(`Messages cannot be sent to '${entity.path}'.`);
    }
    const status = item?.values['Status'];
    const disabling = use === 'send' ? 'SendDisabled' : 'ReceiveDisabled';
    if (status === 'Disabled' || status === disabling) throw refusals.entityDisabled(entity.path);
  }

  /** Notes that clients use an entity, for AccessedAt and AutoDeleteOnIdle. */
  access(entity: Entity): void {
    const item = this.catalog.itemOf(entity);
    if (!item) return;
    item.accessedAt = this.clock.now();
    if (item.kind === 'subscription') item.topic.accessedAt = item.accessedAt;
  }

  /** AutoDeleteOnIdle: goes when nobody receives and nothing was sent for so long. */
  private watchIdle(item: Item): void {
    const { entity } = item;
    this.idleTimers.get(entity)?.cancel();
    this.idleTimers.delete(entity);
    const seconds = idleSecondsOf(item.values);
    if (seconds === undefined || this.isClosed) return;
    const isUsed = (this.receivers.get(entity)?.size ?? 0) > 0;
    if (isUsed) this.access(entity);
    const leftMs = item.accessedAt + seconds * 1000 - this.clock.now();
    if (leftMs <= 0) this.catalog.remove(item);
    else {
      const timer = this.clock.after(leftMs, () => this.watchIdle(item));
      this.idleTimers.set(entity, timer);
    }
  }

  /** The disk is full, for instance: what would have to be written is refused. */
  get isUnwritable(): boolean {
    return this.store.failure !== undefined;
  }

  /** What waited for the disk. */
  private resume(): void {
    for (const [entity, receivers] of this.receivers) {
      entity.sessions.offerAll(this.clock.now());
      for (const one of receivers) one.wake();
      this.wake(entity.line, entity);
    }
  }

  /** Whether steps must be asked for: they may be held or refused. */
  get isWatched(): boolean {
    return this.intercept !== undefined || !this.faults.isQuiet || this.isUnwritable;
  }

  /** A promise when somebody wants to be awaited; throws when the step is refused at once. */
  ask(step: BrokerStep): Promise<void> | undefined {
    if (this.isUnwritable && writingSteps.has(step.kind)) throw refusals.unwritable();
    const asked = (): Promise<void> | undefined => this.intercept?.beforeStep?.(step) ?? undefined;
    const faulty = this.faults.isQuiet ? undefined : this.faults.beforeStep(step);
    return faulty ? faulty.then(asked) : asked();
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

  /** Reads and checks the messages of a transfer; throws a Refusal. */
  parse(bytes: Buffer, format = 0): ParsedMessage[] {
    try {
      const encoded = splitTransfer(bytes, format);
      return encoded.map((message) => parseMessage(message, () => this.stampId()));
    } catch (error) {
      throw refusals.malformed(error instanceof Error ? error.message : String(error));
    }
  }

  /** [SB 5.7] 32 hex digits, unique without asking the random source each time. */
  private stampId(): string {
    return this.stampPrefix + (++this.stamped).toString(16).padStart(12, '0');
  }

  /** Enqueues all or none; `answer` comes after the commit [N1]. */
  send(
    place: Place,
    messages: readonly ParsedMessage[],
    answer: (error: AmqpError | undefined) => void,
  ): void {
    try {
      this.checkUse(place, 'send');
      const { publish } = this.prepare(place, this.doubled(place, messages));
      this.commit(() => {
        publish(this.clock.now());
        answer(undefined);
      });
    } catch (error) {
      answer(errorOf(error));
    }
  }

  /** What arrives when faults make a sender repeat itself. */
  private doubled({ entity }: Place, messages: readonly ParsedMessage[]) {
    if (this.faults.isQuiet) return messages;
    return messages.flatMap((message) => {
      const { messageId, sessionId } = message;
      const step: BrokerStep = { kind: 'send', queue: entity.path, messageId };
      if (sessionId !== null) step.sessionId = sessionId;
      return this.faults.doubles(step) ? [message, message] : [message];
    });
  }

  /** Records a send; throws a Refusal and changes nothing. To be published after a commit. */
  prepare({ entity, topic }: Place, messages: readonly ParsedMessage[]): Publication {
    this.requireLive(entity);
    const now = this.clock.now();
    let publication: Publication;
    if (topic) publication = topic.prepare(messages, now);
    else {
      const { entries, sequences } = entity.prepare(messages, now);
      // Its messages are gone when it is deleted while the commit is under way.
      const publish = (at: number) => this.isLive(entity) && entity.publish(entries, at);
      publication = { sequences, publish };
    }
    this.access(entity);
    for (const message of messages) this.usage.countMessage(entity.path, message.bare.length);
    return publication;
  }

  /** Calls back after everything recorded so far is durable. */
  commit(done: () => void): void {
    this.store.afterCommit(done);
  }

  /** A receiver has been opened; until it leaves the entity is in use. */
  join(consumer: Receiver): void {
    this.access(consumer.entity);
    this.receivers.get(consumer.entity)?.add(consumer);
  }

  part(consumer: Receiver): void {
    this.access(consumer.entity);
    this.receivers.get(consumer.entity)?.delete(consumer);
  }

  addConsumer(consumer: Receiver): void {
    this.deliveries.add(consumer);
  }

  removeConsumer(consumer: Receiver): void {
    this.deliveries.remove(consumer);
  }

  /** Plans the delivery of what a lane has. */
  wake(lane: Lane, entity: Entity): void {
    this.deliveries.wake(lane, entity);
  }

  /** What was scheduled on a topic goes on to its subscriptions. */
  private releaseScheduled(entity: Entity, lane: Lane): number | undefined {
    const topic = this.topics.get(entity);
    if (!topic) return undefined;
    const released = topic.release(turnMessagesMax, this.clock.now());
    if (!released) return 0;
    this.commit(() => released.publish(this.clock.now()));
    this.wake(lane, entity);
    return released.count;
  }

  /** [N2] */
  private arm(entity: Entity, at: number): void {
    if (this.isClosed || at === Infinity || !this.isLive(entity)) return;
    const armed = this.timers.get(entity);
    if (armed && armed.at <= at) return;
    armed?.timer.cancel();
    const delayMs = Math.max(1, at - this.clock.now());
    const timer = this.clock.after(delayMs, () => {
      this.timers.delete(entity);
      const now = this.clock.now();
      this.arm(entity, this.isUnwritable ? now + tickAgainMs : entity.tick(now));
    });
    this.timers.set(entity, { at, timer });
  }

  close(): void {
    this.isClosed = true;
    this.deliveries.close();
    for (const { timer } of this.timers.values()) timer.cancel();
    for (const timer of this.idleTimers.values()) timer.cancel();
    this.store.close();
  }
}
