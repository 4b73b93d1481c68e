// H8 rest and the operator.
import type { Mutant } from '../mutant.ts';

const drain = 'shared/engine/drain.js';
const handoff = 'shared/convoy/handoff.js';
const operate = 'shared/engine/operate.js';
const orchestrator = 'functions/convoy.js';
const ensureStarted = 'shared/engine/ensure-started.js';

const restGate = `{ kind: 'replace', item: gateItem(request, after.gate), ifMatch: gate.etag },
        { kind: 'replace', item: progressItem(request, after.progress), ifMatch: progress.etag },`;
const bothGate = "{ kind: 'replace', item: gateItem(place, after.gate), ifMatch: gate.etag }";
const bothProgress =
  "{ kind: 'replace', item: progressItem(place, after.progress), ifMatch: progress.etag }";
const fenceMoved = {
  file: handoff,
  find: "assert.ok(progress.epoch > gate.epoch, 'H6: the fence has moved');",
  replace: ';',
};
const oneEpoch = {
  file: handoff,
  find: "assert.equal(progress.epoch, gate.epoch, 'H5: one epoch while active');",
  replace: ';',
};
const h2 =
  'await ensureStarted(engine, place, { gate: after.gate, wake: false, duplicate: false }); // H2';
/** Whose instance is not found by the engine: a name of two parts, the caller and the reopening. */
const reopenedOn = (file: string, which: 'gate' | 'progress'): Mutant['edits'] => [
  oneEpoch,
  {
    file,
    find: 'assertHandoff(after.gate, after.progress);\n',
    replace: `after.${which}.epoch = ${which}.item.epoch;\n`,
  },
];

const resting: Mutant[] = [
  {
    rule: 'H8',
    name: 'a rest without If-Match on the gate',
    edits: [
      {
        file: drain,
        find: restGate,
        replace: restGate.replace(
          "{ kind: 'replace', item: gateItem(request, after.gate), ifMatch: gate.etag }",
          "{ kind: 'put', item: gateItem(request, after.gate) }",
        ),
      },
    ],
    scenario: 'operated',
    seedsMax: 300,
  },
  {
    rule: 'H8',
    name: 'a rest does not move the fence',
    edits: [
      fenceMoved,
      {
        file: handoff,
        find: 'progress: { ...progress, epoch: gate.epoch + 1, writtenAt: at },',
        replace: 'progress: { ...progress, writtenAt: at },',
      },
    ],
    scenario: 'operated',
    seedsMax: 10,
  },
  {
    rule: 'H8',
    name: 'a rest copies no hold',
    edits: [{ file: handoff, find: 'hold: progress.hold,\n', replace: 'hold: noHold,\n' }],
    scenario: 'operated',
    seedsMax: 10,
  },
  {
    rule: 'H8',
    name: 'a rest copies no cursor',
    edits: [{ file: handoff, find: 'cursor: progress.cursor,\n', replace: 'cursor: null,\n' }],
    scenario: 'operated',
    seedsMax: 10,
  },
  {
    rule: 'H8',
    name: 'blocked is waited out',
    edits: [
      {
        file: drain,
        find: 'return restHeld(drain);',
        replace: "return { kind: 'failed', reason: 'held' };",
      },
    ],
    scenario: 'operated',
    seedsMax: 10,
  },
  {
    rule: 'H8',
    name: 'a paused key goes on',
    edits: [
      {
        file: drain,
        find: "hold.kind === 'blocked' || hold.kind === 'paused')",
        replace: "hold.kind === 'blocked')",
      },
    ],
    scenario: 'operated',
    seedsMax: 10,
  },
  {
    rule: 'H8',
    name: 'an admit opens a held gate',
    edits: [
      {
        file: handoff,
        find: "const opened = before.phase === 'idle';",
        replace: "const opened = before.phase !== 'active';",
      },
    ],
    scenario: 'operated',
    seedsMax: 10,
  },
  {
    rule: 'H8',
    name: 'an admit to a held gate starts an instance',
    edits: [{ file: ensureStarted, find: "if (gate.phase !== 'active')", replace: 'if (false)' }],
    scenario: 'backlog',
    seedsMax: 10,
  },
  {
    rule: 'H8',
    name: 'a wake shortens the retry',
    edits: [
      {
        file: orchestrator,
        find: 'yield context.df.createTimer(new Date(result.at));',
        replace:
          'yield* lingerPassed(context, (result.at - context.df.currentUtcDateTime) / 1000);',
      },
      {
        file: drain,
        find: "hold.kind === 'retrying' && (hold.nextAttemptAt ?? 0) > now",
        replace: 'false',
      },
    ],
    scenario: 'failing',
    seedsMax: 10,
  },
  {
    rule: 'H8',
    name: 'a drain does not look at the time of the retry',
    edits: [
      {
        file: drain,
        find: "hold.kind === 'retrying' && (hold.nextAttemptAt ?? 0) > now",
        replace: 'false',
      },
    ],
    scenario: 'failing',
    seedsMax: 10,
  },
  {
    rule: 'H8',
    name: 'retrying ends the instance',
    edits: [
      {
        file: orchestrator,
        find: 'yield context.df.createTimer(new Date(result.at));\n                break;',
        replace: 'return;',
      },
    ],
    scenario: 'failing',
    seedsMax: 10,
  },
];

const acting: Mutant[] = [
  {
    rule: 'H8',
    name: "an operator's action without If-Match on the gate",
    edits: [
      {
        file: operate,
        find: bothGate,
        replace: "{ kind: 'put', item: gateItem(place, after.gate) }",
      },
    ],
    scenario: 'contended',
    seedsMax: 10,
  },
  {
    rule: 'H8',
    name: "an operator's action without If-Match on progress",
    edits: [
      {
        file: operate,
        find: bothProgress,
        replace: "{ kind: 'put', item: progressItem(place, after.progress) }",
      },
    ],
    scenario: 'contended',
    seedsMax: 10,
  },
  {
    rule: 'H8',
    name: "an operator's action raises no epoch",
    edits: [
      {
        file: handoff,
        find: 'const epoch = Math.max(gate.epoch, progress.epoch) + 1;',
        replace: 'const epoch = Math.max(gate.epoch, progress.epoch);',
      },
    ],
    scenario: 'operated',
    seedsMax: 10,
  },
  {
    rule: 'H8',
    name: "an operator's action raises the epoch of progress only",
    edits: reopenedOn(operate, 'gate'),
    scenario: 'operated',
    seedsMax: 10,
  },
  {
    rule: 'H8',
    name: "an operator's action raises the epoch of the gate only",
    edits: reopenedOn(operate, 'progress'),
    scenario: 'operated',
    seedsMax: 10,
  },
  {
    rule: 'H8',
    name: "an operator's action starts nothing",
    edits: [{ file: operate, find: h2, replace: '' }],
    scenario: 'operated',
    seedsMax: 10,
  },
  {
    rule: 'H8',
    name: 'what the operator saw does not count',
    edits: [
      {
        file: operate,
        find: 'request.expectedCursor !== undefined && request.expectedCursor !== cursor',
        replace: 'false',
      },
    ],
    scenario: 'operated',
    seedsMax: 30,
  },
];

export const holding: Mutant[] = [...resting, ...acting];
