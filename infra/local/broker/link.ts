// One receiving client: credit becomes deliveries, dispositions become settlements.
//
// Owns:    when a message goes to this link; the lock tokens; session accept and its end for this
// link.
// Leaves:  AMQP frames to the port (listener.ts), queue decisions to entity.ts.
//
// Invariants:
//   C1. Never more transfers than the peer has granted [SB 6.6].
//   C2. A drain is answered in the turn it arrives, also when credit is used up [SB 6.3].
//   C3. An attach is answered once, and never after the peer has gone or its time is up [SB 4.7].
//   C4. A settlement is answered after its commit; a refused one says why and changes nothing.
import assert from 'node:assert';
import { randomBytes } from 'node:crypto';
import type { Timer } from '../../../shared/clock.ts';
import { errorOf, refusals } from './conditions.ts';
import type { AmqpError } from './conditions.ts';
import type { Receiver } from './deliveries.ts';
import type { Entity } from './entity.ts';
import type { Entry, Lane, Locked } from './lane.ts';
import { encodeMessage } from './message.ts';
import type { Content, Property } from './message.ts';
import type { Namespace } from './namespace.ts';
import type { BrokerStep } from './step.ts';
import type { Waiter } from './session.ts';

/** What the wire side offers for one link. */
export interface LinkPort {
  /** Transfers the peer takes now: credit less what is queued, within the buffers. */
  room(): number;
  transfer(bytes: Buffer, tag: Buffer, locked: Locked | undefined): void;
  /** Answers a held attach: the session is yours. */
  grant(sessionId: string, lockedUntil: number): void;
  /** Answers a held attach with an error. */
  refuse(error: AmqpError): void;
  /** Closes an open link with an error. */
  detach(error: AmqpError): void;
  /** Answers a drain. */
  drained(): void;
  readonly isOpen: boolean;
}

/** What a receiver said about a message. */
export type Outcome =
  | { kind: 'complete' }
  | { kind: 'abandon'; properties: Property[] }
  /** Back without counting; no Azure client says it, others do [azure/amqpnetlite issue 342]. */
  | { kind: 'release' }
  | { kind: 'defer'; properties: Property[] }
  | { kind: 'deadLetter'; properties: Property[] };

/** Bytes handed to the wire per turn and link, so that one fast reader cannot fill the memory. */
const turnBytesMax = 1_000_000;
/** [SB 4.2] Ceiling of the long poll when the client names none. */
const acceptMsMax = 65_000;

// Lock tokens are a random prefix and a counter: unique, cheap, and of no earlier run [SB 20.4].
const tokenPrefix = randomBytes(8);

/** The 16 bytes of a lock token as AMQP uuid (RFC order) [SB 6.7]. */
export function tokenUuid(token: number): Buffer {
  const bytes = Buffer.alloc(16);
  tokenPrefix.copy(bytes);
  bytes.writeBigUInt64BE(BigInt(token), 8);
  return bytes;
}

/** The token of an AMQP uuid; undefined when this run never gave it out. */
export function tokenOfUuid(uuid: unknown): number | undefined {
  if (!Buffer.isBuffer(uuid) || uuid.length !== 16) return undefined;
  if (!uuid.subarray(0, 8).equals(tokenPrefix)) return undefined;
  return Number(uuid.readBigUInt64BE(8));
}

/** The delivery tag of a token: the same GUID, little-endian layout [SB 6.7]. */
function tokenTag(token: number): Buffer {
  const uuid = tokenUuid(token);
  const order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
  return Buffer.from(order.map((index) => uuid[index] ?? 0));
}

/** A message as it is delivered, peeked or handed out by number. */
export function encodeEntry(
  entry: Entry,
  content: Content,
  facts: { lockedUntil?: number; lockToken?: Buffer } = {},
): Buffer {
  const state = entry.deferred ? 1 : entry.scheduledAt === null ? 0 : 2;
  return encodeMessage({ ...entry, ...facts, state }, content);
}

/** Does what a receiver said; throws a Refusal and changes nothing when it cannot. */
export function applyOutcome(
  locked: Locked,
  outcome: Outcome,
  { entity, now }: { entity: Entity; now: number },
): void {
  if (!locked.isLive) throw entity.lockLost();
  switch (outcome.kind) {
    case 'complete':
      return entity.complete(locked);
    case 'abandon':
      return entity.abandon(locked, now, outcome.properties);
    case 'release':
      return entity.release(locked, now);
    case 'defer':
      return entity.defer(locked, outcome.properties);
    case 'deadLetter':
      return entity.deadLetter(locked, now, outcome.properties);
  }
}

export interface ConsumerOptions {
  namespace: Namespace;
  entity: Entity;
  port: LinkPort;
  deletesOnReceive: boolean;
}

export class Consumer implements Receiver {
  readonly entity: Entity;
  lane: Lane | undefined;
  private readonly namespace: Namespace;
  private readonly port: LinkPort;
  private readonly deletesOnReceive: boolean;
  private waiter: Waiter | undefined;
  private waitTimer: Timer | undefined;
  private isGone = false;
  /** receiveAndDelete: credit spoken for by messages whose deletion is being committed. */
  private reserved = 0;
  private isAsking = false;
  private approved: number | undefined;

  constructor(options: ConsumerOptions) {
    this.namespace = options.namespace;
    this.entity = options.entity;
    this.port = options.port;
    this.deletesOnReceive = options.deletesOnReceive;
    this.namespace.join(this);
  }

  private now(): number {
    return this.namespace.clock.now();
  }

  /** A receiver without session. */
  receiveFromLine(): void {
    this.lane = this.entity.line;
    this.namespace.addConsumer(this);
    this.namespace.wake(this.entity.line, this.entity);
  }

  /** A named session: yours now, or refused [SB 4.5]. */
  acceptNamed(sessionId: string): void {
    this.accept({ kind: 'accept', queue: this.entity.path, sessionId }, () => {
      this.enter(this.entity.sessions.acceptNamed(sessionId, this, this.now()));
    });
  }

  /** The next available session, or a timeout as long as the client asked for [SB 4.6]. */
  acceptNext(timeoutMs: number | undefined): void {
    this.accept({ kind: 'accept', queue: this.entity.path }, () => {
      const waiter: Waiter = { holder: this, isGone: false, granted: (lane) => this.enter(lane) };
      this.waiter = waiter;
      const waitMs = Math.min(timeoutMs ?? acceptMsMax, acceptMsMax);
      this.waitTimer = this.namespace.clock.after(waitMs, () => {
        this.stopWaiting();
        this.isGone = true;
        this.port.refuse(errorOf(refusals.acceptTimeout()));
      });
      this.entity.sessions.acceptNext(waiter, this.now());
    });
  }

  private accept(step: BrokerStep, make: () => void): void {
    this.namespace.usage.count(this.entity.path);
    const refuse = (error: AmqpError): void => {
      if (!this.isGone) this.port.refuse(error);
    };
    this.namespace.step(step, () => !this.isGone && make(), refuse);
  }

  private enter(lane: Lane): void {
    this.stopWaiting();
    this.lane = lane;
    this.port.grant(lane.sessionId ?? '', lane.lockedUntil);
    this.namespace.wake(lane, this.entity);
  }

  private stopWaiting(): void {
    this.waitTimer?.cancel();
    this.waitTimer = undefined;
    if (this.waiter) this.entity.sessions.stopWaiting(this.waiter);
    this.waiter = undefined;
  }

  holdsSession(sessionId: string): boolean {
    return this.lane?.sessionId === sessionId && this.lane.holder === this;
  }

  /** The lock of the session ran out [SB 4.12]. */
  loseSession(): void {
    this.lane = undefined;
    if (!this.isGone) this.port.detach(errorOf(refusals.sessionLockExpired()));
  }

  /** The link, its AMQP session or its connection has gone. Plain messages stay locked [SB
   *  10.2]. */
  leave(): void {
    if (this.isGone) return;
    this.isGone = true;
    this.stopWaiting();
    this.namespace.removeConsumer(this);
    this.namespace.part(this);
    const lane = this.lane;
    this.lane = undefined;
    if (lane && this.entity.properties.requiresSession) {
      this.entity.releaseSession(lane, this, this.now());
    }
  }

  /** The entity is being deleted. */
  expel(error: AmqpError): void {
    if (this.isGone) return;
    if (this.port.isOpen) this.port.detach(error);
    else this.port.refuse(error);
    this.leave();
  }

  /** There is credit: plans a delivery. */
  wake(): void {
    if (this.lane) this.namespace.wake(this.lane, this.entity);
  }

  /** Delivers what there is and is wanted [C1]; returns how many. */
  pump(limit = Infinity): number {
    let delivered = 0;
    let bytes = 0;
    while (this.lane && !this.isAsking && delivered < limit && this.room() > 0) {
      const entry = this.entity.head(this.lane, this.now());
      if (!entry || !this.mayDeliver(entry)) break;
      this.deliver(this.lane, entry);
      delivered++;
      bytes += entry.size;
      if (bytes > turnBytesMax) {
        this.namespace.wake(this.lane, this.entity);
        break;
      }
    }
    return delivered;
  }

  private room(): number {
    return this.port.isOpen ? this.port.room() - this.reserved : 0;
  }

  /** Asks the test hook, if any, once per message. */
  private mayDeliver(entry: Entry): boolean {
    if (!this.namespace.isWatched || this.approved === entry.sequence) return true;
    const { messageId, sessionId } = entry;
    const step: BrokerStep = { kind: 'deliver', queue: this.entity.path, messageId };
    if (sessionId !== null) step.sessionId = sessionId;
    try {
      const waiting = this.namespace.ask(step);
      if (!waiting) return true;
      this.isAsking = true;
      waiting.then(
        () => this.resume(entry),
        (error: unknown) => this.abort(error),
      );
    } catch (error) {
      this.abort(error);
    }
    return false;
  }

  private resume(entry: Entry): void {
    this.isAsking = false;
    this.approved = entry.sequence;
    this.wake();
  }

  private abort(error: unknown): void {
    this.isAsking = false;
    if (!this.isGone) this.port.detach(errorOf(error));
    this.leave();
  }

  private deliver(lane: Lane, entry: Entry): void {
    this.approved = undefined;
    const content = this.namespace.store.read(entry.id);
    assert.ok(content, 'a ready message has stored bytes [E2]');
    this.namespace.usage.countMessage(this.entity.path, entry.size);
    if (this.deletesOnReceive) {
      const bytes = encodeEntry(entry, content);
      this.entity.take(lane, entry);
      this.reserved++;
      this.namespace.commit(() => {
        this.reserved--;
        if (this.port.isOpen) this.port.transfer(bytes, tokenTag(0), undefined);
      });
      return;
    }
    const locked = this.entity.lock(lane, entry, this.now());
    const bytes = encodeEntry(entry, content, { lockedUntil: this.entity.lockedUntil(locked) });
    this.port.transfer(bytes, tokenTag(locked.token), locked);
  }

  /** [C2] What is there goes first, then the credit is given back. */
  drain(): void {
    this.pump();
    if (this.room() > 0) this.namespace.usage.count(this.entity.path);
    // receiveAndDelete: what is being deleted still needs its credit; answer behind it.
    if (this.reserved === 0) this.port.drained();
    else this.namespace.commit(() => this.port.drained());
  }

  /** [C4] */
  settle(locked: Locked, outcome: Outcome, answer: (error: AmqpError | undefined) => void): void {
    const { messageId, sessionId } = locked.entry;
    const step: BrokerStep = { kind: 'settle', queue: this.entity.path, messageId };
    if (sessionId !== null) step.sessionId = sessionId;
    this.namespace.usage.count(this.entity.path);
    const make = (): void => {
      try {
        this.namespace.requireLive(this.entity);
        applyOutcome(locked, outcome, { entity: this.entity, now: this.now() });
        this.namespace.commit(() => answer(undefined));
      } catch (error) {
        answer(errorOf(error));
      }
    };
    this.namespace.step(step, make, answer);
  }
}
