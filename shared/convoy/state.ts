// PURE. The facts a convoy is made of. Instants are epoch milliseconds; positions count from 1.

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
  writtenAt: number;
}

export type SettledOutcome = 'applied' | 'rejected' | 'invalid' | 'skipped';

export type Counts = Record<SettledOutcome, number> & { late: number; windowsClosed: number };

export const noCounts: Counts = {
  applied: 0,
  rejected: 0,
  invalid: 0,
  skipped: 0,
  late: 0,
  windowsClosed: 0,
};

/** The fence and everything the handler's effect is made of. */
export interface Progress {
  /** Last position taken. */
  cursor: number;
  /** [H5] The only epoch that may commit. */
  epoch: number;
  state: unknown;
  /** Largest event time seen; null before the first. */
  watermark: number | null;
  openWindows: OpenWindow[];
  hold: Hold;
  /** The position an operator chose to skip; settled as `skipped` when it is its turn. */
  skip: number | null;
  /** How many messages have been settled: the order of chain and outputs. */
  settled: number;
  /** [H11] How many commits have written outputs; all are published when the gate says so too. */
  outputCommits: number;
  /** [H11] Next `n` of an output at the cursor's position. */
  nextOutput: number;
  chain: string;
  counts: Counts;
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

export function initialProgress(state: unknown, writtenAt: number): Progress {
  return {
    cursor: 0,
    epoch: 1,
    state,
    watermark: null,
    openWindows: [],
    hold: noHold,
    skip: null,
    settled: 0,
    outputCommits: 0,
    nextOutput: 0,
    chain: '',
    counts: noCounts,
    writtenAt,
  };
}
