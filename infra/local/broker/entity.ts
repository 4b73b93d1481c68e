// PURE. One queue (or dead-letter sub-queue): every decision about its messages.
//
// Owns:    numbers, order, locks, settlement, delivery counts, expiry, schedule, duplicates.
// Leaves:  sessions' locks to session.ts, bytes and durability to the store (each change is handed
//          to `port.record`), links and credit to link.ts, time to the caller.
//
// Invariants (cited by the tests):
//   E1. Sequence numbers rise by one per accepted message and are never used twice.
//   E2. A message becomes visible only by `publish`, which the caller makes after its commit; so
//       what a receiver sees survives a crash.
//   E3. A lock token settles at most once; afterwards it is refused and changes nothing [SB I5].
//   E4. Abandon, deferral, lock expiry count outside dead-letter queues; release never [SB 10.2].
//   E5. The delivery that makes the count reach the maximum dead-letters the message, once.
//   E6. Deferred messages do not expire; locked ones expire when they return [SB 12.3].
//   E7. What waits is loaded when its turn comes, and no more in one turn than takes some 10 ms.
import assert from 'node:assert';
import { refusals } from './conditions.ts';
import type { QueueProperties } from './config.ts';
import { DuplicateWindow } from './duplicates.ts';
import type { EntityOptions, EntityPort, Prepared, Stored } from './entity-port.ts';
import { checkMessage, newEntry } from './incoming.ts';
import { Lane } from './lane.ts';
import type { Entry, Holder, Locked } from './lane.ts';
import { deadLetterProperties, markScheduled } from './message.ts';
import type { ParsedMessage, Property } from './message.ts';
import { Schedule } from './schedule.ts';
import { SequenceList } from './sequence-list.ts';
import { Sessions } from './session.ts';

/** [E7] */
const turnLoadsMax = 512;

export class Entity {
  readonly path: string;
  /** What precedes the ids of its messages in the store. */
  readonly firstId: number;
  properties!: QueueProperties;
  readonly deadLetters: Entity | undefined;
  readonly sessions: Sessions;
  /** The one lane of a queue without sessions. */
  readonly line = new Lane(null);
  readonly locks = new Map<number, Locked>();
  readonly counts = { active: 0, scheduled: 0, bytes: 0 };
  lastSequence = 0;
  private readonly port: EntityPort;

  private lockMs = 0;
  private nextToken = 1;
  private duplicates: DuplicateWindow | undefined;
  private readonly schedule = new Schedule();

  constructor(options: EntityOptions) {
    this.path = options.path;
    this.firstId = options.firstId;
    this.port = options.port;
    this.deadLetters = options.deadLetters;
    this.sessions = new Sessions(0, {
      hasMessage: (lane, now) => this.head(lane, now) !== undefined,
      due: (at) => this.port.due(at),
    });
    this.configure(options.properties);
  }

  /** Takes changed properties. Held locks keep their time; a shorter lock runs out behind them. */
  configure(properties: QueueProperties): void {
    this.properties = properties;
    this.lockMs = properties.lockDurationSeconds * 1000;
    this.sessions.lockMs = this.lockMs;
    const windowMs = (properties.duplicateDetectionSeconds ?? 0) * 1000;
    if (windowMs === 0) return;
    this.duplicates ??= new DuplicateWindow({ windowMs, firstId: this.firstId, port: this.port });
    this.duplicates.windowMs = windowMs;
  }

  /** Checks a send and gives numbers. All or nothing: throws a Refusal and changes nothing. */
  prepare(messages: readonly ParsedMessage[], now: number): Prepared {
    for (const message of messages) checkMessage(message, this.properties);
    const prepared: Prepared = { entries: [], sequences: [] };
    for (const message of messages) {
      if (this.duplicates?.has(message.messageId, now)) {
        prepared.sequences.push(0);
        continue;
      }
      const sequence = ++this.lastSequence;
      const id = this.firstId + sequence;
      const entry = newEntry(message, { id, sequence, now, properties: this.properties });
      prepared.entries.push(entry);
      prepared.sequences.push(sequence);
      const kept = entry.scheduledAt === null ? message : markScheduled(message);
      this.port.record({ kind: 'add', id, entry, message: kept });
      this.duplicates?.remember(entry, now);
    }
    if (prepared.entries.length > 0) this.recordSequence();
    return prepared;
  }

  /** Makes committed messages visible [E2]. */
  publish(entries: Iterable<Entry>, now: number): void {
    for (const entry of entries) {
      const { sequence, scheduledAt } = entry;
      this.count(scheduledAt === null ? 'active' : 'scheduled', 1, entry.size);
      if (scheduledAt === null) this.makeReady(entry, now);
      else {
        this.schedule.activateAt(scheduledAt, { lane: this.laneOf(entry.sessionId), sequence });
        this.port.due(scheduledAt);
      }
    }
  }

  private count(place: 'active' | 'scheduled', by: 1 | -1, size: number): void {
    this.counts[place] += by;
    this.counts.bytes += by * size;
  }

  /** Takes back what the store shows, in order, and loads nothing [E7]. */
  restore(showAll: (show: (stored: Stored) => void) => void): void {
    showAll(({ sequence, sessionId, expiresAt, scheduledAt, isDeferred, size }) => {
      this.lastSequence = Math.max(this.lastSequence, sequence);
      const lane = this.laneOf(sessionId);
      this.count(scheduledAt === null ? 'active' : 'scheduled', 1, size);
      if (scheduledAt !== null) this.schedule.activateAt(scheduledAt, { lane, sequence });
      else if (isDeferred) (lane.deferred ??= new SequenceList()).insert(sequence);
      else {
        lane.ready.insert(sequence);
        if (expiresAt !== Infinity) this.schedule.expireAt(expiresAt, { lane, sequence });
      }
    });
    this.sessions.restore();
    this.port.due(this.dueAt());
  }

  laneOf(sessionId: string | null): Lane {
    return this.properties.requiresSession ? this.sessions.lane(sessionId ?? '') : this.line;
  }

  /** The next message of a lane; expired ones in front of it are dealt with [E7]. */
  head(lane: Lane, now: number): Entry | undefined {
    for (let seen = 0; seen < turnLoadsMax; seen++) {
      const sequence = lane.ready.first();
      if (sequence === undefined || this.port.hasFailed()) return undefined;
      const entry = this.load(sequence);
      assert.ok(entry, 'a ready message is stored [E2]');
      if (entry.expiresAt > now) return entry;
      this.expire(entry, lane, now);
    }
    this.port.due(now);
    return undefined;
  }

  private load = (sequence: number): Entry | undefined => this.port.load(this.firstId + sequence);

  /** A deferred message of a lane by its number. */
  deferredEntry(lane: Lane, sequence: number): Entry | undefined {
    return lane.deferred?.has(sequence) ? this.load(sequence) : undefined;
  }

  /** Locks the head of a lane, or a deferred message, for its holder. */
  lock(lane: Lane, entry: Entry, now: number): Locked {
    this.takeOut(lane, entry);
    const lockedUntil = this.properties.requiresSession ? lane.lockedUntil : now + this.lockMs;
    const locked = { token: this.nextToken++, entry, lane, lockedUntil, isLive: true };
    (lane.locked ??= new Map<number, Locked>()).set(locked.token, locked);
    this.locks.set(locked.token, locked);
    if (!this.properties.requiresSession) this.port.due(lockedUntil);
    return locked;
  }

  /** receiveAndDelete: the message leaves the queue before it is delivered. */
  take(lane: Lane, entry: Entry): void {
    this.takeOut(lane, entry);
    this.remove(entry);
  }

  private takeOut(lane: Lane, { sequence }: Entry): void {
    const isTaken = lane.ready.remove(sequence) || lane.deferred?.remove(sequence) === true;
    assert.ok(isTaken, 'a message is delivered from its lane [L2]');
  }

  lockedUntil(locked: Locked): number {
    return this.properties.requiresSession ? locked.lane.lockedUntil : locked.lockedUntil;
  }

  /** The live lock of a token, or a refusal [E3]. */
  lockOf(token: number | undefined): Locked {
    const locked = token === undefined ? undefined : this.locks.get(token);
    if (!locked) throw this.lockLost();
    return locked;
  }

  lockLost() {
    const { requiresSession } = this.properties;
    return requiresSession ? refusals.sessionLockLost() : refusals.messageLockLost();
  }

  renewMessage(locked: Locked, now: number): number {
    locked.lockedUntil = now + this.lockMs;
    // Back to the end: the map stays in order of expiry [S3].
    this.locks.delete(locked.token);
    this.locks.set(locked.token, locked);
    this.port.due(locked.lockedUntil);
    return locked.lockedUntil;
  }

  complete(locked: Locked): void {
    this.unlock(locked);
    this.remove(locked.entry);
  }

  /** A receiver gave it back, or the lock of a message ran out. */
  abandon(locked: Locked, now: number, properties: readonly Property[] = []): void {
    this.unlock(locked);
    this.countDelivery(locked, now, properties);
  }

  release(locked: Locked, now: number): void {
    this.unlock(locked);
    this.giveBack(locked.entry, now);
  }

  /** [SB 12.6] Out of the line until somebody asks for it by its number. */
  defer(locked: Locked, properties: readonly Property[] = []): void {
    this.unlock(locked);
    const { entry } = locked;
    if (this.deadLetters) entry.deliveryCount++; // [E4]
    entry.deferred = true;
    this.putAside(entry);
    this.port.record({ kind: 'update', id: entry.id, entry, properties });
  }

  deadLetter(locked: Locked, now: number, properties: readonly Property[]): void {
    if (!this.deadLetters) throw refusals.notSupported('dead-lettering a dead letter');
    this.unlock(locked);
    this.bury(locked.entry, now, properties);
  }

  private unlock(locked: Locked): void {
    if (!locked.isLive) throw this.lockLost();
    locked.isLive = false;
    this.locks.delete(locked.token);
    locked.lane.locked?.delete(locked.token);
  }

  private countDelivery(locked: Locked, now: number, properties: readonly Property[] = []): void {
    const { entry } = locked;
    if (this.deadLetters) entry.deliveryCount++; // [E4]
    const limit = this.properties.maxDeliveryCount;
    if (this.deadLetters && entry.deliveryCount >= limit) {
      const text = `Message could not be consumed after ${limit} delivery attempts.`;
      const added = deadLetterProperties('MaxDeliveryCountExceeded', text);
      return this.bury(entry, now, [...properties, ...added]);
    }
    this.port.record({ kind: 'update', id: entry.id, entry, properties });
    this.giveBack(entry, now);
  }

  private giveBack(entry: Entry, now: number): void {
    if (entry.deferred) this.putAside(entry);
    else this.makeReady(entry, now);
  }

  private putAside(entry: Entry): void {
    const lane = this.laneOf(entry.sessionId);
    (lane.deferred ??= new SequenceList()).insert(entry.sequence);
  }

  private makeReady(entry: Entry, now: number): void {
    const { sequence, expiresAt } = entry;
    const lane = this.laneOf(entry.sessionId);
    if (expiresAt <= now) return this.expire(entry, lane, now);
    lane.ready.insert(sequence);
    this.schedule.expireAt(expiresAt, { lane, sequence });
    this.port.due(expiresAt);
    this.offer(lane, now);
  }

  private offer(lane: Lane, now: number): void {
    if (this.properties.requiresSession && !lane.holder) this.sessions.offer(lane, now);
    else this.port.wake(lane);
  }

  private expire(entry: Entry, lane: Lane, now: number): void {
    lane.ready.remove(entry.sequence);
    if (this.deadLetters && this.properties.deadLetterOnExpiration) {
      const text = 'The message expired and was dead lettered.';
      this.bury(entry, now, deadLetterProperties('TTLExpiredException', text));
    } else this.remove(entry);
    this.sessions.forgetIdle(lane);
  }

  private remove({ id, size }: Entry): void {
    this.count('active', -1, size);
    this.port.record({ kind: 'remove', id });
  }

  /** [SB 10.5] A new number in the dead-letter queue, the old one kept; no expiry there. */
  private bury(entry: Entry, now: number, properties: readonly Property[]): void {
    const target = this.deadLetters;
    assert.ok(target, 'a dead-letter queue never dead-letters');
    this.count('active', -1, entry.size);
    entry.source ??= this.path;
    entry.expiresAt = Infinity;
    entry.deferred = false;
    target.renumber(entry, properties);
    target.publish([entry], now);
  }

  /** The next number of this queue for a message that has one already, here or elsewhere. */
  private renumber(entry: Entry, properties: readonly Property[] = []): void {
    const from = entry.id;
    entry.sequence = ++this.lastSequence;
    entry.id = this.firstId + entry.sequence;
    this.port.record({ kind: 'move', from, id: entry.id, entry, properties });
    this.recordSequence();
  }

  recordSequence(): void {
    this.port.record({ kind: 'sequence', queue: this.path, sequence: this.lastSequence });
  }

  /** The holder left without settling: back in order, counts unchanged [E4]. */
  releaseSession(lane: Lane, holder: Holder, now: number): void {
    if (!this.sessions.isHeldBy(lane, holder)) return;
    this.endHold(lane, (locked) => this.giveBack(locked.entry, now));
    this.sessions.release(lane, now);
  }

  /** The lock ran out: what was in flight counts a delivery [E4]. */
  expireSession(lane: Lane, now: number): void {
    const { holder } = lane;
    if (!holder) return;
    this.endHold(lane, (locked) => this.countDelivery(locked, now));
    this.port.sessionLost(lane, holder);
    this.sessions.release(lane, now);
  }

  /** All messages go back before the session is offered, else a waiter would see a part. */
  private endHold(lane: Lane, giveBack: (locked: Locked) => void): void {
    for (const locked of [...(lane.locked?.values() ?? [])]) {
      this.unlock(locked);
      giveBack(locked);
    }
  }

  /** [SB 12.2] Deletes scheduled messages by their numbers, all or none. */
  cancelScheduled(sequences: readonly number[]): void {
    const found = [...new Set(sequences)].map((sequence) => {
      const entry = this.load(sequence);
      const lane = entry && this.laneOf(entry.sessionId);
      if (!entry || !lane?.scheduled?.has(sequence)) throw refusals.messageNotFound();
      return { lane, sequence, id: entry.id, size: entry.size };
    });
    for (const { lane, sequence, id, size } of found) {
      lane.scheduled?.remove(sequence);
      this.count('scheduled', -1, size);
      this.port.record({ kind: 'remove', id });
      this.sessions.forgetIdle(lane);
    }
  }

  /** Does what has fallen due, within bounds [E7]; returns when the next does, or Infinity. */
  tick(now: number): number {
    for (const lane of [...this.sessions.expired(now)]) this.expireSession(lane, now);
    if (!this.properties.requiresSession) {
      for (const locked of this.locks.values()) {
        if (locked.lockedUntil > now) break;
        this.abandon(locked, now);
      }
    }
    const touched = new Set<Lane>();
    for (let loads = 0; loads < turnLoadsMax; loads++) {
      const due = this.schedule.takeDue(now);
      const entry = due && this.load(due.sequence);
      if (!entry) break;
      touched.add(due.lane);
      if (due.lane.scheduled?.has(due.sequence)) this.activate(entry, due.lane, now);
      else this.expire(entry, due.lane, now);
    }
    for (const lane of touched) this.offer(lane, now);
    return this.dueAt();
  }

  /** [SB 12.1] Activation appends: a new number and a new enqueued time. */
  private activate(entry: Entry, lane: Lane, now: number): void {
    lane.scheduled?.remove(entry.sequence);
    this.count('scheduled', -1, entry.size);
    entry.scheduledAt = null;
    entry.enqueuedAt = now;
    entry.expiresAt = entry.ttlMs === null ? Infinity : now + entry.ttlMs;
    this.renumber(entry);
    this.publish([entry], now);
  }

  private dueAt(): number {
    const firstLock = this.properties.requiresSession
      ? this.sessions.dueAt()
      : this.locks.values().next().value?.lockedUntil;
    return Math.min(firstLock ?? Infinity, this.schedule.earliest());
  }
}
