import { expect, test } from 'vitest';
import { calendarWindow } from '../../shared/calendar.ts';
import type { Aggregate } from '../../shared/convoy/state.ts';
import type { CheckedWindow } from '../../shared/convoy/window-definition.ts';
import {
  addToOpen,
  aggregateOfValue,
  amend,
  averageOf,
  dueWindows,
  isClosed,
  join,
  quietDueAt,
  spansAt,
  watermarkAfterQuiet,
} from '../../shared/convoy/window.ts';

const windowOf = (change: Partial<CheckedWindow>): CheckedWindow => ({
  name: 'day',
  kind: 'tumbling',
  seconds: 86_400,
  everySeconds: change.seconds ?? 86_400,
  calendar: undefined,
  value: () => 1,
  reduce: undefined,
  graceSeconds: 0,
  quietSeconds: undefined,
  late: 'amend',
  earlyEvery: undefined,
  rollUp: undefined,
  ...change,
});
const day = windowOf({});
const at = (text: string) => Date.parse(text);
const tools = { calendar: calendarWindow };
const spanOf = (start: number) => ({ start, end: start + 86_400_000 });
const startOf = (text: string) => spansAt(day, at(text), tools)[0]?.start;
const fold = (values: (number | bigint)[]): Aggregate => values.map(aggregateOfValue).reduce(join);

test('tumbling windows are aligned to the epoch, start inclusive, end exclusive', () => {
  expect(startOf('2016-02-29T00:00:00Z')).toBe(at('2016-02-29T00:00:00Z'));
  expect(startOf('2016-02-29T23:59:59Z')).toBe(at('2016-02-29T00:00:00Z'));
  expect(startOf('1969-12-31T23:00:00Z')).toBe(at('1969-12-31T00:00:00Z'));
});

test('hopping windows overlap: an event is in every one that holds it, oldest first', () => {
  const hop = windowOf({ kind: 'hopping', seconds: 60, everySeconds: 20 });

  const spans = spansAt(hop, 65_000, tools);

  expect(spans.map(({ start, end }) => [start, end])).toEqual([
    [20_000, 80_000],
    [40_000, 100_000],
    [60_000, 120_000],
  ]);
});

test.each([
  ['a plain day', 'day', '00:00', '2026-06-10T12:00:00Z', '2026-06-09T22:00', '2026-06-10T22:00'],
  ['2 PM local', 'day', '14:00', '2026-06-10T11:59:59Z', '2026-06-09T12:00', '2026-06-10T12:00'],
  ['from 2 PM on', 'day', '14:00', '2026-06-10T12:00:00Z', '2026-06-10T12:00', '2026-06-11T12:00'],
  ['23 hours', 'day', '00:00', '2026-03-29T10:00:00Z', '2026-03-28T23:00', '2026-03-29T22:00'],
  ['25 hours', 'day', '00:00', '2026-10-25T10:00:00Z', '2026-10-24T22:00', '2026-10-25T23:00'],
  ['skipped', 'day', '02:30', '2026-03-29T12:00:00Z', '2026-03-29T01:30', '2026-03-30T00:30'],
  ['twice: the first', 'day', '02:30', '2026-10-25T12:00Z', '2026-10-25T00:30', '2026-10-26T01:30'],
  ['a week', 'week', '06:00', '2026-06-10T12:00:00Z', '2026-06-08T04:00', '2026-06-15T04:00'],
  ['a month', 'month', '00:00', '2026-02-10T12:00:00Z', '2026-01-31T23:00', '2026-02-28T23:00'],
] as const)('a calendar in Berlin: %s', (_, unit, startsAt, instant, start, end) => {
  const calendar = { timeZone: 'Europe/Berlin', unit, startsAt };

  const span = calendarWindow(calendar, at(instant));

  expect(span).toEqual({ start: at(`${start}:00Z`), end: at(`${end}:00Z`) });
});

test('calendar windows of every zone end to end cover time without gap or overlap', () => {
  for (const timeZone of [
    'Europe/Berlin',
    'America/St_Johns',
    'Australia/Lord_Howe',
    'Asia/Tokyo',
  ]) {
    for (const unit of ['day', 'week', 'month'] as const) {
      const calendar = { timeZone, unit, startsAt: '02:30' };
      let span = calendarWindow(calendar, at('2025-12-30T00:00:00Z'));
      while (span.start < at('2027-01-05T00:00:00Z')) {
        const middle = calendarWindow(calendar, (span.start + span.end) / 2);
        const next = calendarWindow(calendar, span.end);
        expect(middle).toEqual(span);
        expect(next.start).toBe(span.end);
        expect(next.end).toBeGreaterThan(next.start);
        span = next;
      }
    }
  }
});

test('W1: a window closes when end + grace is at or before the watermark, not earlier', () => {
  const graceful = { graceSeconds: 30 };

  expect(isClosed(graceful, 60_000, 89_999)).toBe(false);
  expect(isClosed(graceful, 60_000, 90_000)).toBe(true);
  expect(isClosed(graceful, 60_000, null)).toBe(false);
});

test('an aggregate counts, sums, averages and keeps extremes, first and last', () => {
  const all = fold([5, -2, 9, 4]);

  expect(all).toEqual({ count: 4, sum: 16, min: -2, max: 9, first: 5, last: 4 });
  expect(averageOf(all)).toBe(4);
});

test('bigint values are kept exactly, as decimal text', () => {
  const big = 2n ** 70n;

  expect(fold([big, -1n])).toMatchObject({
    sum: (big - 1n).toString(),
    min: '-1',
    max: big.toString(),
  });
});

test('a value that is not finite is refused', () => {
  expect(() => aggregateOfValue(Number.NaN)).toThrow(/finite/);
});

test('W3: an amendment raises the revision; one that never was has revision 0', () => {
  const span = spanOf(at('2016-02-29T00:00:00Z'));
  const first = amend(null, day, { ...span, value: 3, at: 1 });
  const second = amend(first, day, { ...span, value: 4, at: 2 });

  expect(first).toMatchObject({ revision: 0, count: 1, sum: 3 });
  expect(second).toMatchObject({ revision: 1, count: 2, sum: 7, last: 4, closedAt: 2 });
});

test('due windows come oldest end first; one whose definition is gone closes at its end', () => {
  const gone = windowOf({ name: 'gone', seconds: 10 });
  let { open } = addToOpen([], day, { ...spanOf(86_400_000), value: 1 });
  open = addToOpen(open, day, { ...spanOf(0), value: 1 }).open;
  open = addToOpen(open, gone, { start: 0, end: 10_000, value: 1 }).open;

  const due = dueWindows({ openWindows: open, watermark: 2 * 86_400_000 }, [day], 10);

  expect(due.map((w) => [w.window, w.start])).toEqual([
    ['gone', 0],
    ['day', 0],
    ['day', 86_400_000],
  ]);
});

test('quiet time moves the watermark just past the open windows', () => {
  const quiet = windowOf({ quietSeconds: 60 });
  const openWindows = addToOpen([], quiet, { ...spanOf(0), value: 1 }).open;
  const progress = { openWindows, watermark: 5 };
  const after = (now: number) =>
    watermarkAfterQuiet(progress, [quiet], { silentSince: 1_000_000, now });

  expect(quietDueAt(progress, [quiet], 1_000_000)).toBe(1_060_000);
  expect(after(1_059_999)).toBe(5);
  expect(after(1_060_000)).toBe(86_400_000);
});
