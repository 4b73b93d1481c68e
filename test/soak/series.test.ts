import { describe, expect, test } from 'vitest';
import { trendOf } from './series.ts';

const seriesOf = (values: readonly number[]) =>
  values.map((value, i) => ({ atMs: i * 1_000, value }));

describe('the trend of a gauge', () => {
  test('is what its line of least squares rises by, from the given instant on', () => {
    const warming = [900, 500, 700];
    const steady = Array.from({ length: 10 }, (_, i) => 100 + i);

    const trend = trendOf(seriesOf([...warming, ...steady]), 3_000);

    expect(trend).toEqual({ first: 100, last: 109, most: 109, rise: expect.closeTo(9) as number });
  });

  test('of a saw is flat where it does not climb', () => {
    const saw = Array.from({ length: 40 }, (_, i) => 100 + (i % 4));

    expect(Math.abs(trendOf(seriesOf(saw), 0)?.rise ?? Infinity)).toBeLessThan(1);
  });

  test('is not told from too few points', () => {
    expect(trendOf(seriesOf([1, 2, 3]), 0)).toBeUndefined();
  });
});
