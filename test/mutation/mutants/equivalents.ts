// Broken lines that nobody can tell from the right ones: something else holds what they hold. They
// are kept with the reason, because each is a second line of defence, and `npm run mutation` tries
// them again: the day one of them is found, its reason is gone.
import type { Equivalent } from '../mutant.ts';

const admit = 'shared/engine/admit.js';
const drain = 'shared/engine/drain.js';
const ensureStarted = 'shared/engine/ensure-started.js';
const handoff = 'shared/convoy/handoff.js';
const load = 'shared/engine/load.js';
const outbox = 'shared/engine/outbox.js';

const admitting: Equivalent[] = [
  {
    rule: 'H1',
    name: 'the gate comes last in the batch',
    edits: [
      {
        file: admit,
        find: "operations.push({ kind: 'create', item: inbox }",
        replace: "operations.unshift({ kind: 'create', item: inbox }",
      },
    ],
    why:
      'the batch is all or nothing; the order decides only which loss is reported, and a ' +
      '409 on the inbox reads `seen` once more before the same retry',
    scenario: 'hostile',
  },
  {
    rule: 'H1',
    name: 'a first gate overwrites what is there',
    edits: [
      {
        file: admit,
        find: "[{ kind: 'create', item: gate }]",
        replace: "[{ kind: 'put', item: gate }]",
      },
    ],
    why: 'progress is created in the same batch and answers 409; without both it is found',
    scenario: 'newborn',
  },
  {
    rule: 'H1',
    name: 'a first progress overwrites what is there',
    edits: [
      {
        file: admit,
        find: "operations.push({ kind: 'create', item: progressItem(request, progress) })",
        replace: "operations.push({ kind: 'put', item: progressItem(request, progress) })",
      },
    ],
    why: 'the gate is created in the same batch and answers 409; without both it is found',
    scenario: 'newborn',
  },
  {
    rule: 'H1',
    name: 'the inbox item overwrites what is there',
    edits: [
      {
        file: admit,
        find: "operations.push({ kind: 'create', item: inbox }",
        replace: "operations.push({ kind: 'put', item: inbox }",
      },
    ],
    why: 'position tail + 1 is free for whoever replaces the gate under If-Match or creates it',
    scenario: 'hostile',
  },
  {
    rule: 'H1',
    name: 'the admit that opens keeps dueAt',
    edits: [
      {
        file: handoff,
        find: 'dueAt: opened ? null : before.dueAt,',
        replace: 'dueAt: before.dueAt,',
      },
    ],
    why: 'dueAt counts only while the gate is idle, and every close writes it anew',
    scenario: 'windowed',
  },
  {
    rule: 'H2',
    name: 'a start is remembered before it happens, and the duplicate path believes it',
    edits: [
      {
        file: ensureStarted,
        find:
          'await engine.instances.start(instanceId, input);\n        remember(known, ' +
          'instanceId);',
        replace:
          'remember(known, instanceId);\n        await engine.instances.start(instanceId, input);',
      },
      { file: ensureStarted, find: 'duplicate || !known', replace: '!known' },
    ],
    why:
      'a failed start makes the trigger try again on the duplicate path; that raises a ' +
      'wake, and a wake answered 404 starts the instance',
    scenario: 'prompt',
  },
];

const draining: Equivalent[] = [
  ...["gate.phase === 'active' && gate.epoch === epoch", 'gate.epoch === epoch && progress'].map(
    (find, i): Equivalent => ({
      rule: 'H3',
      name:
        i === 0 ? 'the phase of the gate does not count' : 'the epoch of the gate does not count',
      edits: [
        {
          file: handoff,
          find,
          replace: i === 0 ? 'gate.epoch === epoch' : 'progress',
        },
      ],
      why:
        'progress.epoch alone says so: it moves with every close, rest and reopening, and ' +
        'only one phase and gate epoch belong to it; a stale gate is refused by its ETag',
      scenario: 'stale',
    }),
  ),
  {
    rule: 'H6',
    name: 'mayClose does not ask for cursor = tail',
    edits: [
      {
        file: handoff,
        find: 'progress.cursor === gate.tail && progress.healing.length === 0;',
        replace: 'progress.healing.length === 0;',
      },
    ],
    why: 'a drain with backlog never comes as far as to close; without both it is found',
    scenario: 'hostile',
  },
  {
    rule: 'H6',
    name: 'mayClose does not ask for an empty outbox',
    edits: [
      { file: handoff, find: "'none' && !outputsPending(gate, progress);", replace: "'none';" },
    ],
    why:
      'a drain publishes before it does anything else, and fails when it cannot; without ' +
      'both it is found',
    scenario: 'hostile',
  },
  {
    rule: 'H7',
    name: 'progress is read before the gate',
    edits: [
      {
        file: drain,
        find: `const read = await engine.store.readGate(convoyId);
    const progress = pass.progress ?? (await readProgress(engine.store, convoyId));`,
        replace: `const progress = pass.progress ?? (await readProgress(engine.store, convoyId));
    const read = await engine.store.readGate(convoyId);`,
      },
    ],
    why:
      'what was read is acted upon only under the ETags of both items, or of progress ' +
      'alone for a commit, which is right for any tail',
    scenario: 'zombies',
  },
  {
    rule: 'H7',
    name: 'the run is not bound by the tail',
    edits: [
      {
        file: load,
        find: 'Math.min(drain.gate.item.tail, from + settings.messagesPerCommit - 1)',
        replace: 'from + settings.messagesPerCommit - 1',
      },
    ],
    why:
      'an inbox item is there only when its admission was applied, so reading ahead of a ' +
      'stale tail commits what is admitted; a close or a wait with that tail is refused by ' +
      'the ETag of the gate. The bound keeps cursor <= tail for readers of both items',
    scenario: 'stale',
  },
  {
    rule: 'H8',
    name: 'a rest without If-Match on progress',
    edits: [
      {
        file: drain,
        find:
          "{ kind: 'replace', item: progressItem(request, after.progress), ifMatch: " +
          'progress.etag }',
        replace: "{ kind: 'put', item: progressItem(request, after.progress) }",
      },
    ],
    why:
      'nobody writes progress of a blocked or paused key without the gate, whose ETag the ' +
      'rest matches',
    scenario: 'contended',
  },
  {
    rule: 'H11',
    name: 'entries are marked for removal before they are published',
    edits: [
      {
        file: outbox,
        find: 'const outputs = items.flatMap((item) => item.outputs);',
        replace:
          'const outputs = items.flatMap((item) => item.outputs); for (const { id } of items) ' +
          'published.ids.add(id);',
      },
    ],
    why:
      'a drain whose publishing fails ends, and its marks with it; removing them at once ' +
      'is found',
    scenario: 'hostile',
  },
];

export const equivalents: Equivalent[] = [...admitting, ...draining];
