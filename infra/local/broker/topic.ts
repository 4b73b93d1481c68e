// PURE. A topic: numbers what is sent, drops repeats, holds back what is scheduled, and copies the
// rest to the subscriptions whose rules select it [SB 12.7].
//
// Owns:    which copies a message makes. A subscription is an Entity like any queue.
// Leaves:  evaluation to rule.ts; commit and publication to the caller.
//
// Invariants:
//   T1. All copies of a send are recorded in one turn, so they become durable together or not at
//       all.
//   T2. A scheduled message lies in the topic until its instant; leaving it and appearing in the
//       subscriptions is one commit.
//   T3. A failing rule never fails the send: the subscription dead-letters the message, or goes
//       without it.
import { refusals } from './conditions.ts';
import { DuplicateWindow } from './duplicates.ts';
import type { EntityPort } from './entity-port.ts';
import type { Entity } from './entity.ts';
import type { Entry } from './lane.ts';
import { deadLetterProperties, withProperties } from './message.ts';
import type { Content, ParsedMessage } from './message.ts';
import { viewOf, withAssignments } from './message-properties.ts';
import type { Rule } from './rule.ts';
import { FilterFault } from './sql-evaluate.ts';
import type { FilterMessage } from './sql-evaluate.ts';

export interface Subscription {
  readonly name: string;
  readonly entity: Entity;
  /** By lower-cased name. */
  readonly rules: Map<string, Rule>;
  deadLettersFilterFaults: boolean;
}

/** What is recorded and waits for its commit. */
export interface Publication {
  /** One number per message, in order; a duplicate shows 0. */
  sequences: number[];
  /** Makes it visible; to be called after the commit. */
  publish(now: number): void;
}

/** What a topic asks of its surroundings. */
export type TopicPort = Pick<EntityPort, 'record' | 'seenUntil'> & {
  read(id: number): Content | undefined;
  /** Whether an entity has not been deleted. */
  isLive(entity: Entity): boolean;
};

/** A message for one subscription; a reason sends it to the dead-letter queue. */
interface Copy {
  message: ParsedMessage;
  reason?: string;
  description?: string;
}

export class Topic {
  /** Holds the scheduled messages; sequence numbers are its own. */
  readonly entity: Entity;
  /** By lower-cased name. */
  readonly subscriptions = new Map<string, Subscription>();
  private readonly port: TopicPort;
  private duplicates: DuplicateWindow | undefined;

  constructor(entity: Entity, port: TopicPort) {
    this.entity = entity;
    this.port = port;
  }

  /** The window of duplicate detection; undefined switches it off. */
  detectDuplicates(seconds: number | undefined): void {
    if (seconds === undefined) this.duplicates = undefined;
    else if (this.duplicates) this.duplicates.windowMs = seconds * 1000;
    else {
      const { entity, port } = this;
      const windowMs = seconds * 1000;
      this.duplicates = new DuplicateWindow({ windowMs, firstId: entity.firstId, port });
    }
  }

  /** Records a send. All or nothing: throws a Refusal and changes nothing. */
  prepare(messages: readonly ParsedMessage[], now: number): Publication {
    for (const { sessionId, messageId } of messages) {
      if ((sessionId?.length ?? 0) > 128) throw refusals.tooLong('session id');
      if (messageId.length > 128) throw refusals.tooLong('message id');
    }
    const sequences: number[] = [];
    const copied: ParsedMessage[] = [];
    const scheduled: Entry[] = [];
    for (const message of messages) {
      if (this.duplicates?.has(message.messageId, now)) {
        sequences.push(0);
        continue;
      }
      if (message.scheduledAt !== null && message.scheduledAt > now) {
        const prepared = this.entity.prepare([message], now);
        scheduled.push(...prepared.entries);
      } else {
        const enqueuedSequence = ++this.entity.lastSequence;
        copied.push({ ...message, enqueuedSequence, ttlMs: this.timeToLive(message.ttlMs) });
      }
      const { firstId, lastSequence } = this.entity;
      sequences.push(lastSequence);
      this.duplicates?.remember({ id: firstId + lastSequence, messageId: message.messageId }, now);
    }
    this.entity.recordSequence();
    const publish = this.copy(copied, now);
    return {
      sequences,
      publish: (at) => {
        publish(at);
        if (this.port.isLive(this.entity)) this.entity.publish(scheduled, at);
      },
    };
  }

  /** Copies messages whose instant has come, up to `limit`; undefined when there is none [T2]. */
  release(limit: number, now: number): { count: number; publish(at: number): void } | undefined {
    const { entity } = this;
    const messages: ParsedMessage[] = [];
    for (let entry = entity.head(entity.line, now); entry; entry = entity.head(entity.line, now)) {
      const content = this.port.read(entry.id);
      const { sessionId, messageId, ttlMs, sequence } = entry;
      entity.take(entity.line, entry);
      if (!content) continue;
      const { annotations, bare } = content;
      const message = { sessionId, messageId, ttlMs, scheduledAt: null, annotations, bare };
      messages.push({ ...message, enqueuedSequence: sequence });
      if (messages.length >= limit) break;
    }
    if (messages.length === 0) return undefined;
    return { count: messages.length, publish: this.copy(messages, now) };
  }

  private timeToLive(ttlMs: number | null): number | null {
    const seconds = this.entity.properties.defaultTimeToLiveSeconds;
    if (seconds === undefined) return ttlMs;
    return Math.min(ttlMs ?? Infinity, seconds * 1000);
  }

  /** Records the copies; returns what makes them visible [T1]. */
  private copy(messages: readonly ParsedMessage[], now: number): (at: number) => void {
    if (messages.length === 0) return () => {};
    const viewed = messages.map((message) => ({ message, view: viewOf(message) }));
    const published: { entity: Entity; entries: Entry[] }[] = [];
    const record = (entity: Entity | undefined, copies: ParsedMessage[]): void => {
      if (!entity || copies.length === 0) return;
      published.push({ entity, entries: entity.prepare(copies, now).entries });
    };
    for (const subscription of this.subscriptions.values()) {
      const copies = viewed.flatMap((each) => copiesFor(subscription, each));
      const live = copies.filter(({ reason }) => reason === undefined);
      const dead = copies.filter(({ reason }) => reason !== undefined);
      record(
        subscription.entity,
        live.map(({ message }) => message),
      );
      record(
        subscription.entity.deadLetters,
        dead.map((copy) => buried(copy, subscription.entity.path)),
      );
    }
    return (at) => {
      for (const { entity, entries } of published) {
        if (this.port.isLive(entity)) entity.publish(entries, at);
      }
    };
  }
}

/** One copy for all rules without action together, and one for each matching rule with an action,
 *  which carries the name of the rule. */
function copiesFor(
  subscription: Subscription,
  { message, view }: { message: ParsedMessage; view: FilterMessage },
): Copy[] {
  const copies: Copy[] = [];
  let isPlain = false;
  for (const rule of subscription.rules.values()) {
    try {
      if (!rule.matches(view)) continue;
      const assignments = rule.assign(view);
      if (!assignments) isPlain = true;
      else copies.push({ message: assigned(message, rule, assignments) });
    } catch (error) {
      if (!(error instanceof FilterFault)) throw error;
      if (!subscription.deadLettersFilterFaults) continue;
      const description = `Rule '${rule.definition.name}': ${error.message}.`;
      copies.push({ message, reason: 'FilterEvaluationException', description });
    }
  }
  if (isPlain) copies.unshift({ message });
  return subscription.entity.properties.requiresSession ? copies.map(withSession) : copies;
}

function assigned(
  message: ParsedMessage,
  { definition }: Rule,
  assignments: NonNullable<ReturnType<Rule['assign']>>,
): ParsedMessage {
  const property = { kind: 'property', scope: 'user', name: 'RuleName' } as const;
  const copy = withAssignments(message, [...assignments, { property, value: definition.name }]);
  for (const id of [copy.sessionId, copy.messageId]) {
    if ((id?.length ?? 0) > 128) throw new FilterFault('an id is longer than 128 characters');
  }
  return copy;
}

/** [SB 5.8] A subscription with sessions dead-letters what has none. */
function withSession(copy: Copy): Copy {
  if (copy.message.sessionId !== null || copy.reason !== undefined) return copy;
  const description = 'The message has no session id, which the subscription requires.';
  return { ...copy, reason: 'Session ID is null.', description };
}

function buried({ message, reason, description }: Copy, source: string): ParsedMessage {
  const properties = deadLetterProperties(reason, description);
  // Dead letters do not expire [SB 10.5].
  return { ...message, source, ttlMs: null, bare: withProperties(message.bare, properties) };
}
