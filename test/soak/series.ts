// PURE. Whether a gauge is flat: how much it rises over the last part of a run.
export interface Point {
  atMs: number;
  value: number;
}

export interface Trend {
  first: number;
  last: number;
  most: number;
  /** What the line of least squares rises by from its first point to its last. */
  rise: number;
}

/** Of the points since an instant; undefined when there are too few to say. */
export function trendOf(points: readonly Point[], sinceMs: number): Trend | undefined {
  const seen = points.filter(({ atMs }) => atMs >= sinceMs);
  const [first] = seen;
  const last = seen.at(-1);
  if (!first || !last || seen.length < pointsMin) return undefined;
  const most = seen.reduce((max, { value }) => Math.max(max, value), -Infinity);
  const meanAt = mean(seen.map(({ atMs }) => atMs));
  const meanValue = mean(seen.map(({ value }) => value));
  const up = sum(seen.map(({ atMs, value }) => (atMs - meanAt) * (value - meanValue)));
  const across = sum(seen.map(({ atMs }) => (atMs - meanAt) ** 2));
  const rise = across === 0 ? 0 : (up / across) * (last.atMs - first.atMs);
  return { first: first.value, last: last.value, most, rise };
}

const pointsMin = 8;

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}
