// H13, the pure transitions of a roll-up's head, by table.
import { describe, expect, test } from 'vitest';
import {
  type RollUpHead,
  addKey,
  assertRollUp,
  close,
  contribute,
  forget,
  hasNews,
  isForgotten,
  publish,
  seal,
} from '../../shared/convoy/roll-up.ts';

const window = { convoy: 'c', window: 'day', start: 0, end: 1_000 };
const timing = { now: 5_000, delayMs: 100, keepMs: 10_000 };
const totals = { keys: 1, count: 1, sum: 1, min: 1, max: 1 };

function opened(): RollUpHead {
  const step = contribute(undefined, window, timing);
  if (step.kind !== 'create') throw new Error(step.kind);
  return step.head;
}

const closed = (head = opened()): RollUpHead => close(head, 6_000, 60_000);
const published = (digest = 'a'): RollUpHead =>
  publish(seal(closed(), digest), { totals, parts: 1 }, { now: 7_000, delayMs: 100 });

describe('H13: a contributor', () => {
  test('opens the head; it is due when the window has ended and the delay has passed', () => {
    expect(opened()).toMatchObject({ phase: 'open', dueAt: 5_100, revision: -1, published: -1 });
    const future = contribute(undefined, { ...window, end: 9_000 }, timing);
    expect(future).toMatchObject({ kind: 'create', head: { dueAt: 9_100 } });
  });

  test.each<[string, RollUpHead]>([
    ['an open head', opened()],
    ['a dirty one', { ...published(), dirty: true, dueAt: 9_000 }],
  ])('writes nothing to %s', (_, head) => {
    expect(contribute(head, window, timing)).toEqual({ kind: 'none' });
  });

  test('marks a closing head dirty and leaves its due time to the publisher', () => {
    const head = closed();
    expect(contribute(head, window, timing)).toEqual({
      kind: 'replace',
      head: { ...head, dirty: true },
    });
  });

  test('marks a published head dirty and due', () => {
    const head = published();
    expect(contribute(head, window, { ...timing, now: 8_000 })).toEqual({
      kind: 'replace',
      head: { ...head, dirty: true, dueAt: 8_100 },
    });
  });

  test('that comes when others may have expired is counted as missed, nothing else', () => {
    const head = published();
    const now = head.createdAt + head.keepMs;
    expect(isForgotten(head, now - 1)).toBe(false);
    expect(contribute(head, window, { ...timing, now })).toEqual({
      kind: 'replace',
      head: { ...head, missed: 1 },
    });
  });
});

describe('H13: a publisher', () => {
  test('closes what is due, once more each time, and nothing else', () => {
    expect(closed()).toMatchObject({ phase: 'closing', attempt: 1, dueAt: 66_000, dirty: false });
    expect(close(closed(), 66_000, 60_000).attempt).toBe(2);
    expect(() => close(opened(), 5_099, 60_000)).toThrow('H13');
    expect(() => close(published(), 9_000, 60_000)).toThrow('H13');
  });

  test('R2: the same content keeps its revision, another one gets the next', () => {
    const first = seal(closed(), 'a');
    expect(first).toMatchObject({ revision: 0, digest: 'a' });
    expect(seal(close(first, 66_000, 1), 'a')).toMatchObject({ revision: 0 });
    expect(seal(close(first, 66_000, 1), 'b')).toMatchObject({ revision: 1, digest: 'b' });
  });

  test('has no news when a dirty head turns out to hold what is published', () => {
    const dirty = { ...published('a'), dirty: true, dueAt: 8_000 };
    const again = seal(close(dirty, 8_000, 1), 'a');
    expect(hasNews(again)).toBe(false);
    expect(publish(again, { totals, parts: 1 }, { now: 9_000, delayMs: 1 })).toMatchObject({
      phase: 'published',
      revision: 0,
      publishedAt: 7_000,
      dueAt: null,
    });
    expect(hasNews(seal(close(dirty, 8_000, 1), 'b'))).toBe(true);
  });

  test('goes on to the next revision when the head became dirty meanwhile', () => {
    const head = { ...seal(closed(), 'a'), dirty: true };
    const after = publish(head, { totals, parts: 1 }, { now: 7_000, delayMs: 100 });
    expect(after).toMatchObject({ phase: 'published', published: 0, dirty: true, dueAt: 7_100 });
  });

  test('publishes a first revision for twice as long as an amendment', () => {
    const head = opened();
    expect(isForgotten(head, head.createdAt + head.keepMs)).toBe(false);
    expect(isForgotten(head, head.createdAt + 2 * head.keepMs)).toBe(true);
    expect(forget(head)).toMatchObject({ phase: 'published', dueAt: null, missed: 1 });
  });
});

describe('totals across keys', () => {
  const of = (sum: number | string, min = sum, max = sum) => ({
    ...{ count: 2, sum, min, max },
    ...{ first: sum, last: sum },
  });

  test('add up as numbers, and as decimal text once one of them is', () => {
    expect(addKey(addKey(undefined, of(3, 1, 2)), of(4, 0, 9))).toEqual({
      ...{ keys: 2, count: 4, sum: 7, min: 0, max: 9 },
    });
    const large = '9007199254740993';
    expect(addKey(addKey(undefined, of(large)), of(1))).toEqual({
      ...{ keys: 2, count: 4, sum: '9007199254740994', min: 1, max: large },
    });
  });
});

test.each<[string, Partial<RollUpHead>]>([
  ['R1', { published: 3 }],
  ['R3', { phase: 'open', revision: 0, dueAt: 1 }],
  ['R4', { dueAt: 1 }],
  ['R4', { dirty: true }],
])('%s is asserted', (rule, changes) => {
  expect(() => assertRollUp({ ...published(), ...changes })).toThrow(rule);
});
