// PURE. Windows by event time: which one a message belongs to, what it adds, when one closes.
//
// Invariants:
//   W1  a window is closed exactly when end + grace <= watermark of its key.
//   W2  every counted message is in exactly one window of each definition.
//   W3  a closed window never re-opens; an amendment raises its revision by one.
import type { WindowDefinition } from './definition.ts';
import type { Aggregate, ClosedWindow, OpenWindow, Progress, WindowValue } from './state.ts';

type Timing = Pick<WindowDefinition, 'name' | 'seconds' | 'graceSeconds'>;

/** Start of the tumbling window that holds `at`. */
export function windowStart(definition: Timing, at: number): number {
  const lengthMs = definition.seconds * 1000;
  return Math.floor(at / lengthMs) * lengthMs;
}

/** [W1] The watermark from which the window counts as closed. */
export function closesAt(definition: Timing, end: number): number {
  return end + (definition.graceSeconds ?? 0) * 1000;
}

export function isClosed(definition: Timing, end: number, watermark: number | null): boolean {
  return watermark !== null && closesAt(definition, end) <= watermark;
}

export function addValue(aggregate: Aggregate | undefined, value: number | bigint): Aggregate {
  const stored: WindowValue = typeof value === 'bigint' ? value.toString() : value;
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new TypeError(`a window value must be finite, not ${value}`);
  }
  if (aggregate === undefined) {
    return { count: 1, sum: stored, min: stored, max: stored, first: stored, last: stored };
  }
  return {
    count: aggregate.count + 1,
    sum: add(aggregate.sum, stored),
    min: isLess(stored, aggregate.min) ? stored : aggregate.min,
    max: isLess(aggregate.max, stored) ? stored : aggregate.max,
    first: aggregate.first,
    last: stored,
  };
}

function add(a: WindowValue, b: WindowValue): WindowValue {
  if (typeof a === 'number' && typeof b === 'number') return a + b;
  return (BigInt(a) + BigInt(b)).toString();
}

function isLess(a: WindowValue, b: WindowValue): boolean {
  if (typeof a === 'number' && typeof b === 'number') return a < b;
  return BigInt(a) < BigInt(b);
}

/** Adds a value to the open window that starts at `start`; opens it when it is the first. */
export function addToOpen(
  open: readonly OpenWindow[],
  definition: Timing,
  entry: { start: number; value: number | bigint },
): OpenWindow[] {
  const { start, value } = entry;
  const index = open.findIndex((w) => w.window === definition.name && w.start === start);
  const before = open[index];
  const after: OpenWindow = {
    window: definition.name,
    start,
    end: start + definition.seconds * 1000,
    ...addValue(before && aggregateOf(before), value),
  };
  return before ? open.with(index, after) : [...open, after];
}

export function aggregateOf(window: Aggregate): Aggregate {
  const { count, sum, min, max, first, last } = window;
  return { count, sum, min, max, first, last };
}

/** [W3] The closed window with one more value; one that never was is closed with this value
 *  alone. */
export function amend(
  closed: ClosedWindow | undefined,
  definition: Timing,
  entry: { start: number; value: number | bigint; at: number },
): ClosedWindow {
  return {
    window: definition.name,
    start: entry.start,
    end: entry.start + definition.seconds * 1000,
    ...addValue(closed && aggregateOf(closed), entry.value),
    revision: closed ? closed.revision + 1 : 0,
    closedAt: entry.at,
  };
}

/** Open windows that the watermark has passed, oldest end first, at most `limit`. */
export function dueWindows(
  progress: Pick<Progress, 'openWindows' | 'watermark'>,
  definitions: readonly Timing[],
  limit: number,
): OpenWindow[] {
  return progress.openWindows
    .filter((open) => {
      const definition = definitions.find(({ name }) => name === open.window);
      // A window whose definition was removed closes at its end: nothing will ever add to it.
      return isClosed(
        definition ?? { name: open.window, seconds: 0 },
        open.end,
        progress.watermark,
      );
    })
    .sort((a, b) => a.end - b.end || (a.window < b.window ? -1 : 1))
    .slice(0, limit);
}

/** When the open windows of a silent key are due by the wall clock; null = never. */
export function quietDueAt(
  progress: Pick<Progress, 'openWindows'>,
  quietSeconds: ReadonlyMap<string, number>,
  silentSince: number | null,
): number | null {
  if (silentSince === null) return null;
  const due = progress.openWindows.flatMap((open) => {
    const seconds = quietSeconds.get(open.window);
    return seconds === undefined ? [] : [silentSince + seconds * 1000];
  });
  return due.length === 0 ? null : Math.min(...due);
}

/** The watermark that closes every window whose quiet time has passed at `now` [W1]. */
export function watermarkAfterQuiet(
  progress: Pick<Progress, 'openWindows' | 'watermark'>,
  definitions: readonly Timing[],
  options: { quietSeconds: ReadonlyMap<string, number>; silentSince: number; now: number },
): number | null {
  let watermark = progress.watermark;
  for (const open of progress.openWindows) {
    const seconds = options.quietSeconds.get(open.window);
    const definition = definitions.find(({ name }) => name === open.window);
    if (seconds === undefined || definition === undefined) continue;
    if (options.silentSince + seconds * 1000 > options.now) continue;
    watermark = Math.max(watermark ?? 0, closesAt(definition, open.end));
  }
  return watermark;
}
