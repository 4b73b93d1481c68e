// The sender's order: runs of the real settle() through runConvoy, against a fold written here.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { type ConvoyOptions, defineConvoy } from '../../shared/convoy/definition.ts';
import { type TestMessage, runConvoy } from '../../shared/run-convoy.ts';

type Options = Partial<ConvoyOptions<z.ZodObject, string[]>>;

/** Writes down what it is given, in order. */
const noting = (options: Options = {}) =>
  defineConvoy({
    name: 'noting',
    schema: z.looseObject({}),
    initialState: [] as string[],
    order: 'sender',
    apply(state, message, context) {
      if (message.body['fail'] === true) throw new Error(`no ${message.id}`);
      context.emit('noted', message.id);
      return [...state, message.id];
    },
    ...options,
  });

const at = (senderPosition: number, more: TestMessage = {}): TestMessage => ({
  id: `s${senderPosition}`,
  senderPosition,
  ...more,
});
const now = Date.UTC(2026, 0, 1);

test('O1: messages that come early wait, and settle in the order of the sender', () => {
  const run = runConvoy(noting(), [at(3), at(1), at(4), at(2)]);

  expect(run.state).toEqual(['s1', 's2', 's3', 's4']);
  expect(run.settlements.map((s) => [s.position, s.settlement])).toEqual([
    [2, 1],
    [4, 2],
    [1, 3],
    [3, 4],
  ]);
  expect(run.progress).toMatchObject({ nextSender: 5, taken: [], asideCount: 0 });
});

test('O1: without the missing one nothing behind it settles; what waits is known', () => {
  const run = runConvoy(noting(), [at(1), at(3), at(4)]);

  expect(run.state).toEqual(['s1']);
  expect(run.waiting).toEqual([2, 3]);
  expect(run.hold.kind).toBe('none');
  expect(run.progress).toMatchObject({ cursor: 3, nextSender: 2, gapSince: now });
});

test('a gap is judged when its time has passed: block names what is missing', () => {
  const definition = noting({ gap: { waitSeconds: 30 } });
  const messages = [at(1), at(4)];
  const waiting = runConvoy(definition, messages);

  const early = runConvoy(definition, messages, { progress: waiting.progress, now: now + 29_999 });
  const late = runConvoy(definition, messages, { progress: waiting.progress, now: now + 30_000 });

  expect(early.hold.kind).toBe('none');
  expect(late.hold).toMatchObject({ kind: 'blocked', code: 'CVY_GAP', position: 2 });
  expect(late.hold.reason).toContain('senderPosition 2 to 3 did not come');
});

test('a gap that is gone on without is counted, and what comes then is stale', () => {
  const definition = noting({ gap: { waitSeconds: 30, onTimeout: 'continue' } });
  const messages = [at(1), at(4)];
  const waiting = runConvoy(definition, messages);
  const on = runConvoy(definition, messages, { progress: waiting.progress, now: now + 30_000 });

  const stale = runConvoy(definition, [...messages, at(2)], { progress: on.progress });

  expect(on.state).toEqual(['s1', 's4']);
  expect(on.progress.counts).toMatchObject({ gaps: 2, applied: 2 });
  expect(stale.settlements).toEqual([
    expect.objectContaining({ position: 3, outcome: 'skipped', code: 'CVY_STALE' }),
  ]);
});

test('a message without senderPosition is invalid in its place; a second version is stale', () => {
  const run = runConvoy(noting(), [{ id: 'none' }, at(2), at(2, { id: 'again' }), at(1)]);

  expect(run.settlements.map((s) => [s.position, s.outcome, s.code])).toEqual([
    [1, 'invalid', 'CVY_SENDER_POSITION'],
    [3, 'skipped', 'CVY_STALE'],
    [4, 'applied', undefined],
    [2, 'applied', undefined],
  ]);
});

test('only so many may wait; one more and the gap is judged at once', () => {
  const messages = [at(2), at(3), at(4), at(5), at(1)];

  const blocked = runConvoy(noting({ gap: { messagesMax: 3 } }), messages);
  const on = runConvoy(noting({ gap: { messagesMax: 3, onTimeout: 'continue' } }), messages);

  expect(blocked.hold.code).toBe('CVY_GAP');
  expect(blocked.progress.cursor).toBe(3);
  expect(on.state).toEqual(['s2', 's3', 's4', 's5']);
});

test('a poisonous message that had waited holds the key in its place', () => {
  const messages = [at(3), at(2, { body: { fail: true } }), at(1), at(4)];

  const run = runConvoy(noting(), messages);

  expect(run.state).toEqual(['s1']);
  expect(run.hold).toMatchObject({ kind: 'blocked', code: 'CVY_HANDLER', position: 2 });
  expect(run.waiting).toEqual([2, 1]);
});

test('O1: any permutation, cut anywhere, settles 1 to n in order, once', () => {
  const permutation = fc.integer({ min: 1, max: 60 }).chain((n) =>
    fc.shuffledSubarray(
      Array.from({ length: n }, (_, i) => i + 1),
      { minLength: n },
    ),
  );
  fc.assert(
    fc.property(permutation, fc.integer({ min: 1, max: 12 }), (positions, perCommit) => {
      const run = runConvoy(
        noting(),
        positions.map((p) => at(p)),
        { perCommit },
      );

      expect(run.state).toEqual(positions.toSorted((a, b) => a - b).map((p) => `s${p}`));
      expect(run.waiting).toEqual([]);
      expect(run.progress.settled).toBe(positions.length);
      const ids = run.outputs.map(({ position, n }) => `${position}:${n}`);
      expect(new Set(ids).size).toBe(ids.length);
    }),
  );
});
