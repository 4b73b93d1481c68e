// PURE. settle(): folds the next messages of one key into its progress, within the limits of one
// transaction. No I/O, no clock: instants and hashing are handed in.
//
// Owns:    order, outcome, effect, outputs, windows, chain and hold of every message.
// Leaves:  reading and the one atomic commit to the engine; a lost race (412) discards the result
// whole.
//
// Invariants:
//   H5  a commit takes only what fits its operations and bytes; due windows close first; a message
//       that does not fit alone is poison CVY_TOO_LARGE.
//   H7  messages arrive as one contiguous run from cursor + 1; a hole is the caller's to report.
//   S1  a message that throws changes nothing: state, windows and outputs are those before it.
//   S2  every position settles exactly once, in order; the chain says so.
import assert from 'node:assert/strict';
import type { ConvoyDefinition, Message } from './definition.ts';
import { checkBody } from './schema.ts';
import type {
  Admitted,
  ClosedWindow,
  Hold,
  Output,
  Progress,
  SettledOutcome,
  Settlement,
} from './state.ts';
import { noHold } from './state.ts';
import {
  type Limits,
  type Origin,
  type Tools,
  bytesOf,
  outputOf,
  windowOutput,
} from './outputs.ts';
import { addToOpen, amend, dueWindows, isClosed, windowStart } from './window.ts';

export interface SettleInput {
  convoy: string;
  key: string;
  definition: ConvoyDefinition;
  progress: Progress;
  messages: readonly Admitted[];
  /** Closed windows that a late message may amend, by `<name>:<start>` (see lateWindows). */
  closedWindows: ReadonlyMap<string, ClosedWindow>;
  limits: Limits;
  tools: Tools;
}

export interface Settled {
  progress: Progress;
  settlements: Settlement[];
  outputs: Output[];
  closed: ClosedWindow[];
  /** Messages left over because the transaction is full. */
  full: boolean;
}

/** Everything of one commit so far; replaced, not changed, so that S1 is one assignment. */
interface Draft {
  progress: Progress;
  stateText: string;
  settlements: Settlement[];
  outputs: Output[];
  closed: ReadonlyMap<string, ClosedWindow>;
  closes: number;
  bytes: number;
}

const windowId = (name: string, start: number): string => `${name}:${start}`;

/** Settles what fits. Returns the unchanged progress and no settlements when there is nothing to
 *  do. */
export function settle(input: SettleInput): Settled {
  const { progress, messages, limits } = input;
  assert.ok(
    messages.every((m, i) => m.position === progress.cursor + 1 + i),
    'H7: one run',
  );
  let draft: Draft = {
    progress,
    stateText: JSON.stringify(progress.state),
    settlements: [],
    outputs: [],
    closed: new Map(),
    closes: 0,
    bytes: 2_000,
  };
  draft = closeDue(input, draft); // H5: due windows close first
  let full = hasDue(input, draft);
  for (const message of messages) {
    if (full) break;
    const attempt = takeOne(input, draft, message);
    if (attempt.kind === 'held') {
      draft = { ...draft, progress: { ...draft.progress, hold: attempt.hold } };
      break;
    }
    if (!fits(attempt.draft, limits)) {
      if (draft.settlements.length > 0 || draft.closes > 0) full = true;
      else draft = { ...draft, progress: { ...draft.progress, hold: tooLarge(input, message) } };
      break;
    }
    draft = closeDue(input, attempt.draft);
    full = hasDue(input, draft);
  }
  const state = draft.settlements.length > 0 ? JSON.parse(draft.stateText) : progress.state;
  return {
    progress: { ...draft.progress, state, writtenAt: input.tools.now },
    settlements: draft.settlements,
    outputs: draft.outputs,
    closed: [...draft.closed.values()],
    full: full || draft.settlements.length < messages.length,
  };
}

/** Closed windows that settling these messages may have to amend: read them before settle(). */
export function lateWindows(
  definition: ConvoyDefinition,
  progress: Progress,
  messages: readonly Admitted[],
): { name: string; start: number }[] {
  const wanted = new Map<string, { name: string; start: number }>();
  let watermark = progress.watermark;
  for (const message of messages) {
    for (const window of definition.windows) {
      const start = windowStart(window, message.occurredAt);
      if (isClosed(window, start + window.seconds * 1000, watermark)) {
        wanted.set(windowId(window.name, start), { name: window.name, start });
      }
    }
    watermark = Math.max(watermark ?? message.occurredAt, message.occurredAt);
  }
  return [...wanted.values()];
}

function originOf(input: SettleInput): Origin {
  const { convoy, key, progress, limits, tools } = input;
  return { convoy, key, epoch: progress.epoch, limits, tools };
}

type Attempt = { kind: 'settled'; draft: Draft } | { kind: 'held'; hold: Hold };

function takeOne(input: SettleInput, draft: Draft, admitted: Admitted): Attempt {
  if (input.progress.skip === admitted.position) {
    return settled(input, draft, { admitted, outcome: 'skipped' });
  }
  if (admitted.fault !== undefined) {
    const { code, reason } = admitted.fault;
    if (code === 'CVY_TOO_LARGE') return held(input, admitted, { code, reason });
    return settled(input, draft, { admitted, outcome: 'invalid', code, reason });
  }
  try {
    const checked = checkBody(input.definition.schema, JSON.parse(admitted.bodyText ?? 'null'));
    if ('fault' in checked) {
      const invalid = { outcome: 'invalid' as const, code: 'CVY_SCHEMA', reason: checked.fault };
      return settled(input, draft, { admitted, ...invalid });
    }
    return applyOne(input, draft, { admitted, body: checked.value });
  } catch (error) {
    return held(input, admitted, { code: 'CVY_HANDLER', reason: reasonOf(error) });
  }
}

function applyOne(
  input: SettleInput,
  draft: Draft,
  entry: { admitted: Admitted; body: unknown },
): Attempt {
  const { admitted, body } = entry;
  const message = messageOf(input.key, admitted, body);
  const outputs: Output[] = [];
  let rejected: string | undefined;
  let n = 0;
  const next = input.definition.apply(JSON.parse(draft.stateText), message, {
    emit: (type, emitted) => {
      outputs.push(
        outputOf(originOf(input), {
          type,
          body: emitted,
          position: admitted.position,
          n,
          admitted,
        }),
      );
      n += 1;
    },
    reject: (reason) => void (rejected ??= reason),
  });
  if (rejected !== undefined) {
    const withOutputs = { ...draft, outputs: [...draft.outputs, ...outputs] };
    return settled(input, withOutputs, {
      admitted,
      outcome: 'rejected',
      reason: rejected,
      nextOutput: n,
      bytes: bytesOf(input, outputs),
    });
  }
  const stateText = stateTextOf(next);
  const after: Draft = { ...draft, stateText, outputs: [...draft.outputs, ...outputs] };
  const beforeText = draft.stateText;
  const counted = countInWindows(input, after, { message, beforeText, n, admitted });
  return settled(input, counted.draft, {
    admitted,
    outcome: 'applied',
    nextOutput: counted.n,
    bytes: bytesOf(input, counted.draft.outputs.slice(draft.outputs.length)),
  });
}

/** [W2] Adds the message to its window of each definition; a closed one is amended and emitted. */
function countInWindows(
  input: SettleInput,
  draft: Draft,
  entry: { message: Message<unknown>; beforeText: string; n: number; admitted: Admitted },
): { draft: Draft; n: number } {
  const { message, admitted } = entry;
  if (input.definition.windows.length === 0) return { draft, n: entry.n };
  const before = JSON.parse(entry.beforeText) as unknown;
  let { progress } = draft;
  let n = entry.n;
  const closed = new Map(draft.closed);
  const outputs = [...draft.outputs];
  for (const definition of input.definition.windows) {
    const value = definition.value(message, before);
    if (value === undefined) continue;
    const start = windowStart(definition, message.occurredAt);
    if (!isClosed(definition, start + definition.seconds * 1000, progress.watermark)) {
      const openWindows = addToOpen(progress.openWindows, definition, { start, value });
      progress = { ...progress, openWindows };
      continue;
    }
    const id = windowId(definition.name, start);
    const earlier = closed.get(id) ?? input.closedWindows.get(id);
    const amended = amend(earlier, definition, { start, value, at: input.tools.now });
    closed.set(id, amended);
    outputs.push(
      windowOutput(originOf(input), amended, { position: message.position, n, admitted }),
    );
    n += 1;
    progress = { ...progress, counts: { ...progress.counts, late: progress.counts.late + 1 } };
  }
  const watermark = Math.max(progress.watermark ?? message.occurredAt, message.occurredAt);
  return { draft: { ...draft, progress: { ...progress, watermark }, closed, outputs }, n };
}

/** Closes due windows up to the limit; their outputs go on at the cursor's position. */
function closeDue(input: SettleInput, draft: Draft): Draft {
  const { definition, limits } = input;
  // A window that closes costs its item and its share of an outbox item.
  const free = limits.operationsMax - operationsOf(draft, limits) - 1;
  const room = Math.min(limits.closesMax - draft.closes, Math.floor(free / 1.1));
  if (room <= 0) return draft;
  const due = dueWindows(draft.progress, definition.windows, room);
  if (due.length === 0) return draft;
  const closed = new Map(draft.closed);
  const outputs = [...draft.outputs];
  let { progress } = draft;
  for (const open of due) {
    const window: ClosedWindow = { ...open, revision: 0, closedAt: input.tools.now };
    closed.set(windowId(open.window, open.start), window);
    const place = { position: progress.cursor, n: progress.nextOutput };
    outputs.push(windowOutput(originOf(input), window, place));
    progress = {
      ...progress,
      nextOutput: progress.nextOutput + 1,
      openWindows: progress.openWindows.filter((other) => other !== open),
      counts: { ...progress.counts, windowsClosed: progress.counts.windowsClosed + 1 },
    };
  }
  const bytes = draft.bytes + bytesOf(input, outputs.slice(draft.outputs.length));
  return { ...draft, progress, closed, outputs, closes: draft.closes + due.length, bytes };
}

function hasDue(input: SettleInput, draft: Draft): boolean {
  return dueWindows(draft.progress, input.definition.windows, 1).length > 0;
}

interface Outcome {
  admitted: Admitted;
  outcome: SettledOutcome;
  code?: string;
  reason?: string;
  nextOutput?: number;
  bytes?: number;
}

/** [S2] Moves the cursor by one and extends the chain. */
function settled(input: SettleInput, draft: Draft, entry: Outcome): Attempt {
  const { admitted, outcome } = entry;
  const { progress } = draft;
  const attempts = 1 + attemptsBefore(progress.hold, admitted.position);
  const bodyHash = input.tools.hash(admitted.bodyText ?? admitted.bodyBase64 ?? '');
  const link = [progress.chain, admitted.position, admitted.messageId, bodyHash, outcome];
  const chain = input.tools.hash(link.join('\n'));
  const settlement: Settlement = {
    position: admitted.position,
    messageId: admitted.messageId,
    settlement: progress.settled + 1,
    outcome,
    ...(entry.code !== undefined && { code: entry.code }),
    ...(entry.reason !== undefined && { reason: entry.reason.slice(0, 1024) }),
    attempts,
    chain,
  };
  const after: Progress = {
    ...progress,
    cursor: admitted.position,
    settled: progress.settled + 1,
    nextOutput: entry.nextOutput ?? 0,
    hold: noHold,
    skip: null,
    chain,
    counts: { ...progress.counts, [outcome]: progress.counts[outcome] + 1 },
  };
  const settlements = [...draft.settlements, settlement];
  const bytes = draft.bytes + 2_500 + (entry.bytes ?? 0);
  return { kind: 'settled', draft: { ...draft, progress: after, settlements, bytes } };
}

function attemptsBefore(hold: Hold, position: number): number {
  return hold.position === position ? (hold.attempts ?? 0) : 0;
}

/** A failure: `retrying` while attempts are left, then `blocked`. */
function held(
  input: SettleInput,
  admitted: Admitted,
  failure: { code: string; reason: string },
): Attempt {
  const { retry } = input.definition;
  const { now } = input.tools;
  const attempts = 1 + attemptsBefore(input.progress.hold, admitted.position);
  const reason = failure.reason.slice(0, 1024);
  const hold: Hold = {
    kind: 'blocked',
    code: failure.code,
    reason,
    position: admitted.position,
    attempts,
    since: now,
  };
  if (failure.code !== 'CVY_HANDLER' || attempts >= retry.attempts) return { kind: 'held', hold };
  const delaySeconds = retry.firstDelaySeconds * retry.factor ** (attempts - 1);
  const nextAttemptAt = now + Math.min(delaySeconds, retry.maxDelaySeconds) * 1000;
  return { kind: 'held', hold: { ...hold, kind: 'retrying', nextAttemptAt } };
}

function tooLarge(input: SettleInput, admitted: Admitted): Hold {
  return {
    kind: 'blocked',
    code: 'CVY_TOO_LARGE',
    reason: `message ${admitted.position} with its state and outputs does not fit one transaction`,
    position: admitted.position,
    attempts: 1 + attemptsBefore(input.progress.hold, admitted.position),
    since: input.tools.now,
  };
}

/** [H5] Operations: progress, two per message (inbox, seen), one per window, packed outputs. */
function operationsOf(draft: Draft, limits: Limits): number {
  const outboxItems = Math.ceil(draft.outputs.length / limits.outputsPerItem);
  return 1 + 2 * draft.settlements.length + draft.closed.size + outboxItems;
}

function fits(draft: Draft, limits: Limits): boolean {
  const bytes = draft.bytes + 2 * draft.stateText.length + 250 * draft.progress.openWindows.length;
  return operationsOf(draft, limits) <= limits.operationsMax && bytes <= limits.bytesMax;
}

function messageOf(key: string, admitted: Admitted, body: unknown): Message<unknown> {
  return {
    id: admitted.messageId,
    key,
    type: admitted.type,
    body,
    position: admitted.position,
    ...(admitted.senderPosition !== undefined && { senderPosition: admitted.senderPosition }),
    occurredAt: admitted.occurredAt,
    enqueuedAt: admitted.enqueuedAt,
  };
}

function stateTextOf(next: unknown): string {
  const text = JSON.stringify(next) as string | undefined;
  if (text === undefined)
    throw new TypeError('apply returned no JSON value; return the next state');
  return text;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
