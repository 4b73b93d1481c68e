// H9 the sweeper.
import type { Mutant } from '../mutant.ts';

const handoff = 'shared/convoy/handoff.js';
const sweep = 'shared/engine/sweep.js';

const bothGate = "{ kind: 'replace', item: gateItem(place, after.gate), ifMatch: gate.etag }";
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

export const sweeping: Mutant[] = [
  {
    rule: 'H9',
    name: 'what is due by itself is not swept',
    edits: [
      { file: handoff, find: "? 'due by itself' : undefined", replace: '? undefined : undefined' },
    ],
    scenario: 'windowed',
    seedsMax: 10,
  },
  {
    rule: 'H9',
    name: 'the index is not asked for what is due',
    edits: [
      {
        file: sweep,
        find: 'store.gatesDue(range, pageSize)',
        replace: 'store.gatesDue({ ...range, upTo: range.after }, pageSize)',
      },
    ],
    scenario: 'windowed',
    seedsMax: 10,
  },
  {
    rule: 'H9',
    name: 'backlog without progress is not swept',
    edits: [
      {
        file: handoff,
        find: "? 'backlog without progress' : undefined",
        replace: '? undefined : undefined',
      },
    ],
    scenario: 'swept',
    seedsMax: 30,
  },
  {
    rule: 'H9',
    name: 'a key that stays active without backlog is not swept',
    edits: [
      {
        file: handoff,
        find: "? 'active without backlog' : undefined",
        replace: '? undefined : undefined',
      },
    ],
    scenario: 'swept',
    seedsMax: 30,
  },
  {
    rule: 'H9',
    name: 'an overdue retry is not swept',
    edits: [
      { file: handoff, find: "? 'retry overdue' : undefined", replace: '? undefined : undefined' },
    ],
    scenario: 'swept',
    seedsMax: 10,
  },
  {
    rule: 'H9',
    name: 'the sweeper does not look at the silence of progress',
    edits: [
      {
        file: handoff,
        find: 'at - Math.max(gate.writtenAt, progress.writtenAt)',
        replace: 'at - gate.writtenAt',
      },
    ],
    scenario: 'busy',
    seedsMax: 10,
  },
  {
    rule: 'H9',
    name: 'the sweeper takes every silence for death',
    edits: [
      {
        file: sweep,
        find: 'backlogSilenceMs: engine.settings.functionTimeoutSeconds * 1000 + marginMs,',
        replace: 'backlogSilenceMs: 0,',
      },
      { file: sweep, find: 'upTo: now - silentMs,', replace: 'upTo: now,' },
    ],
    scenario: 'busy',
    seedsMax: 10,
  },
  {
    rule: 'H9',
    name: 'the sweeper takes a wait for death',
    edits: [
      {
        file: sweep,
        find: 'lingerSilenceMs: lingerSeconds * 1000 + marginMs,',
        replace: 'lingerSilenceMs: 0,',
      },
      { file: sweep, find: 'upTo: now - silentMs,', replace: 'upTo: now,' },
    ],
    scenario: 'calm',
    seedsMax: 10,
  },
  {
    rule: 'H9',
    name: 'a retry that waits is taken for dead',
    edits: [
      {
        file: handoff,
        find: 'Math.max(progress.hold.nextAttemptAt ?? 0, progress.writtenAt)',
        replace: 'progress.writtenAt',
      },
    ],
    scenario: 'busy',
    seedsMax: 10,
  },
  {
    rule: 'H9',
    name: 'a sweep without If-Match on the gate',
    edits: [
      {
        file: sweep,
        find: bothGate,
        replace: "{ kind: 'put', item: gateItem(place, after.gate) }",
      },
    ],
    scenario: 'hostile',
    seedsMax: 300,
  },
  {
    rule: 'H9',
    name: 'a sweep raises the epoch of progress only',
    edits: reopenedOn(sweep, 'gate'),
    scenario: 'swept',
    seedsMax: 10,
  },
  {
    rule: 'H9',
    name: 'a sweep raises the epoch of the gate only',
    edits: reopenedOn(sweep, 'progress'),
    scenario: 'swept',
    seedsMax: 10,
  },
  {
    rule: 'H9',
    name: 'a sweep starts nothing',
    edits: [{ file: sweep, find: h2, replace: '' }],
    scenario: 'swept',
    seedsMax: 10,
  },
  {
    rule: 'H9',
    name: 'a hold that is not rested is not swept',
    edits: [
      {
        file: handoff,
        find: "if (progress.hold.kind === 'retrying') {",
        replace:
          "if (progress.hold.kind === 'blocked') return undefined;\n" +
          "if (progress.hold.kind === 'retrying') {",
      },
    ],
    scenario: 'swept',
    seedsMax: 1000,
  },
];
