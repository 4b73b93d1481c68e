// H10 intake and dead letters: nothing else settles a message.
import type { Mutant } from '../mutant.ts';

const intake = 'shared/engine/intake.js';
const patience = 'shared/engine/patience.js';
const replay = 'shared/engine/replay.js';

export const settling: Mutant[] = [
  {
    rule: 'H10',
    name: 'intake throws at the first failure',
    edits: [
      {
        file: intake,
        find: 'const deadlineAt = intakeDeadline(clock.now());',
        replace: 'const deadlineAt = 0;',
      },
    ],
    scenario: 'refused',
    seedsMax: 10,
  },
  {
    rule: 'H10',
    name: 'the engine tries once',
    edits: [
      { file: patience, find: 'clock.now() + delayMs >= options.deadlineAt', replace: 'true' },
    ],
    scenario: 'refused',
    seedsMax: 10,
  },
  {
    rule: 'H10',
    name: 'intake gives up long before the function time-out',
    edits: [
      {
        file: intake,
        find: '(defaultSettings.functionTimeoutSeconds - 30) * 1000',
        replace: '1000',
      },
    ],
    scenario: 'refused',
    seedsMax: 10,
  },
  {
    rule: 'H10',
    name: 'the back-off has no bound',
    edits: [{ file: patience, find: 'delayMsMax = 30_000', replace: 'delayMsMax = 3e9' }],
    scenario: 'refused',
    seedsMax: 10,
  },
  {
    rule: 'H10',
    name: 'the failure of an admission is swallowed',
    edits: [
      {
        file: intake,
        find: 'await admitFitting(engine, { convoy, key, message, sequence });',
        replace:
          'await admitFitting(engine, { convoy, key, message, sequence }).catch(() => undefined);',
      },
    ],
    scenario: 'refused',
    seedsMax: 10,
  },
  {
    rule: 'H10',
    name: 'a message without a usable key is dropped',
    edits: [
      {
        file: intake,
        find: 'return quarantine(engine, { convoy, parsed, received });\n        for',
        replace: 'return undefined;\n        for',
      },
    ],
    scenario: 'keyless',
    seedsMax: 10,
  },
  {
    rule: 'H10',
    name: 'a dead letter without a usable key is dropped',
    edits: [
      {
        file: intake,
        find: 'return quarantine(engine, { convoy, parsed, received });\n    if (parsed.fence',
        replace: 'return undefined;\n    if (parsed.fence',
      },
    ],
    scenario: 'keyless',
    seedsMax: 10,
  },
  {
    rule: 'H10',
    name: 'the dead-letter timer records nothing',
    edits: [
      {
        file: intake,
        find: 'await recordDead(engine, { convoy, parsed, reason });',
        replace: '',
      },
    ],
    scenario: 'replayed',
    seedsMax: 10,
  },
  {
    rule: 'H10',
    name: 'dead is written although seen exists',
    edits: [
      {
        file: intake,
        find: 'if (await engine.store.readSeen(convoyId, messageId))',
        replace: 'if (false)',
      },
    ],
    scenario: 'replayed',
    seedsMax: 10,
  },
  {
    rule: 'H10',
    name: 'a second dead letter with the number of another is dropped',
    edits: [{ file: intake, find: 'known?.messageId !== messageId', replace: 'false' }],
    scenario: 'replayed',
    seedsMax: 10,
  },
  {
    rule: 'H10',
    name: 'a replay goes in the order of time of death',
    edits: [
      {
        file: replay,
        find: 'for (const item of page.items) {',
        replace: 'for (const item of page.items.toSorted((a, b) => b.sequence - a.sequence)) {',
      },
    ],
    scenario: 'replayed',
    seedsMax: 10,
  },
  {
    rule: 'H10',
    name: 'a replay does not mark what it has admitted',
    edits: [
      {
        file: replay,
        find: 'await mark(engine, { request, item, admitted });\n            if',
        replace: 'if',
      },
    ],
    scenario: 'replayed',
    seedsMax: 10,
  },
  {
    rule: 'H10',
    name: 'a replay marks before it admits',
    edits: [
      {
        file: replay,
        find: `const admitted = await admitDead(engine, request, item);
            await mark(engine, { request, item, admitted });`,
        replace: `await mark(engine, { request, item, admitted: { position: 0 } });
            const admitted = await admitDead(engine, request, item);`,
      },
    ],
    scenario: 'replayed',
    seedsMax: 10,
  },
  {
    rule: 'H10',
    name: 'a replay does not wait for one before the next',
    edits: [
      {
        file: replay,
        find: 'const admitted = await admitDead(engine, request, item);',
        replace:
          "const admitted = { kind: 'admitted', position: 0 }; void admitDead(engine, request, " +
          'item).catch(() => undefined);',
      },
    ],
    scenario: 'replayed',
    seedsMax: 10,
  },
];
