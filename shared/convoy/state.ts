// PURE. The facts a convoy is made of. Instants are epoch milliseconds; positions count from 1.
import type { Busy, Work } from './busy.ts';

export type Phase = 'idle' | 'active' | 'held';

export type HoldKind = 'none' | 'retrying' | 'blocked' | 'paused' | 'publishing';

/** Why a key does not go on. `position` is the message it stands at. */
export interface Hold {
  kind: HoldKind;
  code?: string;
  reason?: string;
  position?: number;
  attempts?: number;
  nextAttemptAt?: number;
  since?: number;
}

export const noHold: Hold = { kind: 'none' };

/** The item that admit, close, wait and sweep all write: one of two writers always sees the
 *  other. */
export interface Gate {
  phase: Phase;
  epoch: number;
  /** Last admitted position. */
  tail: number;
  /** [H4] The instance waits for a wake; the admit that finds it clears it and raises one. */
  waiting: boolean;
  /** The next thing due by itself while no instance runs; null = nothing. */
  dueAt: number | null;
  lastMessageId: string | null;
  lastAdmittedAt: number | null;
  /** The broker's number of the last admitted message: recorded, never deciding. */
  sequence: number | null;
  /** [H11] The outputs of so many commits are published and removed from the outbox. */
  publishedCommits: number;
  /** [H8] Copied in while held, so that a list needs one item. */
  hold: Hold;
  cursor: number | null;
  /** The last busy time; absent while held. It has ended where the gate waits or is idle, and
   *  nothing came from the queue since. */
  busy?: Busy | undefined;
  writtenAt: number;
}

export type SettledOutcome = 'applied' | 'rejected' | 'invalid' | 'skipped' | 'parked';

/** `parked` = set aside now; the others only rise. `gaps`: senderPositions gone on without. */
export type Counts = Record<SettledOutcome, number> & {
  late: number;
  windowsClosed: number;
  healed: number;
  gaps: number;
};

export const noCounts: Counts = {
  applied: 0,
  rejected: 0,
  invalid: 0,
  skipped: 0,
  parked: 0,
  late: 0,
  windowsClosed: 0,
  healed: 0,
  gaps: 0,
};

/** A position that is taken but not settled: it waits for a gap or in a parked lane. */
export interface Taken {
  position: number;
  /** With the sender's order only. */
  senderPosition?: number;
}

/** What an operator decided of the message at this position; done when it is its turn. */
export interface Verdict {
  position: number;
  as: 'skip' | 'park';
  reason: string;
}

/** The watermark as it was at an instant; tells which closed windows may have been forgotten. */
export interface Mark {
  at: number;
  watermark: number | null;
}

/** Which part of a split key this is; generation 0 is the key before it was split. */
export interface LanePlace {
  /** The whole key. */
  key: string;
  generation: number;
  lane: number;
}

/** A newer generation has taken over: what is behind `tail` came too late for this lane. */
export interface Retired {
  /** The generation that was to open. */
  generation: number;
  tail: number;
  at: number;
}

/** The fence and everything the handler's effect is made of. */
export interface Progress {
  /** Last position taken. */
  cursor: number;
  /** [H5] The only epoch that may commit. */
  epoch: number;
  state: unknown;
  /** Version of the definition that wrote the state. */
  stateVersion: number;
  /** Taken and not settled, in the order in which they will settle; bounded. */
  taken: Taken[];
  /** `park-lane`: why what is taken waits; null = no lane is parked. */
  laneParked: Hold | null;
  /** Positions settled as `parked` and not healed, ascending; bounded. */
  parked: number[];
  /** Those of `parked` that are replayed now, before anything else. */
  healing: number[];
  /** Parked and taken together: what lists ask for. */
  asideCount: number;
  /** The sender's next position; counts only with the sender's order. */
  nextSender: number;
  /** Since when the gap before `taken` has been open with everything else taken. */
  gapSince: number | null;
  /** After context.complete(), or cancelled by an operator. */
  completed: { position: number; at: number } | null;
  /** Watermarks of the past, oldest first; bounded. */
  marks: Mark[];
  /** Largest event time seen; null before the first. */
  watermark: number | null;
  openWindows: OpenWindow[];
  hold: Hold;
  verdict: Verdict | null;
  /** How many settlements there were: the order of chain and outputs. A parked message that is
   *  healed settles twice. */
  settled: number;
  /** [H11] How many commits have written outputs; all are published when the gate says so too. */
  outputCommits: number;
  /** [H11] Next `n` of an output at the cursor's position. */
  nextOutput: number;
  chain: string;
  counts: Counts;
  /** Of a key without pauses; null else. */
  work: Work | null;
  /** Set in the lanes of a split key, generation 1 and up. */
  lane: LanePlace | null;
  /** When the lane began to settle; null = not a lane, or still behind its fence. */
  openedAt: number | null;
  retired: Retired | null;
  writtenAt: number;
}

/** A number, or a bigint as decimal text. */
export type WindowValue = number | string;

export interface Aggregate {
  count: number;
  sum: WindowValue;
  min: WindowValue;
  max: WindowValue;
  first: WindowValue;
  last: WindowValue;
}

export interface OpenWindow extends Aggregate {
  window: string;
  start: number;
  end: number;
  /** What the window's own reducer made; absent without one. */
  result?: unknown;
  /** Of an open session that had been closed: the revision of its last emission. */
  revision?: number;
}

/** A window that has been emitted; `revision` counts its amendments. */
export interface ClosedWindow extends OpenWindow {
  revision: number;
  closedAt: number;
}

/** What intake recorded of one admitted message. */
export interface Admitted {
  position: number;
  messageId: string;
  type: string;
  /** The body as the JSON text that was sent; absent when there is a `fault`. */
  bodyText?: string;
  /** The bytes of a body that is not JSON or not UTF-8. */
  bodyBase64?: string;
  fault?: { code: string; reason: string };
  schemaVersion: number;
  senderPosition?: number;
  /** Decides the lane of a split key. */
  laneKey?: string;
  occurredAt: number;
  enqueuedAt: number;
  traceparent?: string;
}

/** What became of a message: settled in the order of `settlement`. */
export interface Settlement {
  position: number;
  messageId: string;
  settlement: number;
  outcome: SettledOutcome;
  code?: string;
  reason?: string;
  attempts: number;
  chain: string;
  /** The message had been parked before. */
  healed?: true;
}

/** A replay that failed again: the message stays parked, nothing is settled. */
export interface StayedParked {
  position: number;
  code: string;
  reason: string;
  attempts: number;
}

export interface Output {
  position: number;
  n: number;
  type: string;
  bodyText: string;
  causationId: string;
  epoch: number;
  traceparent?: string;
}

export function initialGate(): Gate {
  return {
    phase: 'idle',
    epoch: 0,
    tail: 0,
    waiting: false,
    dueAt: null,
    lastMessageId: null,
    lastAdmittedAt: null,
    sequence: null,
    publishedCommits: 0,
    hold: noHold,
    cursor: null,
    writtenAt: 0,
  };
}

/** `stateVersion` is that of the definition whose initial state it is: only what an earlier one
 *  wrote is migrated. */
export function initialProgress(state: unknown, writtenAt: number, stateVersion = 1): Progress {
  return {
    cursor: 0,
    epoch: 1,
    state,
    stateVersion,
    taken: [],
    laneParked: null,
    parked: [],
    healing: [],
    asideCount: 0,
    nextSender: 1,
    gapSince: null,
    completed: null,
    marks: [],
    watermark: null,
    openWindows: [],
    hold: noHold,
    verdict: null,
    settled: 0,
    outputCommits: 0,
    nextOutput: 0,
    chain: '',
    counts: noCounts,
    work: null,
    lane: null,
    openedAt: null,
    retired: null,
    writtenAt,
  };
}

/** Progress as an earlier version of Convoy wrote it, with the fields that it did not know. */
export function withDefaults<Written extends Progress>(written: Written): Written {
  const counts = { ...noCounts, ...written.counts };
  return { ...initialProgress(null, 0), ...written, counts };
}
