// Goal: no interleaving breaks the hand-off. Method: every state of small worlds, the real code at
// every step; `npm run model` searches larger ones. A violation is printed as its shortest history.
import { describe, expect, test } from 'vitest';
import { realCode } from './code.ts';
import { explore } from './explore.ts';
import { smallScopes } from './scopes.ts';
import { System } from './steps.ts';

const covered = new Set<string>();

describe('no history breaks a rule, and every history comes to its end', () => {
  test.each(smallScopes)('$name', async (scope) => {
    const found = await explore(new System(realCode, scope));

    expect([found.violation?.rule, ...(found.violation?.trace ?? [])]).toEqual([undefined]);
    expect(found.isComplete).toBe(true);
    for (const kind of found.coverage.keys()) covered.add(kind);
  });

  test('and every way a step can go was gone', () => {
    expect(expected.filter((kind) => !covered.has(kind))).toEqual([]);
  });
});

/** Faults, conflicts and transitions that the small scopes have to meet, each of them. */
const expected = [
  'CRASH: drain dies',
  'CRASH: intake dies',
  'LOCK LOST: delivered again',
  'NO ANSWER drain: close → applied',
  'NO ANSWER drain: commit → applied',
  'NO ANSWER drain: commit → not done',
  'NO ANSWER drain: readGate',
  'NO ANSWER drain: readInbox',
  'NO ANSWER drain: readProgress',
  'NO ANSWER drain: wait → applied',
  'NO ANSWER intake: admit → applied',
  'NO ANSWER intake: admit → not done',
  'NO ANSWER publish accepted',
  'NO ANSWER publish refused',
  'NO ANSWER start',
  'NO ANSWER start not done',
  'NO ANSWER wake',
  'OLD DEPLOYMENT drains',
  'OPERATOR pauses',
  'PURGED',
  'RUN AGAIN: start of a finished id',
  'STALE drain: readGate',
  'STALE drain: readInbox',
  'STALE drain: readOutbox',
  'STALE drain: readProgress',
  'STALE intake: readGate',
  'STRAY WAKE',
  'TERMINATED',
  'WRONG ALARM: the sweeper looks',
  'ZOMBIE attempt',
  'a drain returns: closed',
  'a drain returns: failed',
  'a drain returns: fenced',
  'a drain returns: rested',
  'a drain returns: waiting',
  'a late attempt ends',
  'a timer fires',
  'a wake is consumed',
  'admitted: without the lock: not settled',
  'an instance completes',
  'an operator answers a hold: resume',
  'an operator answers a hold: retry',
  'an operator answers a hold: skip',
  'drain: close → 404',
  'drain: close → 412',
  'drain: close → applied',
  'drain: commit → 404',
  'drain: commit → 412',
  'drain: commit → applied',
  'drain: hold blocked → 412',
  'drain: hold blocked → applied',
  'drain: rest → 412',
  'drain: rest → applied',
  'drain: wait → 404',
  'drain: wait → 412',
  'drain: wait → applied',
  'duplicate: the message is settled',
  'intake: admit to held → 412',
  'intake: admit to held → applied',
  'intake: admit → 409',
  'intake: admit → 412',
  'intake: admit → applied',
  'intake: readSeen',
  'operate: reopen → 412',
  'operate: reopen → applied',
  'start finds it',
  'sweep: reopen → 412',
  'sweep: reopen → applied',
  'wake answered 404',
  'wake raised',
  'wake raised, lost',
];
