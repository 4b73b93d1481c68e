// PURE. What a queue and its surroundings say to each other.
import type { QueueProperties } from './config.ts';
import type { Entity } from './entity.ts';
import type { Entry, Holder, Lane } from './lane.ts';
import type { ParsedMessage, Property } from './message.ts';

/** What must be made durable. Ids are of the moment: an entry may move on before the commit. */
export type Change =
  | { kind: 'add'; id: number; entry: Entry; message: ParsedMessage }
  | { kind: 'update'; id: number; entry: Entry; properties?: readonly Property[] }
  | { kind: 'move'; from: number; id: number; entry: Entry; properties?: readonly Property[] }
  | { kind: 'remove'; id: number }
  | { kind: 'sequence'; queue: string; sequence: number }
  | { kind: 'seen'; id: number; messageId: string; expiresAt: number }
  | { kind: 'forget'; firstId: number; until: number };

/** What a queue asks of its surroundings. */
export interface EntityPort {
  record(change: Change): void;
  /** A message as recorded so far; undefined when there is none of this id. */
  load(id: number): Entry | undefined;
  /** Whether the store cannot write now: nothing may be delivered. */
  hasFailed(): boolean;
  /** The instant until which a message id counts as seen. */
  seenUntil(messageId: string): number | undefined;
  /** A lane has something to deliver and somebody may want it. */
  wake(lane: Lane): void;
  /** Something falls due at this instant (Infinity: nothing): `tick` must be called then. */
  due(at: number): void;
  /** The lock of a session ran out while held. */
  sessionLost(lane: Lane, holder: Holder): void;
}

/** A stored message, as a queue takes it back after a restart. */
export interface Stored {
  sequence: number;
  sessionId: string | null;
  /** Infinity when the message never expires. */
  expiresAt: number;
  scheduledAt: number | null;
  isDeferred: boolean;
  size: number;
}

export interface EntityOptions {
  path: string;
  /** The id in the store of a message is this plus its sequence number. */
  firstId: number;
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
