// PURE. settle(): folds the next messages of one key into its progress, within the limits of one
// transaction. No I/O, no clock: instants and hashing are handed in.
//
// Owns:    the loop: due windows first, then one message after the other until the transaction is
//          full, the key stops, or something has to be loaded or done outside first.
// Leaves:  which message is next to take.ts, what it does to apply.ts and count.ts; reading,
//          effects and the one atomic commit to the engine; a lost race (412) discards it whole.
//
// Invariants:
//   H5  a commit takes only what fits its operations and bytes; due windows close first; a message
//       that does not fit alone is poison CVY_TOO_LARGE.
//   H7  messages arrive as one contiguous run from cursor + 1; a hole is the caller's to report.
//   S2  every position settles exactly once (a parked one once more when it is healed), in the
//       order of take.ts; the chain says so.
import assert from 'node:assert/strict';
import { failed, takeOne } from './apply.ts';
import { closeDue, hasDue } from './count.ts';
import {
  type Attempt,
  type Candidate,
  type Draft,
  type EffectRequest,
  type SettleInput,
  type WindowNeed,
  fits,
  newDraft,
  settled,
  taken,
} from './draft.ts';
import { clipped, jsonTextOf, reasonOf } from './json.ts';
import { withMark } from './marks.ts';
import type { ClosedWindow, Hold, Output, Progress, Settlement, StayedParked } from './state.ts';
import { gapHold, gapOf, nextOf } from './take.ts';

export interface Settled {
  progress: Progress;
  settlements: Settlement[];
  stayedParked: StayedParked[];
  outputs: Output[];
  closed: ClosedWindow[];
  /** Closed sessions that became part of another: their items go. */
  gone: { window: string; start: number }[];
  /** Work is left over: the transaction is full, or something has to be loaded first. */
  full: boolean;
  /** Load these and settle again, before anything is committed. */
  needs: WindowNeed[];
  /** Run this effect and settle again; set only when nothing else is in the commit. */
  effectFor: EffectRequest | undefined;
}

/** How far the loop came. */
type End =
  | { kind: 'done' | 'full'; draft: Draft }
  | { kind: 'needs'; draft: Draft; needs: WindowNeed[] }
  | { kind: 'effect'; draft: Draft; effectFor: EffectRequest };

/** Settles what fits. Returns the unchanged progress and no settlements when there is nothing to
 *  do. */
export function settle(input: SettleInput): Settled {
  const { progress, messages } = input;
  assert.ok(
    messages.every((m, i) => m.position === progress.cursor + 1 + i),
    'H7: one run',
  );
  const migrated = migrate(input, progress);
  if ('hold' in migrated)
    return resultOf(input, { kind: 'done', draft: stopped(newDraft(progress), migrated.hold) });
  const end = settleAll(input, newDraft(migrated.progress));
  return resultOf(input, end);
}

function resultOf(input: SettleInput, end: End): Settled {
  const draft = withGapSince(input, end);
  const { settlements, stayedParked, outputs } = draft;
  const state = settlements.length > 0 ? JSON.parse(draft.stateText) : draft.progress.state;
  const marks = withMark(input, input.progress);
  return {
    progress: { ...draft.progress, state, marks, writtenAt: input.tools.now },
    settlements,
    stayedParked,
    outputs,
    closed: [...draft.closed.values()],
    gone: [...draft.gone.values()],
    full: end.kind !== 'done',
    needs: end.kind === 'needs' ? end.needs : [],
    effectFor: end.kind === 'effect' ? end.effectFor : undefined,
  };
}

const stopped = (draft: Draft, hold: Hold): Draft => ({
  ...draft,
  progress: { ...draft.progress, hold },
});

/** The state as this version of the definition writes it. */
function migrate(
  { definition, tools }: SettleInput,
  progress: Progress,
): { progress: Progress } | { hold: Hold } {
  const { version } = definition;
  const block = (code: string, reason: string): { hold: Hold } => ({
    hold: { kind: 'blocked', code, reason: clipped(reason), since: tools.now },
  });
  if (progress.stateVersion > version) {
    const written = `the state was written by version ${progress.stateVersion}`;
    const reason = `${written} of the definition, this is ${version}`;
    return block('CVY_VERSION', reason);
  }
  if (progress.stateVersion === version) return { progress };
  let { state } = progress;
  try {
    for (let from = progress.stateVersion; from < version; from += 1) {
      const step = definition.migrate[from];
      state = step === undefined ? state : JSON.parse(jsonTextOf(step(state), `migrate.${from}`));
    }
  } catch (error) {
    return block('CVY_MIGRATE', reasonOf(error));
  }
  return { progress: { ...progress, state, stateVersion: version } };
}

function settleAll(input: SettleInput, first: Draft): End {
  let draft = closeDue(input, first); // H5: due windows close first
  for (;;) {
    if (hasDue(input, draft) || draft.settlements.length >= (input.settlementsMax ?? Infinity))
      return { kind: 'full', draft };
    const next = nextOf(input, draft);
    switch (next.kind) {
      case 'none': {
        const after = judgeGap(input, draft);
        if (after === undefined) return { kind: 'done', draft };
        if (after.progress.hold.kind !== 'none') return { kind: 'done', draft: after };
        draft = after;
        continue;
      }
      case 'load':
        return { kind: 'full', draft };
      case 'full': {
        const after = overflow(input, draft);
        if (after.progress.hold.kind !== 'none') return { kind: 'done', draft: after };
        draft = after;
        continue;
      }
      case 'take':
        draft = taken(input, draft, next.admitted);
        continue;
      case 'refuse':
      case 'settle': {
        const end = settleNext(input, draft, next);
        if (end.kind !== 'next') return end;
        draft = end.draft;
      }
    }
  }
}

type NextToSettle = Extract<ReturnType<typeof nextOf>, { kind: 'settle' | 'refuse' }>;

function settleNext(
  input: SettleInput,
  draft: Draft,
  next: NextToSettle,
): End | { kind: 'next'; draft: Draft } {
  const candidate: Candidate = { admitted: next.admitted, source: next.source };
  const attempt =
    next.kind === 'refuse' ? settled(input, draft, next) : takeOne(input, draft, candidate);
  const isFirst = draft.settlements.length === 0 && draft.closes === 0;
  switch (attempt.kind) {
    case 'needs':
      return { kind: 'needs', draft, needs: attempt.needs };
    case 'effect':
      // What is in the draft is committed first: the effect then runs on a committed state.
      return isFirst && isUntouched(input, draft)
        ? { kind: 'effect', draft, effectFor: attempt.effectFor }
        : { kind: 'full', draft };
    case 'held':
      return { kind: 'done', draft: stopped(draft, attempt.hold) };
    case 'settled': {
      if (fits(attempt.draft, input.limits)) {
        const closed = closeDue(input, attempt.draft);
        // One message at a time: its effect is committed before the next.
        return isAfterEffect(input, next)
          ? { kind: 'full', draft: closed }
          : { kind: 'next', draft: closed };
      }
      if (!isFirst) return { kind: 'full', draft };
      return afterPoison(input, draft, failed(input, draft, { ...candidate, ...tooLarge }));
    }
  }
}

const tooLarge = {
  code: 'CVY_TOO_LARGE',
  reason: 'the message with its state and outputs does not fit one transaction',
};

function afterPoison(
  input: SettleInput,
  draft: Draft,
  attempt: Attempt,
): End | { kind: 'next'; draft: Draft } {
  if (attempt.kind === 'held') return { kind: 'done', draft: stopped(draft, attempt.hold) };
  if (attempt.kind === 'settled') return { kind: 'next', draft: attempt.draft };
  return { kind: 'done', draft };
}

/** Nothing was taken either. */
function isUntouched(input: SettleInput, { progress }: Draft): boolean {
  return progress.cursor === input.progress.cursor;
}

function isAfterEffect({ effect }: SettleInput, { admitted }: NextToSettle): boolean {
  return effect?.position === admitted.position;
}

/** A gap whose time has passed: the key stops, or goes on without. Undefined: nothing to do. */
function judgeGap(input: SettleInput, draft: Draft): Draft | undefined {
  const { definition, tools, atTail } = input;
  const { progress } = draft;
  const gap = gapOf(definition, progress);
  const since = progress.gapSince;
  if (gap === undefined || !atTail || since === null || isNewGap(input, draft)) return undefined;
  if (since + definition.gap.waitSeconds * 1000 > tools.now) return undefined;
  return overflow(input, draft);
}

/** The gap of before has been filled; this one is another. */
function isNewGap(input: SettleInput, { progress }: Draft): boolean {
  return progress.nextSender !== input.progress.nextSender;
}

/** `onTimeout` of the gap; or, with a parked lane that takes no more, a stop. */
function overflow(input: SettleInput, draft: Draft): Draft {
  const { definition, tools } = input;
  const { progress } = draft;
  const gap = gapOf(definition, progress);
  if (gap === undefined) {
    const { position, reason = '' } = progress.laneParked ?? {};
    const full = `${progress.taken.length} messages wait in the parked lane; first: ${reason}`;
    const place = position === undefined ? {} : { position };
    const hold: Hold = { kind: 'blocked', code: 'CVY_PARKED_FULL', reason: full, ...place };
    return stopped(draft, { ...hold, since: tools.now });
  }
  if (definition.gap.onTimeout === 'block')
    return stopped(draft, gapHold(gap, progress, tools.now));
  return { ...draft, progress: withoutGap(progress) };
}

/** Goes on without the missing positions. */
export function withoutGap(progress: Progress): Progress {
  const next = progress.taken[0]?.senderPosition ?? progress.nextSender;
  const gaps = progress.counts.gaps + (next - progress.nextSender);
  return { ...progress, nextSender: next, gapSince: null, counts: { ...progress.counts, gaps } };
}

/** A gap is waited for from the moment when everything that has come is taken; however that was cut
 *  into commits, the same gap keeps its moment, and another one never has it. */
function withGapSince(input: SettleInput, { kind, draft }: End): Draft {
  const { definition, atTail, tools } = input;
  const { progress } = draft;
  const isGap = gapOf(definition, progress) !== undefined;
  const since = isGap && !isNewGap(input, draft) ? progress.gapSince : null;
  const isTaken = kind === 'done' && atTail && progress.hold.kind === 'none';
  const gapSince = isGap && isTaken ? (since ?? tools.now) : since;
  return gapSince === progress.gapSince ? draft : { ...draft, progress: { ...progress, gapSince } };
}
