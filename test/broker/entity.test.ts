// The pure queue: numbers, order, locks, counts – first by example, then by random histories.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Entity } from '../../infra/local/broker/entity.ts';
import type { Entry, Lane, Locked } from '../../infra/local/broker/lane.ts';
import { parsed, queueUnderTest, send, sessionQueue } from './queue-under-test.ts';

const me = { name: 'me' };

function next(entity: Entity, lane: Lane, now = 0): Locked | undefined {
  const entry = entity.head(lane, now);
  return entry && entity.lock(lane, entry, now);
}

describe('a session queue', () => {
  test('E1: numbers rise by one and a refused send uses none', () => {
    const { entity } = queueUnderTest();

    const first = entity.prepare([parsed(), parsed()], 0).sequences;
    expect(() => entity.prepare([parsed(), parsed({ sessionId: null })], 0)).toThrow('SessionId');
    const second = entity.prepare([parsed()], 0).sequences;

    expect([...first, ...second]).toEqual([1, 2, 3]);
  });

  test('E2: a message that is not published is not delivered', () => {
    const { entity } = queueUnderTest();
    const { entries } = entity.prepare([parsed()], 0);
    const lane = entity.sessions.acceptNamed('A', me, 0);

    const before = entity.head(lane, 0);
    entity.publish(entries, 0);

    expect(before).toBeUndefined();
    expect(entity.head(lane, 0)?.sequence).toBe(1);
  });

  test('E3: a token settles once', () => {
    const { entity } = queueUnderTest();
    send(entity, [parsed()]);
    const lane = entity.sessions.acceptNamed('A', me, 0);
    const locked = next(entity, lane);
    if (!locked) throw new Error('nothing delivered');
    entity.complete(locked);

    expect(() => entity.complete(locked)).toThrow('lock was lost');
    expect(() => entity.lockOf(locked.token)).toThrow('lock was lost');
  });

  test('E4: release returns in order without counting, expiry counts what is in flight', () => {
    const { entity, lost, ready } = queueUnderTest();
    send(entity, [parsed(), parsed(), parsed()]);
    const lane = entity.sessions.acceptNamed('A', me, 0);
    [next(entity, lane), next(entity, lane)].forEach((locked) => expect(locked).toBeDefined());
    entity.releaseSession(lane, me, 0);
    const again = entity.sessions.acceptNamed('A', me, 0);
    const afterRelease = ready(again).map((entry) => entry.deliveryCount);
    next(entity, again);

    entity.tick(60_000);

    expect(afterRelease).toEqual([0, 0, 0]);
    expect(ready(again).map((e) => [e.sequence, e.deliveryCount])).toEqual([
      [1, 1],
      [2, 0],
      [3, 0],
    ]);
    expect(lost).toEqual([{ lane: again, holder: me }]);
  });

  test('E5: the last allowed delivery dead-letters once, with a new number', () => {
    const { entity, deadLetters, ready } = queueUnderTest();
    send(entity, [parsed(), parsed()]);
    const lane = entity.sessions.acceptNamed('A', me, 0);
    for (let attempt = 0; attempt < 3; attempt++) {
      const locked = next(entity, lane);
      if (locked) entity.abandon(locked, 0);
    }

    expect(entity.head(lane, 0)?.sequence).toBe(2);
    expect(ready(deadLetters.line).map((e) => [e.sequence, e.enqueuedSequence])).toEqual([[1, 1]]);
    expect([entity.counts.active, deadLetters.counts.active]).toEqual([1, 1]);
  });

  test('E6: deferred messages do not expire, locked ones expire when they return', () => {
    const { entity } = queueUnderTest();
    send(entity, [parsed({ ttlMs: 10 }), parsed({ ttlMs: 10 })]);
    const lane = entity.sessions.acceptNamed('A', me, 0);
    const [deferred, held] = [next(entity, lane), next(entity, lane)];
    if (!deferred || !held) throw new Error('nothing delivered');
    entity.defer(deferred);

    entity.tick(1_000);
    const whileLocked = entity.counts.active;
    entity.abandon(held, 1_000);

    expect(whileLocked).toBe(2);
    expect(entity.counts.active).toBe(1);
    expect(lane.deferred?.length).toBe(1);
  });

  test('S1: a held session is refused, a released one accepted', () => {
    const { entity } = queueUnderTest();
    const lane = entity.sessions.acceptNamed('A', me, 0);

    expect(() => entity.sessions.acceptNamed('A', { name: 'you' }, 0)).toThrow('another receiver');
    entity.releaseSession(lane, me, 0);
    expect(entity.sessions.acceptNamed('A', { name: 'you' }, 0)).toBeDefined();
  });

  test('S2: a waiter that has gone is passed over', () => {
    const { entity } = queueUnderTest();
    const served: string[] = [];
    const waiter = (name: string) => ({
      holder: { name },
      isGone: false,
      granted: () => void served.push(name),
    });
    const [gone, there] = [waiter('gone'), waiter('there')];
    entity.sessions.acceptNext(gone, 0);
    entity.sessions.acceptNext(there, 0);
    entity.sessions.stopWaiting(gone);

    send(entity, [parsed()]);

    expect(served).toEqual(['there']);
  });

  test('an idle session leaves nothing behind', () => {
    const { entity } = queueUnderTest();
    send(entity, [parsed()]);
    let held: Lane | undefined;
    const granted = (lane: Lane): void => void (held = lane);
    entity.sessions.acceptNext({ holder: me, isGone: false, granted }, 0);
    const locked = held && next(entity, held);
    if (!held || !locked) throw new Error('nothing delivered');
    entity.complete(locked);

    entity.releaseSession(held, me, 0);

    expect([...entity.sessions.all()]).toEqual([]);
  });
});

type Step = { kind: 'send' | 'take' | 'settle' | 'leave' | 'wait'; session: number; pick: number };

const steps = fc.array(
  fc.record<Step>({
    kind: fc.constantFrom('send', 'send', 'take', 'take', 'settle', 'settle', 'leave', 'wait'),
    session: fc.nat(2),
    pick: fc.nat(5),
  }),
  { maxLength: 80, size: 'max' },
);

/** Runs a history; returns what left the queue and checks order on the way. */
function run(history: readonly Step[]) {
  const { entity, deadLetters, ready } = queueUnderTest(sessionQueue);
  const held = new Map<string, Lane>();
  const inFlight: Locked[] = [];
  const completed: Entry[] = [];
  let now = 0;
  const live = (): Locked[] => inFlight.filter((locked) => locked.isLive);
  const actions: Record<Step['kind'], (step: Step, sessionId: string) => void> = {
    send: (_step, sessionId) => send(entity, [parsed({ sessionId })], now),
    take(_step, sessionId) {
      const lane = held.get(sessionId) ?? entity.sessions.acceptNamed(sessionId, me, now);
      held.set(sessionId, lane);
      const lowest = lane.ready.first();
      const locked = next(entity, lane, now);
      expect(locked?.entry.sequence).toBe(lowest);
      for (const other of lane.ready) expect(other).toBeGreaterThan(lowest ?? 0);
      if (locked) inFlight.push(locked);
    },
    settle({ pick }) {
      const locked = live()[pick];
      if (!locked) return;
      if (pick % 2 === 1) entity.abandon(locked, now);
      else {
        entity.complete(locked);
        completed.push(locked.entry);
      }
    },
    leave(_step, sessionId) {
      const lane = held.get(sessionId);
      if (lane) entity.releaseSession(lane, me, now);
      held.delete(sessionId);
    },
    wait() {
      now += 25_000;
      entity.tick(now);
      for (const [sessionId, lane] of held) if (!lane.holder) held.delete(sessionId);
    },
  };
  for (const step of history) actions[step.kind](step, `s${step.session}`);
  return { entity, deadLetters, completed, ready };
}

test('any history: every message is in exactly one place, lanes in order', () => {
  fc.assert(
    fc.property(steps, (history) => {
      const { entity, deadLetters, completed, ready } = run(history);

      const lanes = [...entity.sessions.all()];
      const kept = lanes.flatMap((lane) => [
        ...ready(lane),
        ...[...(lane.locked?.values() ?? [])].map((locked) => locked.entry),
      ]);
      const buried = ready(deadLetters.line);
      const all = [...kept, ...buried, ...completed].map((entry) => entry.enqueuedSequence);
      expect(new Set(all).size).toBe(all.length);
      expect(all.length).toBe(history.filter((step) => step.kind === 'send').length);
      expect(entity.counts.active).toBe(kept.length);
      for (const lane of lanes) {
        const sequences = [...lane.ready];
        expect(sequences).toEqual(sequences.toSorted((a, b) => a - b));
      }
    }),
    { numRuns: 300 },
  );
});
