import { expect, test } from 'vitest';
import {
  admit,
  assertHandoff,
  close,
  isCurrent,
  mayClose,
  reopen,
  rest,
  sweepReason,
  wait,
} from '../../shared/convoy/handoff.ts';
import { type Gate, type Progress, initialProgress, noHold } from '../../shared/convoy/state.ts';

const message = (id: string, at = 1_000) => ({ messageId: id, at, sequence: 7 });

/** A key with one admitted message. */
function opened(): { gate: Gate; progress: Progress } {
  const step = admit(undefined, message('m1'));
  return { gate: step.gate, progress: initialProgress({}, 1_000) };
}

const drained = (progress: Progress, cursor: number): Progress => ({
  ...progress,
  cursor,
  settled: cursor,
});

test('H1: the first admit creates the gate, opens epoch 1 and takes position 1', () => {
  const step = admit(undefined, message('m1'));

  expect(step).toMatchObject({ created: true, opened: true, wake: false, position: 1 });
  expect(step.gate).toMatchObject({ phase: 'active', epoch: 1, tail: 1, lastMessageId: 'm1' });
});

test('H1: an admit to an active gate takes the next position and opens nothing', () => {
  const { gate } = opened();

  const step = admit(gate, message('m2'));

  expect(step).toMatchObject({ created: false, opened: false, wake: false, position: 2 });
  expect(step.gate.epoch).toBe(1);
});

test('H4: the admit that finds the instance waiting clears it and raises the one wake', () => {
  const { gate, progress } = opened();
  const waiting = wait(gate, drained(progress, 1), 2_000);

  const first = admit(waiting, message('m2'));
  const second = admit(first.gate, message('m3'));

  expect([first.wake, first.gate.waiting]).toEqual([true, false]);
  expect(second.wake).toBe(false);
});

test('H4: an instance with backlog must not wait', () => {
  const { gate, progress } = opened();

  expect(() => wait(gate, progress, 2_000)).toThrow(/H4/);
});

test('H6: closing moves the fence, and the admit that follows finds it moved', () => {
  const { gate, progress } = opened();
  const closed = close(gate, drained(progress, 1), { at: 2_000, dueAt: null });

  const next = admit(closed.gate, message('m2'));

  expect(closed.gate.phase).toBe('idle');
  expect(closed.progress.epoch).toBe(2);
  expect(next).toMatchObject({ opened: true, position: 2 });
  expect(next.gate.epoch).toBe(closed.progress.epoch);
});

test('H6: nothing closes with backlog or with a hold', () => {
  const { gate, progress } = opened();
  const held: Progress = { ...drained(progress, 1), hold: { kind: 'retrying' } };

  expect(mayClose(gate, progress)).toBe(false);
  expect(mayClose(gate, held)).toBe(false);
  expect(() => close(gate, progress, { at: 1, dueAt: null })).toThrow(/H6/);
});

test('H8: a held gate shows hold and cursor; admits only append and start nothing', () => {
  const { gate, progress } = opened();
  const hold = { kind: 'blocked' as const, code: 'CVY_HANDLER', position: 1 };
  const held = rest(gate, { ...progress, hold }, 2_000);

  const step = admit(held.gate, message('m2'));

  expect(held.gate).toMatchObject({ phase: 'held', hold, cursor: 0 });
  expect(step).toMatchObject({ opened: false, wake: false, position: 2 });
  expect(step.gate.phase).toBe('held');
});

test('H3: epochs only rise, from every phase, and end equal on both items', () => {
  const { gate, progress } = opened();
  const hold = { kind: 'paused' as const };
  const phases = [
    { gate, progress },
    close(gate, drained(progress, 1), { at: 2, dueAt: 3 }),
    rest(gate, { ...progress, hold }, 2),
  ];
  for (const before of phases) {
    const after = reopen(before.gate, before.progress, { at: 3, hold: noHold });

    expect(after.gate.epoch).toBeGreaterThan(Math.max(before.gate.epoch, before.progress.epoch));
    expect(isCurrent(after.gate, after.progress, after.gate.epoch)).toBe(true);
    expect(isCurrent(after.gate, after.progress, gate.epoch)).toBe(false);
    assertHandoff(after.gate, after.progress);
  }
});

test.each([
  ['active, backlog, silent too long', {}, {}, 800_000, 'backlog without progress'],
  ['active, backlog, silent a little', {}, {}, 700_000, undefined],
  ['active, drained, silent too long', {}, { cursor: 1 }, 126_000, 'active without backlog'],
  ['active, drained, lingering', {}, { cursor: 1 }, 5_000, undefined],
  ['active, progress written lately', {}, { writtenAt: 700_000 }, 800_000, undefined],
  ['idle, due', { phase: 'idle', dueAt: 5 }, { cursor: 1 }, 5, 'due by itself'],
  ['idle, not due', { phase: 'idle', dueAt: 6 }, { cursor: 1 }, 5, undefined],
  ['idle, nothing due', { phase: 'idle' }, { cursor: 1 }, 9_000_000, undefined],
  ['held', { phase: 'held' }, { hold: { kind: 'blocked' } }, 9_000_000, undefined],
  ['blocked, never rested', {}, { hold: { kind: 'blocked' } }, 800_000, 'backlog without progress'],
  [
    'retrying, not overdue',
    {},
    { hold: { kind: 'retrying', nextAttemptAt: 700_000 } },
    800_000,
    undefined,
  ],
  [
    'retrying, overdue',
    {},
    { hold: { kind: 'retrying', nextAttemptAt: 70_000 } },
    800_000,
    'retry overdue',
  ],
] as const)('H9: %s', (_, gateChange, progressChange, at, reason) => {
  const { gate, progress } = opened();
  const limits = { backlogSilenceMs: 720_000, lingerSilenceMs: 125_000 };
  const changedGate = { ...gate, writtenAt: 0, ...gateChange } as Gate;
  const changedProgress = { ...progress, writtenAt: 0, ...progressChange } as Progress;

  expect(sweepReason(changedGate, changedProgress, { at, ...limits })).toBe(reason);
});

test('the invariants catch a cursor past the tail and an active gate with a moved fence', () => {
  const { gate, progress } = opened();

  expect(() => assertHandoff(gate, drained(progress, 2))).toThrow(/H7/);
  expect(() => assertHandoff(gate, { ...progress, epoch: 2 })).toThrow(/H5/);
  expect(() => assertHandoff({ ...gate, phase: 'idle' }, progress)).toThrow(/H6/);
});
