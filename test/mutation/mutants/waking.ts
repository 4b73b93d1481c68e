// H4 waits and wakes.
import type { Mutant } from '../mutant.ts';

const handoff = 'shared/convoy/handoff.js';
const ensureStarted = 'shared/engine/ensure-started.js';
const orchestrator = 'functions/convoy.js';
const drain = 'shared/engine/drain.js';

export const waking: Mutant[] = [
  {
    rule: 'H4',
    name: 'the message travels in the event: nobody takes what no wake has told of',
    edits: [
      {
        file: orchestrator,
        find: 'for (let drains = 0;',
        replace: 'let isTold = true;\n    for (let drains = 0;',
      },
      {
        file: orchestrator,
        find: '{ convoy, key, epoch, mayClose });\n        mayClose = false;',
        replace: '{ convoy, key, epoch, mayClose, isTold });\n        mayClose = false;',
      },
      {
        file: orchestrator,
        find: 'mayClose = yield* lingerPassed(context, result.seconds);',
        replace: 'mayClose = yield* lingerPassed(context, result.seconds);\n isTold = !mayClose;',
      },
      {
        file: drain,
        find: 'if (cursor < gate.item.tail || hasHeldWork',
        replace: 'if ((cursor < gate.item.tail && request.isTold) || hasHeldWork',
      },
    ],
    scenario: 'unwoken',
    seedsMax: 10,
  },
  {
    rule: 'H4',
    name: 'a wait is announced without If-Match',
    edits: [
      {
        file: drain,
        find: "{ kind: 'replace', item: gateItem(request, waiting), ifMatch: gate.etag }",
        replace: "{ kind: 'put', item: gateItem(request, waiting) }",
      },
    ],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H4',
    name: 'a wait is not announced',
    edits: [
      {
        file: handoff,
        find: 'return { ...gate, waiting: true,',
        replace: 'return { ...gate,',
      },
    ],
    scenario: 'prompt',
    seedsMax: 10,
  },
  {
    rule: 'H4',
    name: 'a refused announcement waits all the same',
    edits: [
      {
        file: drain,
        find:
          'if (!result.applied)\n        return afterRefusal(drain, result); // 412: a message ' +
          'came, drain again',
        replace: '',
      },
    ],
    scenario: 'prompt',
    seedsMax: 100,
  },
  {
    rule: 'H4',
    name: 'the admit that finds the wait raises no wake',
    edits: [
      {
        file: handoff,
        find: "const wake = before.phase === 'active' && before.waiting;",
        replace: 'const wake = false;',
      },
    ],
    scenario: 'calm',
    seedsMax: 10,
  },
  {
    rule: 'H4',
    name: 'every admit raises a wake',
    edits: [
      {
        file: handoff,
        find: "before.phase === 'active' && before.waiting;",
        replace: "before.phase === 'active';",
      },
    ],
    scenario: 'calm',
    seedsMax: 10,
  },
  {
    rule: 'H4',
    name: 'the admit that finds the wait does not clear it',
    edits: [
      {
        file: handoff,
        find: 'tail: before.tail + 1,\n        waiting: false,',
        replace: 'tail: before.tail + 1,',
      },
    ],
    scenario: 'calm',
    seedsMax: 10,
  },
  {
    rule: 'H4',
    name: 'the duplicate path raises no wake',
    edits: [
      { file: ensureStarted, find: 'if (!wake && !duplicate)', replace: 'if (!wake || duplicate)' },
    ],
    scenario: 'prompt',
    seedsMax: 30,
  },
];
