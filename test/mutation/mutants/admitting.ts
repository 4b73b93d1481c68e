// H1 admit, H2 ensure started, H3 instance ids.
import type { Mutant } from '../mutant.ts';

const admit = 'shared/engine/admit.js';
const handoff = 'shared/convoy/handoff.js';
const ensureStarted = 'shared/engine/ensure-started.js';
const drain = 'shared/engine/drain.js';

export const admitting: Mutant[] = [
  {
    rule: 'H1',
    name: 'the gate is replaced without If-Match',
    edits: [
      {
        file: admit,
        find: "{ kind: 'replace', item: gate, ifMatch: read.etag }",
        replace: "{ kind: 'put', item: gate }",
      },
    ],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H1',
    name: 'a first gate and progress overwrite what is there',
    edits: [
      {
        file: admit,
        find: "[{ kind: 'create', item: gate }]",
        replace: "[{ kind: 'put', item: gate }]",
      },
      {
        file: admit,
        find: "operations.push({ kind: 'create', item: progressItem(request, progress) })",
        replace: "operations.push({ kind: 'put', item: progressItem(request, progress) })",
      },
      {
        file: admit,
        find: "operations.push({ kind: 'create', item: inbox }",
        replace: "operations.push({ kind: 'put', item: inbox }",
      },
    ],
    scenario: 'hostile',
    seedsMax: 100,
  },
  {
    rule: 'H1',
    name: 'no seen marker is created',
    edits: [
      {
        file: admit,
        find: ", { kind: 'create', item: seen });",
        replace: ');',
      },
    ],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H1',
    name: 'the seen marker is overwritten',
    edits: [
      {
        file: admit,
        find: "{ kind: 'create', item: seen }",
        replace: "{ kind: 'put', item: seen }",
      },
    ],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H1',
    name: 'every 409 is taken for a duplicate, without a read of seen',
    edits: [
      {
        file: admit,
        find: '? await store.readSeen(convoyId, message.messageId) : undefined',
        replace: '? { position: 0 } : undefined',
      },
    ],
    scenario: 'newborn',
    seedsMax: 10,
  },
  {
    rule: 'H1',
    name: 'seen is read before the batch and believed when it is absent',
    edits: [
      {
        file: admit,
        find: 'const at = clock.now();',
        replace:
          'const at = clock.now(); const known = await store.readSeen(convoyId, ' +
          'message.messageId); if (known) return serveDuplicate(engine, request, { gate: ' +
          'read.item, position: known.position, seen: known });',
      },
      {
        file: admit,
        find: ", { kind: 'create', item: seen });",
        replace: ", { kind: 'put', item: seen });",
      },
    ],
    scenario: 'hostile',
    seedsMax: 100,
  },
  {
    rule: 'H1',
    name: 'a duplicate does not fall through to H2',
    edits: [
      {
        file: admit,
        find: 'await ensureStarted(engine, request, { gate, wake: true, duplicate: true });',
        replace: '',
      },
    ],
    scenario: 'prompt',
    seedsMax: 30,
  },
  {
    rule: 'H1',
    name: "the gate's last message id is not looked at",
    edits: [
      {
        file: admit,
        find: 'read?.item.lastMessageId === message.messageId',
        replace: 'false',
      },
    ],
    scenario: 'aged',
    seedsMax: 10,
  },
  {
    rule: 'H1',
    name: 'a refused batch counts as admitted',
    edits: [{ file: admit, find: 'if (result.applied) {', replace: 'if (result) {' }],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H1',
    name: 'the admit that opens keeps the epoch',
    edits: [
      {
        file: handoff,
        find: 'epoch: opened ? before.epoch + 1 : before.epoch,',
        replace: 'epoch: Math.max(1, before.epoch),',
      },
    ],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H1',
    name: 'the tail does not move when the gate is held',
    edits: [
      {
        file: handoff,
        find: 'tail: before.tail + 1,',
        replace: "tail: before.phase === 'held' ? before.tail : before.tail + 1,",
      },
    ],
    scenario: 'backlog',
    seedsMax: 10,
  },
  {
    rule: 'H2',
    name: 'the trigger returns without a start',
    edits: [
      {
        file: admit,
        find: 'await ensureStarted(engine, request, { gate, wake, duplicate: false }); // H2',
        replace: '',
      },
    ],
    scenario: 'prompt',
    seedsMax: 10,
  },
  {
    rule: 'H2',
    name: 'the trigger returns before the start',
    edits: [
      {
        file: admit,
        find: 'await ensureStarted(engine, request, { gate, wake, duplicate: false }); // H2',
        replace:
          'void ensureStarted(engine, request, { gate, wake, duplicate: false }).catch(() => ' +
          'undefined);',
      },
    ],
    scenario: 'prompt',
    seedsMax: 300,
  },
  {
    rule: 'H2',
    name: 'a failed start is swallowed',
    edits: [
      {
        file: ensureStarted,
        find: 'await engine.instances.start(instanceId, input);\n        remember',
        replace:
          'await engine.instances.start(instanceId, input).catch(() => undefined);\n        ' +
          'remember',
      },
    ],
    scenario: 'prompt',
    seedsMax: 1000,
  },
  {
    rule: 'H2',
    name: 'a wake answered 404 starts nothing',
    edits: [{ file: ensureStarted, find: "answer === 'missing'", replace: 'false' }],
    scenario: 'removed',
    seedsMax: 30,
  },
  {
    rule: 'H2',
    name: 'the started cache is believed on the duplicate path',
    edits: [{ file: ensureStarted, find: 'duplicate || !known', replace: '!known' }],
    scenario: 'removed',
    seedsMax: 10,
  },
  {
    rule: 'H2',
    name: 'a start of another epoch counts',
    edits: [
      {
        file: ensureStarted,
        find: 'instanceIdOf(place.convoy, place.key, gate.epoch)',
        replace: 'instanceIdOf(place.convoy, place.key, 1)',
      },
    ],
    scenario: 'prompt',
    seedsMax: 30,
  },
  {
    rule: 'H3',
    name: 'an instance of any epoch goes on',
    edits: [
      {
        file: handoff,
        find: "return gate.phase === 'active' && gate.epoch === epoch && progress.epoch === epoch;",
        replace: 'return true;',
      },
    ],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H3',
    name: 'an instance of an earlier epoch goes on',
    edits: [
      {
        file: handoff,
        find: 'gate.epoch === epoch && progress.epoch === epoch;',
        replace: 'gate.epoch >= epoch && progress.epoch >= epoch;',
      },
    ],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H3',
    name: 'a stale read ends the instance as fenced',
    edits: [
      {
        file: drain,
        find: 'if (gate.epoch > epoch || progress.epoch > epoch || ended)',
        replace: 'if (gate)',
      },
    ],
    scenario: 'prompt',
    seedsMax: 30,
  },
];
