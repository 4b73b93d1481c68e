// H6 closing, H7 drain first.
import type { Mutant } from '../mutant.ts';

const commit = 'shared/engine/commit.js';
const context = 'shared/engine/drain-context.js';
const drain = 'shared/engine/drain.js';
const handoff = 'shared/convoy/handoff.js';
const load = 'shared/engine/load.js';
const orchestrator = 'functions/convoy.js';
const step = 'shared/convoy/step.js';

const assertions = [
  "assert.ok(mayClose(gate, progress), 'H6: closes only with cursor = tail, no hold, " +
    "nothing to publish');",
  "assert.equal(progress.epoch, gate.epoch, 'H5: one epoch while active');",
  "assert.ok(progress.epoch > gate.epoch, 'H6: the fence has moved');",
];
const noAssertions = [0, 1, 2].map((i) => ({
  file: handoff,
  find: assertions[i] ?? '',
  replace: ';',
}));

export const draining: Mutant[] = [
  {
    rule: 'H6',
    name: 'a close without If-Match on the gate',
    edits: [
      {
        file: drain,
        find: `{ kind: 'replace', item: gateItem(request, after.gate), ifMatch: gate.etag },
        { kind: 'replace', item: progressItem(request, after.progress), ifMatch: etag },`,
        replace: `{ kind: 'put', item: gateItem(request, after.gate) },
        { kind: 'replace', item: progressItem(request, after.progress), ifMatch: etag },`,
      },
    ],
    scenario: 'hostile',
    seedsMax: 30,
  },
  {
    rule: 'H6',
    name: 'a close with backlog',
    edits: [
      ...noAssertions,
      {
        file: handoff,
        find: 'progress.cursor === gate.tail && progress.healing.length === 0;',
        replace: 'progress.healing.length === 0;',
      },
      {
        file: drain,
        find: 'if (cursor < gate.item.tail || hasHeldWork',
        replace: 'if ((cursor < gate.item.tail && !request.mayClose) || hasHeldWork',
      },
    ],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H6',
    name: 'a close with a hold',
    edits: [
      ...noAssertions,
      {
        file: handoff,
        find: "isDrained && progress.hold.kind === 'none' &&",
        replace: 'isDrained &&',
      },
      {
        file: drain,
        find: "if (hold.kind === 'blocked' || hold.kind === 'paused')",
        replace:
          "if (hold.kind !== 'none' && cursor === gate.item.tail) return closeConvoy(drain, " +
          "definition);\n    if (hold.kind === 'blocked' || hold.kind === 'paused')",
      },
    ],
    scenario: 'operated',
    seedsMax: 10,
  },
  {
    rule: 'H6',
    name: 'a close with outputs in the outbox',
    edits: [
      ...noAssertions,
      { file: handoff, find: "'none' && !outputsPending(gate, progress);", replace: "'none';" },
      {
        file: drain,
        find: 'if (outputsPending(gate.item, progress.item)) {',
        replace: 'if (false) {',
      },
    ],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H6',
    name: 'a close does not move the fence',
    edits: [
      ...noAssertions,
      {
        file: handoff,
        find: 'progress: { ...progress, epoch: gate.epoch + 1, writtenAt },',
        replace: 'progress: { ...progress, writtenAt },',
      },
    ],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H6',
    name: 'a refused close ends the instance',
    edits: [
      {
        file: drain,
        find: "result.applied ? { kind: 'closed' } : afterRefusal(drain, result)",
        replace: "{ kind: 'closed' }",
      },
    ],
    scenario: 'prompt',
    seedsMax: 30,
  },
  {
    rule: 'H6',
    name: 'open windows leave no dueAt',
    edits: [
      {
        file: drain,
        find:
          'const dueAt = earliest([gapDueAt(definition, progress), quietDue(drain, ' +
          'definition)]);\n    const after',
        replace: 'const dueAt = null;\n    const after',
      },
    ],
    scenario: 'windowed',
    seedsMax: 10,
  },
  {
    rule: 'H6',
    name: 'a 404 forgets what else is to be removed',
    edits: [
      {
        file: context,
        find: 'if (result.status === 404)\n        await removePublished(drain);',
        replace: 'if (result.status === 404)\n        drain.published.ids.clear();',
      },
    ],
    scenario: 'hostile',
    seedsMax: 30,
  },
  {
    rule: 'H7',
    name: 'the first drain waits for a wake',
    edits: [
      {
        file: orchestrator,
        find: 'for (let drains = 0;',
        replace: 'yield context.df.waitForExternalEvent(wakeName);\n    for (let drains = 0;',
      },
    ],
    scenario: 'prompt',
    seedsMax: 30,
  },
  {
    rule: 'H7',
    name: 'no drain after the timer',
    edits: [
      {
        file: orchestrator,
        find: 'mayClose = yield* lingerPassed(context, result.seconds);',
        replace: 'while (yield* lingerPassed(context, result.seconds));',
      },
    ],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H7',
    name: 'a hole is stepped over',
    edits: [
      {
        file: load,
        find: 'const run = gap < 0 ? items : items.slice(0, gap);',
        replace: 'const run = items;',
      },
      {
        file: step,
        find:
          "assert.ok(messages.every((m, i) => m.position === progress.cursor + 1 + i), 'H7: " +
          "one run');",
        replace: '',
      },
    ],
    scenario: 'damaged',
    seedsMax: 10,
  },
  {
    rule: 'H7',
    name: 'a lasting hole is no hold',
    edits: [
      {
        file: drain,
        find: "'missing' in load ? holdKey(drain, load.missing)",
        replace: "'missing' in load ? { kind: 'failed', reason: 'hole' }",
      },
    ],
    scenario: 'damaged',
    seedsMax: 10,
  },
  {
    rule: 'H7',
    name: 'a hole is believed at the first read',
    edits: [{ file: load, find: 'const staleReadsMax = 5;', replace: 'const staleReadsMax = 1;' }],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H7',
    name: 'a failed drain ends the instance',
    edits: [
      {
        file: orchestrator,
        find: "case 'failed': // H7: back-off timer, then drain",
        replace: "case 'failed':\n return;\n case 'never':",
      },
    ],
    scenario: 'prompt',
    seedsMax: 10,
  },
  {
    rule: 'H7',
    name: 'a failed drain waits for a wake instead of its back-off',
    edits: [
      {
        file: orchestrator,
        find: "case 'failed': // H7: back-off timer, then drain",
        replace:
          "case 'failed':\n yield context.df.waitForExternalEvent(wakeName);\n break;\n case " +
          "'never':",
      },
    ],
    scenario: 'prompt',
    seedsMax: 10,
  },
  {
    rule: 'H7',
    name: 'an activity that cannot run ends the instance',
    edits: [
      {
        file: orchestrator,
        find:
          "return { kind: 'failed', reason: error instanceof Error ? error.message : " +
          'String(error) };',
        replace: "return { kind: 'fenced' };",
      },
    ],
    scenario: 'unstaffed',
    seedsMax: 10,
  },
  {
    rule: 'H7',
    name: 'no new generation after k drains',
    edits: [
      {
        file: orchestrator,
        find: 'context.df.continueAsNew({',
        replace: 'void ({',
      },
    ],
    scenario: 'unstaffed',
    seedsMax: 10,
  },
  {
    rule: 'H7',
    name: 'an unknown definition is no hold',
    edits: [
      {
        file: drain,
        find: 'return holdKey(drain, unknownConvoy(drain));',
        replace: "return { kind: 'fenced' };",
      },
    ],
    scenario: 'damaged',
    seedsMax: 10,
  },
  {
    rule: 'H7',
    name: 'quiet time closes windows while a message waits',
    edits: [
      {
        file: commit,
        find: 'if (!isIdle)\n        return item;',
        replace: '',
      },
    ],
    scenario: 'backlog',
    seedsMax: 10,
  },
];
