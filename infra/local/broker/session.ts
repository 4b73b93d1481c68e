// PURE. Who holds which session.
//
// Owns:    session locks, the line of available sessions, the line of receivers that wait for one.
// Leaves:  what happens to the messages of a lost session to entity.ts; time is handed in.
//
// Invariants:
//   S1. At most one holder per session [SB 4.11].
//   S2. A session is offered to at most one waiter, and never to one that has gone [SB 4.7, 4.8].
//   S3. `held` is in order of expiry: every lock lasts equally long and a renewal moves to the end.
import { refusals } from './conditions.ts';
import { Lane } from './lane.ts';
import type { Holder } from './lane.ts';

/** A receiver that waits for the next available session. */
export interface Waiter {
  readonly holder: Holder;
  /** Called at most once; the session is locked already. */
  granted(lane: Lane): void;
  isGone: boolean;
}

/** What the sessions ask of their queue. */
export interface SessionPort {
  /** Whether a lane has a deliverable message now (drops what has expired). */
  hasMessage(lane: Lane, now: number): boolean;
  /** A lock runs out at this instant unless it is renewed. */
  due(at: number): void;
}

/** A first-in first-out line that drops its consumed front now and then. */
class Line<T> {
  private items: T[] = [];
  private head = 0;

  push(item: T): void {
    this.items.push(item);
  }

  shift(): T | undefined {
    const item = this.items[this.head];
    if (this.head < this.items.length) this.head++;
    if (this.head > 256 && this.head * 2 > this.items.length) {
      this.items = this.items.slice(this.head);
      this.head = 0;
    }
    return item;
  }

  get length(): number {
    return this.items.length - this.head;
  }

  /** Drops what the predicate refuses. */
  keep(predicate: (item: T) => boolean): void {
    this.items = this.items.slice(this.head).filter(predicate);
    this.head = 0;
  }
}

export class Sessions {
  private readonly lanes = new Map<string, Lane>();
  private readonly held = new Map<Lane, true>();
  private readonly available = new Line<Lane>();
  private readonly waiters = new Line<Waiter>();
  private goneWaiters = 0;
  /** Lanes in the line that have run empty meanwhile, at most. */
  private emptyAvailable = 0;
  lockMs: number;
  private readonly port: SessionPort;

  constructor(lockMs: number, port: SessionPort) {
    this.lockMs = lockMs;
    this.port = port;
  }

  lane(sessionId: string): Lane {
    let lane = this.lanes.get(sessionId);
    if (!lane) this.lanes.set(sessionId, (lane = new Lane(sessionId)));
    return lane;
  }

  find(sessionId: string): Lane | undefined {
    return this.lanes.get(sessionId);
  }

  all(): Iterable<Lane> {
    return this.lanes.values();
  }

  /** [SB 4.5] An empty session can be accepted by name; a held one cannot. */
  acceptNamed(sessionId: string, holder: Holder, now: number): Lane {
    const lane = this.lane(sessionId);
    if (lane.holder) throw refusals.sessionCannotBeLocked(sessionId);
    this.lock(lane, holder, now);
    return lane;
  }

  /** The next available session goes to the waiter now, or when there is one. */
  acceptNext(waiter: Waiter, now: number): void {
    for (let lane = this.available.shift(); lane; lane = this.available.shift()) {
      lane.isQueued = false;
      if (lane.holder || !this.port.hasMessage(lane, now)) {
        this.forgetIdle(lane);
        continue;
      }
      this.lock(lane, waiter.holder, now);
      waiter.granted(lane);
      return;
    }
    this.waiters.push(waiter);
  }

  /** The waiter timed out or its link is gone [S2]. */
  stopWaiting(waiter: Waiter): void {
    if (waiter.isGone) return;
    waiter.isGone = true;
    if (++this.goneWaiters > 256) {
      this.waiters.keep((other) => !other.isGone);
      this.goneWaiters = 0;
    }
  }

  /** After a restart: every lane with messages stands in the line; nobody waits yet. */
  restore(): void {
    for (const lane of this.lanes.values()) if (lane.ready.length > 0) this.putInLine(lane);
  }

  /** Whatever kept messages from being delivered is over. */
  offerAll(now: number): void {
    for (const lane of this.lanes.values()) if (lane.ready.length > 0) this.offer(lane, now);
  }

  /** A lane got or lost messages, or its holder: give it to a waiter or put it in the line. */
  offer(lane: Lane, now: number): void {
    if (lane.holder || (lane.isQueued && lane.ready.length > 0)) return;
    if (!this.port.hasMessage(lane, now)) {
      this.dropEmpty(lane);
      return;
    }
    for (let waiter = this.waiters.shift(); waiter; waiter = this.waiters.shift()) {
      if (waiter.isGone) continue;
      // A served waiter has left the line: a later stopWaiting must not count it again.
      waiter.isGone = true;
      this.lock(lane, waiter.holder, now);
      waiter.granted(lane);
      return;
    }
    this.putInLine(lane);
  }

  private putInLine(lane: Lane): void {
    lane.isQueued = true;
    this.available.push(lane);
  }

  /** Sessions that are served by name never reach the front of the line: swept now and then. */
  private dropEmpty(lane: Lane): void {
    if (!lane.isQueued) return this.forgetIdle(lane);
    if (++this.emptyAvailable < 256 + this.available.length / 2) return;
    this.emptyAvailable = 0;
    this.available.keep((other) => {
      other.isQueued = other.ready.length > 0;
      if (!other.isQueued) this.forgetIdle(other);
      return other.isQueued;
    });
  }

  isHeldBy(lane: Lane | undefined, holder: Holder | undefined): lane is Lane {
    return lane !== undefined && holder !== undefined && lane.holder === holder;
  }

  /** [SB 11] Renewal counts from now. */
  renew(lane: Lane, now: number): number {
    lane.lockedUntil = now + this.lockMs;
    this.held.delete(lane);
    this.held.set(lane, true);
    this.port.due(lane.lockedUntil);
    return lane.lockedUntil;
  }

  /** The holder has gone or lost its lock; the messages are the caller's business. */
  release(lane: Lane, now: number): void {
    lane.holder = undefined;
    this.held.delete(lane);
    this.offer(lane, now);
  }

  /** Sessions whose lock has run out. */
  *expired(now: number): Generator<Lane> {
    for (const lane of this.held.keys()) {
      if (lane.lockedUntil > now) return;
      yield lane;
    }
  }

  dueAt(): number | undefined {
    return this.held.keys().next().value?.lockedUntil;
  }

  forgetIdle(lane: Lane): void {
    if (lane.isIdle && lane.sessionId !== null) this.lanes.delete(lane.sessionId);
  }

  private lock(lane: Lane, holder: Holder, now: number): void {
    lane.holder = holder;
    this.renew(lane, now);
  }
}
