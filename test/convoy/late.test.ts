// Windows of a run: kinds, late policies, early results, reducers, what is forgotten.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { defineConvoy } from '../../shared/convoy/definition.ts';
import type { WindowDefinition } from '../../shared/convoy/window-definition.ts';
import { type TestMessage, runConvoy } from '../../shared/run-convoy.ts';

const schema = z.object({ n: z.number() });
type Body = z.infer<typeof schema>;
type Window = WindowDefinition<number, Body>;

const summing = (window: Partial<Window>, retentionSeconds = 604_800) =>
  defineConvoy({
    name: 'summing',
    schema,
    initialState: 0,
    retentionSeconds,
    apply: (state, message) => state + message.body.n,
    windows: [
      {
        name: 'w',
        kind: 'tumbling',
        ...(window.kind !== 'session' && !window.calendar && { seconds: 60 }),
        value: (message) => message.body.n,
        ...window,
      },
    ],
  });

const start = Date.UTC(2026, 0, 1);
const at = (seconds: number, n = 1): TestMessage => ({
  body: { n },
  occurredAt: start + seconds * 1000,
});
const spans = (windows: { start: number; end: number; sum: unknown }[]) =>
  windows.map((w) => [(w.start - start) / 1000, (w.end - start) / 1000, w.sum]);

test('late amend: the closed window is emitted again with revision + 1', () => {
  const run = runConvoy(summing({}), [at(10, 5), at(70, 1), at(20, 2), at(30, 3)]);

  expect(run.closedWindows).toEqual([expect.objectContaining({ sum: 10, revision: 2 })]);
  expect(run.outputs.map(({ body }) => body)).toMatchObject([
    { sum: 5, average: 5, revision: 0, final: true },
    { sum: 7, revision: 1 },
    { sum: 10, revision: 2 },
  ]);
  expect(run.progress.counts.late).toBe(2);
});

test('late drop: applied, not counted', () => {
  const run = runConvoy(summing({ late: 'drop' }), [at(10, 5), at(70, 1), at(20, 2)]);

  expect(run.state).toBe(8);
  expect(spans(run.closedWindows)).toEqual([[0, 60, 5]]);
  expect(run.progress.counts).toMatchObject({ late: 1, applied: 3 });
});

test('late next: counted in the first window still open', () => {
  const messages = [at(10, 5), at(130, 1), at(20, 2)];
  const run = runConvoy(summing({ late: 'next', graceSeconds: 30 }), messages);

  expect(spans(run.closedWindows)).toEqual([[0, 60, 5]]);
  expect(spans(run.openWindows)).toEqual([
    [120, 180, 1],
    [60, 120, 2],
  ]);
});

test('late park: the message is set aside; a replay amends', () => {
  const definition = summing({ late: 'park' });
  const messages = [at(10, 5), at(70, 1), at(20, 2)];
  const first = runConvoy(definition, messages);
  const progress = { ...first.progress, healing: first.parked };

  expect(first.state).toBe(6);
  expect(first.settlements.at(-1)).toMatchObject({ outcome: 'parked', code: 'CVY_LATE' });
  expect(runConvoy(definition, messages, { progress }).state).toBe(8);
});

test('what may have been forgotten is parked; what is certainly new is not', () => {
  const definition = summing({}, 60);
  const first = runConvoy(definition, [at(10), at(70)], { now: start });

  const messages = [at(10), at(70), at(20)];
  const soon = runConvoy(definition, messages, { progress: first.progress, now: start + 60_000 });
  const later = runConvoy(definition, messages, { progress: first.progress, now: start + 61_000 });

  // The run knows no windows of the run before it: as if they had expired.
  expect(soon.settlements).toEqual([expect.objectContaining({ outcome: 'applied' })]);
  expect(later.settlements).toEqual([
    expect.objectContaining({ outcome: 'parked', code: 'CVY_WINDOW_FORGOTTEN' }),
  ]);
});

test('hopping windows count an event in each window that holds it', () => {
  const definition = summing({ kind: 'hopping', seconds: 60, everySeconds: 30 });

  const run = runConvoy(definition, [at(10, 1), at(40, 2), at(200, 4)]);

  expect(spans(run.closedWindows.toSorted((a, b) => a.start - b.start))).toEqual([
    [-30, 30, 1],
    [0, 60, 3],
    [30, 90, 2],
  ]);
});

test('session windows end with their gap; a late message extends the one it touches', () => {
  const definition = summing({ kind: 'session', gapSeconds: 30 });
  const messages = [at(0, 1), at(20, 2), at(100, 4), at(45, 8), at(60, 16)];

  const run = runConvoy(definition, messages);
  const cut = runConvoy(definition, messages, { perCommit: 1 });

  expect(spans(run.closedWindows)).toEqual([[0, 90, 27]]);
  expect(spans(run.openWindows)).toEqual([[100, 130, 4]]);
  expect(cut.closedWindows).toEqual(run.closedWindows);
});

test('early results are emitted after every n messages and are not final', () => {
  const run = runConvoy(summing({ earlyEvery: 2 }), [at(1), at(2), at(3), at(4), at(61)]);

  expect(run.outputs.map(({ type, body }) => [type, body])).toMatchObject([
    ['window.early', { count: 2, final: false }],
    ['window.early', { count: 4, final: false }],
    ['window.closed', { count: 4, final: true }],
  ]);
});

test('a reducer of its own folds whatever it likes; its result is emitted', () => {
  const reduce: Window['reduce'] = {
    initial: [],
    add: (result, message) => [...(result as number[]), message.body.n],
  };

  const run = runConvoy(summing({ reduce }), [at(1, 7), at(2, 8), at(61, 9), at(3, 1)]);

  expect(run.outputs.map(({ body }) => body)).toMatchObject([
    { result: [7, 8], sum: 15 },
    { result: [7, 8, 1], sum: 16, revision: 1 },
  ]);
});

test('however a stream is cut into commits, windows and outputs are the same', () => {
  const kinds: Partial<Window>[] = [
    { graceSeconds: 30 },
    { late: 'next' },
    { late: 'drop', earlyEvery: 3 },
    { late: 'park' },
    { kind: 'hopping', seconds: 90, everySeconds: 30 },
    { kind: 'session', gapSeconds: 20 },
    { calendar: { timeZone: 'Europe/Berlin' } },
  ];
  const stream = fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 40 });
  const kind = fc.constantFrom(...kinds);
  fc.assert(
    fc.property(stream, kind, fc.integer({ min: 1, max: 7 }), (seconds, window, perCommit) => {
      const messages = seconds.map((s, i) => at(s, i + 1));
      const definition = summing(window);
      const whole = runConvoy(definition, messages);
      const cut = runConvoy(definition, messages, { perCommit });

      const view = (run: typeof whole) => ({
        state: run.state,
        outputs: run.outputs,
        open: run.openWindows,
        closed: run.closedWindows.toSorted((a, b) => a.start - b.start),
        chain: run.progress.chain,
      });
      expect(view(cut)).toEqual(view(whole));
    }),
  );
});
