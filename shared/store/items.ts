// Every item kind of the containers, its id and its fields; one file, as CONTRACT §4 asks.
//
// Container `convoys`, partition key /convoyId = `<convoy>:<key>`:
//   gate, progress, inbox:<position>, seen:<hex>, window:<name>:<start>, outbox:<settlement>:<n>,
//   parked:<position>, dead:<sequence>, fence:<generation>; and in the partition `<convoy>:`
//   quarantine:<hex> and lanes.
// [H12] The container's default TTL is -1: an item expires only when it carries its own `ttl`.
// Container `windows`, partition key /windowId = `<convoy>:<window>:<start>`:
//   head, contribution:<hex of key> (H13).
// Item ids hold only [A-Za-z0-9:_-]: the SDK does not check ids inside a batch, Azure does.
import type { RollUpHead } from '../convoy/roll-up.ts';
import type { Admitted, Aggregate, ClosedWindow, Gate, Output, Progress } from '../convoy/state.ts';
import { hexHash } from '../keys.ts';
import type { Generation } from '../lanes.ts';

interface Placed {
  id: string;
  convoyId: string;
}

export interface GateItem extends Placed, Gate {
  kind: 'gate';
  convoy: string;
  key: string;
}

export interface ProgressItem extends Placed, Progress {
  kind: 'progress';
  convoy: string;
  key: string;
}

export type InboxOutcome =
  'waiting' | 'applied' | 'rejected' | 'invalid' | 'parked' | 'skipped' | 'deadLettered';

export interface InboxItem extends Placed, Admitted {
  kind: 'inbox';
  admittedAt: number;
  sequence: number | null;
  outcome: InboxOutcome;
  settledAt?: number;
  settlement?: number;
  code?: string;
  reason?: string;
  attempts?: number;
  chain?: string;
  ttl?: number;
}

/** Dedup marker of one message id; `repeats` counts the copies that came after. */
export interface SeenItem extends Placed {
  kind: 'seen';
  messageId: string;
  position: number;
  repeats?: number;
  ttl?: number;
}

export interface WindowItem extends Placed, ClosedWindow {
  kind: 'window';
  ttl?: number;
}

/** A message that was set aside: its link in the chain. Its body is in its inbox item, which does
 *  not expire either; `healedAt` when a replay has settled it. */
export interface ParkedItem extends Placed {
  kind: 'parked';
  position: number;
  messageId: string;
  settlement: number;
  chain: string;
  code: string;
  reason: string;
  attempts: number;
  parkedAt: number;
  healedAt?: number;
  ttl?: number;
}

/** [H11] Outputs of one commit that the broker has not acknowledged yet, several per item. */
export interface OutboxItem extends Placed {
  kind: 'outbox';
  outputs: Output[];
}

/** An operator's replay of a recorded message: where it went and who sent it there. */
interface Replayed {
  replayedAt?: number;
  /** The position it was admitted at, or had been before. */
  position?: number;
  replayedBy?: string;
  replayReason?: string;
  /** [H12] Begins with the replay. */
  ttl?: number;
}

/** A message the broker gave up on, with everything that admitting it needs (H1). */
export interface DeadItem extends Placed, Replayed, Omit<Admitted, 'position'> {
  kind: 'dead';
  /** The broker's number in the queue it came from. */
  sequence: number;
  reason: string;
  recordedAt: number;
}

/** A message without a usable key: recorded here, then completed. */
export interface QuarantineItem extends Placed, Replayed {
  kind: 'quarantine';
  convoy: string;
  code: string;
  reason: string;
  remedy: string;
  messageId: string;
  sessionId: string;
  bodyBase64: string;
  /** The body did not fit the item: it cannot be replayed. */
  isBodyLost?: true;
  applicationProperties: string;
  /** What a replay needs of the trigger's metadata, as JSON and as the host handed it over. */
  metadata: string;
  sequence: number;
  recordedAt: number;
  /** The key an operator replayed it under. */
  replayedKey?: string;
}

/** The lanes of a convoy's keys as its senders may know them; only ever appended to. */
export interface LayoutItem extends Placed {
  kind: 'lanes';
  convoy: string;
  refreshSeconds: number;
  /** The longest refreshSeconds that a sender was ever given. */
  fenceSeconds: number;
  all: Generation[];
  keys: Record<string, Generation[]>;
}

/** A marker on its way through the queue to an older lane: once it has passed, so has everything
 *  that was sent to that lane before. */
export interface FenceItem extends Placed {
  kind: 'fence';
  generation: number;
  sentAt: number;
  passedAt?: number;
  ttl: number;
}

export type ConvoyItem =
  | GateItem
  | ProgressItem
  | InboxItem
  | SeenItem
  | WindowItem
  | OutboxItem
  | ParkedItem
  | DeadItem
  | QuarantineItem
  | LayoutItem
  | FenceItem;

/** [H13] What one key adds to a window; rewritten only by a higher revision of that key. */
export interface ContributionItem extends Aggregate {
  id: string;
  windowId: string;
  kind: 'contribution';
  key: string;
  revision: number;
  /** What a reducer made of the window. */
  result?: unknown;
  ttl: number;
}

/** [H13] What became of the contributions of one window. */
export interface RollUpItem extends RollUpHead {
  id: string;
  windowId: string;
  kind: 'head';
  /** `<convoy>:<window>`: one list per window definition. */
  series: string;
  ttl: number;
}

/** Everything of the container `windows`. */
export type WindowsItem = ContributionItem | RollUpItem;

const padded = (value: number): string => String(value).padStart(12, '0');

export const itemIds = {
  gate: 'gate',
  progress: 'progress',
  inbox: (position: number) => `inbox:${padded(position)}`,
  seen: (messageId: string) => `seen:${hexHash(messageId)}`,
  window: (name: string, start: number) => `window:${name}:${start}`,
  /** Unique and in order of publishing: positions are not, they settle out of line. */
  outbox: (settlement: number, { commit, n }: { commit: number; n: number }) =>
    `outbox:${padded(settlement)}:${padded(commit)}-${padded(n)}`,
  parked: (position: number) => `parked:${padded(position)}`,
  dead: (sequence: number) => `dead:${padded(sequence)}`,
  lanes: 'lanes',
  fence: (generation: number) => `fence:${padded(generation)}`,
  head: 'head',
  contribution: (key: string) => `contribution:${hexHash(key)}`,
  quarantine: (identity: string) => `quarantine:${hexHash(identity)}`,
  /** From the part that a path holds. */
  quarantined: (hash: string) => `quarantine:${hash}`,
} as const;
