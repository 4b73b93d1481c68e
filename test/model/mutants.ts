// The rules of DESIGN §4, each broken where it stands in the compiled code, and the scope that
// shows it: first whole protocols and every If-Match, then (broken-rules.ts) the rest.
import { brokenRules } from './broken-rules.ts';
import {
  type Mutant,
  admit,
  closesWith,
  commit,
  context,
  convoy,
  drain,
  drainsFirst,
  handoff,
  idUsedAgain,
  load,
  operate,
  patch,
  readBound,
  restsWith,
  sweep,
  takesBacklog,
  unasserted,
  unmatched,
} from './patches.ts';

const usual = 'three messages, one sent twice';
const crash = 'a crash without a sweeper';
const zombie = 'a zombie';
const alarm = 'a wrong alarm';
const poison = 'a poisoned message';
const pause = 'a pause';

/** Protocols that others use, and what loses messages in them (reference/field.md §D2). */
const protocols: readonly Mutant[] = [
  {
    rule: 'H6',
    name: 'blind close: without any If-Match',
    scope: usual,
    patches: [closesWith({ gate: "'*'", progress: "'*'" })],
  },
  {
    rule: 'H6',
    name: 're-read, then complete: the close writes nothing',
    scope: usual,
    changes: { hasOtherPasses: true, carriesMore: true },
    patches: [
      idUsedAgain,
      closesWith({
        gate: "'never'",
        progress: 'etag',
        before: `if ((await engine.store.readGate(drain.convoyId)).item.tail === progress.cursor)
          return { kind: 'closed' };
        `,
      }),
    ],
  },
  {
    rule: 'H3',
    name: 'compare-and-swap close with an instance id that is used again',
    scope: usual,
    patches: [idUsedAgain],
  },
  {
    rule: 'H2',
    name: 'settled at the broker before the start, without a sweeper',
    scope: crash,
    changes: { settlesEarly: true },
    patches: [],
  },
  {
    rule: 'H1',
    name: 'a duplicate counts as done: the start is not checked again',
    scope: crash,
    patches: [
      patch(
        admit,
        'await ensureStarted(engine, request, { gate, wake: true, duplicate: true });',
        '',
      ),
    ],
  },
  {
    rule: 'H5',
    name: 'effects without a fence',
    scope: zombie,
    patches: [patch(commit, 'progress, ifMatch: drain.progress.etag', "progress, ifMatch: '*'")],
  },
  {
    rule: 'H7',
    name: 'waits first, then drains; wakes get lost',
    scope: usual,
    changes: { carriesMore: true },
    patches: [
      patch(
        convoy,
        drainsFirst,
        `yield context.df.waitForExternalEvent(wakeName);\n${drainsFirst}`,
      ),
    ],
  },
  {
    rule: 'H4',
    name: 'the message travels in the event: one wake, one message, no look at the rest',
    scope: usual,
    patches: [
      unasserted,
      patch(
        drain,
        takesBacklog,
        'if (cursor < gate.item.tail && !request.mayClose && !pass.hasCommitted)',
      ),
      patch(load, readBound, 'from'),
      patch(handoff, 'assert.equal(progress.cursor, gate.tail, ', 'assert.ok(true, '),
      patch(handoff, 'progress.cursor === gate.tail && ', ''),
    ],
  },
];

/** Each If-Match by itself. */
const preconditions: readonly Mutant[] = [
  {
    rule: 'H1',
    name: 'admit without If-Match on the gate',
    scope: usual,
    patches: [unmatched(admit, 'item: gate, ifMatch: read.etag')],
  },
  {
    rule: 'H4',
    name: 'wait without If-Match on the gate',
    scope: usual,
    patches: [unmatched(drain, 'gateItem(request, waiting), ifMatch: gate.etag')],
  },
  {
    rule: 'H6',
    name: 'close without If-Match on the gate',
    scope: usual,
    patches: [closesWith({ gate: "'*'", progress: 'etag' })],
  },
  {
    rule: 'H6',
    name: 'close without If-Match on progress',
    scope: 'an old deployment',
    changes: { deliveries: ['m1'], budget: { unknown: 1, zombie: 1 } },
    patches: [closesWith({ gate: 'gate.etag', progress: "'*'" })],
  },
  {
    rule: 'H8',
    name: 'rest without If-Match on the gate',
    scope: poison,
    patches: [restsWith({ gate: "'*'", progress: 'progress.etag' })],
  },
  {
    rule: 'H8',
    name: 'rest without If-Match on progress',
    scope: poison,
    changes: { deliveries: ['m1'] },
    equivalent: 'who writes progress of a held key writes its gate too, and the rest matches that',
    patches: [restsWith({ gate: 'gate.etag', progress: "'*'" })],
  },
  {
    rule: 'H8',
    name: 'an operator without If-Match on the gate',
    scope: pause,
    patches: [unmatched(operate, 'after.gate), ifMatch: gate.etag')],
  },
  {
    rule: 'H8',
    name: 'an operator without If-Match on progress',
    scope: pause,
    patches: [unmatched(operate, 'after.progress), ifMatch: progress.etag')],
  },
  {
    rule: 'H9',
    name: 'the sweeper without If-Match on the gate',
    scope: alarm,
    patches: [unmatched(sweep, 'after.gate), ifMatch: gate.etag')],
  },
  {
    rule: 'H9',
    name: 'the sweeper without If-Match on progress',
    scope: alarm,
    patches: [unmatched(sweep, 'after.progress), ifMatch: progress.etag')],
  },
  {
    rule: 'H5',
    name: 'a hold without If-Match on progress',
    scope: 'an old deployment',
    changes: { budget: { unknown: 1, zombie: 1 } },
    patches: [unmatched(context, 'item: held, ifMatch: etag')],
  },
];

export const mutants: readonly Mutant[] = [...protocols, ...preconditions, ...brokenRules];
