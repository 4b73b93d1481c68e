// PURE. Items of the store → answers of the HTTP API, field by field as CONTRACT §5 lists them.
//
// Owns the shape of every answer. Leaves reading to reads.ts and HTTP to routes.ts. Fields beyond
// the contract are additions; none of the contract's fields is ever left out (null = not there).
import { errorRegistry } from '../../shared/errors.ts';
import {
  type ClosedWindow,
  type Hold,
  type OpenWindow,
  type Progress,
  withDefaults,
} from '../../shared/convoy/state.ts';
import { hotOf } from '../../shared/convoy/hot.ts';
import { averageOf } from '../../shared/convoy/window.ts';
import type {
  DeadItem,
  GateItem,
  InboxItem,
  ProgressItem,
  QuarantineItem,
  RollUpItem,
} from '../../shared/store/items.ts';
import type { Totals } from '../../shared/store/store.ts';
import { instanceIdOf, toPathKey } from '../../shared/keys.ts';
import { isoInstant } from '../../shared/clock.ts';

/** What is known of one key: the progress may be missing where a read is stale [H14]. */
export interface KeyFacts {
  gate: GateItem;
  progress: ProgressItem | undefined;
  /** When the message at cursor + 1 was admitted; undefined without backlog. */
  headAdmittedAt: number | undefined;
}

/** Which service makes the drains of a key fail by limiting its rate, and since when. */
export interface Throttled {
  by: string;
  since: number;
}

/** Read from the custom status of the key's instance (functions/convoy.ts). */
export function throttledIn(customStatus: unknown): Throttled | null {
  const status = customStatus as { throttled?: Throttled | null } | null | undefined;
  const throttled = status?.throttled;
  return typeof throttled?.since === 'number' ? throttled : null;
}

const instantOrNull = (ms: number | null | undefined): string | null =>
  ms === null || ms === undefined ? null : isoInstant(ms);

/** Last position taken: of two reads at different moments the larger one is the newer. */
export function cursorOf(gate: GateItem, progress: ProgressItem | undefined): number {
  return Math.max(progress?.cursor ?? 0, gate.cursor ?? 0);
}

/** Admitted and neither settled nor parked: what is behind the cursor, and what was taken but waits
 *  for a gap or in a parked lane. A stale gate may lag behind the cursor; never negative. */
export function backlogOf(gate: GateItem, progress: ProgressItem | undefined): number {
  return Math.max(0, gate.tail - cursorOf(gate, progress)) + (progress?.taken?.length ?? 0);
}

/** Messages set aside: one by one, or in a parked lane. */
function parkedOf(progress: ProgressItem | undefined): number {
  const inLane = progress?.laneParked ? progress.taken.length : 0;
  return (progress?.parked?.length ?? 0) + inLane;
}

/** [H8] While held the gate carries the hold; else the progress does. */
export function holdOf(gate: GateItem, progress: ProgressItem | undefined): Hold {
  return gate.phase === 'held' ? gate.hold : (progress?.hold ?? gate.hold);
}

function remedyOf(code: string | undefined): string | null {
  return code !== undefined && Object.hasOwn(errorRegistry, code)
    ? errorRegistry[code as keyof typeof errorRegistry].remedy
    : null;
}

export function holdAnswer(hold: Hold) {
  return {
    kind: hold.kind,
    reason: hold.reason ?? null,
    code: hold.code ?? null,
    remedy: remedyOf(hold.code),
    position: hold.position ?? null,
    attempts: hold.attempts ?? null,
    nextAttemptAt: instantOrNull(hold.nextAttemptAt),
    since: instantOrNull(hold.since),
  };
}

/** One item of `GET /convoys`. */
export function summaryAnswer({ gate, progress, headAdmittedAt }: KeyFacts, nowMs: number) {
  const headAgeMs = headAdmittedAt === undefined ? null : Math.max(0, nowMs - headAdmittedAt);
  return {
    convoy: gate.convoy,
    key: gate.key,
    pathKey: toPathKey(gate.key),
    phase: gate.phase,
    epoch: gate.epoch,
    tail: Math.max(gate.tail, cursorOf(gate, progress)),
    cursor: cursorOf(gate, progress),
    backlog: backlogOf(gate, progress),
    headAgeSeconds: headAgeMs === null ? null : Math.floor(headAgeMs / 1000),
    parked: parkedOf(progress),
    hold: holdAnswer(holdOf(gate, progress)),
    hot: hotOf(gate, progress && withDefaults(progress), nowMs),
    updatedAt: isoInstant(Math.max(gate.writtenAt, progress?.writtenAt ?? 0)),
  };
}

export type Summary = ReturnType<typeof summaryAnswer>;

/** `GET /convoys/{convoy}/{key}`; `lanes` is for a split key as a whole (lane-answers.ts). */
export function detailAnswer(
  facts: KeyFacts & { repeats: number; deadLettered: number; throttled: Throttled | null },
  nowMs: number,
) {
  const { gate, progress } = facts;
  return {
    ...summaryAnswer(facts, nowMs),
    state: progress?.state ?? null,
    windows: (progress?.openWindows ?? []).map((window) => openWindowAnswer(window)),
    throttled: facts.throttled && {
      by: facts.throttled.by,
      since: isoInstant(facts.throttled.since),
    },
    lanes: [],
    lane: progress?.lane ?? null,
    retired: retiredAnswer(progress?.retired),
    chain: progress?.chain ?? '',
    instanceId: gate.epoch > 0 ? instanceIdOf(gate.convoy, gate.key, gate.epoch) : null,
    settled: progress?.settled ?? 0,
    counts: progress?.counts ?? null,
    aside: progress === undefined ? null : asideAnswer(progress),
    gap: progress === undefined ? null : gapAnswer(progress),
    completedAt: instantOrNull(progress?.completed?.at),
    repeats: facts.repeats,
    deadLettered: facts.deadLettered,
    watermark: instantOrNull(progress?.watermark),
    dueAt: instantOrNull(gate.dueAt),
    lastMessageId: gate.lastMessageId,
  };
}

/** The lane takes no part any more: what comes behind `tail` is parked. */
export function retiredAnswer(retired: Progress['retired'] | undefined) {
  if (!retired) return null;
  const { generation, tail, at } = retired;
  return { generation, tail, at: isoInstant(at) };
}

/** What is set aside: message by message, and the lane behind a poisonous one. */
function asideAnswer(progress: Progress) {
  const { parked, healing, laneParked, taken } = withDefaults(progress);
  return {
    count: parked.length,
    positions: parked.slice(0, 100),
    healing: healing.length,
    lane: laneParked === null ? null : { ...holdAnswer(laneParked), messages: taken.length },
  };
}

/** What the sender's order waits for. */
function gapAnswer(written: Progress) {
  const progress = withDefaults(written);
  const [first] = progress.taken;
  if (progress.gapSince === null || first === undefined) return null;
  return {
    from: progress.nextSender,
    to: (first.senderPosition ?? progress.nextSender) - 1,
    messages: progress.taken.length,
    since: isoInstant(progress.gapSince),
  };
}

/** The body as it was sent; text that is not JSON is shown as the text it is. */
function bodyAnswer(bodyText: string | undefined): unknown {
  if (bodyText === undefined) return null;
  try {
    return JSON.parse(bodyText) as unknown;
  } catch {
    return bodyText;
  }
}

/** Bytes that are no JSON text are shown as Base64, so that nothing of a bad message is hidden. */
function bodyFields({ bodyText, bodyBase64 }: Pick<InboxItem, 'bodyText' | 'bodyBase64'>) {
  return { body: bodyAnswer(bodyText), ...(bodyBase64 === undefined ? {} : { bodyBase64 }) };
}

/** One item of `…/messages`. */
export function messageAnswer(item: InboxItem) {
  // A healed message has lost the code with which it was parked: null in the store.
  const code = item.code ?? item.fault?.code ?? undefined;
  const reason = item.reason ?? item.fault?.reason ?? undefined;
  return {
    position: item.position,
    messageId: item.messageId,
    type: item.type,
    occurredAt: isoInstant(item.occurredAt),
    enqueuedAt: isoInstant(item.enqueuedAt),
    admittedAt: isoInstant(item.admittedAt),
    settledAt: instantOrNull(item.settledAt),
    outcome: item.outcome,
    ...(code === undefined ? {} : { code, remedy: remedyOf(code) }),
    ...(reason === undefined ? {} : { reason }),
    attempts: item.attempts ?? 0,
    ...bodyFields(item),
    schemaVersion: item.schemaVersion,
    ...(item.senderPosition === undefined ? {} : { senderPosition: item.senderPosition }),
    ...(item.settlement === undefined ? {} : { settlement: item.settlement }),
    ...(item.chain === undefined ? {} : { chain: item.chain }),
  };
}

/** A message that the broker gave up on: it has a position only once it was replayed. */
export function deadAnswer(item: DeadItem) {
  return {
    position: item.position ?? null,
    messageId: item.messageId,
    type: item.type,
    occurredAt: isoInstant(item.occurredAt),
    admittedAt: null,
    settledAt: isoInstant(item.recordedAt),
    outcome: 'deadLettered' as const,
    reason: item.reason,
    attempts: 0,
    ...bodyFields(item),
    schemaVersion: item.schemaVersion,
    ...(item.senderPosition === undefined ? {} : { senderPosition: item.senderPosition }),
    ...(item.fault === undefined ? {} : { code: item.fault.code }),
    sequence: item.sequence,
    ...replayFields(item),
  };
}

function replayFields(item: DeadItem | QuarantineItem) {
  return {
    replayedAt: instantOrNull(item.replayedAt),
    replayedBy: item.replayedBy ?? null,
    replayReason: item.replayReason ?? null,
  };
}

function aggregateAnswer(window: OpenWindow) {
  const { count, sum, min, max, first, last } = window;
  return {
    window: window.window,
    start: isoInstant(window.start),
    end: isoInstant(window.end),
    count,
    sum,
    min,
    max,
    first,
    last,
    average: averageOf(window),
    ...(window.result === undefined ? {} : { result: window.result }),
  };
}

export function openWindowAnswer(window: OpenWindow) {
  return { ...aggregateAnswer(window), revision: 0, state: 'open' as const, final: false };
}

/** Final-only emission: what is closed is final, an amendment is final again under revision + 1. */
export function closedWindowAnswer(window: ClosedWindow) {
  return {
    ...aggregateAnswer(window),
    revision: window.revision,
    state: 'closed' as const,
    final: true,
    closedAt: isoInstant(window.closedAt),
  };
}

/** One item of `GET /quarantine/{convoy}`: messages that had no usable key. */
export function quarantineAnswer(item: QuarantineItem) {
  const { code, reason, remedy, messageId, sessionId, sequence, bodyBase64 } = item;
  return {
    // Without the kind in front: what a path holds.
    id: item.id.slice('quarantine:'.length),
    code,
    reason,
    remedy,
    messageId,
    sessionId,
    sequence,
    bodyBase64,
    applicationProperties: bodyAnswer(item.applicationProperties),
    recordedAt: isoInstant(item.recordedAt),
    ...replayFields(item),
    replayedKey: item.replayedKey ?? null,
    position: item.position ?? null,
  };
}

/** One item of `GET /windows/{convoy}/{window}`; totals are those of the published revision. */
export function rollUpAnswer(item: RollUpItem) {
  const { convoy, window, parts, missed, totals, published } = item;
  return {
    convoy,
    window,
    start: isoInstant(item.start),
    end: isoInstant(item.end),
    state: item.phase,
    keys: totals?.keys ?? null,
    count: totals?.count ?? null,
    sum: totals?.sum ?? null,
    min: totals?.min ?? null,
    max: totals?.max ?? null,
    parts,
    revision: published < 0 ? null : published,
    final: item.phase === 'published' && !item.dirty,
    dueAt: instantOrNull(item.dueAt),
    publishedAt: instantOrNull(item.publishedAt),
    missed,
  };
}

/** `GET /stats`. */
export function statsAnswer(totals: Totals, throttling: object, nowMs: number) {
  const settledOutcomes = ['applied', 'rejected', 'invalid', 'skipped', 'parked'];
  const settled = settledOutcomes.reduce((sum, name) => sum + (totals.counts[name] ?? 0), 0);
  return {
    at: isoInstant(nowMs),
    convoys: totals.convoys,
    phases: totals.perPhase,
    holds: totals.holds,
    messages: {
      admitted: totals.admitted,
      ...totals.counts,
      waiting: Math.max(0, totals.admitted - settled),
    },
    throttling,
  };
}
