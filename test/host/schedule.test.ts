import { describe, expect, test } from 'vitest';
import { isFrequent, parseSchedule } from '../../infra/local/host/schedule.ts';
import { parseTimeSpan } from '../../infra/local/host/timespan.ts';

const after = (text: string, from: string, zone = 'UTC'): string =>
  new Date(parseSchedule(text, zone).next(Date.parse(from))).toISOString();

describe('schedules', () => {
  test.each([
    ['0 */5 * * * *', '2026-01-01T00:00:00Z', '2026-01-01T00:05:00.000Z'],
    ['*/5 * * * *', '2026-01-01T00:01:00Z', '2026-01-01T00:05:00.000Z'],
    ['30 0 9 * * MON-FRI', '2026-01-03T00:00:00Z', '2026-01-05T09:00:30.000Z'],
    ['00:05:00', '2026-01-01T00:00:01Z', '2026-01-01T00:05:01.000Z'],
    ['1.00:00:00', '2026-01-01T00:00:00Z', '2026-01-02T00:00:00.000Z'],
    // NCRONTAB: both days must fit; Unix cron would say 2 January
    ['0 0 0 13 * FRI', '2026-01-01T00:00:00Z', '2026-02-13T00:00:00.000Z'],
  ])('%s after %s is %s', (text, from, expected) => {
    expect(after(text, from)).toBe(expected);
  });

  test('a zone moves cron schedules', () => {
    expect(after('0 0 9 * * *', '2026-01-01T00:00:00Z', 'America/New_York')).toBe(
      '2026-01-01T14:00:00.000Z',
    );
  });

  test.each(['', 'never', '0 0 L * * *', '0 0 0 1 1', '99 * * * * *', '0 0 ? * * *', '00:00:00'])(
    '%j is refused',
    (text) => {
      expect(() => parseSchedule(text, 'UTC')).toThrow(`'${text}'`);
    },
  );

  test('below a minute a schedule is frequent', () => {
    expect(isFrequent(parseSchedule('*/30 * * * * *', 'UTC'), 0)).toBe(true);
    expect(isFrequent(parseSchedule('0 * * * * *', 'UTC'), 0)).toBe(false);
  });

  test.each([
    ['00:00:02', 2_000],
    ['-00:00:00.0010000', -1],
    ['1.02:03:04.5', 93_784_500],
    ['00:05', 300_000],
    ['24:00:00', undefined],
    ['5', undefined],
  ])('TimeSpan %s is %s ms', (text, expected) => {
    expect(parseTimeSpan(text)).toBe(expected);
  });
});
