// PURE. A message enters its windows, and windows that are due close [W1-W3 in window.ts].
import type { Message } from './definition.ts';
import {
  type Candidate,
  type Draft,
  type SettleInput,
  type WindowNeed,
  operationsOf,
  originOf,
} from './draft.ts';
import { jsonTextOf, synchronous } from './json.ts';
import { bytesOf, windowOutput } from './outputs.ts';
import { isForgotten } from './marks.ts';
import { addToSession, closedSessionsAt, hasOpenSession, windowId, withClosed } from './session.ts';
import type { ClosedWindow } from './state.ts';
import {
  type Contribution,
  type Span,
  addToOpen,
  aggregateOfValue,
  amend,
  dueWindows,
  isClosed,
  spansAt,
} from './window.ts';
import type { CheckedWindow } from './window-definition.ts';

/** One message on its way into the windows. */
interface Entering extends Candidate {
  message: Message<unknown>;
  /** The state before the message. */
  before: unknown;
}

export type Counted =
  | { kind: 'counted'; draft: Draft; n: number }
  | { kind: 'needs'; needs: WindowNeed[] }
  /** A late message that its policy sets aside. */
  | { kind: 'park'; code: string; reason: string };

/** [W2] Adds the message to each of its windows; late ones by the window's policy. */
export function countInWindows(
  input: SettleInput,
  draft: Draft,
  entry: Entering & { n: number },
): Counted {
  const { definition } = input;
  if (definition.windows.length === 0) return { kind: 'counted', draft, n: entry.n };
  const parts = partsOf(input, draft, entry);
  const unknown = parts.flatMap((part) => needOf(input, draft, part));
  if (unknown.length > 0) return { kind: 'needs', needs: unknown };
  let all: { draft: Draft; n: number } = { draft, n: entry.n };
  for (const part of parts) {
    const next = countOne(input, all, { ...entry, part });
    if (next.kind === 'park') return next;
    all = next;
  }
  const { occurredAt } = entry.message;
  const watermark = Math.max(all.draft.progress.watermark ?? occurredAt, occurredAt);
  const progress = { ...all.draft.progress, watermark };
  return { kind: 'counted', draft: { ...all.draft, progress }, n: all.n };
}

/** A window of the message: open, or late with the policy that applies. */
interface Part {
  window: CheckedWindow;
  span: Span;
  contribution: Contribution;
  late: 'open' | CheckedWindow['late'];
}

function partsOf(input: SettleInput, draft: Draft, entry: Entering): Part[] {
  const { message, before, source } = entry;
  const { watermark, openWindows } = draft.progress;
  const parts: Part[] = [];
  for (const window of input.definition.windows) {
    const value = synchronous(window.value(message, before), `the value of window ${window.name}`);
    if (value === undefined) continue;
    aggregateOfValue(value); // a bad value is poison, also where it would come late
    const { reduce } = window;
    const contribution: Contribution = {
      value,
      ...(reduce && {
        reduce: (result) => jsonOf(reduce.add(copyOf(result ?? reduce.initial), message, before)),
      }),
    };
    let isMoved = false;
    // An operator who replays a message that came late wants it in.
    const replayed = window.late === 'park' && source === 'parked' ? 'amend' : window.late;
    for (const span of spansAt(window, message.occurredAt, input.tools)) {
      // W4: what begins before the watermark may touch what has been closed.
      const joinsClosed = window.kind === 'session' && replayed === 'amend';
      const isOpen =
        !isClosed(window, joinsClosed ? span.start : span.end, watermark) ||
        (window.kind === 'session' && !joinsClosed && hasOpenSession(openWindows, window, span));
      // Of several closed hopping windows only one hands the message on: it is counted once.
      const late = replayed === 'next' && isMoved ? 'drop' : replayed;
      if (!isOpen) isMoved = true;
      parts.push({ window, span, contribution, late: isOpen ? 'open' : late });
    }
  }
  return parts;
}

const copyOf = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

const jsonOf = (value: unknown): unknown => JSON.parse(jsonTextOf(value, 'reduce.add'));

function needOf(input: SettleInput, draft: Draft, { window, span, late }: Part): WindowNeed[] {
  if (late !== 'amend') return [];
  const id = windowId(window.name, span.start);
  const isSession = window.kind === 'session';
  if (input.closedWindows.has(id) || (!isSession && draft.closed.has(id))) return [];
  return [{ id, window: window.name, ...span, isSession }];
}

type CountedOne =
  { kind: 'counted'; draft: Draft; n: number } | { kind: 'park'; code: string; reason: string };

function countOne(
  input: SettleInput,
  { draft, n }: { draft: Draft; n: number },
  entry: Entering & { part: Part },
): CountedOne {
  const { part, message } = entry;
  const { window, span, late } = part;
  switch (late) {
    case 'open':
      return addOpen(input, { draft, n }, entry);
    case 'park': {
      const reason = `window ${window.name} of ${input.tools.iso(span.start)} had closed`;
      return { kind: 'park', code: 'CVY_LATE', reason };
    }
    case 'drop':
      return { kind: 'counted', draft: countLate(draft), n };
    case 'next': {
      const next = firstOpen(input, draft, { window, at: message.occurredAt });
      if (next === undefined) return { kind: 'counted', draft: countLate(draft), n };
      const moved = { ...entry, part: { ...part, span: next } };
      return addOpen(input, { draft: countLate(draft), n }, moved);
    }
    case 'amend':
      return window.kind === 'session'
        ? amendSession(input, { draft, n }, entry)
        : amendClosed(input, { draft, n }, entry);
  }
}

function countLate(draft: Draft): Draft {
  const { counts } = draft.progress;
  const progress = { ...draft.progress, counts: { ...counts, late: counts.late + 1 } };
  return { ...draft, progress };
}

function addOpen(
  input: SettleInput,
  { draft, n }: { draft: Draft; n: number },
  { part, admitted }: Entering & { part: Part },
): CountedOne {
  const { window, span, contribution } = part;
  if (window.kind === 'session') {
    const session = { window, span, contribution, admitted, closed: [] };
    return { kind: 'counted', ...addToSession(input, { draft, n }, session) };
  }
  const added = addToOpen(draft.progress.openWindows, window, { ...span, ...contribution });
  const progress = { ...draft.progress, openWindows: added.open };
  const next = { ...draft, progress };
  if (window.earlyEvery === undefined || added.window.count % window.earlyEvery !== 0)
    return { kind: 'counted', draft: next, n };
  const early = { ...added.window, revision: 0 };
  const place = { position: admitted.position, n, admitted, isEarly: true };
  const output = windowOutput(originOf(input), early, place);
  return { kind: 'counted', draft: { ...next, outputs: [...next.outputs, output] }, n: n + 1 };
}

/** The first window of this definition that is still open; undefined when the message is in an open
 *  one anyway (hopping windows overlap). */
function firstOpen(
  input: SettleInput,
  draft: Draft,
  { window, at }: { window: CheckedWindow; at: number },
): Span | undefined {
  const { watermark } = draft.progress;
  const isOpen = (span: Span) => !isClosed(window, span.end, watermark);
  if (spansAt(window, at, input.tools).some(isOpen)) return undefined;
  const from = (watermark ?? at) - window.graceSeconds * 1000;
  return spansAt(window, from, input.tools).find(isOpen);
}

function amendClosed(
  input: SettleInput,
  { draft, n }: { draft: Draft; n: number },
  { part, admitted, source }: Entering & { part: Part },
): CountedOne {
  const { window, span, contribution } = part;
  const id = windowId(window.name, span.start);
  const known = draft.closed.get(id) ?? input.closedWindows.get(id)?.[0] ?? null;
  if (known === null && isForgotten(input, window, span))
    return forgotten(input, { draft, n }, { window, span, source });
  const amended = amend(known, window, { ...span, ...contribution, at: input.tools.now });
  const place = { position: admitted.position, n, admitted };
  const outputs = [...draft.outputs, windowOutput(originOf(input), amended, place)];
  return {
    kind: 'counted',
    draft: countLate({ ...withClosed(draft, amended), outputs }),
    n: n + 1,
  };
}

/** [W4] Late is what touches a closed session, or comes for one that has passed. */
function amendSession(
  input: SettleInput,
  { draft, n }: { draft: Draft; n: number },
  { part, admitted, source }: Entering & { part: Part },
): CountedOne {
  const { window, span, contribution } = part;
  const { openWindows, watermark } = draft.progress;
  const closed = closedSessionsAt(input, draft, { window, span });
  const isPast =
    isClosed(window, span.end, watermark) && !hasOpenSession(openWindows, window, span);
  if (isPast && closed.length === 0 && isForgotten(input, window, span))
    return forgotten(input, { draft, n }, { window, span, source });
  const session = { window, span, contribution, admitted, closed };
  const added = addToSession(input, { draft, n }, session);
  const isLate = isPast || closed.length > 0;
  return { kind: 'counted', draft: isLate ? countLate(added.draft) : added.draft, n: added.n };
}

/** Set aside; a replay is the operator's will: then it is applied, and not counted. */
function forgotten(
  input: SettleInput,
  { draft, n }: { draft: Draft; n: number },
  { window, span, source }: { window: CheckedWindow; span: Span; source: Candidate['source'] },
): CountedOne {
  if (source === 'parked') return { kind: 'counted', draft: countLate(draft), n };
  const reason = `window ${window.name} of ${input.tools.iso(span.start)} is no longer kept`;
  return { kind: 'park', code: 'CVY_WINDOW_FORGOTTEN', reason };
}

/** [H5] Closes due windows up to the limit; their outputs go on at the cursor's position. */
export function closeDue(input: SettleInput, draft: Draft): Draft {
  const { definition, limits } = input;
  // A window that closes costs its item and its share of an outbox item.
  const free = limits.operationsMax - operationsOf(draft, limits) - 1;
  const room = Math.min(limits.closesMax - draft.closes, Math.floor(free / 1.1));
  if (room <= 0) return draft;
  const due = dueWindows(draft.progress, definition.windows, room);
  if (due.length === 0) return draft;
  const outputs = [...draft.outputs];
  let after = draft;
  let { progress } = draft;
  for (const open of due) {
    const revision = (open.revision ?? -1) + 1;
    const window: ClosedWindow = { ...open, revision, closedAt: input.tools.now };
    after = withClosed(after, window);
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
  return { ...after, progress, outputs, closes: draft.closes + due.length, bytes };
}

export function hasDue(input: SettleInput, draft: Draft): boolean {
  return dueWindows(draft.progress, input.definition.windows, 1).length > 0;
}
