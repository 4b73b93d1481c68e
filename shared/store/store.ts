// The port to Cosmos DB. Two adapters (cosmos.ts, memory.ts) pass one contract suite.
//
// Owns nothing of the protocol: it offers point reads, ranges, one atomic batch per logical
// partition and the few lists that operators and the sweeper ask for. Reads may be stale (H14):
// callers rely on If-Match, never on freshness. Compare-and-swap is `replace` with `ifMatch`; there
// is no upsert with If-Match: Cosmos creates a missing item for it (reference/cosmos.md §4).
import type {
  ConvoyItem,
  DeadItem,
  FenceItem,
  GateItem,
  InboxItem,
  InboxOutcome,
  LayoutItem,
  OutboxItem,
  ParkedItem,
  ProgressItem,
  QuarantineItem,
  SeenItem,
  WindowItem,
} from './items.ts';

import type { RollUpStore } from './roll-ups.ts';

export type { RollUpStore } from './roll-ups.ts';

export interface Versioned<Item> {
  item: Item;
  etag: string;
}

/** `set` is a patch of top-level fields (at most 10, the limit of Cosmos). */
export type StoreOperation =
  | { kind: 'create'; item: ConvoyItem }
  | { kind: 'replace'; item: ConvoyItem; ifMatch: string }
  /** Create or overwrite, without precondition: only beside an operation that fences the batch. */
  | { kind: 'put'; item: ConvoyItem }
  | { kind: 'set'; id: string; fields: Record<string, unknown> }
  | { kind: 'delete'; id: string };

/** `status` of the first operation that failed: 404, 409 or 412. Nothing was applied then.
 *  `requestUnits` where the store counts them. */
export type BatchResult =
  | { applied: true; etags: string[]; requestUnits?: number }
  | { applied: false; failed: number; status: number };

export interface UnavailableOptions {
  cause?: unknown;
  retryAfterMs?: number | undefined;
  isThrottled?: boolean;
}

/** The store cannot answer now (429, 408, 503, lost connection): a write's outcome is unknown. */
export class StoreUnavailable extends Error {
  readonly retryAfterMs: number | undefined;
  /** 429: the request was not done, because there were too many. */
  readonly isThrottled: boolean;

  constructor(message: string, options: UnavailableOptions = {}) {
    super(message, options);
    this.name = 'StoreUnavailable';
    this.retryAfterMs = options.retryAfterMs;
    this.isThrottled = options.isThrottled ?? false;
  }
}

/** The request can never succeed as it is (413, 400): the item is too large or malformed. */
export class StoreRefused extends Error {
  readonly status: number;

  constructor(status: number, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'StoreRefused';
    this.status = status;
  }
}

/** Epoch milliseconds, `after` exclusive, `upTo` inclusive. */
export interface InstantRange {
  after: number;
  upTo: number;
}

export interface Page<Item> {
  items: Item[];
  continuation?: string;
}

export interface PageFilter {
  limit: number;
  continuation?: string;
}

export interface GateFilter {
  convoy?: string;
  phase?: GateItem['phase'];
  limit: number;
  continuation?: string;
}

export interface Totals {
  convoys: number;
  perPhase: Record<string, number>;
  /** Messages admitted, summed over the gates. */
  admitted: number;
  /** Summed over the progress items. */
  counts: Record<string, number>;
  holds: Record<string, number>;
}

/** Every method rejects with StoreUnavailable or StoreRefused and with nothing else (but `check`).
 *  A limit is 1-1000; a list inside one key goes by item id. */
export interface ConvoyStore extends RollUpStore {
  /** Drops what an adapter remembers of a key: called when what was read turned out to be stale. */
  forget?(convoyId: string): void;
  readGate(convoyId: string): Promise<Versioned<GateItem> | undefined>;
  readProgress(convoyId: string): Promise<Versioned<ProgressItem> | undefined>;
  readSeen(convoyId: string, messageId: string): Promise<SeenItem | undefined>;
  /** Inbox items `from..to` by position, ascending, at most `limit`; holes are simply absent. */
  readInbox(
    convoyId: string,
    range: { from: number; to: number; limit: number },
  ): Promise<InboxItem[]>;
  /** Inbox items at these positions (at most 100), ascending; what is not there is absent. */
  readInboxAt(convoyId: string, positions: readonly number[]): Promise<InboxItem[]>;
  /** All unpublished outputs of a key, lowest settlement first. */
  readOutbox(convoyId: string): Promise<OutboxItem[]>;
  readWindow(convoyId: string, name: string, start: number): Promise<WindowItem | undefined>;
  /** The closed session windows that touch the span, earliest first, at most 100. */
  readSessions(
    convoyId: string,
    name: string,
    span: { start: number; end: number },
  ): Promise<WindowItem[]>;
  /** All operations or none; at most 100. */
  batch(convoyId: string, operations: StoreOperation[]): Promise<BatchResult>;

  /** [H9] Active gates with `after < writtenAt <= upTo`, oldest first; asks the index. */
  gatesUnwritten(range: InstantRange, limit: number): Promise<GateItem[]>;
  /** [H9] Idle gates with `after < dueAt <= upTo`, oldest first; asks the index. */
  gatesDue(range: InstantRange, limit: number): Promise<GateItem[]>;
  /** Held gates with `after < dueAt <= upTo`, oldest first: lanes behind their fence. */
  gatesHeldDue(range: InstantRange, limit: number): Promise<GateItem[]>;

  listGates(filter: GateFilter): Promise<Page<GateItem>>;
  /** Progress items with this hold kind (`none` is not indexed for this: use listGates). */
  listHeld(kind: string, filter: GateFilter): Promise<Page<ProgressItem>>;
  /** Active gates that have had no pause since `upTo` or longer; asks the index. */
  listBusy(upTo: number, filter: GateFilter): Promise<Page<GateItem>>;
  /** Progress items with messages that are parked, or taken and not settled. */
  listAside(filter: GateFilter): Promise<Page<ProgressItem>>;
  progressOf(convoyIds: string[]): Promise<ProgressItem[]>;
  listMessages(
    convoyId: string,
    filter: { from: number; outcome?: InboxOutcome; limit: number; continuation?: string },
  ): Promise<Page<InboxItem>>;
  listWindows(
    convoyId: string,
    filter: { window?: string; limit: number; continuation?: string },
  ): Promise<Page<WindowItem>>;
  /** Parked messages of one key, healed ones too while they are kept. */
  listParkedOf(convoyId: string, filter: PageFilter): Promise<Page<ParkedItem>>;
  readDead(convoyId: string, id: string): Promise<DeadItem | undefined>;
  listDead(convoyId: string, filter: PageFilter): Promise<Page<DeadItem>>;
  readQuarantine(convoy: string, id: string): Promise<QuarantineItem | undefined>;
  listQuarantine(convoy: string, filter: PageFilter): Promise<Page<QuarantineItem>>;
  readLayout(convoy: string): Promise<Versioned<LayoutItem> | undefined>;
  readFence(convoyId: string, generation: number): Promise<FenceItem | undefined>;
  /** How many copies of already admitted messages came for this key. */
  countRepeats(convoyId: string): Promise<number>;
  totals(): Promise<Totals>;
  /** Rejects with StoreUnavailable when the store cannot be reached, and with ConvoyError
   *  CVY_ENVIRONMENT when it cannot keep H14 (several write regions). */
  check(): Promise<void>;
}

/** The part of the port that reads what lies beside the messages of a key. */
export type AsideStore = Pick<
  ConvoyStore,
  | 'listParkedOf'
  | 'readDead'
  | 'listDead'
  | 'readQuarantine'
  | 'listQuarantine'
  | 'readLayout'
  | 'readFence'
>;
