// H13 windows across keys.
import type { Mutant } from '../mutant.ts';

const core = 'shared/convoy/roll-up.js';
const contributor = 'shared/engine/roll-up.js';
const publisher = 'shared/engine/roll-up-publish.js';
const outbox = 'shared/engine/outbox.js';
const keys = 'shared/keys.js';

const mutant = (name: string, edits: Mutant['edits'], found: Partial<Mutant> = {}): Mutant => ({
  rule: 'H13',
  name,
  edits,
  scenario: 'rolled-up',
  seedsMax: 10,
  ...found,
});

export const rollingUp: Mutant[] = [
  mutant(
    'the scan comes before the closing write',
    [
      {
        file: publisher,
        find: 'const attempt = await Attempt.begin(',
        replace: `const early = await readContent({ store, windowId, session: '',
          bytesMax: engine.limits.outputBytesMax, tick: () => undefined });
          const attempt = await Attempt.begin(`,
      },
      {
        file: publisher,
        find: 'const content = await readContent(scan);',
        replace: 'const content = early;',
      },
    ],
    { seedsMax: 30 },
  ),
  mutant('the closing write has no If-Match of what was read', [
    {
      file: publisher,
      find: 'const written = await engine.store.replaceWindowsItem(rollUpItem(head), read.etag);',
      replace:
        'const fresh = await engine.store.readRollUp(rollUpItem(head).windowId, "~"); const ' +
        'written = await engine.store.replaceWindowsItem(rollUpItem(head), fresh.found.etag);',
    },
  ]),
  mutant('the scan goes without the session of the closing write', [
    { file: publisher, find: 'session: attempt.session,', replace: "session: ''," },
  ]),
  mutant(
    'the head is read without the session of the contribution',
    [
      {
        file: contributor,
        find: 'store.readRollUp(windowId, session)',
        replace: "store.readRollUp(windowId, '')",
      },
    ],
    { seedsMax: 30 },
  ),
  mutant('the head is told before the contribution is written', [
    {
      file: contributor,
      find: `const session = await putContribution(rollUps, entry);
    await tellHead(rollUps, entry, session);`,
      replace: `await tellHead(rollUps, entry, '');
    await putContribution(rollUps, entry);`,
    },
  ]),
  mutant('a published head is not marked dirty', [
    {
      file: core,
      find: "if (head.phase === 'open' || head.dirty)",
      replace: "if (head.phase !== 'closing' || head.dirty)",
    },
  ]),
  mutant(
    'a dirty head is not published again',
    [
      { file: core, find: 'dueAt: head.dirty ? now + delayMs : null,', replace: 'dueAt: null,' },
      {
        file: core,
        find: 'assert.equal(head.dueAt === null, rests,',
        replace: 'assert.equal(true, true,',
      },
    ],
    { seedsMax: 100 },
  ),
  mutant(
    'a contribution that is there ends the work',
    [
      {
        file: contributor,
        find: 'await tellHead(rollUps, entry, session);',
        replace: 'if (session) await tellHead(rollUps, entry, session);',
      },
      {
        file: contributor,
        find: 'found && found.item.revision >= item.revision)\n            return session;',
        replace: "found && found.item.revision >= item.revision)\n            return '';",
      },
    ],
    { seedsMax: 100 },
  ),
  mutant('the same revision has two contents', [
    {
      file: core,
      find: 'digest === head.digest ? head : { ...head, revision: head.revision + 1, digest }',
      replace:
        'head.revision >= 0 && head.published < head.revision ? { ...head, digest } : digest ' +
        '=== head.digest ? head : { ...head, revision: head.revision + 1, digest }',
    },
  ]),
  mutant('the seal is not written before the parts leave', [
    {
      file: publisher,
      find: 'await attempt.write((head) => seal(head, content.digest));',
      replace: 'const sealed = seal(attempt.head, content.digest);',
    },
    {
      file: publisher,
      find: 'const isNew = hasNews(attempt.head);',
      replace: 'const isNew = hasNews(sealed);',
    },
    {
      file: publisher,
      find: '{ attempt, scan, content });\n    const definition',
      replace:
        '{ attempt: { head: sealed, renew: () => attempt.renew() }, scan, content });\n    ' +
        'const definition',
    },
    {
      file: publisher,
      find: 'publish(head, { totals,',
      replace: 'publish(seal(head, content.digest), { totals,',
    },
  ]),
  mutant(
    'a part has another id each time',
    [
      {
        file: keys,
        find: '${revision}:${part}`',
        replace: '${revision}:${part}:${(globalThis.sends = (globalThis.sends ?? 0) + 1)}`',
      },
    ],
    { scenario: 'roll-up', seedsMax: 100 },
  ),
  mutant('an attempt that dies is not repeated', [
    {
      file: core,
      find: 'attempt, dueAt: now + repeatAfterMs };',
      replace: 'attempt, dueAt: now + 1e12 };',
    },
    { file: publisher, find: 'dueAt: now + repeatAfterMs });', replace: 'dueAt: now + 1e12 });' },
  ]),
  mutant(
    'a closing write does not clear the mark',
    [{ file: core, find: "phase: 'closing', dirty: false,", replace: "phase: 'closing'," }],
    { scenario: 'roll-up' },
  ),
  mutant(
    'outputs count as published before they are contributed',
    [
      {
        file: outbox,
        find:
          'await contributeOutputs(engine, { ...request, definition: drain.definition }, ' +
          'outputs);',
        replace:
          'void contributeOutputs(engine, { ...request, definition: drain.definition }, ' +
          'outputs).catch(() => undefined);',
      },
    ],
    { scenario: 'roll-up' },
  ),
  mutant(
    'the mark is overwritten by the publisher',
    [
      {
        file: publisher,
        find: 'this.#head = { ...this.#head, dirty, missed };',
        replace: '',
      },
    ],
    { seedsMax: 300 },
  ),
];
