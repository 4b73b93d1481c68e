// A queue of the broker in memory: the real logic of queues and sessions (infra/local/broker), its
// messages in maps, its instants on the virtual clock.
import type { QueueProperties } from '../local/broker/config.ts';
import type { Change, EntityPort } from '../local/broker/entity-port.ts';
import { Entity } from '../local/broker/entity.ts';
import type { Entry, Holder, Lane } from '../local/broker/lane.ts';
import type { ParsedMessage } from '../local/broker/message.ts';
import type { Owner, Scheduler } from './scheduler.ts';

/** What the sender said, beside what the broker reads. */
export interface Letter<Payload> extends ParsedMessage {
  payload: Payload;
}

export interface QueueOptions<Payload> {
  path: string;
  scheduler: Scheduler;
  /** The broker: it never dies. */
  owner: Owner;
  properties: QueueProperties;
  /** A lane has something to deliver and somebody may want it. */
  onWake?(lane: Lane): void;
  onSessionLost?(lane: Lane, holder: Holder): void;
  /** It gave up on a message. */
  onDead?(payload: Payload): void;
}

const nothing = Buffer.alloc(0);
/** The dead-letter queue's numbers lie behind all others. */
const deadLetterId = 1_000_000;

export class Queue<Payload> {
  readonly entity: Entity;
  readonly deadLetters: Entity;
  readonly #options: QueueOptions<Payload>;
  readonly #entries = new Map<number, Entry>();
  readonly #letters = new Map<number, Payload>();
  readonly #seen = new Map<string, number>();
  #armedAt = Infinity;

  constructor(options: QueueOptions<Payload>) {
    this.#options = options;
    const { path, properties } = options;
    const port = this.#port();
    this.deadLetters = new Entity({
      path: `${path}/$DeadLetterQueue`,
      firstId: deadLetterId,
      port,
      properties: { ...properties, requiresSession: false, maxDeliveryCount: Infinity },
    });
    const { deadLetters } = this;
    this.entity = new Entity({ path, firstId: 0, port, properties, deadLetters });
  }

  get now(): number {
    return this.#options.scheduler.now;
  }

  /** Accepts all of them; a duplicate within the window shows 0 and goes nowhere. */
  send(messages: readonly { sessionId: string; messageId: string; payload: Payload }[]): number[] {
    const { now } = this;
    const letters = messages.map((message): Letter<Payload> => ({
      ...message,
      ttlMs: null,
      scheduledAt: null,
      annotations: nothing,
      bare: nothing,
    }));
    const prepared = this.entity.prepare(letters, now);
    this.entity.publish(prepared.entries, now);
    return prepared.sequences;
  }

  payloadOf(entry: Entry): Payload | undefined {
    return this.#letters.get(entry.id);
  }

  #port(): EntityPort {
    return {
      record: (change) => this.#record(change),
      load: (id) => {
        const entry = this.#entries.get(id);
        return entry && { ...entry };
      },
      hasFailed: () => false,
      seenUntil: (messageId) => this.#seen.get(messageId),
      wake: (lane) => this.#options.onWake?.(lane),
      due: (at) => this.#arm(at),
      sessionLost: (lane, holder) => this.#options.onSessionLost?.(lane, holder),
    };
  }

  #record(change: Change): void {
    switch (change.kind) {
      case 'add':
        this.#entries.set(change.id, { ...change.entry });
        // The edge where our own letter comes back from the broker's logic.
        this.#letters.set(change.id, (change.message as Letter<Payload>).payload);
        return;
      case 'update':
        return void this.#entries.set(change.id, { ...change.entry });
      case 'move': {
        const letter = this.#letters.get(change.from);
        this.#entries.delete(change.from);
        this.#letters.delete(change.from);
        this.#entries.set(change.id, { ...change.entry });
        if (letter === undefined) return;
        this.#letters.set(change.id, letter);
        if (change.id >= deadLetterId) this.#options.onDead?.(letter);
        return;
      }
      case 'remove':
        this.#entries.delete(change.id);
        return void this.#letters.delete(change.id);
      case 'seen':
        return void this.#seen.set(change.messageId, change.expiresAt);
      case 'sequence':
      case 'forget':
    }
  }

  #arm(at: number): void {
    if (at >= this.#armedAt) return;
    this.#armedAt = at;
    const { scheduler, owner } = this.#options;
    scheduler.after(owner, at - scheduler.now, () => {
      if (this.#armedAt !== at) return;
      this.#armedAt = Infinity;
      const { now } = scheduler;
      this.#arm(Math.min(this.entity.tick(now), this.deadLetters.tick(now)));
    });
  }
}
