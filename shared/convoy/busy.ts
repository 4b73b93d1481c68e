// PURE. How long a key has had no pause, and where its time went: what a hot key is known by.
//
// Owns:    since when a key is busy, and what its drains measured meanwhile. Both ride along with
//          writes that happen anyway: no further round trip, and right with any number of
//          instances, because every write of `gate` and `progress` carries If-Match.
// Leaves:  what follows from it to hot.ts.
//
//   B1. A key has a pause when its instance has nothing to do and its queue had nothing either: the
//       admission that finds it idle or waiting begins a new busy time, unless its message was
//       already in the queue when the one before was admitted. Decided under If-Match of the gate.
//   B2. What is measured begins when a key has been busy for `measuredAfterMs`: keys with pauses
//       pay no byte for it.
//   B3. What is long past counts less: beyond `rememberedMs` everything measured is halved.
import type { Gate } from './state.ts';

/** Since when there was no pause, and the last position admitted before that. */
export interface Busy {
  since: number;
  position: number;
  /** How long the last admitted message had waited in the queue. */
  queuedMs: number;
}

/** Milliseconds by what a drain spent them on; request units of its batches. */
export interface Spent {
  /** In `apply` and `effect`, with the settling around them. */
  handlerMs: number;
  /** Waiting for the store. */
  storeMs: number;
  /** Waiting for the output queue. */
  publishMs: number;
  requestUnits: number;
}

/** What the drains of a busy key measured: commit by commit, written with the next one. */
export interface Work extends Spent {
  /** The `since` of the busy time it belongs to. */
  busySince: number;
  /** Measured from here on. */
  since: number;
  /** Settled meanwhile. */
  messages: number;
  /** The log has been told that the key is hot: once in a busy time. */
  isTold: boolean;
}

export const noneSpent: Spent = { handlerMs: 0, storeMs: 0, publishMs: 0, requestUnits: 0 };

/** A key that has been busy for so long is hot. */
export const hotAfterMs = 30_000;
const measuredAfterMs = 5_000;
const rememberedMs = 600_000;
/** Waiting for longer than this since the last admission is a pause: the queue is empty. */
const pauseMs = 2_000;

/** [B1] After an admission. */
export function busyAfterAdmit(
  before: Gate,
  { at, enqueuedAt = at }: { at: number; enqueuedAt?: number },
): Busy | undefined {
  if (before.phase === 'held') return undefined;
  const hasNothingToDo = before.phase === 'idle' || before.waiting;
  const wasQueued = enqueuedAt < (before.lastAdmittedAt ?? 0);
  const { busy } = before;
  const queuedMs = Math.max(0, at - enqueuedAt);
  if (busy === undefined || (hasNothingToDo && !wasQueued))
    return { since: at, position: before.tail, queuedMs };
  return { ...busy, queuedMs };
}

/** Whether the key has had no pause for so long. */
export function isHot(busy: Busy | undefined, now: number): busy is Busy {
  return busy !== undefined && now - busy.since >= hotAfterMs;
}

/** [B1] The instance waits, and nothing has come for a while. */
export function hasPause({ waiting, lastAdmittedAt }: Gate, now: number): boolean {
  return waiting && now - (lastAdmittedAt ?? 0) > pauseMs;
}

/** [B2] [B3] With the next commit; null while the key is not busy for long. */
export function workAfter(
  before: Work | null,
  commit: { busy: Busy | undefined; spent: Spent; messages: number; holds: boolean; now: number },
): Work | null {
  const { busy, spent, now } = commit;
  if (busy === undefined || now - busy.since < measuredAfterMs) return null;
  const tells = isHot(busy, now) && !commit.holds;
  if (before?.busySince !== busy.since) {
    const { since: busySince } = busy;
    return { ...noneSpent, busySince, since: now, messages: 0, isTold: tells };
  }
  const sum: Work = {
    ...before,
    messages: before.messages + commit.messages,
    handlerMs: before.handlerMs + spent.handlerMs,
    storeMs: before.storeMs + spent.storeMs,
    publishMs: before.publishMs + spent.publishMs,
    requestUnits: Math.round(before.requestUnits + spent.requestUnits),
    isTold: before.isTold || tells,
  };
  return now - sum.since <= rememberedMs ? sum : halved(sum, now);
}

/** The commit that notes that a key is hot: the one that tells the log. */
export function tellsFirst(before: Work | null, after: Work | null): boolean {
  if (after === null || !after.isTold) return false;
  return before?.busySince !== after.busySince || !before.isTold;
}

function halved(work: Work, now: number): Work {
  const half = (value: number): number => Math.round(value / 2);
  return {
    ...work,
    since: now - half(now - work.since),
    messages: half(work.messages),
    handlerMs: half(work.handlerMs),
    storeMs: half(work.storeMs),
    publishMs: half(work.publishMs),
    requestUnits: half(work.requestUnits),
  };
}
