import { expect, test } from 'vitest';
import {
  addToOpen,
  addValue,
  amend,
  dueWindows,
  isClosed,
  quietDueAt,
  watermarkAfterQuiet,
  windowStart,
} from '../../shared/convoy/window.ts';

const day = { name: 'day', seconds: 86_400, graceSeconds: 0 };
const at = (text: string) => Date.parse(text);

test('tumbling windows are aligned to the epoch, start inclusive, end exclusive', () => {
  expect(windowStart(day, at('2016-02-29T00:00:00Z'))).toBe(at('2016-02-29T00:00:00Z'));
  expect(windowStart(day, at('2016-02-29T23:59:59Z'))).toBe(at('2016-02-29T00:00:00Z'));
  expect(windowStart(day, at('1969-12-31T23:00:00Z'))).toBe(at('1969-12-31T00:00:00Z'));
});

test('W1: a window closes when end + grace is at or before the watermark, not earlier', () => {
  const graceful = { name: 'w', seconds: 60, graceSeconds: 30 };

  expect(isClosed(graceful, 60_000, 89_999)).toBe(false);
  expect(isClosed(graceful, 60_000, 90_000)).toBe(true);
  expect(isClosed(graceful, 60_000, null)).toBe(false);
});

test('an aggregate counts, sums and keeps extremes, first and last', () => {
  const values = [5, -2, 9, 4];
  const all = values.reduce<ReturnType<typeof addValue> | undefined>(addValue, undefined);

  expect(all).toEqual({ count: 4, sum: 16, min: -2, max: 9, first: 5, last: 4 });
});

test('bigint values are kept exactly, as decimal text', () => {
  const big = 2n ** 70n;
  const all = [big, -1n].reduce<ReturnType<typeof addValue> | undefined>(addValue, undefined);

  expect(all).toMatchObject({ sum: (big - 1n).toString(), min: '-1', max: big.toString() });
});

test('a value that is not finite is refused', () => {
  expect(() => addValue(undefined, Number.NaN)).toThrow(/finite/);
});

test('W3: an amendment raises the revision; one that never was has revision 0', () => {
  const start = at('2016-02-29T00:00:00Z');
  const first = amend(undefined, day, { start, value: 3, at: 1 });
  const second = amend(first, day, { start, value: 4, at: 2 });

  expect(first).toMatchObject({ revision: 0, count: 1, sum: 3 });
  expect(second).toMatchObject({ revision: 1, count: 2, sum: 7, last: 4, closedAt: 2 });
});

test('due windows come oldest end first; one whose definition is gone closes at its end', () => {
  let open = addToOpen([], day, { start: 86_400_000, value: 1 });
  open = addToOpen(open, day, { start: 0, value: 1 });
  open = addToOpen(open, { name: 'gone', seconds: 10 }, { start: 0, value: 1 });

  const due = dueWindows({ openWindows: open, watermark: 2 * 86_400_000 }, [day], 10);

  expect(due.map((w) => [w.window, w.start])).toEqual([
    ['gone', 0],
    ['day', 0],
    ['day', 86_400_000],
  ]);
});

test('quiet time moves the watermark just past the open windows', () => {
  const quietSeconds = new Map([['day', 60]]);
  const progress = { openWindows: addToOpen([], day, { start: 0, value: 1 }), watermark: 5 };
  const quiet = { quietSeconds, silentSince: 1_000_000 };

  expect(quietDueAt(progress, quietSeconds, 1_000_000)).toBe(1_060_000);
  expect(watermarkAfterQuiet(progress, [day], { ...quiet, now: 1_059_999 })).toBe(5);
  expect(watermarkAfterQuiet(progress, [day], { ...quiet, now: 1_060_000 })).toBe(86_400_000);
});
