// PURE. A lane is one ordered line of messages: a session, or the whole of a queue without
// sessions. A waiting message is a number here; its facts and bytes lie in the store and are read
// when its turn comes, so a lane of a million messages costs some megabytes.
//
// Invariants:
//   L1. Ready messages stand in sequence order; a returned message goes back to its own place, so
//       it precedes every higher undelivered one [SB 9.2].
//   L2. A message is in exactly one place: pending (not committed yet, in no lane), ready, locked,
//       deferred, scheduled or gone.
import { SequenceList } from './sequence-list.ts';

/** A message as the queue knows it; its body stays in the store. */
export interface Entry {
  /** Its key in the store: it follows the queue and the sequence number. */
  id: number;
  sequence: number;
  readonly enqueuedSequence: number;
  readonly sessionId: string | null;
  readonly messageId: string;
  enqueuedAt: number;
  /** Infinity when the message never expires. */
  expiresAt: number;
  readonly ttlMs: number | null;
  deliveryCount: number;
  /** Set while the message waits for its instant. */
  scheduledAt: number | null;
  deferred: boolean;
  /** The queue it was dead-lettered from. */
  source: string | null;
  readonly size: number;
}

/** Who receives; compared by identity only. */
export type Holder = object;

/** A delivered, unsettled message. */
export interface Locked {
  readonly token: number;
  readonly entry: Entry;
  readonly lane: Lane;
  /** Only meaningful without sessions; a session's messages share the lock of the session. */
  lockedUntil: number;
  isLive: boolean;
}

/** What most of a hundred thousand idle sessions never have is made when it is needed. */
export class Lane {
  readonly sessionId: string | null;
  readonly ready = new SequenceList();
  deferred: SequenceList | undefined = undefined;
  scheduled: SequenceList | undefined = undefined;
  locked: Map<number, Locked> | undefined = undefined;
  /** Who holds the session; undefined on a queue without sessions. */
  holder: Holder | undefined = undefined;
  lockedUntil = 0;
  /** Whether the lane already stands in the line of available sessions. */
  isQueued = false;

  constructor(sessionId: string | null) {
    this.sessionId = sessionId;
  }

  /** Messages that a receiver could get; scheduled ones do not count. */
  get length(): number {
    return this.ready.length + (this.deferred?.length ?? 0) + (this.locked?.size ?? 0);
  }

  /** Nothing left to remember: the lane may be dropped. */
  get isIdle(): boolean {
    const isEmpty = this.length === 0 && (this.scheduled?.length ?? 0) === 0;
    return isEmpty && this.holder === undefined && !this.isQueued;
  }

  /** The numbers of all its messages that are not below `from`, in order, at most `count`. */
  sequences(from: number, count: number): number[] {
    const found: number[] = [];
    for (const list of [this.ready, this.deferred, this.scheduled]) {
      let taken = 0;
      for (const sequence of list?.since(from) ?? []) {
        if (taken++ >= count) break;
        found.push(sequence);
      }
    }
    for (const { entry } of this.locked?.values() ?? []) {
      if (entry.sequence >= from) found.push(entry.sequence);
    }
    return found.sort((a, b) => a - b).slice(0, count);
  }
}
