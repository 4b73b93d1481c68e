// PURE. The hand-off between senders, instances, sweeper and operators (DESIGN §4): every
// transition of `gate`, and of `progress` where both move together. The simulation, the model check
// and the engine drive these same functions.
//
// Owns:    which transition is legal and what both items are afterwards.
// Leaves:  the batch with If-Match to the engine; a lost race is a 412 there, never a decision
// here.
//
// Invariants (assertHandoff; tests cite them by rule):
//   H1  admit moves tail by exactly one; from idle it opens epoch + 1.
//   H3  an epoch number is never used twice: epochs only rise.
//   H4  one wake per wait.
//   H5  while the gate is active, progress.epoch = gate.epoch.
//   H6  closing and resting move the fence: progress.epoch > gate.epoch unless active.
//   H8  a held gate carries hold and cursor; admits only append to it.
//
// Lanes of a split key hand over from generation to generation:
//   L3  a new lane begins held and settles nothing before every older lane is retired.
//   L4  a lane retires drained and once; what is admitted behind its tail came too late.
import assert from 'node:assert/strict';
import { busyAfterAdmit } from './busy.ts';
import {
  type Gate,
  type Hold,
  type LanePlace,
  type Progress,
  initialGate,
  initialProgress,
  noHold,
} from './state.ts';

export interface AdmitInput {
  messageId: string;
  at: number;
  /** When the broker took the message. */
  enqueuedAt?: number;
  sequence: number | null;
  /** The key is a new lane: its first admit creates it behind its fence, to be opened then. */
  fencedUntil?: number;
}

export interface AdmitStep {
  gate: Gate;
  position: number;
  /** The gate did not exist: gate and progress are created. */
  created: boolean;
  /** The admit opened an epoch: H2 has to start its instance. */
  opened: boolean;
  /** [H4] This admit found the instance waiting and raises the one wake. */
  wake: boolean;
}

/** [H1] Appends one message. Total: it is legal in every phase. */
export function admit(gate: Gate | undefined, input: AdmitInput): AdmitStep {
  const before = gate ?? (input.fencedUntil === undefined ? initialGate() : fencedGate(input));
  const opened = before.phase === 'idle';
  const after: Gate = {
    ...before,
    phase: opened ? 'active' : before.phase,
    epoch: opened ? before.epoch + 1 : before.epoch,
    tail: before.tail + 1,
    waiting: false,
    dueAt: opened ? null : before.dueAt,
    lastMessageId: input.messageId,
    lastAdmittedAt: input.at,
    sequence: input.sequence,
    busy: busyAfterAdmit(before, input),
    writtenAt: input.at,
  };
  const wake = before.phase === 'active' && before.waiting;
  return { gate: after, position: after.tail, created: gate === undefined, opened, wake };
}

/** [H3] Whether an instance of `epoch` may act at all. */
export function isCurrent(gate: Gate, progress: Progress, epoch: number): boolean {
  return gate.phase === 'active' && gate.epoch === epoch && progress.epoch === epoch;
}

/** [H4] Announces a wait. Legal only without backlog, else a message would wait for the linger. */
export function wait(gate: Gate, progress: Progress, at: number): Gate {
  assert.equal(progress.cursor, gate.tail, 'H4: waits only without backlog');
  assert.equal(gate.phase, 'active', 'H4: only an active gate waits');
  return { ...gate, waiting: true, writtenAt: at };
}

/** [H11] Whether outputs may still lie in the outbox. */
export function outputsPending(gate: Gate, progress: Progress): boolean {
  return progress.outputCommits > gate.publishedCommits;
}

/** [H6] Cursor = tail, hold none, outbox empty. */
export function mayClose(gate: Gate, progress: Progress): boolean {
  const isDrained = progress.cursor === gate.tail && progress.healing.length === 0;
  return isDrained && progress.hold.kind === 'none' && !outputsPending(gate, progress);
}

/** [H6] Gate idle, fence moved past the epoch that closes. `dueAt` wakes the key for its
 *  windows. */
export function close(
  gate: Gate,
  progress: Progress,
  options: { at: number; dueAt: number | null },
): { gate: Gate; progress: Progress } {
  assert.ok(
    mayClose(gate, progress),
    'H6: closes only with cursor = tail, no hold, nothing to publish',
  );
  assert.equal(gate.phase, 'active', 'H6: only an active gate closes');
  const { at: writtenAt, dueAt } = options;
  return {
    gate: { ...gate, phase: 'idle', waiting: false, dueAt, writtenAt },
    progress: { ...progress, epoch: gate.epoch + 1, writtenAt },
  };
}

/** [H8] Blocked and paused are not waited out: the instance ends, the gate shows why. */
export function rest(
  gate: Gate,
  progress: Progress,
  at: number,
): { gate: Gate; progress: Progress } {
  assert.ok(
    progress.hold.kind === 'blocked' || progress.hold.kind === 'paused',
    'H8: needs a hold',
  );
  assert.equal(gate.phase, 'active', 'H8: only an active gate rests');
  return {
    gate: {
      ...gate,
      phase: 'held',
      waiting: false,
      busy: undefined,
      hold: progress.hold,
      cursor: progress.cursor,
      writtenAt: at,
    },
    progress: { ...progress, epoch: gate.epoch + 1, writtenAt: at },
  };
}

/** [H8, H9] Opens a new epoch on both items; the sweeper keeps the hold, an operator changes it. */
export function reopen(
  gate: Gate,
  progress: Progress,
  options: { at: number; hold?: Hold },
): { gate: Gate; progress: Progress } {
  const epoch = Math.max(gate.epoch, progress.epoch) + 1;
  const isBehind = progress.cursor < gate.tail;
  return {
    gate: {
      ...gate,
      phase: 'active',
      epoch,
      waiting: false,
      dueAt: null,
      hold: noHold,
      cursor: null,
      busy: isBehind ? { since: options.at, position: progress.cursor, queuedMs: 0 } : undefined,
      writtenAt: options.at,
    },
    progress: { ...progress, epoch, hold: options.hold ?? progress.hold, writtenAt: options.at },
  };
}

/** The hold of a lane that was not opened yet. */
export function fenceHold(since: number): Hold {
  const reason = 'the older lanes of the key are not all drained';
  return { kind: 'paused', code: 'CVY_LANE_FENCE', reason, since };
}

export function isFenced({ phase, hold }: Gate): boolean {
  return phase === 'held' && hold.code === 'CVY_LANE_FENCE';
}

/** [L3] As rest() leaves a gate, so that H8 holds from the first message on. */
function fencedGate({ at, fencedUntil = at }: AdmitInput): Gate {
  const hold = fenceHold(at);
  return { ...initialGate(), phase: 'held', hold, cursor: 0, dueAt: fencedUntil };
}

/** [L3] The progress beside a new gate; `lane` only in the lanes of a split key. */
export function firstProgress(
  definition: { initialState: unknown; version: number } | undefined,
  at: number,
  lane?: LanePlace,
): Progress {
  const progress = initialProgress(definition?.initialState ?? null, at, definition?.version);
  return lane === undefined ? progress : { ...progress, lane, hold: fenceHold(at) };
}

/** [L3] A fenced lane that cannot open yet is looked at again then; only its gate is written. */
export function postpone(gate: Gate, dueAt: number): Gate {
  assert.ok(isFenced(gate), 'L3: only a fenced lane is postponed');
  return { ...gate, dueAt };
}

/** [L3] Legal only after every older lane has retired. */
export function openLane(
  gate: Gate,
  progress: Progress,
  at: number,
): { gate: Gate; progress: Progress } {
  assert.ok(isFenced(gate), 'L3: a lane opens once');
  const opened = reopen(gate, progress, { at, hold: noHold });
  return { gate: opened.gate, progress: { ...opened.progress, openedAt: at } };
}

/** [L4] Idle, and nothing of it waits anywhere: what is parked heals in place. */
export function mayRetire(gate: Gate, progress: Progress): boolean {
  const isEmpty = progress.taken.length === 0 && progress.laneParked === null;
  return gate.phase === 'idle' && isEmpty && mayClose(gate, progress);
}

/** [L4] Both items move together: an admit at the same time is refused and takes its position
 *  behind the tail, or was first and the lane is not drained. */
export function retire(
  gate: Gate,
  progress: Progress,
  { generation, at }: { generation: number; at: number },
): { gate: Gate; progress: Progress } {
  assert.ok(mayRetire(gate, progress), 'L4: retires only idle and drained');
  assert.equal(progress.retired, null, 'L4: retires once');
  const retired = { generation, tail: gate.tail, at };
  return {
    gate: { ...gate, writtenAt: at },
    progress: { ...progress, retired, writtenAt: at },
  };
}

export interface SweepLimits {
  /** Function time-out + 2 min: longer than any drain may stay silent. */
  backlogSilenceMs: number;
  /** Linger + 2 min: longer than any wait may stay silent. */
  lingerSilenceMs: number;
}

/** [H9] Why the sweeper has to reopen this key, or undefined. Looks at both items, never at the
 *  hub. */
export function sweepReason(
  gate: Gate,
  progress: Progress,
  { at, ...limits }: SweepLimits & { at: number },
): string | undefined {
  const silentMs = at - Math.max(gate.writtenAt, progress.writtenAt);
  if (gate.phase === 'idle') {
    return gate.dueAt !== null && gate.dueAt <= at ? 'due by itself' : undefined;
  }
  if (gate.phase === 'held') return undefined;
  if (progress.hold.kind === 'retrying') {
    const overdueMs = at - Math.max(progress.hold.nextAttemptAt ?? 0, progress.writtenAt);
    return overdueMs > limits.backlogSilenceMs ? 'retry overdue' : undefined;
  }
  // A hold that ends in H8 is not rested yet: its instance may have died between commit and rest.
  if (progress.cursor < gate.tail || progress.hold.kind !== 'none') {
    return silentMs > limits.backlogSilenceMs ? 'backlog without progress' : undefined;
  }
  return silentMs > limits.lingerSilenceMs ? 'active without backlog' : undefined;
}

/** Checked after every read of both items from one consistent batch; throws on corruption. */
export function assertHandoff(gate: Gate, progress: Progress): void {
  assert.ok(Number.isSafeInteger(gate.tail) && gate.tail >= 0, 'H1: tail is a count');
  assert.ok(progress.cursor <= gate.tail, 'H7: the cursor never passes the tail');
  const settledOnce = progress.settled - progress.counts.healed;
  const taken = progress.taken.length;
  assert.equal(
    settledOnce + taken,
    progress.cursor,
    'H5: every position below is settled or taken',
  );
  if (gate.phase === 'active')
    assert.equal(progress.epoch, gate.epoch, 'H5: one epoch while active');
  else assert.ok(progress.epoch > gate.epoch, 'H6: the fence has moved');
  assert.ok((progress.retired?.tail ?? 0) <= gate.tail, 'L4: a lane retires at its tail');
  if (isFenced(gate)) assert.equal(progress.cursor, 0, 'L3: nothing settles behind a fence');
}
