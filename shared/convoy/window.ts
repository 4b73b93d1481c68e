// PURE. Windows by event time: which ones a message belongs to, what it adds, when one closes.
//
// Invariants:
//   W1  a window is closed exactly when end + grace <= watermark of its key.
//   W2  every counted message is in each window of each definition that holds its event time.
//   W3  a closed window never re-opens (but sessions: W4 in session.ts); an amendment raises its
//       revision by one.
import type { Tools } from './outputs.ts';
import type { Aggregate, ClosedWindow, OpenWindow, Progress, WindowValue } from './state.ts';
import type { CheckedWindow } from './window-definition.ts';

export interface Span {
  start: number;
  end: number;
}

/** The windows that hold `at`, oldest first; of a session the span that `at` alone would have. */
export function spansAt(
  window: CheckedWindow,
  at: number,
  tools: Pick<Tools, 'calendar'>,
): readonly Span[] {
  if (window.kind === 'session') return [{ start: at, end: at + window.seconds * 1000 }];
  if (window.calendar !== undefined) return [tools.calendar(window.calendar, at)];
  const lengthMs = window.seconds * 1000;
  const everyMs = window.everySeconds * 1000;
  const spans: Span[] = [];
  for (let start = Math.floor(at / everyMs) * everyMs; start > at - lengthMs; start -= everyMs) {
    spans.push({ start, end: start + lengthMs });
  }
  return spans.reverse();
}

/** [W1] The watermark from which the window counts as closed. */
export function closesAt(window: Pick<CheckedWindow, 'graceSeconds'>, end: number): number {
  return end + window.graceSeconds * 1000;
}

export function isClosed(
  window: Pick<CheckedWindow, 'graceSeconds'>,
  end: number,
  watermark: number | null,
): boolean {
  return watermark !== null && closesAt(window, end) <= watermark;
}

/** One value as an aggregate. Throws TypeError for what is no finite number and no bigint. */
export function aggregateOfValue(value: number | bigint): Aggregate {
  const isValue = typeof value === 'bigint' || Number.isFinite(value);
  if (!isValue) throw new TypeError(`a window value must be finite, not ${shown(value)}`);
  const stored: WindowValue = typeof value === 'bigint' ? value.toString() : value;
  if (typeof stored === 'string' && stored.length > digitsMax) {
    throw new RangeError(`a window value of over ${digitsMax} digits`);
  }
  return { count: 1, sum: stored, min: stored, max: stored, first: stored, last: stored };
}

/** The aggregate of both, `b` after `a`. */
export function join(a: Aggregate, b: Aggregate): Aggregate {
  return {
    count: a.count + b.count,
    sum: add(a.sum, b.sum),
    min: isLess(b.min, a.min) ? b.min : a.min,
    max: isLess(a.max, b.max) ? b.max : a.max,
    first: a.first,
    last: b.last,
  };
}

/** What JavaScript calls it where it is no number. */
const shown = (value: unknown): string =>
  typeof value === 'number' ? String(value) : value === null ? 'null' : `a ${typeof value}`;

const digitsMax = 1_000;

/** A sum of numbers stays finite: JSON would make null of what does not. */
function add(a: WindowValue, b: WindowValue): WindowValue {
  if (typeof a === 'number' && typeof b === 'number') {
    return Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, a + b));
  }
  return (BigInt(a) + BigInt(b)).toString();
}

function isLess(a: WindowValue, b: WindowValue): boolean {
  if (typeof a === 'number' && typeof b === 'number') return a < b;
  return BigInt(a) < BigInt(b);
}

export function aggregateOf(window: Aggregate): Aggregate {
  const { count, sum, min, max, first, last } = window;
  return { count, sum, min, max, first, last };
}

/** sum / count as a number; of a bigint sum the nearest one. */
export function averageOf({ sum, count }: Pick<Aggregate, 'sum' | 'count'>): number {
  return Number(sum) / count;
}

/** What one message brings to a window: its value, and the next result of the window's reducer. */
export interface Contribution {
  value: number | bigint;
  /** From the result so far (undefined = none yet) to the next; undefined = no reducer. */
  reduce?: ((result: unknown) => unknown) | undefined;
}

/** The window with the contribution; without `before` the first of its span. */
export function grown(
  before: OpenWindow | undefined,
  place: { window: string } & Span,
  { value, reduce }: Contribution,
): OpenWindow {
  const single = aggregateOfValue(value);
  const aggregate = before ? join(before, single) : single;
  const { window, start, end } = place;
  return { window, start, end, ...aggregate, ...(reduce && { result: reduce(before?.result) }) };
}

export interface Grown {
  open: OpenWindow[];
  window: OpenWindow;
}

/** Adds to the open window of this span; opens it when it is the first. Not for sessions. */
export function addToOpen(
  open: readonly OpenWindow[],
  definition: CheckedWindow,
  entry: Span & Contribution,
): Grown {
  const { start, end } = entry;
  const index = open.findIndex((w) => w.window === definition.name && w.start === start);
  const window = grown(open[index], { window: definition.name, start, end }, entry);
  return { open: index < 0 ? [...open, window] : open.with(index, window), window };
}

/** [W3] The closed window with one more message; one that never was is closed with it alone. Not
 *  for sessions. */
export function amend(
  closed: ClosedWindow | null,
  definition: CheckedWindow,
  entry: Span & Contribution & { at: number },
): ClosedWindow {
  const { start, end } = entry;
  return {
    ...grown(closed ?? undefined, { window: definition.name, start, end }, entry),
    revision: closed ? closed.revision + 1 : 0,
    closedAt: entry.at,
  };
}

/** Open windows that the watermark has passed, oldest end first, at most `limit`. */
export function dueWindows(
  progress: Pick<Progress, 'openWindows' | 'watermark'>,
  definitions: readonly CheckedWindow[],
  limit: number,
): OpenWindow[] {
  return progress.openWindows
    .filter((open) => {
      const definition = definitions.find(({ name }) => name === open.window);
      // A window whose definition was removed closes at its end: nothing will ever add to it.
      return isClosed(definition ?? { graceSeconds: 0 }, open.end, progress.watermark);
    })
    .sort((a, b) => a.end - b.end || a.start - b.start || (a.window < b.window ? -1 : 1))
    .slice(0, limit);
}

/** The watermark with which every open window is closed: the convoy has completed [W1]. */
export function watermarkOfEnd(
  progress: Pick<Progress, 'openWindows' | 'watermark'>,
  definitions: readonly CheckedWindow[],
): number | null {
  let { watermark } = progress;
  for (const open of progress.openWindows) {
    const definition = definitions.find(({ name }) => name === open.window);
    const due = closesAt(definition ?? { graceSeconds: 0 }, open.end);
    watermark = Math.max(watermark ?? due, due);
  }
  return watermark;
}

/** When the open windows of a silent key are due by the wall clock; null = never. */
export function quietDueAt(
  progress: Pick<Progress, 'openWindows'>,
  definitions: readonly CheckedWindow[],
  silentSince: number | null,
): number | null {
  if (silentSince === null) return null;
  const due = progress.openWindows.flatMap((open) => {
    const seconds = definitions.find(({ name }) => name === open.window)?.quietSeconds;
    return seconds === undefined ? [] : [silentSince + seconds * 1000];
  });
  return due.length === 0 ? null : Math.min(...due);
}

/** The watermark that closes every window whose quiet time has passed at `now` [W1]. */
export function watermarkAfterQuiet(
  progress: Pick<Progress, 'openWindows' | 'watermark'>,
  definitions: readonly CheckedWindow[],
  { silentSince, now }: { silentSince: number; now: number },
): number | null {
  let { watermark } = progress;
  for (const open of progress.openWindows) {
    const definition = definitions.find(({ name }) => name === open.window);
    if (definition?.quietSeconds === undefined) continue;
    if (silentSince + definition.quietSeconds * 1000 > now) continue;
    watermark = Math.max(watermark ?? 0, closesAt(definition, open.end));
  }
  return watermark;
}
