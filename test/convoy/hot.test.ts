// What a hot key is known by, and what it is told: tables over the pure facts.
import { describe, expect, test } from 'vitest';
import {
  type Busy,
  type Work,
  noneSpent,
  tellsFirst,
  workAfter,
} from '../../shared/convoy/busy.ts';
import { admit, close, reopen, wait } from '../../shared/convoy/handoff.ts';
import { hotOf } from '../../shared/convoy/hot.ts';
import { type Gate, type Progress, initialGate, noHold } from '../../shared/convoy/state.ts';
import { fresh } from './settling.ts';

const minute = 60_000;
const admission = (at: number) => ({ messageId: `m${at}`, at, sequence: null });

describe('B1: since when a key has had no pause', () => {
  test('from the admission that finds it idle or waiting, whatever comes after', () => {
    const first = admit(undefined, admission(10)).gate;
    const second = admit(first, admission(20)).gate;
    const waiting = wait(second, { ...fresh(), cursor: 2 }, 30);
    const third = admit(waiting, admission(40)).gate;

    expect(first.busy).toEqual({ since: 10, position: 0, queuedMs: 0 });
    expect(second.busy).toEqual({ since: 10, position: 0, queuedMs: 0 });
    expect(third.busy).toEqual({ since: 40, position: 2, queuedMs: 0 });
  });

  test('a wait is no pause while the queue still has messages of the key', () => {
    const { gate } = admit(undefined, admission(10));
    const waiting = wait(gate, { ...fresh(), cursor: 1 }, 20);
    const queued = admit(waiting, { ...admission(5_000), enqueuedAt: 9 }).gate;
    const empty = admit(waiting, { ...admission(5_000), enqueuedAt: 4_990 }).gate;

    expect(queued.busy).toEqual({ since: 10, position: 0, queuedMs: 4_991 });
    expect(empty.busy).toEqual({ since: 5_000, position: 1, queuedMs: 10 });
  });

  test('nor is a close, where the linger is short', () => {
    const { gate } = admit(undefined, admission(10));
    const closed = close(gate, { ...fresh(), cursor: 1 }, { at: 20, dueAt: null }).gate;

    const queued = admit(closed, { ...admission(50), enqueuedAt: 9 }).gate;
    const later = admit(closed, { ...admission(50), enqueuedAt: 49 }).gate;

    expect([queued.busy?.since, later.busy?.since]).toEqual([10, 50]);
  });

  test('a held key is not busy; one that is reopened behind its tail is', () => {
    const { gate } = admit(undefined, admission(10));
    const done = { ...fresh(), cursor: 1 };
    const held: Gate = { ...gate, phase: 'held', busy: undefined };

    expect(admit(held, admission(30)).gate.busy).toBeUndefined();
    expect(reopen(held, fresh(), { at: 40, hold: noHold }).gate.busy).toEqual({
      ...{ since: 40, position: 0, queuedMs: 0 },
    });
    expect(reopen(held, done, { at: 40 }).gate.busy).toBeUndefined();
  });

  test('a gate that an earlier version wrote is busy from its next admission', () => {
    const old: Gate = { ...initialGate(), phase: 'active', epoch: 1, tail: 7 };

    expect(admit(old, admission(50)).gate.busy).toEqual({ since: 50, position: 7, queuedMs: 0 });
  });
});

describe('B2, B3: what the drains measured', () => {
  const busy: Busy = { since: 0, position: 0, queuedMs: 0 };
  const commit = (now: number, more: Partial<Parameters<typeof workAfter>[1]> = {}) => ({
    busy,
    spent: { ...noneSpent, handlerMs: 10 },
    messages: 2,
    holds: false,
    now,
    ...more,
  });

  test('nothing is written before a key has been busy for five seconds', () => {
    expect(workAfter(null, commit(4_999))).toBeNull();
    expect(workAfter(null, commit(9_000, { busy: undefined }))).toBeNull();
    expect(workAfter(null, commit(5_000))).toMatchObject({ since: 5_000, messages: 0 });
  });

  test('commits add up; another busy time begins anew', () => {
    const first = workAfter(null, commit(5_000));
    const second = workAfter(first, commit(6_000));
    const third = workAfter(second, commit(7_000));
    const later = workAfter(
      third,
      commit(90_000, { busy: { since: 80_000, position: 9, queuedMs: 0 } }),
    );

    expect(third).toMatchObject({ since: 5_000, messages: 4, handlerMs: 20 });
    expect(later).toMatchObject({ busySince: 80_000, messages: 0, handlerMs: 0 });
  });

  test('after ten minutes the past counts half', () => {
    const work = workAfter(null, commit(5_000));
    const long = workAfter({ ...work!, messages: 998, handlerMs: 990 }, commit(605_001));

    expect(long).toMatchObject({ messages: 500, handlerMs: 500, since: 305_000 });
  });

  test('the log is told once in a busy time, and not of a key that stops', () => {
    const early = workAfter(null, commit(29_999));
    const stopping = workAfter(early, commit(30_000, { holds: true }));
    const hot = workAfter(early, commit(30_000));
    const still = workAfter(hot, commit(31_000));
    const next = workAfter(
      still,
      commit(200_000, { busy: { since: 100_000, position: 5, queuedMs: 0 } }),
    );

    expect(tellsFirst(null, early)).toBe(false);
    expect(tellsFirst(early, stopping)).toBe(false);
    expect(tellsFirst(early, hot)).toBe(true);
    expect(tellsFirst(hot, still)).toBe(false);
    expect(tellsFirst(still, next)).toBe(true);
  });
});

describe('what limits a hot key', () => {
  const gate: Gate = {
    ...initialGate(),
    ...{ phase: 'active', epoch: 1, tail: 1_000, busy: { since: 0, position: 100, queuedMs: 0 } },
  };
  const work: Work = {
    ...{ ...noneSpent, busySince: 0, since: minute / 2, messages: 300, isTold: true },
    ...{ handlerMs: 1_000, storeMs: 1_000, publishMs: 1_000, requestUnits: 6_000 },
  };
  const progress = (more: Partial<Progress> = {}): Progress => {
    return { ...fresh(), cursor: 400, work, ...more };
  };

  test('what was measured: rates, shares and request units', () => {
    expect(hotOf(gate, progress(), minute)).toMatchObject({
      sinceSeconds: 60,
      messagesPerSecond: 10,
      admittedPerSecond: 15,
      backlog: 600,
      requestUnitsPerSecond: 200,
      shares: { handler: 0.03, store: 0.03, publish: 0.03, other: 0.9 },
      limit: 'hub',
    });
  });

  const taken = Array.from({ length: 900 }, (_, i) => ({ position: i + 101, senderPosition: i }));
  test.each<[string, Partial<Progress>, RegExp]>([
    ['handler', { work: { ...work, handlerMs: 20_000 } }, /67 % .* apply and effect.*lanes/],
    ['store', { work: { ...work, storeMs: 20_000 } }, /67 % .* Cosmos DB.*200 RU\/s.*10000 RU\/s/],
    ['publish', { work: { ...work, publishMs: 20_000 } }, /67 % .* output queue/],
    ['hub', {}, /90 % .* hub/],
    ['arrivals', { cursor: 995 }, /keeps up/],
    ['sender', { cursor: 1_000, gapSince: 5, taken }, /Look at the sender/],
    ['unknown', { work: { ...work, busySince: 7 } }, /No commit/],
    ['unknown', { work: null }, /No commit/],
  ])('%s', (limit, changes, advice) => {
    const hot = hotOf(gate, progress(changes), minute);

    expect(hot).toMatchObject({ limit });
    expect(hot?.advice).toMatch(advice);
  });

  test('what waits in the queue and not in the inbox is limited by intake', () => {
    const queued: Gate = { ...gate, busy: { since: 0, position: 100, queuedMs: 45_000 } };
    const hot = hotOf(queued, progress({ cursor: 995 }), minute);

    expect(hot).toMatchObject({ limit: 'intake', queueSeconds: 45, backlog: 5 });
    expect(hot?.advice).toMatch(/wait 45 s in the queue.*lanes/);
  });

  test.each<[string, Partial<Gate>, Partial<Progress>]>([
    ['a key that waits with an empty queue', { waiting: true, lastAdmittedAt: minute - 2_001 }, {}],
    [
      'a key that has just begun',
      { busy: { since: minute - 29_999, position: 0, queuedMs: 0 } },
      {},
    ],
    ['a key with pauses', { busy: undefined }, {}],
    ['a key that is held', { phase: 'held' }, {}],
    ['a key whose message is tried again', {}, { hold: { kind: 'retrying' } }],
  ])('%s is not hot', (_, gateChanges, changes) => {
    expect(hotOf({ ...gate, ...gateChanges }, progress(changes), minute)).toBeNull();
  });
});
