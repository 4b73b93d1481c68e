// PURE. The roll-up of one window across keys (H13): every transition of its head. The engine, the
// tests and the simulation of interleavings drive these same functions.
//
// A closed window of a key is one *contribution*; the *head* says what became of all of them. They
// live in one partition and are written one by one: no batch, so the order of writes is the proof.
//
//   contributor: contribution, then read the head; if that is not open, mark it dirty.
//   publisher:   head → closing, then scan, then seal, then publish, then head → published.
//
// Either the contributor sees that the head is no longer open, or the scan sees the contribution.
//
// Invariants (assertRollUp; tests cite them):
//   R1  published <= revision, and both only rise.
//   R2  a revision is sealed with the digest of its content: one revision never has two contents.
//   R3  an open head is never dirty and has no revision yet.
//   R4  a head rests (dueAt null) only when it is published and not dirty.
//   R5  every closing write raises `attempt`: an attempt that was overtaken sees it and stops.
import assert from 'node:assert/strict';
import type { Aggregate, WindowValue } from './state.ts';
import { join } from './window.ts';

export type RollUpPhase = 'open' | 'closing' | 'published';

export interface RollUpWindow {
  convoy: string;
  window: string;
  /** Epoch milliseconds, end exclusive. */
  start: number;
  end: number;
}

/** What all contributions of a window come to. */
export interface RollUpTotals {
  keys: number;
  count: number;
  sum: WindowValue;
  min: WindowValue;
  max: WindowValue;
}

export interface RollUpHead extends RollUpWindow {
  phase: RollUpPhase;
  /** A contribution came when the head was not open: there will be one more revision. */
  dirty: boolean;
  attempt: number;
  /** The last sealed revision, counted from 0; -1 before the first. */
  revision: number;
  digest: string;
  /** The last revision that was published whole; -1 before the first. */
  published: number;
  publishedAt: number | null;
  totals: RollUpTotals | null;
  parts: number;
  /** When a publisher has to look at it; null = at rest. */
  dueAt: number | null;
  /** First contribution. From `createdAt + keepMs` on some of them may have expired. */
  createdAt: number;
  keepMs: number;
  /** Contributions that came too late to be rolled up. */
  missed: number;
}

export type ContributeStep =
  /** Nothing to write: the next scan finds the contribution anyway. */
  { kind: 'none' } | { kind: 'create' | 'replace'; head: RollUpHead };

/** What a contributor does after its contribution is written and the head is read. */
export function contribute(
  head: RollUpHead | undefined,
  window: RollUpWindow,
  timing: { now: number; delayMs: number; keepMs: number },
): ContributeStep {
  const { now, delayMs, keepMs } = timing;
  if (head === undefined) {
    // Past windows (a stream that is replayed) wait for the other keys just as present ones do.
    const dueAt = Math.max(now, window.end) + delayMs;
    return { kind: 'create', head: { ...initialHead(window, now), dueAt, keepMs } };
  }
  if (isForgotten(head, now)) {
    return { kind: 'replace', head: { ...head, missed: head.missed + 1 } };
  }
  if (head.phase === 'open' || head.dirty) return { kind: 'none' };
  // While closing, the publisher's own write decides when the next revision is due.
  const dueAt = head.phase === 'closing' ? head.dueAt : now + delayMs;
  return { kind: 'replace', head: { ...head, dirty: true, dueAt } };
}

function initialHead(window: RollUpWindow, now: number): RollUpHead {
  const { convoy, window: name, start, end } = window;
  return {
    ...{ convoy, window: name, start, end },
    phase: 'open',
    dirty: false,
    attempt: 0,
    revision: -1,
    digest: '',
    published: -1,
    publishedAt: null,
    totals: null,
    parts: 0,
    dueAt: now,
    createdAt: now,
    keepMs: 0,
    missed: 0,
  };
}

/** Contributions live for twice `keepMs`. What was published is amended only while all of them are
 *  certain to be there; a first revision has the whole time, in case no publisher ran. */
export function isForgotten(head: RollUpHead, now: number): boolean {
  const keptMs = head.published >= 0 ? head.keepMs : 2 * head.keepMs;
  return now >= head.createdAt + keptMs;
}

/** Nothing more can be published of it. */
export function forget(head: RollUpHead): RollUpHead {
  const missed = Math.max(1, head.missed);
  return { ...head, phase: 'published', dirty: false, dueAt: null, missed };
}

/** [R5] Before the scan. An attempt that dies is repeated when `now + repeatAfterMs` has passed. */
export function close(head: RollUpHead, now: number, repeatAfterMs: number): RollUpHead {
  assert.ok(head.dueAt !== null && head.dueAt <= now, 'H13: closes only what is due');
  const attempt = head.attempt + 1;
  return { ...head, phase: 'closing', dirty: false, attempt, dueAt: now + repeatAfterMs };
}

/** [R2] After the scan: the same content keeps its revision, any other one gets the next. */
export function seal(head: RollUpHead, digest: string): RollUpHead {
  assert.equal(head.phase, 'closing', 'H13: seals only while closing');
  return digest === head.digest ? head : { ...head, revision: head.revision + 1, digest };
}

/** Whether a sealed head has anything that is not published yet. */
export function hasNews(head: RollUpHead): boolean {
  return head.revision > head.published;
}

/** After the last part was accepted, or at once when there was no news. */
export function publish(
  head: RollUpHead,
  content: { totals: RollUpTotals; parts: number },
  timing: { now: number; delayMs: number },
): RollUpHead {
  assert.equal(head.phase, 'closing', 'H13: publishes only what it closed');
  const { now, delayMs } = timing;
  const publishedAt = hasNews(head) ? now : head.publishedAt;
  return {
    ...head,
    ...content,
    phase: 'published',
    published: head.revision,
    publishedAt,
    dueAt: head.dirty ? now + delayMs : null,
  };
}

/** Adds one key to the totals. */
export function addKey(totals: RollUpTotals | undefined, key: Aggregate): RollUpTotals {
  const { first, last } = key;
  const { count, sum, min, max } = totals ? join({ ...totals, first, last }, key) : key;
  return { keys: (totals?.keys ?? 0) + 1, count, sum, min, max };
}

/** Throws when a head breaks an invariant. */
export function assertRollUp(head: RollUpHead): void {
  assert.ok(head.published <= head.revision, 'R1: nothing is published that was not sealed');
  if (head.phase === 'open') {
    assert.ok(!head.dirty && head.revision === -1, 'R3: an open head is untouched');
  }
  const rests = head.phase === 'published' && !head.dirty;
  assert.equal(head.dueAt === null, rests, 'R4: rests only when published and clean');
}
