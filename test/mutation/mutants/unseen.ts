// Broken lines that the scenarios of today do not show within their seeds, and that no argument
// makes equivalent: here the observers are too weak, not the rule. `npm run mutation` tries them.
import type { Mutant } from '../mutant.ts';

const admit = 'shared/engine/admit.js';
const contributor = 'shared/engine/roll-up.js';
const core = 'shared/convoy/roll-up.js';
const drain = 'shared/engine/drain.js';
const orchestrator = 'functions/convoy.js';
const outputs = 'shared/convoy/outputs.js';
const publisher = 'shared/engine/roll-up-publish.js';
const sweep = 'shared/engine/sweep.js';

const mutant = (name: string, edits: Mutant['edits'], seedsMax = 300): Mutant => ({
  rule: 'H13',
  name,
  edits,
  scenario: 'rolled-up',
  seedsMax,
});

const bothProgress =
  "{ kind: 'replace', item: progressItem(place, after.progress), ifMatch: progress.etag }";

export const unseen: Mutant[] = [
  mutant('a closing head is not marked dirty', [
    {
      file: core,
      find: "if (head.phase === 'open' || head.dirty)",
      replace: "if (head.phase !== 'published' || head.dirty)",
    },
  ]),
  mutant('a lower revision overwrites a higher one', [
    { file: contributor, find: 'found && found.item.revision >= item.revision', replace: 'false' },
  ]),
  mutant(
    'an amended contribution is written without If-Match',
    [
      {
        file: contributor,
        find: 'store.replaceWindowsItem(item, found.etag);\n            if (replaced',
        replace:
          'store.replaceWindowsItem(item, ' +
          '(await store.readContribution(item.windowId, entry.key)).found.etag);\n' +
          'if (replaced',
      },
    ],
    300,
  ),
  mutant('an overtaken publisher goes on', [
    {
      file: publisher,
      find:
        'if (found?.item.attempt !== this.#head.attempt)\n' +
        '                throw new Overtaken();',
      replace: '',
    },
  ]),
  mutant('the last write has no If-Match', [
    {
      file: publisher,
      find: 'const written = await store.replaceWindowsItem(item, this.#etag);',
      replace:
        'const written = await store.replaceWindowsItem(item, ' +
        "(await store.readRollUp(item.windowId, '~')).found.etag);",
    },
  ]),
  {
    rule: 'H5',
    name: 'no bound of operations',
    edits: [{ file: outputs, find: 'operationsMax: 90', replace: 'operationsMax: 9_000' }],
    scenario: 'burst',
    seedsMax: 10,
  },
  {
    rule: 'H6',
    name: 'a close without If-Match on progress',
    edits: [
      {
        file: drain,
        find: "{ kind: 'replace', item: progressItem(request, after.progress), ifMatch: etag }",
        replace: "{ kind: 'put', item: progressItem(request, after.progress) }",
      },
    ],
    scenario: 'quiet',
    seedsMax: 300,
  },
  {
    rule: 'H9',
    name: 'a sweep without If-Match on progress',
    edits: [
      {
        file: sweep,
        find: bothProgress,
        replace: "{ kind: 'put', item: progressItem(place, after.progress) }",
      },
    ],
    scenario: 'late',
    seedsMax: 200,
  },
  {
    rule: 'H1',
    name: 'a duplicate is served by whatever gate is read',
    edits: [
      {
        file: admit,
        find: 'read && read.item.tail >= seen.position ? read.item : undefined',
        replace: 'read?.item',
      },
    ],
    scenario: 'astray',
    seedsMax: 300,
  },
  {
    rule: 'H7',
    name: 'the new generation forgets that the linger has passed',
    edits: [
      {
        file: orchestrator,
        find: 'failures, mayClose, ...shown }',
        replace: 'failures, ...shown }',
      },
    ],
    scenario: 'unstaffed',
    seedsMax: 300,
  },
];
