// PURE. What a queue and its surroundings say to each other.
import type { QueueProperties } from './config.ts';
import type { Entity } from './entity.ts';
import type { Entry, Holder, Lane } from './lane.ts';
import type { ParsedMessage, Property } from './message.ts';

/** What must be made durable. */
export type Change =
  | { kind: 'add'; queue: string; entry: Entry; message: ParsedMessage }
  | { kind: 'update'; queue: string; entry: Entry; properties?: readonly Property[] }
  | { kind: 'remove'; id: number }
  | { kind: 'sequence'; queue: string; sequence: number }
  | { kind: 'seen'; queue: string; messageId: string; expiresAt: number }
  | { kind: 'forget'; queue: string; until: number };

/** What a queue asks of its surroundings. */
export interface EntityPort {
  record(change: Change): void;
  /** A lane has something to deliver and somebody may want it. */
  wake(lane: Lane): void;
  /** Something falls due at this instant: `tick` must be called then. */
  due(at: number): void;
  /** The lock of a session ran out while held. */
  sessionLost(lane: Lane, holder: Holder): void;
  nextId(): number;
}

export interface EntityOptions {
  path: string;
  properties: QueueProperties;
  port: EntityPort;
  /** Where dead letters go; absent on a dead-letter queue itself, which never dead-letters [SB
   *  10.5]. */
  deadLetters?: Entity;
}

export interface Prepared {
  entries: Entry[];
  /** One number per message, in order; a duplicate shows 0. */
  sequences: number[];
}
