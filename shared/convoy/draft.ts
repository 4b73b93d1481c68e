// PURE. One commit in the making: what settle() is given, what it has so far, what fits.
//
// A draft is replaced, never changed, so that "a message that throws changes nothing" (S1) is that
// nobody assigns its draft.
import { linkOf } from './chain.ts';
import type { ConvoyDefinition } from './definition.ts';
import { clipped } from './json.ts';
import type { Limits, Origin, Tools } from './outputs.ts';
import {
  type Admitted,
  type ClosedWindow,
  type Hold,
  type Output,
  type Progress,
  type SettledOutcome,
  type Settlement,
  type StayedParked,
  noHold,
} from './state.ts';

/** What became of an effect that settle() asked for. */
export type EffectOutcome =
  | { position: number; kind: 'done'; result: unknown }
  | { position: number; kind: 'failed'; code: string; reason: string };

/** What settle() has to know before it can go on: the closed window of this start, or the closed
 *  sessions that touch the span. */
export interface WindowNeed {
  /** Key of the answer in `closedWindows`. */
  id: string;
  window: string;
  start: number;
  end: number;
  isSession: boolean;
}

export interface SettleInput {
  convoy: string;
  key: string;
  definition: ConvoyDefinition;
  progress: Progress;
  /** The next messages, one contiguous run from cursor + 1; none while there is something held. */
  messages: readonly Admitted[];
  /** Messages that were taken or parked before, by position, as far as they are loaded. */
  held: ReadonlyMap<number, Admitted>;
  /** Nothing is admitted behind `messages`: a gap may be judged. */
  atTail: boolean;
  /** What was asked for so far, by WindowNeed.id, earliest first; empty = there is none. */
  closedWindows: ReadonlyMap<string, readonly ClosedWindow[]>;
  effect?: EffectOutcome | undefined;
  /** In a young lane: positions whose message was admitted in an older lane, and where. */
  elsewhere?: ReadonlyMap<number, string>;
  /** Settlements at most; fewer after the store found a commit too large. */
  settlementsMax?: number;
  limits: Limits;
  tools: Tools;
}

export interface Draft {
  progress: Progress;
  stateText: string;
  settlements: Settlement[];
  stayedParked: StayedParked[];
  outputs: Output[];
  closed: ReadonlyMap<string, ClosedWindow>;
  /** Stored sessions that became part of another. */
  gone: ReadonlyMap<string, { window: string; start: number }>;
  closes: number;
  bytes: number;
}

/** Where a message comes from: the run, `taken`, or `parked` (it is being healed). */
export type Source = 'run' | 'taken' | 'parked';

export interface Candidate {
  admitted: Admitted;
  source: Source;
}

/** What one step makes of a draft. */
export type Attempt =
  | { kind: 'settled'; draft: Draft }
  /** The key stops here, with this hold and everything before it. */
  | { kind: 'held'; hold: Hold }
  | { kind: 'needs'; needs: WindowNeed[] }
  | { kind: 'effect'; effectFor: EffectRequest };

/** The message whose effect has to run before it can settle. */
export interface EffectRequest {
  admitted: Admitted;
  /** What the upcasters and the schema made of the body. */
  body: unknown;
  state: unknown;
  attempt: number;
}

export function newDraft(progress: Progress): Draft {
  return {
    progress,
    stateText: JSON.stringify(progress.state),
    settlements: [],
    stayedParked: [],
    outputs: [],
    closed: new Map(),
    gone: new Map(),
    closes: 0,
    bytes: 2_000,
  };
}

export function originOf(input: SettleInput): Origin {
  const { convoy, key, progress, limits, tools } = input;
  return { convoy, key, epoch: progress.epoch, limits, tools };
}

/** Outputs of a message that settles out of line begin here, because windows closed by time may
 *  have taken the first numbers at its position (CONTRACT §3: the cursor's position). */
const firstOutputOutOfLine = 1_000_000;

export function firstOutputOf(source: Source): number {
  return source === 'run' ? 0 : firstOutputOutOfLine;
}

export interface Outcome {
  outcome: SettledOutcome;
  code?: string;
  reason?: string;
  /** The next `n` of an output at this position. */
  nextOutput?: number;
  bytes?: number;
}

export function attemptsBefore(hold: Hold, position: number): number {
  return hold.position === position ? (hold.attempts ?? 0) : 0;
}

/** [S2] Settles the candidate: moves cursor, sender's position and parked lists, extends the
 *  chain. */
export function settled(
  input: SettleInput,
  draft: Draft,
  { admitted, source, ...entry }: Candidate & Outcome,
): Attempt {
  const { position, messageId } = admitted;
  const attempts = 1 + attemptsBefore(input.progress.hold, position);
  const { outcome } = entry;
  const { hash } = input.tools;
  const chain = linkOf({ before: draft.progress.chain, message: admitted, outcome }, hash);
  const settlement: Settlement = {
    position,
    messageId,
    settlement: draft.progress.settled + 1,
    outcome,
    ...(entry.code !== undefined && { code: entry.code }),
    ...(entry.reason !== undefined && { reason: clipped(entry.reason) }),
    attempts,
    chain,
    ...(source === 'parked' && { healed: true }),
  };
  const moved = movedPast(input, draft.progress, { admitted, source, outcome });
  const progress: Progress = {
    ...moved,
    settled: settlement.settlement,
    ...(source === 'run' && { nextOutput: entry.nextOutput ?? 0 }),
    hold: noHold,
    verdict: moved.verdict?.position === position ? null : moved.verdict,
    chain,
  };
  const settlements = [...draft.settlements, settlement];
  const bytes = draft.bytes + 2_500 + (entry.bytes ?? 0);
  return { kind: 'settled', draft: { ...draft, progress, settlements, bytes } };
}

function movedPast(
  input: SettleInput,
  progress: Progress,
  { admitted, source, outcome }: Candidate & { outcome: SettledOutcome },
): Progress {
  const { position, senderPosition } = admitted;
  const counts = { ...progress.counts, [outcome]: progress.counts[outcome] + 1 };
  const isParked = outcome === 'parked';
  if (source === 'parked') {
    const others = (list: readonly number[]) => list.filter((other) => other !== position);
    const parked = others(progress.parked);
    const healed = { ...counts, parked: counts.parked - 1, healed: counts.healed + 1 };
    return withAsideCount({
      ...progress,
      parked,
      healing: others(progress.healing),
      counts: healed,
    });
  }
  // In the sender's order everything but a stale version moves the sender's position on.
  const isNext = input.definition.order === 'sender' && senderPosition === progress.nextSender;
  return withAsideCount({
    ...progress,
    cursor: source === 'run' ? position : progress.cursor,
    taken:
      source === 'taken'
        ? progress.taken.filter((taken) => taken.position !== position)
        : progress.taken,
    nextSender: isNext ? progress.nextSender + 1 : progress.nextSender,
    parked: isParked ? inOrder(progress.parked, position) : progress.parked,
    counts,
  });
}

function inOrder(positions: readonly number[], position: number): number[] {
  return [...positions, position].sort((a, b) => a - b);
}

export function withAsideCount(progress: Progress): Progress {
  return { ...progress, asideCount: progress.parked.length + progress.taken.length };
}

/** Takes a message without settling it; in the sender's order it goes to its place. */
export function taken(input: SettleInput, draft: Draft, admitted: Admitted): Draft {
  const { position, senderPosition } = admitted;
  const bySender = input.definition.order === 'sender' && senderPosition !== undefined;
  const entry = { position, ...(bySender && { senderPosition }) };
  const list = [...draft.progress.taken, entry];
  const order = (a: { senderPosition?: number }) => a.senderPosition ?? 0;
  list.sort((a, b) => order(a) - order(b) || a.position - b.position);
  const progress = { ...draft.progress, taken: list, cursor: position, nextOutput: 0 };
  return { ...draft, progress: withAsideCount(progress) };
}

/** [H5] Operations: progress; per message inbox and seen, and one more when it is or was parked;
 *  one per window, also of one that goes; the packed outputs. */
export function operationsOf(draft: Draft, limits: Limits): number {
  const perMessage = draft.settlements.reduce((sum, { healed }) => sum + (healed ? 3 : 2), 0);
  const outboxItems = Math.ceil(draft.outputs.length / limits.outputsPerItem);
  const windows = draft.closed.size + draft.gone.size;
  return 1 + perMessage + draft.stayedParked.length + windows + outboxItems;
}

export function fits(draft: Draft, limits: Limits): boolean {
  const { openWindows, taken: waiting, parked } = draft.progress;
  const windowBytes = openWindows.reduce(
    (sum, { result }) => sum + 250 + (result === undefined ? 0 : 2 * JSON.stringify(result).length),
    0,
  );
  const lists = 60 * waiting.length + 12 * parked.length;
  const bytes = draft.bytes + 2 * draft.stateText.length + windowBytes + lists;
  return operationsOf(draft, limits) <= limits.operationsMax && bytes <= limits.bytesMax;
}
