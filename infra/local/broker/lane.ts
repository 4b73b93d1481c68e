// PURE. A lane is one ordered line of messages: a session, or the whole of a queue without
// sessions.
//
// Invariants:
//   L1. Ready messages stand in sequence order; a returned message goes back to its own place, so
//       it precedes every higher undelivered one [SB 9.2].
//   L2. A message is in exactly one place: pending (not committed yet), ready, locked, deferred,
//       scheduled or gone.

/** A message as the queue knows it; its body stays in the store. */
export interface Entry {
  readonly id: number;
  sequence: number;
  enqueuedSequence: number;
  readonly sessionId: string | null;
  readonly messageId: string;
  enqueuedAt: number;
  /** Infinity when the message never expires. */
  expiresAt: number;
  ttlMs: number | null;
  deliveryCount: number;
  /** Set while the message waits for its instant. */
  scheduledAt: number | null;
  deferred: boolean;
  /** The queue it was dead-lettered from. */
  source: string | null;
  readonly size: number;
  place: 'pending' | 'ready' | 'locked' | 'deferred' | 'scheduled' | 'gone';
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

/** Entries in sequence order with a cheap front: consumed from the head, mostly appended. */
export class SequenceList {
  private entries: (Entry | undefined)[] = [];
  private head = 0;

  get length(): number {
    return this.entries.length - this.head;
  }

  first(): Entry | undefined {
    return this.entries[this.head];
  }

  insert(entry: Entry): void {
    const last = this.entries[this.entries.length - 1];
    if (this.length === 0 || (last && last.sequence < entry.sequence)) {
      this.entries.push(entry);
      return;
    }
    const at = this.placeOf(entry.sequence);
    if (at === this.head && this.head > 0) this.entries[--this.head] = entry;
    else this.entries.splice(at, 0, entry);
  }

  remove(entry: Entry): void {
    const at = this.placeOf(entry.sequence);
    if (this.entries[at] !== entry) return;
    if (at === this.head) {
      this.entries[this.head++] = undefined;
      if (this.head > 256 && this.head * 2 > this.entries.length) {
        this.entries = this.entries.slice(this.head);
        this.head = 0;
      }
    } else this.entries.splice(at, 1);
  }

  *[Symbol.iterator](): Generator<Entry> {
    for (let at = this.head; at < this.entries.length; at++) {
      const entry = this.entries[at];
      if (entry) yield entry;
    }
  }

  /** The first index at or behind the head whose sequence is not lower. */
  private placeOf(sequence: number): number {
    let low = this.head;
    let high = this.entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.entries[middle]?.sequence ?? 0) < sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export class Lane {
  readonly sessionId: string | null;
  readonly ready = new SequenceList();
  readonly deferred = new Map<number, Entry>();
  readonly locked = new Map<number, Locked>();
  /** Who holds the session; undefined on a queue without sessions. */
  holder: Holder | undefined;
  lockedUntil = 0;
  /** Whether the lane already stands in the line of available sessions. */
  isQueued = false;

  constructor(sessionId: string | null) {
    this.sessionId = sessionId;
  }

  /** Nothing left to remember: the lane may be dropped. */
  get isIdle(): boolean {
    return (
      this.holder === undefined &&
      !this.isQueued &&
      this.ready.length === 0 &&
      this.deferred.size === 0 &&
      this.locked.size === 0
    );
  }
}
