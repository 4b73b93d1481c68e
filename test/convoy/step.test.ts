import fc from 'fast-check';
import { expect, test } from 'vitest';
import { admitted, fold, fresh, summing } from './settling.ts';

test('S2: messages settle once each, in order, and the outputs carry their positions', () => {
  const all = fold([admitted(1, { n: 1 }), admitted(2, { n: 2, emit: 2 }), admitted(3, { n: 3 })]);

  expect(all.progress).toMatchObject({ cursor: 3, settled: 3, state: { sum: 6 } });
  expect(all.settlements.map((s) => [s.position, s.settlement, s.outcome])).toEqual([
    [1, 1, 'applied'],
    [2, 2, 'applied'],
    [3, 3, 'applied'],
  ]);
  expect(all.outputs.map((o) => [o.position, o.n])).toEqual([
    [1, 0],
    [2, 0],
    [2, 1],
    [3, 0],
  ]);
});

test('S1: a rejected message leaves the state as it was, and is not retried', () => {
  const all = fold([admitted(1, { n: 5 }), admitted(2, { n: -9 }), admitted(3, { n: 1 })]);

  expect(all.settlements.map((s) => s.outcome)).toEqual(['applied', 'rejected', 'applied']);
  expect(all.settlements[1]?.reason).toBe('negative');
  expect(all.progress.state).toEqual({ sum: 6, ids: ['m1', 'm3'] });
});

test('S1: a throw blocks the key before the message; what came before stays settled', () => {
  const all = fold([
    admitted(1, { n: 5 }),
    admitted(2, { n: 7, fail: true }),
    admitted(3, { n: 1 }),
  ]);

  expect(all.progress).toMatchObject({ cursor: 1, state: { sum: 5, ids: ['m1'] } });
  expect(all.progress.hold).toMatchObject({
    kind: 'blocked',
    code: 'CVY_HANDLER',
    position: 2,
    attempts: 1,
    reason: 'asked to fail at m2',
  });
  expect(all.outputs.map((o) => o.position)).toEqual([1]);
});

test('H8: attempts are counted across commits; then the key blocks', () => {
  const definition = summing({ attempts: 3 });
  const messages = [admitted(1, { n: 7, fail: true })];
  const first = fold(messages, { definition });
  const second = fold(messages, { definition, progress: first.progress });
  const third = fold(messages, { definition, progress: second.progress });

  expect(first.progress.hold).toMatchObject({
    kind: 'retrying',
    attempts: 1,
    nextAttemptAt: 6_000,
  });
  expect(second.progress.hold).toMatchObject({
    kind: 'retrying',
    attempts: 2,
    nextAttemptAt: 7_000,
  });
  expect(third.progress.hold).toMatchObject({ kind: 'blocked', attempts: 3 });
});

test('a skipped message is settled as skipped without being applied', () => {
  const messages = [admitted(1, { n: 7, fail: true }), admitted(2, { n: 1 })];
  const verdict = { position: 1, as: 'skip' as const, reason: 'known defect' };
  const all = fold(messages, { progress: { ...fresh(), verdict } });

  expect(all.settlements.map((s) => s.outcome)).toEqual(['skipped', 'applied']);
  expect(all.progress).toMatchObject({ state: { sum: 1 }, verdict: null });
  expect(all.settlements[0]).toMatchObject({ code: 'CVY_SKIPPED', reason: 'known defect' });
});

test('bad input is invalid in its place and its followers go on', () => {
  const fault = { code: 'CVY_BODY_NOT_JSON', reason: 'the body is not JSON' };
  const notJson = { ...admitted(2, null), fault };
  const all = fold([
    admitted(1, { n: 1 }),
    notJson,
    admitted(3, { n: 'x' }),
    admitted(4, { n: 4 }),
  ]);

  expect(all.settlements.map((s) => [s.outcome, s.code])).toEqual([
    ['applied', undefined],
    ['invalid', 'CVY_BODY_NOT_JSON'],
    ['invalid', 'CVY_SCHEMA'],
    ['applied', undefined],
  ]);
  expect(all.settlements[2]?.reason).toMatch(/^n: /);
  expect(all.progress.counts).toMatchObject({ applied: 2, invalid: 2 });
});

test('H5: a message that does not fit alone is poison CVY_TOO_LARGE', () => {
  const all = fold([admitted(1, { n: 1 }), admitted(2, { n: 1, emit: 2_000 })]);

  expect(all.progress.cursor).toBe(1);
  expect(all.progress.hold).toMatchObject({ kind: 'blocked', code: 'CVY_TOO_LARGE', position: 2 });
});

test('H5: no commit needs more than its operations, however many windows come due', () => {
  const messages = Array.from({ length: 120 }, (_, i) => admitted(i + 1, { n: 1 }, i * 7));
  const wide = Array.from({ length: 200 }, (_, i) => admitted(i + 121, { n: 1 }, 10_000 + i * 60));
  const limits = { operationsMax: 20, closesMax: 5 };

  const narrow = fold([...messages, ...wide], { limits });
  const roomy = fold([...messages, ...wide]);

  expect(narrow.operations).toBeLessThanOrEqual(20);
  expect(roomy.operations).toBeLessThanOrEqual(90);
  expect(narrow.progress.state).toEqual(roomy.progress.state);
  expect([...narrow.windows].map(([id, w]) => [id, w.count, w.sum, w.revision])).toEqual(
    [...roomy.windows].map(([id, w]) => [id, w.count, w.sum, w.revision]),
  );
});

const stream = fc.array(
  fc.record({
    n: fc.integer({ min: -3, max: 9 }),
    emit: fc.integer({ min: 0, max: 3 }),
    at: fc.integer({ min: 0, max: 600 }),
  }),
  { maxLength: 60 },
);

test('however a stream is cut into commits, its settlements and outputs are the same', () => {
  fc.assert(
    fc.property(stream, fc.integer({ min: 1, max: 9 }), (events, perCommit) => {
      const messages = events.map(({ n, emit, at }, i) => admitted(i + 1, { n, emit }, at));
      const whole = fold(messages);
      const cut = fold(messages, { perCommit });
      const view = (all: typeof whole) => ({
        settlements: all.settlements,
        outputs: all.outputs,
        chain: all.progress.chain,
        state: all.progress.state,
        open: all.progress.openWindows,
        windows: [...all.windows.values()].sort((a, b) => a.start - b.start),
      });
      expect(view(cut)).toEqual(view(whole));
    }),
  );
});

test('W2: open and closed windows together hold every applied message exactly once', () => {
  fc.assert(
    fc.property(stream, (events) => {
      const messages = events.map(({ n, at }, i) => admitted(i + 1, { n }, at));
      const all = fold(messages, { perCommit: 5 });
      const expected = new Map<number, number>();
      for (const { n, at } of events) {
        if (n < 0) continue;
        const start = Math.floor(at / 60) * 60_000;
        expected.set(start, (expected.get(start) ?? 0) + 1);
      }
      const found = new Map<number, number>();
      for (const w of [...all.progress.openWindows, ...all.windows.values()]) {
        expect(found.has(w.start)).toBe(false);
        found.set(w.start, w.count);
      }
      expect(found).toEqual(expected);
    }),
  );
});

test('outputs of one position are numbered without gap, amendments and closings included', () => {
  fc.assert(
    fc.property(stream, (events) => {
      const messages = events.map(({ n, emit, at }, i) => admitted(i + 1, { n, emit }, at));
      const { outputs } = fold(messages, { perCommit: 4 });
      const next = new Map<number, number>();
      for (const { position, n } of outputs) {
        expect(n).toBe(next.get(position) ?? 0);
        next.set(position, n + 1);
      }
    }),
  );
});
