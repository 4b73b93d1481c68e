// H11 the outbox, H12 the life of items.
import type { Mutant } from '../mutant.ts';

const admit = 'shared/engine/admit.js';
const commit = 'shared/engine/commit.js';
const context = 'shared/engine/drain-context.js';
const drain = 'shared/engine/drain.js';
const intake = 'shared/engine/intake.js';
const outbox = 'shared/engine/outbox.js';
const placed = 'shared/engine/placed.js';
const keys = 'shared/keys.js';
const handoff = 'shared/convoy/handoff.js';

const settledFields = '{ ...cleared, ...outcome, settledAt, ttl }';

const publishing: Mutant[] = [
  {
    rule: 'H11',
    name: 'the outbox is published highest first',
    edits: [
      {
        file: outbox,
        find: 'await drain.engine.store.readOutbox(drain.convoyId)',
        replace: '(await drain.engine.store.readOutbox(drain.convoyId)).reverse()',
      },
    ],
    scenario: 'unheard',
    seedsMax: 10,
  },
  {
    rule: 'H11',
    name: 'a commit publishes before what earlier drains left',
    edits: [
      {
        file: drain,
        find: 'await publishOutbox(drain); // H11: any epoch publishes what it finds',
        replace: ';',
      },
      { file: drain, find: 'drain.gate = withPublished(read, published);', replace: '' },
    ],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H11',
    name: 'entries are removed before the broker has them',
    edits: [
      {
        file: outbox,
        find: 'const outputs = items.flatMap((item) => item.outputs);',
        replace:
          'const outputs = items.flatMap((item) => item.outputs); for (const { id } of items) ' +
          "await engine.store.batch(convoyId, [{ kind: 'delete', id }]);",
      },
    ],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H11',
    name: 'publishing is not awaited',
    edits: [
      {
        file: outbox,
        find: 'await engine.publisher.publish(request.convoy, request.key, outputs);',
        replace:
          'void engine.publisher.publish(request.convoy, request.key, outputs).catch(() => ' +
          'undefined);',
      },
    ],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H11',
    name: 'what the broker refused counts as published',
    edits: [{ file: outbox, find: '        throw error;\n', replace: '' }],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H11',
    name: 'outputs of other epochs stay',
    edits: [
      {
        file: outbox,
        find: 'items.flatMap((item) => item.outputs);',
        replace:
          'items.flatMap((item) => item.outputs).filter(({ epoch }) => epoch === request.epoch);',
      },
    ],
    scenario: 'hostile',
    seedsMax: 100,
  },
  {
    rule: 'H11',
    name: 'a commit with outputs is not counted',
    edits: [
      {
        file: commit,
        find: 'outputs.length > 0 ? outputCommits + 1 : outputCommits',
        replace: 'outputCommits',
      },
    ],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H11',
    name: 'the gate forgets what is published',
    edits: [
      {
        file: drain,
        find: 'Math.max(gate.item.publishedCommits, published.commits)',
        replace: 'gate.item.publishedCommits',
      },
    ],
    scenario: 'calm',
    seedsMax: 10,
  },
  {
    rule: 'H11',
    name: 'entries are not removed',
    edits: [
      {
        file: context,
        find: "return [...drain.published.ids].map((id) => ({ kind: 'delete', id }));",
        replace: 'return [];',
      },
    ],
    scenario: 'calm',
    seedsMax: 10,
  },
  {
    rule: 'H11',
    name: 'no hold however much is unpublished',
    edits: [{ file: outbox, find: 'unpublishedMax = 200', replace: 'unpublishedMax = 1e9' }],
    scenario: 'unheard',
    seedsMax: 10,
  },
  {
    rule: 'H11',
    name: 'the key goes on while its outputs wait',
    edits: [
      {
        file: drain,
        find: 'await publishOutbox(drain); // H11: any epoch publishes what it finds',
        replace: 'await publishOutbox(drain).catch(() => undefined);',
      },
      {
        file: commit,
        find: 'await publishItems({ ...drain, progress: committed }, outbox);',
        replace:
          'await publishItems({ ...drain, progress: committed }, outbox).catch(() => undefined);',
      },
    ],
    scenario: 'unheard',
    seedsMax: 30,
  },
  {
    rule: 'H11',
    name: 'a repeat has another message id',
    edits: [
      {
        file: keys,
        find: 'const plain = `${convoy}:${key}:${position}:${n}`;',
        replace:
          'const plain = `${convoy}:${key}:${position}:${n}:${(globalThis.sends = ' +
          '(globalThis.sends ?? 0) + 1)}`;',
      },
    ],
    scenario: 'hostile',
    seedsMax: 10,
  },
  {
    rule: 'H11',
    name: 'the hold stays when everything is published',
    edits: [
      {
        file: drain,
        find: "item.hold.kind === 'publishing' ?",
        replace: 'false ?',
      },
    ],
    scenario: 'unheard',
    seedsMax: 10,
  },
];

const ttl = (name: string, edit: Mutant['edits'][number]): Mutant => ({
  rule: 'H12',
  name,
  edits: [edit],
  scenario: 'aged',
  seedsMax: 3,
});

const ageing: Mutant[] = [
  ttl('the gate expires', {
    file: placed,
    find: "convoyId, kind: 'gate', convoy, key }",
    replace: "convoyId, kind: 'gate', convoy, key, ttl: 86_400 }",
  }),
  ttl('progress expires', {
    file: placed,
    find: "convoyId, kind: 'progress', convoy, key }",
    replace: "convoyId, kind: 'progress', convoy, key, ttl: 86_400 }",
  }),
  ttl('a waiting message expires', {
    file: placed,
    find: "kind: 'inbox', outcome: 'waiting' }",
    replace: "kind: 'inbox', outcome: 'waiting', ttl: 86_400 }",
  }),
  ttl('the seen marker of a waiting message expires', {
    file: admit,
    find: "kind: 'seen',",
    replace: "kind: 'seen', ttl: 3_600,",
  }),
  ttl('the seen marker of a settled message never expires', {
    file: commit,
    find: 'fields: { ttl: dedupSeconds }',
    replace: 'fields: { settled: true }',
  }),
  ttl('the seen marker expires at once', {
    file: commit,
    find: 'fields: { ttl: dedupSeconds }',
    replace: 'fields: { ttl: 60 }',
  }),
  ttl('a settled message never expires', {
    file: commit,
    find: settledFields,
    replace: '{ ...cleared, ...outcome, settledAt }',
  }),
  ttl('a parked message expires', {
    file: commit,
    find: "{ kind: 'set', id, fields: { ...outcome, settledAt } }",
    replace: "{ kind: 'set', id, fields: { ...outcome, settledAt, ttl } }",
  }),
  ttl('the parked item expires', {
    file: commit,
    find: "kind: 'parked',\n        position,",
    replace: "kind: 'parked',\n        ttl: 86_400,\n        position,",
  }),
  ttl('an unpublished output expires', {
    file: commit,
    find: "kind: 'outbox', outputs: open }",
    replace: "kind: 'outbox', outputs: open, ttl: 86_400 }",
  }),
  ttl('a dead letter expires', {
    file: intake,
    find: "kind: 'dead',",
    replace: "kind: 'dead', ttl: 86_400,",
  }),
  ttl('a retired key forgets its last message id', {
    file: handoff,
    find: "phase: 'idle', waiting: false,",
    replace: "phase: 'idle', lastMessageId: null, waiting: false,",
  }),
];

export const delivering: Mutant[] = [...publishing, ...ageing];
