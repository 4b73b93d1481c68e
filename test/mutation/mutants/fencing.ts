// H5 the fence and the bounds of a commit.
import type { Mutant } from '../mutant.ts';

const commit = 'shared/engine/commit.js';
const context = 'shared/engine/drain-context.js';
const outputs = 'shared/convoy/outputs.js';
const step = 'shared/convoy/step.js';

const batchOfCommit = 'result = await drain.engine.store.batch(drain.convoyId, operations);';

/** The commit in two batches: what `isLate` picks comes with the second. */
const split = (isLate: string): string =>
  `const late = operations.filter((o, i) => ${isLate});
   const early = operations.filter((o) => !late.includes(o));
   result = await drain.engine.store.batch(drain.convoyId, early);
   if (result.applied && late.length > 0) await drain.engine.store.batch(drain.convoyId, late);`;

export const fencing: Mutant[] = [
  {
    rule: 'H5',
    name: 'a commit without If-Match on progress',
    edits: [
      {
        file: commit,
        find: "{ kind: 'replace', item: progress, ifMatch: drain.progress.etag }",
        replace: "{ kind: 'put', item: progress }",
      },
    ],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H5',
    name: 'a hold is written without If-Match on progress',
    edits: [
      {
        file: context,
        find: "{ kind: 'replace', item: held, ifMatch: etag }",
        replace: "{ kind: 'put', item: held }",
      },
    ],
    scenario: 'deployed',
    seedsMax: 10,
  },
  {
    rule: 'H5',
    name: 'the outbox comes in a second batch',
    edits: [{ file: commit, find: batchOfCommit, replace: split("o.item?.kind === 'outbox'") }],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H5',
    name: 'the settlements come in a second batch',
    edits: [{ file: commit, find: batchOfCommit, replace: split("o.kind === 'set'") }],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H5',
    name: 'the windows come in a second batch',
    edits: [{ file: commit, find: batchOfCommit, replace: split("o.item?.kind === 'window'") }],
    scenario: 'windowed',
    seedsMax: 10,
  },
  {
    rule: 'H5',
    name: 'the effect is committed before the cursor',
    edits: [
      {
        file: commit,
        find: batchOfCommit,
        replace: `await drain.engine.store.batch(drain.convoyId, operations.slice(1));
          result = await drain.engine.store.batch(drain.convoyId, operations.slice(0, 1));`,
      },
    ],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H5',
    name: 'no bound of windows that close in one commit',
    edits: [{ file: outputs, find: 'closesMax: 40', replace: 'closesMax: 4_000' }],
    scenario: 'burst',
    seedsMax: 10,
  },
  {
    rule: 'H5',
    name: 'no bound of bytes',
    edits: [{ file: outputs, find: 'bytesMax: 1_500_000', replace: 'bytesMax: 1e12' }],
    scenario: 'burst',
    seedsMax: 10,
  },
  {
    rule: 'H5',
    name: 'neither bound of bytes, nor a second try with half of it',
    edits: [
      { file: outputs, find: 'bytesMax: 1_500_000', replace: 'bytesMax: 1e12' },
      { file: commit, find: 'settlements.length > 1', replace: 'false' },
    ],
    scenario: 'burst',
    seedsMax: 10,
  },
  {
    rule: 'H5',
    name: 'due windows do not close first',
    edits: [
      { file: step, find: 'let draft = closeDue(input, first);', replace: 'let draft = first;' },
    ],
    scenario: 'burst',
    seedsMax: 10,
  },
  {
    rule: 'H5',
    name: 'messages overtake windows that are due',
    edits: [{ file: step, find: 'if (hasDue(input, draft) ||', replace: 'if (' }],
    scenario: 'burst',
    seedsMax: 300,
  },
  {
    rule: 'H5',
    // It hangs in a loop without a pause, which takes a minute to be believed.
    name: 'a message that does not fit alone is tried for ever',
    edits: [
      {
        file: step,
        find:
          'return afterPoison(input, draft, failed(input, draft, { ...candidate, ...tooLarge ' +
          '}));',
        replace: "return { kind: 'full', draft };",
      },
    ],
    scenario: 'burst',
    seedsMax: 30,
  },
  {
    rule: 'H5',
    name: 'outputs one per item',
    edits: [{ file: outputs, find: 'outputsPerItem: 20', replace: 'outputsPerItem: 1' }],
    scenario: 'burst',
    seedsMax: 10,
  },
];
