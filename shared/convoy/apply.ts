// PURE. One message through the definition: version, schema, handler, windows; and what becomes of
// one that fails (retry, then onPoison).
//
//   S1  a message that throws changes nothing: state, windows and outputs are those before it.
import { closeDue, countInWindows } from './count.ts';
import type { ApplyContext, Message } from './definition.ts';
import {
  type Attempt,
  type Candidate,
  type Draft,
  type SettleInput,
  attemptsBefore,
  firstOutputOf,
  originOf,
  settled,
  taken,
  withAsideCount,
} from './draft.ts';
import { bytesOf, outputOf } from './outputs.ts';
import { clipped, jsonTextOf, reasonOf, synchronous } from './json.ts';
import { checkBody } from './schema.ts';
import type { Admitted, Hold, Output, Progress } from './state.ts';
import { isTooLate } from './take.ts';
import { watermarkOfEnd } from './window.ts';

export function takeOne(input: SettleInput, draft: Draft, candidate: Candidate): Attempt {
  const { admitted } = candidate;
  const { progress } = draft;
  const { fault } = admitted;
  const { verdict } = progress;
  if (verdict?.position === admitted.position && verdict.as === 'skip') {
    const { reason } = verdict;
    return settled(input, draft, { ...candidate, outcome: 'skipped', code: 'CVY_SKIPPED', reason });
  }
  if (verdict?.position === admitted.position) {
    return park(input, draft, { ...candidate, code: 'CVY_PARKED', reason: verdict.reason });
  }
  const after = ofAnotherLane(input, draft, candidate) ?? afterCompletion(input, draft, candidate);
  if (after !== undefined) return after;
  if (fault !== undefined) {
    if (fault.code === 'CVY_TOO_LARGE') return failed(input, draft, { ...candidate, ...fault });
    return settled(input, draft, { ...candidate, outcome: 'invalid', ...fault });
  }
  try {
    const body = bodyOf(input, admitted);
    if ('newer' in body) {
      const { version } = input.definition;
      const reason = `version ${body.newer} is newer than ${version}, the definition's`;
      return failed(input, draft, { ...candidate, code: 'CVY_VERSION', reason });
    }
    if ('fault' in body) {
      const reason = body.fault;
      return settled(input, draft, {
        ...candidate,
        outcome: 'invalid',
        code: 'CVY_SCHEMA',
        reason,
      });
    }
    return applyOne(input, draft, { ...candidate, body: body.value });
  } catch (error) {
    return failed(input, draft, { ...candidate, code: 'CVY_HANDLER', reason: reasonOf(error) });
  }
}

/** [L4] What another lane of the key settles or has settled; undefined = it is this one's. */
function ofAnotherLane(
  input: SettleInput,
  draft: Draft,
  candidate: Candidate,
): Attempt | undefined {
  const { admitted, source } = candidate;
  const { position, fault } = admitted;
  const skipped = (code: string, reason: string): Attempt =>
    settled(input, draft, { ...candidate, outcome: 'skipped', code, reason });
  if (isTooLate(draft.progress, position)) {
    // Only a replay that has admitted it to a newer lane puts it among what is healed.
    if (source === 'parked') return skipped('CVY_LANE_MOVED', 'moved to the newest lane');
    if (fault !== undefined && fault.code !== 'CVY_TOO_LARGE')
      return settled(input, draft, { ...candidate, outcome: 'invalid', ...fault });
    const reason = `generation ${draft.progress.retired?.generation} has taken over`;
    return park(input, draft, { ...candidate, code: 'CVY_LANE_RETIRED', reason });
  }
  const lane = input.elsewhere?.get(position);
  if (lane === undefined) return undefined;
  return skipped('CVY_LANE_DUPLICATE', `the id was admitted before, in ${lane}`);
}

/** After context.complete() the definition's policy rules; a replay is the operator's own will. */
function afterCompletion(
  input: SettleInput,
  draft: Draft,
  candidate: Candidate,
): Attempt | undefined {
  const { completed } = draft.progress;
  const { afterComplete } = input.definition;
  if (completed === null || candidate.source === 'parked' || afterComplete === 'reopen')
    return undefined;
  const code = 'CVY_COMPLETED';
  const reason = `the convoy was completed at position ${completed.position}`;
  if (afterComplete === 'park') return park(input, draft, { ...candidate, code, reason });
  return settled(input, draft, { ...candidate, outcome: 'rejected', code, reason });
}

/** The body as the handler sees it: upcast to the definition's version, then through the schema. */
function bodyOf(
  { definition }: SettleInput,
  admitted: Admitted,
): { value: unknown } | { fault: string } | { newer: number } {
  if (admitted.schemaVersion > definition.version) return { newer: admitted.schemaVersion };
  let body = JSON.parse(admitted.bodyText ?? 'null') as unknown;
  for (let from = admitted.schemaVersion; from < definition.version; from += 1) {
    const step = definition.upcast[from];
    body = step === undefined ? body : synchronous(step(body), `upcast.${from}`);
  }
  return checkBody(definition.schema, body);
}

interface Checked extends Candidate {
  body: unknown;
}

/** What the handler did with one message, nothing of it assigned yet. */
interface Applied {
  stateText: string | undefined;
  outputs: Output[];
  nextOutput: number;
  rejected: string | undefined;
  isComplete: boolean;
}

function callHandler(
  input: SettleInput,
  draft: Draft,
  { admitted, source, body }: Checked,
): Applied {
  const outputs: Output[] = [];
  let n = firstOutputOf(source);
  let rejected: string | undefined;
  let isComplete = false;
  const { effect } = input;
  const context: ApplyContext = {
    effect:
      effect?.kind === 'done' && effect.position === admitted.position ? effect.result : undefined,
    emit(type, emitted) {
      const place = { position: admitted.position, n, admitted };
      outputs.push(outputOf(originOf(input), { type, body: emitted, ...place }));
      n += 1;
    },
    reject: (reason) => void (rejected ??= String(reason)),
    complete: () => void (isComplete = true),
  };
  const message = messageOf(input, admitted, body);
  const next = input.definition.apply(JSON.parse(draft.stateText), message, context);
  // Also of a rejected message: an asynchronous handler may not go unnoticed.
  synchronous(next, 'apply');
  const stateText = rejected === undefined ? jsonTextOf(next, 'apply') : undefined;
  return { stateText, outputs, nextOutput: n, rejected, isComplete };
}

function applyOne(input: SettleInput, draft: Draft, checked: Checked): Attempt {
  const { admitted, source, body } = checked;
  const { effect, definition } = input;
  const hasOutcome = effect?.position === admitted.position;
  if (hasOutcome && effect.kind === 'failed')
    return failed(input, draft, { ...checked, ...effect });
  // Without the result of its effect this only tells whether the message is rejected.
  const applied = callHandler(input, draft, checked);
  const { stateText, outputs, nextOutput, rejected } = applied;
  if (rejected !== undefined || stateText === undefined) {
    const withOutputs = { ...draft, outputs: [...draft.outputs, ...outputs] };
    const bytes = bytesOf(input, outputs);
    const reason = rejected ?? '';
    const rest = { admitted, source, reason, nextOutput, bytes };
    return settled(input, withOutputs, { ...rest, outcome: 'rejected' });
  }
  if (definition.effect !== undefined && !hasOutcome) {
    const attempt = 1 + attemptsBefore(input.progress.hold, admitted.position);
    const state = JSON.parse(draft.stateText) as unknown;
    return { kind: 'effect', effectFor: { admitted, body, state, attempt } };
  }
  const message = messageOf(input, admitted, body);
  const counted = countInWindows(
    input,
    { ...draft, stateText, outputs: [...draft.outputs, ...outputs] },
    { admitted, source, message, before: JSON.parse(draft.stateText), n: nextOutput },
  );
  if (counted.kind === 'needs') return counted;
  if (counted.kind === 'park') return park(input, draft, { ...checked, ...counted });
  const bytes = bytesOf(input, counted.draft.outputs.slice(draft.outputs.length));
  const rest = { admitted, source, nextOutput: counted.n, bytes };
  const done = settled(input, counted.draft, { ...rest, outcome: 'applied' });
  return applied.isComplete && done.kind === 'settled'
    ? { kind: 'settled', draft: completed(input, done.draft, admitted.position) }
    : done;
}

/** Closes every open window: the watermark passes them all, so that none opens again [W3]. */
function completed(input: SettleInput, draft: Draft, position: number): Draft {
  const watermark = watermarkOfEnd(draft.progress, input.definition.windows);
  const done = { position, at: input.tools.now };
  return closeDue(input, { ...draft, progress: { ...draft.progress, completed: done, watermark } });
}

interface Failure extends Candidate {
  code: string;
  reason: string;
}

/** Sets the message aside as settled `parked`; when too many are, the key stops instead. */
function park(input: SettleInput, draft: Draft, { code, reason, ...candidate }: Failure): Attempt {
  if (candidate.source === 'parked') return stay(input, draft, { ...candidate, code, reason });
  const { parked } = draft.progress;
  if (parked.length >= input.limits.parkedMax) {
    const full = `${parked.length} messages are parked already; first: ${code}: ${reason}`;
    return block(input, { ...candidate, code: 'CVY_PARKED_FULL', reason: full });
  }
  return settled(input, draft, { ...candidate, outcome: 'parked', code, reason });
}

const retried = new Set(['CVY_HANDLER', 'CVY_EFFECT', 'CVY_EFFECT_TIMEOUT', 'CVY_VERSION']);

/** A failure: `retrying` while attempts are left, then what `onPoison` says. */
export function failed(input: SettleInput, draft: Draft, failure: Failure): Attempt {
  const { retry, onPoison } = input.definition;
  const { now } = input.tools;
  const { position } = failure.admitted;
  const attempts = 1 + attemptsBefore(input.progress.hold, position);
  if (retried.has(failure.code) && attempts < retry.attempts) {
    const delaySeconds = retry.firstDelaySeconds * retry.factor ** (attempts - 1);
    const nextAttemptAt = now + Math.min(delaySeconds, retry.maxDelaySeconds) * 1000;
    return { kind: 'held', hold: { ...holdOf(input, failure), kind: 'retrying', nextAttemptAt } };
  }
  if (onPoison === 'block') return block(input, failure);
  if (failure.source === 'parked') return stay(input, draft, failure);
  if (onPoison === 'park') return park(input, draft, failure);
  return parkLane(input, draft, failure);
}

function holdOf(input: SettleInput, { admitted, code, reason }: Failure): Hold {
  const { position } = admitted;
  const attempts = 1 + attemptsBefore(input.progress.hold, position);
  const since = input.tools.now;
  return { kind: 'blocked', code, reason: clipped(reason), position, attempts, since };
}

function block(input: SettleInput, failure: Failure): Attempt {
  return { kind: 'held', hold: holdOf(input, failure) };
}

/** A replay that failed: the message stays parked; with `park-lane` so does all behind it. */
function stay(input: SettleInput, draft: Draft, failure: Failure): Attempt {
  const { position } = failure.admitted;
  const { code, reason, attempts = 1 } = holdOf(input, failure);
  const rest = draft.progress.healing.filter((other) => other !== position);
  const healing = input.definition.onPoison === 'park-lane' ? [] : rest;
  const { verdict } = draft.progress;
  const progress = {
    ...draft.progress,
    healing,
    hold: { kind: 'none' as const },
    verdict: verdict?.position === position ? null : verdict,
  };
  const stayed = { position, code: code ?? '', reason: reason ?? '', attempts };
  const stayedParked = [...draft.stayedParked, stayed];
  return { kind: 'settled', draft: { ...draft, progress, stayedParked } };
}

/** [O2] The message and its followers are set aside as they come: taken, not settled. */
function parkLane(input: SettleInput, draft: Draft, failure: Failure): Attempt {
  const { source, admitted } = failure;
  const laneParked: Hold = holdOf(input, failure);
  const after = source === 'run' ? taken(input, draft, admitted) : draft;
  const progress = { ...after.progress, laneParked, hold: { kind: 'none' as const } };
  const bytes = after.bytes + 1_200;
  return { kind: 'settled', draft: { ...after, progress: withAsideCount(progress), bytes } };
}

/** In a lane the handler sees the whole key: splitting it changes no handler. */
export function messageOf(
  { key, progress }: { key: string; progress: Pick<Progress, 'lane'> },
  admitted: Admitted,
  body: unknown,
): Message<unknown> {
  const { lane } = progress;
  return {
    id: admitted.messageId,
    key: lane?.key ?? key,
    ...(lane !== null && { lane }),
    ...(admitted.laneKey !== undefined && { laneKey: admitted.laneKey }),
    type: admitted.type,
    body,
    position: admitted.position,
    ...(admitted.senderPosition !== undefined && { senderPosition: admitted.senderPosition }),
    occurredAt: admitted.occurredAt,
    enqueuedAt: admitted.enqueuedAt,
  };
}
