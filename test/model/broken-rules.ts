// Rules of DESIGN §4 broken one by one: epochs, bounds and orders, holds, sweeper, wakes, outputs.
import {
  type Mutant,
  admit,
  convoy,
  drain,
  handoff,
  load,
  operate,
  outbox,
  patch,
  readBound,
  readsGateFirst,
  started,
  startsNothing,
  sweep,
  takesBacklog,
  unasserted,
} from './patches.ts';

const usual = 'three messages, one sent twice';
const crash = 'a crash without a sweeper';
const zombie = 'a zombie';
const stale = 'a zombie and stale reads';
const alarm = 'a wrong alarm';
const poison = 'a poisoned message';
const pause = 'a pause';
const silence = 'no answers';

/** Epochs, bounds and orders. */
const epochs: readonly Mutant[] = [
  {
    rule: 'H1',
    name: 'an idle gate opens in the epoch that has just closed',
    scope: usual,
    patches: [
      unasserted,
      patch(handoff, 'opened ? before.epoch + 1 : before.epoch', 'Math.max(before.epoch, 1)'),
    ],
  },
  {
    rule: 'H1',
    name: 'any 409 counts as a duplicate, and the gate comes last in the batch',
    scope: 'stale reads',
    patches: [
      patch(
        admit,
        'const seen = result.status === 409 ?',
        `if (result.status === 409 && read)
          return serveDuplicate(engine, request, { gate: read.item, position: step.position });
        const seen = result.status === 409 ?`,
      ),
      patch(admit, 'return operations;', 'return operations.reverse();'),
    ],
  },
  {
    rule: 'H3',
    name: 'an instance may act while progress names a newer epoch (>= for =)',
    scope: alarm,
    changes: { deliveries: ['m1'], budget: { alarm: 1, stale: 1 } },
    patches: [unasserted, patch(handoff, 'progress.epoch === epoch', 'progress.epoch >= epoch')],
  },
  {
    rule: 'H5',
    name: 'the fence is the epoch of the gate only',
    scope: alarm,
    changes: { deliveries: ['m1'], budget: { alarm: 1, stale: 1 } },
    patches: [patch(handoff, ' && progress.epoch === epoch', '')],
  },
  {
    rule: 'H6',
    name: 'close without the epoch move',
    scope: zombie,
    patches: [
      unasserted,
      patch(
        handoff,
        'progress: { ...progress, epoch: gate.epoch + 1, writtenAt }',
        'progress: { ...progress, writtenAt }',
      ),
    ],
  },
  {
    rule: 'H6',
    name: 'close with outputs that are not published',
    scope: silence,
    patches: [
      patch(handoff, ' && !outputsPending(gate, progress)', ''),
      patch(drain, 'if (outputsPending(gate.item, progress.item)) {', 'if (false) {'),
    ],
  },
  {
    rule: 'H6',
    name: 'close with backlog',
    scope: usual,
    patches: [
      patch(handoff, 'progress.cursor === gate.tail && ', ''),
      patch(drain, takesBacklog, 'if (!request.mayClose && cursor < gate.item.tail)'),
    ],
  },
  {
    rule: 'H7',
    name: 'the inbox is not bounded by the tail of the gate that was read',
    scope: 'stale reads',
    equivalent: 'with the exact fence a run past the tail is only early: what follows is refused',
    patches: [patch(load, readBound, 'from + settings.messagesPerCommit - 1')],
  },
  {
    rule: 'H7',
    name: 'progress is read before the gate',
    scope: stale,
    changes: { deliveries: ['m1'], hasOtherPasses: true },
    equivalent: 'every write that follows matches what was read; the order saves refusals',
    patches: [
      patch(drain, readsGateFirst.join('\n    '), readsGateFirst.toReversed().join('\n    ')),
    ],
  },
  {
    rule: 'H7',
    name: 'a failed drain ends the instance',
    scope: silence,
    patches: [patch(convoy, "case 'fenced': // H3", "case 'failed': return; case 'fenced':")],
  },
];

/** Holds, sweeper, wakes and outputs. */
const others: readonly Mutant[] = [
  {
    rule: 'H8',
    name: 'rest without the epoch move',
    scope: poison,
    patches: [
      unasserted,
      patch(
        handoff,
        'progress: { ...progress, epoch: gate.epoch + 1, writtenAt: at }',
        'progress: { ...progress, writtenAt: at }',
      ),
    ],
  },
  {
    rule: 'H8',
    name: 'an operator does not open a new epoch',
    scope: pause,
    patches: [
      unasserted,
      patch(operate, 'const after = reopen(', 'const after = sameEpoch('),
      patch(
        operate,
        'export async function operate(',
        `const sameEpoch = (gate, progress) => ({
          gate: { ...gate, phase: 'active', waiting: false },
          progress: { ...progress, epoch: gate.epoch },
        });
        export async function operate(`,
      ),
    ],
  },
  {
    rule: 'H8',
    name: 'an operator starts nothing',
    scope: poison,
    changes: { hasSweeper: false },
    patches: [startsNothing(operate)],
  },
  {
    rule: 'H9',
    name: 'no sweeper, though an operator terminates an instance',
    scope: 'a terminated instance',
    changes: { hasSweeper: false },
    patches: [],
  },
  {
    rule: 'H9',
    name: 'the sweeper starts nothing',
    scope: 'a terminated instance',
    changes: { deliveries: ['m1'] },
    patches: [startsNothing(sweep)],
  },
  {
    rule: 'H4',
    name: 'the admit that finds the gate waiting raises no wake',
    scope: usual,
    patches: [patch(handoff, "before.phase === 'active' && before.waiting", 'false')],
  },
  {
    rule: 'H4',
    name: 'every admit raises a wake',
    scope: usual,
    patches: [patch(started, 'if (!wake && !duplicate)', 'if (false)')],
  },
  {
    rule: 'H4',
    name: 'a wait is announced with backlog',
    scope: usual,
    patches: [
      patch(handoff, 'assert.equal(progress.cursor, gate.tail, ', 'assert.ok(true, '),
      patch(drain, takesBacklog, 'if (!pass.hasCommitted && cursor < gate.item.tail)'),
    ],
  },
  {
    rule: 'H11',
    name: 'outputs are removed before the broker has them',
    scope: silence,
    patches: [
      patch(
        outbox,
        'publisher.publish(request.convoy, request.key, outputs);',
        'publisher.publish(request.convoy, request.key, outputs).catch(() => undefined);',
      ),
    ],
  },
  {
    rule: 'H11',
    name: 'only what this drain wrote is published',
    scope: crash,
    patches: [
      patch(
        drain,
        'await publishOutbox(drain); // H11',
        'drain.published.commits = progress.item.outputCommits; // H11',
      ),
    ],
  },
  {
    rule: 'H14',
    name: 'eventual consistency: the outbox is read older than progress was before it',
    scope: stale,
    changes: { isEventual: true },
    patches: [],
  },
];

export const brokenRules: readonly Mutant[] = [...epochs, ...others];
