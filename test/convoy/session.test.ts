// W4, W5: session windows, in whatever order messages come.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { defineConvoy } from '../../shared/convoy/definition.ts';
import type { WindowDefinition } from '../../shared/convoy/window-definition.ts';
import { type RunResult, type TestMessage, runConvoy } from '../../shared/run-convoy.ts';

const schema = z.object({ n: z.number() });
type Window = WindowDefinition<number, z.infer<typeof schema>>;
const gapSeconds = 30;

const sessions = (window: Partial<Window> = {}) =>
  defineConvoy({
    name: 'sessions',
    schema,
    initialState: 0,
    apply: (state) => state + 1,
    windows: [{ name: 's', kind: 'session', gapSeconds, value: (m) => m.body.n, ...window }],
  });

const start = Date.UTC(2026, 0, 1);
const at = (seconds: number, n = 1): TestMessage => ({
  body: { n },
  occurredAt: start + seconds * 1000,
});
const spans = (windows: { start: number; end: number; sum: unknown }[]) =>
  windows
    .map((w): [number, number, unknown] => [
      (w.start - start) / 1000,
      (w.end - start) / 1000,
      w.sum,
    ])
    .sort((a, b) => a[0] - b[0]);
const emitted = (run: RunResult) =>
  run.outputs.map(({ body }) => {
    const { start: from, count, revision, mergedInto } = body as Record<string, unknown>;
    const second = (value: unknown) => (Date.parse(String(value)) - start) / 1000;
    const into = mergedInto === undefined ? [] : [second(mergedInto)];
    return [second(from), count, revision, ...into];
  });

test('open sessions that a message joins become one, with the values in their order', () => {
  const run = runConvoy(sessions({ graceSeconds: 60 }), [at(0, 5), at(40, 7), at(20, 1)]);

  expect(run.outputs).toEqual([]);
  expect(run.openWindows).toMatchObject([{ count: 3, sum: 13, first: 5, last: 1 }]);
  expect(spans(run.openWindows)).toEqual([[0, 70, 13]]);
});

test('W4: two closed sessions that a late message joins become one', () => {
  const run = runConvoy(sessions(), [at(0, 1), at(50, 2), at(200, 4), at(25, 8)]);

  expect(spans(run.closedWindows)).toEqual([[0, 80, 11]]);
  expect(emitted(run)).toEqual([
    [0, 1, 0],
    [50, 1, 0],
    [50, 0, 1, 0],
    [0, 3, 1],
  ]);
});

test('W4: a late message before a closed session is where the session begins', () => {
  const run = runConvoy(sessions(), [at(50, 2), at(200, 4), at(40, 8)]);

  expect(spans(run.closedWindows)).toEqual([[40, 80, 10]]);
  expect(emitted(run)).toEqual([
    [50, 1, 0],
    [50, 0, 1, 40],
    [40, 2, 0],
  ]);
});

test('W4: a closed session that a message carries past the watermark is open again', () => {
  const messages = [at(0, 1), at(40, 2), at(25, 4)];

  const run = runConvoy(sessions(), messages);
  const later = runConvoy(sessions(), [...messages, at(200)]);

  expect(run.closedWindows).toEqual([]);
  expect(spans(run.openWindows)).toEqual([[0, 70, 7]]);
  expect(emitted(later)).toEqual([
    [0, 1, 0],
    [0, 3, 1],
  ]);
});

test.each(['drop', 'next', 'park'] as const)(
  'W5: with %s a closed session never changes',
  (late) => {
    const run = runConvoy(sessions({ late }), [at(0, 1), at(50, 2), at(200, 4), at(25, 8)]);

    expect(spans(run.closedWindows)).toEqual([
      [0, 30, 1],
      [50, 80, 2],
    ]);
  },
);

test('W4: the sessions that stand are what touches, however the messages come', () => {
  const seconds = fc.array(fc.integer({ min: 0, max: 600 }), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(seconds, fc.constantFrom(0, 45), (list, graceSeconds) => {
      const run = runConvoy(
        sessions({ graceSeconds }),
        list.map((second) => at(second)),
      );

      const expected: [number, number, number][] = [];
      for (const second of list.toSorted((a, b) => a - b)) {
        const last = expected.at(-1);
        if (last === undefined || second > last[1]) expected.push([second, second + gapSeconds, 1]);
        else {
          last[1] = second + gapSeconds;
          last[2] += 1;
        }
      }
      expect(spans([...run.closedWindows, ...run.openWindows])).toEqual(expected);
      const standing = new Map<unknown, unknown[]>();
      for (const [from, ...rest] of emitted(run)) standing.set(from, rest);
      const closed = [...standing].filter(([, [count]]) => count !== 0);
      const reopened = run.openWindows.filter(({ revision }) => revision !== undefined).length;
      expect(closed).toHaveLength(run.closedWindows.length + reopened);
    }),
  );
});
