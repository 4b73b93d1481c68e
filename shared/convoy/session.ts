// PURE. Session windows: messages whose spans, each `gapSeconds` long, touch are one session.
//
// Invariants:
//   W4  with `late: 'amend'` sessions are those of all counted messages, in whatever order they
//       came: a late message joins every kept session that it touches, closed ones too. The joined
//       session is closed or open by W1. It stands under its least start; what was emitted under
//       that start goes on with the next revision, what was emitted under another is taken back
//       (count 0).
//   W5  with the other policies a closed session never changes.
//
// A span touches two closed sessions at most: they lie more than a gap apart.
import type { Draft, SettleInput } from './draft.ts';
import { jsonTextOf } from './json.ts';
import { originOf } from './draft.ts';
import { takenBackOutput, windowOutput } from './outputs.ts';
import type { Admitted, ClosedWindow, OpenWindow, Output } from './state.ts';
import { type Contribution, type Span, grown, isClosed, join } from './window.ts';
import type { CheckedWindow } from './window-definition.ts';

export const windowId = (name: string, start: number): string => `${name}:${start}`;

const idOf = ({ window, start }: OpenWindow): string => windowId(window, start);

/** The sessions of a definition that take the span in, however old they are; earliest first. */
function sessionsAt<Window extends OpenWindow>(
  windows: readonly Window[],
  definition: CheckedWindow,
  span: Span,
): Window[] {
  return windows
    .filter((w) => w.window === definition.name && w.start <= span.end && span.start <= w.end)
    .sort((a, b) => a.start - b.start);
}

export function hasOpenSession(
  open: readonly OpenWindow[],
  definition: CheckedWindow,
  span: Span,
): boolean {
  return sessionsAt(open, definition, span).length > 0;
}

/** What has been emitted and touches the span: as stored, or as this very commit has it. */
export function closedSessionsAt(
  input: SettleInput,
  draft: Draft,
  { window, span }: { window: CheckedWindow; span: Span },
): ClosedWindow[] {
  const stored = input.closedWindows.get(windowId(window.name, span.start)) ?? [];
  const untouched = stored.filter((w) => !draft.gone.has(idOf(w)) && !draft.closed.has(idOf(w)));
  return sessionsAt([...untouched, ...draft.closed.values()], window, span);
}

export interface SessionEntry {
  window: CheckedWindow;
  span: Span;
  contribution: Contribution;
  admitted: Admitted;
  /** [W4] Of closedSessionsAt; none with the other policies. */
  closed: readonly ClosedWindow[];
}

/** The message in its session, which takes in all that it touches. */
export function addToSession(
  input: SettleInput,
  { draft, n }: { draft: Draft; n: number },
  { window, span, contribution, admitted, closed }: SessionEntry,
): { draft: Draft; n: number } {
  const { openWindows, watermark } = draft.progress;
  const open = sessionsAt(openWindows, window, span);
  const touched = [...open, ...closed].sort((a, b) => a.start - b.start);
  const joined = joinSessions(touched, window, { ...span, ...contribution });
  const outputs: Output[] = [];
  const place = () => ({ position: admitted.position, n: n + outputs.length, admitted });
  const origin = originOf(input);
  for (const { revision, ...session } of touched) {
    if (session.start === joined.start || revision === undefined) continue;
    const gone = { ...session, revision: revision + 1, mergedInto: joined.start };
    outputs.push(takenBackOutput(origin, gone, place()));
  }
  let next = without(input, draft, { open, closed });
  const revision = (joined.revision ?? -1) + 1;
  if (isClosed(window, joined.end, watermark)) {
    const emitted: ClosedWindow = { ...joined, revision, closedAt: input.tools.now };
    outputs.push(windowOutput(origin, emitted, place()));
    next = withClosed(next, emitted);
  } else {
    const { progress } = next;
    next = { ...next, progress: { ...progress, openWindows: [...progress.openWindows, joined] } };
    const { earlyEvery } = window;
    if (earlyEvery !== undefined && joined.count % earlyEvery === 0)
      outputs.push(windowOutput(origin, { ...joined, revision }, { ...place(), isEarly: true }));
  }
  return { draft: { ...next, outputs: [...next.outputs, ...outputs] }, n: n + outputs.length };
}

/** One session of all these (earliest first) and the message. */
function joinSessions(
  touched: readonly OpenWindow[],
  definition: CheckedWindow,
  entry: Span & Contribution,
): OpenWindow {
  const [first, ...others] = touched;
  const merged = others.reduce<OpenWindow | undefined>(
    (a, b) => a && mergeSessions(a, b, definition),
    first,
  );
  const start = Math.min(entry.start, merged?.start ?? entry.start);
  const end = Math.max(entry.end, merged?.end ?? entry.end);
  const { revision } = touched.find((session) => session.start === start) ?? {};
  const session = grown(merged, { window: definition.name, start, end }, entry);
  return revision === undefined ? session : { ...session, revision };
}

function mergeSessions(a: OpenWindow, b: OpenWindow, definition: CheckedWindow): OpenWindow {
  const result = mergedResult(definition, a.result, b.result);
  const { window, start } = a;
  const end = Math.max(a.end, b.end);
  return { window, start, end, ...join(a, b), ...(result !== undefined && { result }) };
}

/** Of copies: what a handler changes in its arguments changes no window. */
function mergedResult({ reduce }: CheckedWindow, a: unknown, b: unknown): unknown {
  if (reduce?.merge === undefined) return undefined;
  const copy = (value: unknown): unknown =>
    value === undefined ? undefined : JSON.parse(JSON.stringify(value));
  return JSON.parse(jsonTextOf(reduce.merge(copy(a), copy(b)), 'reduce.merge'));
}

/** Without what was joined; of the closed ones the stored items go too. */
function without(
  input: SettleInput,
  draft: Draft,
  { open, closed }: { open: readonly OpenWindow[]; closed: readonly ClosedWindow[] },
): Draft {
  const { progress } = draft;
  const openWindows = progress.openWindows.filter((other) => !open.includes(other));
  const kept = new Map(draft.closed);
  const gone = new Map(draft.gone);
  const stored = new Set([...input.closedWindows.values()].flat().map(idOf));
  for (const { window, start } of closed) {
    const id = windowId(window, start);
    kept.delete(id);
    if (stored.has(id)) gone.set(id, { window, start });
  }
  return { ...draft, progress: { ...progress, openWindows }, closed: kept, gone };
}

/** The window as this commit writes it. */
export function withClosed(draft: Draft, window: ClosedWindow): Draft {
  const id = idOf(window);
  const closed = new Map(draft.closed).set(id, window);
  if (!draft.gone.has(id)) return { ...draft, closed };
  const gone = new Map(draft.gone);
  gone.delete(id);
  return { ...draft, closed, gone };
}
