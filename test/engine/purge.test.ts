import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { virtualClock } from '../../shared/clock.ts';
import { historyDaysIn, purgeHistory, purgeRanges } from '../../shared/engine/purge.ts';

const dayMs = 86_400_000;

describe('purge', () => {
  test('the ranges reach from the first instant to what is kept, without a gap', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 4e12 }),
        fc.double({ min: 0, max: 1e4, noNaN: true }),
        (now, days) => {
          const ranges = purgeRanges(now, days);
          const keptFrom = now - days * dayMs;
          expect(ranges.at(-1)?.toAt ?? 0).toBe(Math.max(0, keptFrom));
          let fromAt = 0;
          for (const range of ranges) {
            expect(range.fromAt).toBe(fromAt);
            expect(range.toAt).toBeGreaterThan(range.fromAt);
            fromAt = range.toAt;
          }
          expect(ranges.length).toBeLessThanOrEqual(10);
        },
      ),
    );
  });

  test('ends when its time is over; the next run goes on', async () => {
    const clock = virtualClock();
    const asked: number[] = [];
    const purge = async ({ fromAt }: { fromAt: number }): Promise<number> => {
      asked.push(fromAt);
      await clock.advance(60_000);
      return 5;
    };

    const purged = await purgeHistory(purge, {
      clock,
      historyDays: 7,
      untilAt: clock.now() + 100_000,
    });

    expect([purged, asked.length, asked[0]]).toEqual([10, 2, 0]);
  });

  test('CONVOY_HISTORY_DAYS is days, 7 without it, anything else is refused', () => {
    expect(historyDaysIn({})).toBe(7);
    expect(historyDaysIn({ CONVOY_HISTORY_DAYS: '0.5' })).toBe(0.5);
    expect(() => historyDaysIn({ CONVOY_HISTORY_DAYS: 'a week' })).toThrow('CVY_SETTINGS');
    expect(() => historyDaysIn({ CONVOY_HISTORY_DAYS: '-1' })).toThrow('CVY_SETTINGS');
  });
});
