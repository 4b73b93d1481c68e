// Lanes of a key: their names, which one a message goes to, what the definition may say, and how a
// lane begins, opens and retires.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { defineConvoy } from '../../shared/convoy/definition.ts';
import {
  admit,
  assertHandoff,
  close,
  firstProgress,
  isFenced,
  mayRetire,
  openLane,
  retire,
  sweepReason,
} from '../../shared/convoy/handoff.ts';
import { queuesOf } from '../../shared/convoy/lane-plan.ts';
import { type Progress, initialProgress } from '../../shared/convoy/state.ts';
import { settle } from '../../shared/convoy/step.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import { toolsAt } from '../../shared/engine/tools.ts';
import {
  fenceEndOf,
  generationsOf,
  laneNamed,
  laneOf,
  laneSessionOf,
  newestPlace,
  olderPlaces,
  placeOf,
  wholeKeyFault,
} from '../../shared/lanes.ts';
import { admitted, fresh, summing } from './settling.ts';

const text = fc.oneof(
  fc.string({ minLength: 1, maxLength: 12, unit: fc.constantFrom('a', '~', '.', '1', '0', '-') }),
  fc.string({ minLength: 1, maxLength: 20 }),
);
const place = fc.record({
  key: text,
  generation: fc.integer({ min: 0, max: 16 }),
  lane: fc.integer({ min: 0, max: 63 }),
});

describe('L1: the session of a lane', () => {
  test('names it and nothing else, whatever the key holds', () => {
    fc.assert(
      fc.property(place, (given) => {
        const asked = given.generation === 0 ? { ...given, lane: 0 } : given;
        fc.pre(asked.generation > 0 || wholeKeyFault(asked.key) === undefined);

        expect(placeOf(laneSessionOf(asked))).toEqual(asked);
      }),
      { numRuns: 2_000 },
    );
  });

  test('is told apart from every other', () => {
    fc.assert(
      fc.property(place, place, (a, b) => {
        fc.pre([a, b].every((p) => p.generation > 0 || wholeKeyFault(p.key) === undefined));
        const isSame =
          a.key === b.key && a.generation === b.generation && (a.lane === b.lane || !a.generation);

        expect(laneSessionOf(a) === laneSessionOf(b)).toBe(isSame);
      }),
      { numRuns: 2_000 },
    );
  });

  test.each([
    ['A~1.0', { key: 'A', generation: 1, lane: 0 }],
    ['A~~~12.63', { key: 'A~', generation: 12, lane: 63 }],
    ['a~~b~1.2', { key: 'a~b', generation: 1, lane: 2 }],
  ])('%s is a lane', (session, expected) => {
    expect(placeOf(session)).toEqual(expected);
    expect(laneSessionOf(expected)).toBe(session);
  });

  test.each(['A', 'A~', 'A~1', 'A~~1.0', 'A~01.0', 'A~1.00', '~1.0', 'a~b~1.2', 'A~0.0', 'A~1.0 '])(
    '%j is a key as it is',
    (session) => {
      expect(placeOf(session)).toEqual({ key: session, generation: 0, lane: 0 });
    },
  );

  test('an operator may name the unsplit key', () => {
    expect(laneNamed('A~0.0')).toEqual({ key: 'A', generation: 0, lane: 0 });
    expect(laneNamed('A~0.1')).toBeUndefined();
    expect(wholeKeyFault('A~0.0')).toContain('ends like the name of a lane');
  });
});

describe('the lane of a message', () => {
  test('is the same for ever, and of the newest generation of its key', () => {
    const layout = {
      all: [{ count: 2, queue: 'q' }],
      keys: {
        hot: [
          { count: 4, queue: 'q' },
          { count: 8, queue: 'fast' },
        ],
      },
    };

    // Changing these strands messages: they were computed when lanes came.
    expect(['a', 'b', 'c', 'd'].map((laneKey) => laneOf(laneKey, 8))).toEqual([3, 1, 0, 0]);
    expect(laneOf(undefined, 8)).toBe(0);
    expect(newestPlace(layout, 'hot', 'a')).toMatchObject({ generation: 2, queue: 'fast' });
    expect(newestPlace(layout, 'other', 'a')).toMatchObject({ generation: 1, queue: 'q' });
    expect(generationsOf(layout, 'toString')).toBe(layout.all);
    expect(olderPlaces(layout.keys.hot, { key: 'hot', generation: 2, lane: 5 })).toEqual([
      { key: 'hot', generation: 0, lane: 0 },
      ...[0, 1, 2, 3].map((lane) => ({ key: 'hot', generation: 1, lane })),
    ]);
  });

  test('uses every lane', () => {
    const lanes = Array.from({ length: 400 }, (_, i) => laneOf(`customer-${i}`, 16));

    expect(new Set(lanes).size).toBe(16);
  });

  test('a fence ends after refresh, the longest send and a margin', () => {
    const generation = { count: 1, queue: 'q', announcedAt: 1_000 };

    expect(fenceEndOf(generation, 30)).toBe(1_000 + 95_000);
    expect(fenceEndOf({ ...generation, announcedAt: null }, 30)).toBeNull();
  });
});

describe('the definition', () => {
  const good = {
    name: 'good',
    schema: z.object({}),
    initialState: { n: 0 },
    apply: (state: { n: number }) => state,
  };

  test('a number, a list and a record of lists', () => {
    const plan = (lanes: NonNullable<Parameters<typeof defineConvoy>[0]['lanes']>) =>
      defineConvoy({ ...good, lanes }).lanes;

    expect(plan(4)).toEqual({ all: [{ count: 4, queue: 'good' }], keys: {} });
    expect(plan([4, { count: 1, queue: 'fast' }]).all[1]).toEqual({ count: 1, queue: 'fast' });
    expect(plan({ hot: 2, K: [2, 3] }).keys['K']).toHaveLength(2);
    const split = defineConvoy({ ...good, lanes: { hot: [2, { count: 2, queue: 'fast' }] } });
    expect(queuesOf(split)).toEqual(['good', 'fast']);
    expect(split.laneRefreshSeconds).toBe(60);
  });

  test.each<[object, RegExp]>([
    [{ lanes: 65 }, /lanes: must be 1 to 64 lanes/],
    [{ lanes: [] }, /lanes: must have 1 to 16 generations/],
    [{ lanes: [2, { count: 0 }] }, /lanes\[1\]: must be 1 to 64 lanes/],
    [{ lanes: [{ count: 1, queue: '' }] }, /lanes\[0\]\.queue: must be the name of a queue/],
    [{ lanes: [{ count: 1, colour: 1 }] }, /lanes\[0\]\.colour: unknown/],
    [{ lanes: { hot: 'four' } }, /lanes\['hot'\]: must be a number of lanes or a list/],
    [{ lanes: { '': 2 } }, /a key has at least one character/],
    [{ lanes: 2, merge: 'sum' }, /merge: must be a function/],
    [{ merge: () => 0 }, /merge: there are no lanes/],
    [{ laneRefreshSeconds: 60 }, /laneRefreshSeconds: there are no lanes/],
    [{ lanes: 2, laneRefreshSeconds: 4 }, /laneRefreshSeconds: must be a whole number from 5/],
  ])('%j is refused', (wrong, expected) => {
    expect(() => defineConvoy({ ...good, ...wrong })).toThrow(expected);
  });
});

const message = (id: string, at = 1_000) => ({ messageId: id, at, sequence: 7 });
const lane = { key: 'k', generation: 1, lane: 0 };

/** A key that has settled `n` messages and closed. */
function drained(n: number) {
  const { gate } = Array.from({ length: n }).reduce<ReturnType<typeof admit>>(
    (step, _, i) => admit(step.gate, message(`m${i + 2}`)),
    admit(undefined, message('m1')),
  );
  const done = { ...gate, tail: n };
  const progress = { ...initialProgress({}, 1_000), cursor: n, settled: n };
  return close(done, progress, { at: 2_000, dueAt: null });
}

describe('the hand-off between generations', () => {
  test('L3: a new lane begins held; admits only append; it opens once, with a new epoch', () => {
    const first = admit(undefined, { ...message('m1'), fencedUntil: 9_000 });
    const second = admit(first.gate, { ...message('m2'), fencedUntil: 9_000 });
    const progress = firstProgress({ initialState: {}, version: 1 }, 1_000, lane);

    expect(first).toMatchObject({ created: true, opened: false, wake: false, position: 1 });
    expect(second.gate).toMatchObject({ phase: 'held', epoch: 0, tail: 2, dueAt: 9_000 });
    expect(isFenced(second.gate)).toBe(true);
    assertHandoff(second.gate, progress);
    const limits = { backlogSilenceMs: 1, lingerSilenceMs: 1 };
    expect(sweepReason(second.gate, progress, { at: 1e12, ...limits })).toBeUndefined();

    const opened = openLane(second.gate, progress, 10_000);
    assertHandoff(opened.gate, opened.progress);
    expect(opened.gate).toMatchObject({ phase: 'active', epoch: 2, dueAt: null });
    expect(opened.progress).toMatchObject({ epoch: 2, openedAt: 10_000, hold: { kind: 'none' } });
    expect(() => openLane(opened.gate, opened.progress, 11_000)).toThrow(/L3/);
  });

  test('L4: a lane retires idle and drained, once; its tail does not move', () => {
    const { gate, progress } = drained(2);
    const options = { generation: 1, at: 3_000 };

    const after = retire(gate, progress, options);

    assertHandoff(after.gate, after.progress);
    expect(after.progress.retired).toEqual({ generation: 1, tail: 2, at: 3_000 });
    const late = admit(after.gate, message('m3'));
    expect(late).toMatchObject({ position: 3, opened: true });
    expect(() => retire(gate, after.progress, options)).toThrow(/L4: retires once/);
  });

  test.each<[string, Partial<Progress>, object]>([
    ['a backlog', { cursor: 1, settled: 1 }, {}],
    ['a hold', { hold: { kind: 'blocked' } }, {}],
    ['messages that wait for a gap', { taken: [{ position: 2 }], settled: 1 }, {}],
    ['a parked lane', { laneParked: { kind: 'blocked' } }, {}],
    ['messages that are being healed', { healing: [1] }, {}],
    ['unpublished outputs', { outputCommits: 1 }, {}],
    ['an instance', {}, { phase: 'active' }],
    ['an operator to wait for', {}, { phase: 'held' }],
  ])('L4: it does not retire with %s', (_, progress, gate) => {
    const idle = drained(2);
    const [g, p] = [
      { ...idle.gate, ...gate },
      { ...idle.progress, ...progress },
    ];

    expect(mayRetire(idle.gate, idle.progress)).toBe(true);
    expect(mayRetire(g, p)).toBe(false);
    expect(() => retire(g, p, { generation: 1, at: 3_000 })).toThrow(/L4/);
  });
});

describe('L4: settling in a retired lane', () => {
  const retired = { generation: 1, tail: 1, at: 0 };
  const settledIn = (progress: Progress, changes: Partial<Parameters<typeof settle>[0]> = {}) =>
    settle({
      convoy: 'summing',
      key: 'k',
      definition: summing(),
      progress,
      messages: [],
      held: new Map(),
      atTail: true,
      closedWindows: new Map(),
      limits: defaultLimits,
      tools: toolsAt(5_000),
      ...changes,
    });
  const before = { ...fresh(), cursor: 1, settled: 1, retired };

  test('what comes behind the tail is parked before the handler sees it', () => {
    const run = settledIn(before, { messages: [admitted(2, { n: 1, fail: true })] });

    expect(run.settlements).toMatchObject([{ outcome: 'parked', code: 'CVY_LANE_RETIRED' }]);
    expect(run.progress).toMatchObject({ parked: [2], state: { sum: 0 }, hold: { kind: 'none' } });
  });

  test("also in the sender's order, behind a gap, and after the end of the convoy", () => {
    const definition = { ...summing(), order: 'sender' as const, afterComplete: 'reject' as const };
    const late = { ...admitted(2, { n: 1 }), senderPosition: 9 };
    const completed = { position: 1, at: 1 };

    const run = settledIn({ ...before, completed }, { definition, messages: [late] });

    expect(run.settlements).toMatchObject([{ outcome: 'parked', code: 'CVY_LANE_RETIRED' }]);
  });

  test('what is invalid stays invalid', () => {
    const fault = { code: 'CVY_BODY_NOT_JSON', reason: 'no' };

    const run = settledIn(before, { messages: [{ ...admitted(2, {}), fault }] });

    expect(run.settlements).toMatchObject([{ outcome: 'invalid', code: 'CVY_BODY_NOT_JSON' }]);
  });

  test('what was parked before it retired heals there; what came later was moved', () => {
    const parked = { ...before, cursor: 2, settled: 2, parked: [1, 2], healing: [1, 2] };
    const held = new Map([1, 2].map((position) => [position, admitted(position, { n: 5 })]));

    const run = settledIn({ ...parked, counts: { ...parked.counts, parked: 2 } }, { held });

    expect(run.settlements).toMatchObject([
      { position: 1, outcome: 'applied', healed: true },
      { position: 2, outcome: 'skipped', code: 'CVY_LANE_MOVED', healed: true },
    ]);
    expect(run.progress).toMatchObject({ parked: [], state: { sum: 5 } });
  });

  test('L6: a message of an older lane is skipped; the handler is not run', () => {
    const elsewhere = new Map([[1, 'k']]);

    const run = settledIn(fresh(), { elsewhere, messages: [admitted(1, { n: 1, fail: true })] });

    expect(run.settlements).toMatchObject([{ outcome: 'skipped', code: 'CVY_LANE_DUPLICATE' }]);
    expect(run.settlements[0]?.reason).toContain('in k');
  });

  test('the handler sees the whole key and its lane', () => {
    let seen: unknown;
    const definition = {
      ...summing(),
      apply: (state: unknown, given: unknown) => ((seen = given), state),
    };
    const laned = { ...admitted(1, { n: 1 }), laneKey: 'c-7' };

    settledIn({ ...fresh(), lane }, { key: 'k~1.0', definition, messages: [laned] });

    expect(seen).toMatchObject({ key: 'k', lane, laneKey: 'c-7' });
  });
});
