// PURE. One queue (or dead-letter sub-queue): every decision about its messages.
//
// Owns:    sequence numbers, order, locks, settlement, delivery counts, expiry, schedule,
// duplicates.
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
import assert from 'node:assert';
import { refusals } from './conditions.ts';
import type { QueueProperties } from './config.ts';
import { Deadlines } from './deadlines.ts';
import { DuplicateWindow } from './duplicates.ts';
import type { EntityOptions, EntityPort, Prepared } from './entity-port.ts';
import { Lane } from './lane.ts';
import type { Entry, Holder, Locked } from './lane.ts';
import { deadLetterProperties, markScheduled } from './message.ts';
import type { ParsedMessage, Property } from './message.ts';
import { Schedule } from './schedule.ts';
import { Sessions } from './session.ts';

export class Entity {
  readonly path: string;
  properties!: QueueProperties;
  readonly deadLetters: Entity | undefined;
  readonly sessions: Sessions;
  /** The one lane of a queue without sessions. */
  readonly line = new Lane(null);
  readonly locks = new Map<number, Locked>();
  readonly counts = { active: 0, scheduled: 0 };
  lastSequence = 0;
  private readonly port: EntityPort;
  private lockMs = 0;
  private nextToken = 1;
  private duplicates: DuplicateWindow | undefined;
  readonly schedule = new Schedule();
  private readonly expiry: Deadlines<Entry>;

  constructor(options: EntityOptions) {
    this.path = options.path;
    this.port = options.port;
    this.deadLetters = options.deadLetters;
    this.sessions = new Sessions(0, {
      hasMessage: (lane, now) => this.head(lane, now) !== undefined,
      due: (at) => this.port.due(at),
    });
    this.expiry = new Deadlines((entry, at) => entry.place === 'ready' && entry.expiresAt === at);
    this.configure(options.properties);
  }

  /** Takes changed properties. Held locks keep their time; a shorter lock runs out behind them. */
  configure(properties: QueueProperties): void {
    this.properties = properties;
    this.lockMs = properties.lockDurationSeconds * 1000;
    this.sessions.lockMs = this.lockMs;
    const windowMs = (properties.duplicateDetectionSeconds ?? 0) * 1000;
    if (windowMs > 0) (this.duplicates ??= new DuplicateWindow(windowMs)).windowMs = windowMs;
  }

  /** Checks a send and gives numbers. All or nothing: throws a Refusal and changes nothing. */
  prepare(messages: readonly ParsedMessage[], now: number): Prepared {
    for (const message of messages) this.check(message);
    const prepared: Prepared = { entries: [], sequences: [] };
    for (const message of messages) {
      if (this.isDuplicate(message.messageId, now)) {
        prepared.sequences.push(0);
        continue;
      }
      const entry = this.number(message, now);
      prepared.entries.push(entry);
      prepared.sequences.push(entry.sequence);
      const kept = entry.scheduledAt === null ? message : markScheduled(message);
      this.port.record({ kind: 'add', queue: this.path, entry, message: kept });
    }
    if (prepared.entries.length > 0) this.recordSequence();
    return prepared;
  }

  private check(message: ParsedMessage): void {
    if (this.properties.requiresSession && message.sessionId === null) {
      throw refusals.sessionIdMissing();
    }
    if ((message.sessionId?.length ?? 0) > 128) throw refusals.tooLong('session id');
    if (message.messageId.length > 128) throw refusals.tooLong('message id');
  }

  /** [SB 12.5] By message id alone; the window runs from the first sight. */
  private isDuplicate(messageId: string, now: number): boolean {
    if (!this.duplicates) return false;
    if (this.duplicates.has(messageId, now)) return true;
    const expiresAt = this.duplicates.add(messageId, now);
    this.port.record({ kind: 'seen', queue: this.path, messageId, expiresAt });
    if (this.duplicates.forget(now)) {
      this.port.record({ kind: 'forget', queue: this.path, until: now });
    }
    return false;
  }

  private number(message: ParsedMessage, now: number): Entry {
    const sequence = ++this.lastSequence;
    const { defaultTimeToLiveSeconds = Infinity } = this.properties;
    const ttlMs = Math.min(message.ttlMs ?? Infinity, defaultTimeToLiveSeconds * 1000);
    const isScheduled = message.scheduledAt !== null && message.scheduledAt > now;
    return {
      id: this.port.nextId(),
      sequence,
      enqueuedSequence: message.enqueuedSequence ?? sequence,
      sessionId: message.sessionId,
      messageId: message.messageId,
      enqueuedAt: now,
      expiresAt: now + ttlMs,
      ttlMs: Number.isFinite(ttlMs) ? ttlMs : null,
      deliveryCount: 0,
      scheduledAt: isScheduled ? message.scheduledAt : null,
      deferred: false,
      source: message.source ?? null,
      size: message.bare.length + message.annotations.length,
      place: 'pending',
    };
  }

  /** Makes committed messages visible [E2]. */
  publish(entries: Iterable<Entry>, now: number): void {
    for (const entry of entries) {
      if (entry.scheduledAt === null) {
        this.counts.active++;
        this.makeReady(entry, now);
      } else {
        entry.place = 'scheduled';
        this.counts.scheduled++;
        this.schedule.add(entry, entry.scheduledAt);
        this.port.due(entry.scheduledAt);
      }
    }
  }

  /** Takes back what the store kept: messages, the last number, ids seen within the window. */
  restore(entries: Iterable<Entry>, now: number): void {
    for (const entry of entries) {
      this.lastSequence = Math.max(this.lastSequence, entry.sequence);
      if (!entry.deferred) this.publish([entry], now);
      else {
        this.counts.active++;
        this.putAside(entry);
      }
    }
  }

  restoreSeen(messageId: string, expiresAt: number): void {
    this.duplicates?.restore(messageId, expiresAt);
  }

  laneOf(sessionId: string | null): Lane {
    return this.properties.requiresSession ? this.sessions.lane(sessionId ?? '') : this.line;
  }

  /** The next message of a lane; expired ones in front of it are dealt with. */
  head(lane: Lane, now: number): Entry | undefined {
    for (let entry = lane.ready.first(); entry; entry = lane.ready.first()) {
      if (entry.expiresAt > now) return entry;
      this.expire(entry, lane, now);
    }
    return undefined;
  }

  /** Locks the head of a lane for its holder. */
  lock(lane: Lane, entry: Entry, now: number): Locked {
    if (entry.place === 'deferred') lane.deferred.delete(entry.sequence);
    else lane.ready.remove(entry);
    entry.place = 'locked';
    const lockedUntil = this.properties.requiresSession ? lane.lockedUntil : now + this.lockMs;
    const locked = { token: this.nextToken++, entry, lane, lockedUntil, isLive: true };
    lane.locked.set(locked.token, locked);
    this.locks.set(locked.token, locked);
    if (!this.properties.requiresSession) this.port.due(lockedUntil);
    return locked;
  }

  /** receiveAndDelete: the message leaves the queue before it is delivered. */
  take(lane: Lane, entry: Entry): void {
    if (entry.place === 'deferred') lane.deferred.delete(entry.sequence);
    else lane.ready.remove(entry);
    this.remove(entry);
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

  abandon(locked: Locked, now: number, properties: readonly Property[] = []): void {
    this.unlock(locked);
    this.countDelivery(locked, now, properties);
  }

  /** [SB 12.6] Out of the line until somebody asks for it by its number. */
  defer(locked: Locked, properties: readonly Property[] = []): void {
    this.unlock(locked);
    const { entry } = locked;
    if (this.deadLetters) entry.deliveryCount++; // [E4]
    entry.deferred = true;
    this.putAside(entry);
    this.port.record({ kind: 'update', queue: this.path, entry, properties });
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
    locked.lane.locked.delete(locked.token);
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
    this.port.record({ kind: 'update', queue: this.path, entry, properties });
    this.giveBack(entry, now);
  }

  private giveBack(entry: Entry, now: number): void {
    if (entry.deferred) this.putAside(entry);
    else this.makeReady(entry, now);
  }

  private putAside(entry: Entry): void {
    entry.place = 'deferred';
    this.laneOf(entry.sessionId).deferred.set(entry.sequence, entry);
  }

  private makeReady(entry: Entry, now: number): void {
    const lane = this.laneOf(entry.sessionId);
    if (entry.expiresAt <= now) {
      this.expire(entry, lane, now);
      return;
    }
    entry.place = 'ready';
    lane.ready.insert(entry);
    if (Number.isFinite(entry.expiresAt)) {
      this.expiry.add(entry.expiresAt, entry);
      this.port.due(entry.expiresAt);
    }
    if (this.properties.requiresSession && !lane.holder) this.sessions.offer(lane, now);
    else this.port.wake(lane);
  }

  private expire(entry: Entry, lane: Lane, now: number): void {
    lane.ready.remove(entry);
    if (this.deadLetters && this.properties.deadLetterOnExpiration) {
      const text = 'The message expired and was dead lettered.';
      this.bury(entry, now, deadLetterProperties('TTLExpiredException', text));
    } else this.remove(entry);
  }

  private remove(entry: Entry): void {
    entry.place = 'gone';
    this.counts.active--;
    this.port.record({ kind: 'remove', id: entry.id });
  }

  /** [SB 10.5] A new number in the dead-letter queue, the old one kept; no expiry there. */
  private bury(entry: Entry, now: number, properties: readonly Property[]): void {
    const target = this.deadLetters;
    assert.ok(target, 'a dead-letter queue never dead-letters');
    this.counts.active--;
    entry.source ??= this.path;
    entry.sequence = ++target.lastSequence;
    entry.expiresAt = Infinity;
    entry.deferred = false;
    this.port.record({ kind: 'update', queue: target.path, entry, properties });
    target.recordSequence();
    target.publish([entry], now);
  }

  private recordSequence(): void {
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
    const locks = [...lane.locked.values()];
    for (const locked of locks) {
      this.unlock(locked);
      giveBack(locked);
    }
  }

  /** [SB 12.2] Deletes scheduled messages by their numbers, all or none. */
  cancelScheduled(sequences: readonly number[]): void {
    const entries = sequences.map((sequence) => {
      const entry = this.schedule.find(sequence);
      if (!entry) throw refusals.messageNotFound();
      return entry;
    });
    for (const entry of entries) {
      if (!this.schedule.remove(entry)) continue;
      this.counts.scheduled--;
      entry.place = 'gone';
      this.port.record({ kind: 'remove', id: entry.id });
    }
  }

  /** Does what has fallen due; returns when the next thing does. */
  tick(now: number): number | undefined {
    for (const lane of [...this.sessions.expired(now)]) this.expireSession(lane, now);
    if (!this.properties.requiresSession) {
      for (const locked of this.locks.values()) {
        if (locked.lockedUntil > now) break;
        this.unlock(locked);
        this.countDelivery(locked, now);
      }
    }
    for (let entry = this.schedule.takeDue(now); entry; entry = this.schedule.takeDue(now)) {
      this.activate(entry, now);
    }
    for (let entry = this.expiry.takeDue(now); entry; entry = this.expiry.takeDue(now)) {
      this.expire(entry, this.laneOf(entry.sessionId), now);
    }
    return this.dueAt();
  }

  /** [SB 12.1] Activation appends: a new number and a new enqueued time. */
  private activate(entry: Entry, now: number): void {
    this.counts.scheduled--;
    entry.sequence = ++this.lastSequence;
    entry.enqueuedAt = now;
    entry.expiresAt = entry.ttlMs === null ? Infinity : now + entry.ttlMs;
    this.port.record({ kind: 'update', queue: this.path, entry });
    this.recordSequence();
    this.publish([entry], now);
  }

  private dueAt(): number | undefined {
    const firstLock = this.properties.requiresSession
      ? this.sessions.dueAt()
      : this.locks.values().next().value?.lockedUntil;
    const instants = [firstLock, this.schedule.earliest(), this.expiry.earliest()];
    const earliest = Math.min(...instants.map((at) => at ?? Infinity));
    return Number.isFinite(earliest) ? earliest : undefined;
  }
}
