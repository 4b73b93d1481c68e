// What the generated cases meet: a policy that no case reaches is not tested.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Case, Senders, caseArbitrary, definitionOf, refEffect, silenceMs } from './cases.ts';
import { Fold } from './reference.ts';
import { actions, may } from './reference-types.ts';

const expected = [
  ...['applied', 'rejected', 'invalid', 'skipped', 'parked', 'healed', 'repeat', 'gap', 'late'],
  ...['invalid CVY_BODY_NOT_JSON', 'invalid CVY_SCHEMA', 'invalid CVY_SENDER_POSITION'],
  ...['skipped CVY_STALE', 'skipped CVY_SKIPPED', 'parked CVY_PARKED', 'parked CVY_HANDLER'],
  ...['parked CVY_EFFECT', 'parked CVY_EFFECT_TIMEOUT', 'parked CVY_VERSION', 'parked CVY_LATE'],
  ...['parked CVY_COMPLETED', 'parked CVY_WINDOW_FORGOTTEN', 'rejected CVY_COMPLETED'],
  ...['hold CVY_HANDLER', 'hold CVY_EFFECT', 'hold CVY_EFFECT_TIMEOUT', 'hold CVY_VERSION'],
  ...['hold CVY_GAP', 'hold CVY_PARKED_FULL', 'hold CVY_PAUSED', 'lane', 'window.early'],
  ...['window.closed', 'amended', 'taken back', 'open again', 'migrated', 'again after dedup'],
  ...actions.map((action) => `act ${action}`),
];

/** The reference alone, with what it meets on the way. */
function meet(given: Case, met: (fact: string) => void): void {
  const surroundings = { isMended: false };
  const effect = refEffect(surroundings);
  const senders = new Senders(given);
  const folds = new Map<string, Fold>();
  let { version } = given.spec;
  const definition = () => definitionOf(given, version, surroundings);
  const look = (fold: Fold): void => {
    if (fold.hold.kind !== 'none') met(`hold ${String(fold.hold.code)}`);
    if (fold.lane !== null) met('lane');
    if (fold.windows.open.some(({ revision }) => revision >= 0)) met('open again');
  };
  for (const step of given.steps) {
    if (step.step === 'mend') surroundings.isMended = true;
    if (step.step === 'deploy') version = Math.min(3, version + 1);
    for (const one of step.step === 'send' ? step.messages : []) {
      const { key, message } = senders.message(one, 0);
      const { parkedMax } = given.spec;
      const options = { definition: definition(), key, now: 0, effect, parkedMax };
      const fold = folds.get(key) ?? new Fold(options);
      folds.set(key, fold);
      fold.send(message);
    }
    for (const fold of folds.values()) {
      fold.definition = definition();
      if (step.step === 'send') fold.run();
      if (step.step === 'silence') fold.silence(silenceMs);
      if (step.step === 'act') {
        const possible = actions.filter((action) => may(fold, action));
        const action = possible[step.choice % possible.length];
        if (action !== undefined) fold.act(action);
        met(`act ${String(action)}`);
      }
      look(fold);
    }
  }
  for (const fold of folds.values()) settledIn(fold, met);
}

function settledIn(fold: Fold, met: (fact: string) => void): void {
  for (const { outcome, code, healed } of fold.settlements) {
    met(outcome);
    if (code !== undefined) met(`${outcome} ${code}`);
    if (healed) met('healed');
  }
  for (const { type, body } of fold.outputs) {
    met(type);
    const { revision = 0, mergedInto } = body as { revision?: number; mergedInto?: string };
    if (revision > 0) met(mergedInto === undefined ? 'amended' : 'taken back');
  }
  if (fold.repeats > 0) met('repeat');
  if (fold.counts.gaps > 0) met('gap');
  if (fold.counts.late > 0) met('late');
  if ((fold.state as { ids: string[] }).ids.some((id) => id.startsWith('v'))) met('migrated');
  const ids = fold.settlements.filter(({ healed }) => !healed).map(({ id }) => id);
  if (new Set(ids).size < ids.length) met('again after dedup');
}

test('the cases meet every outcome, hold and action', () => {
  const counts = new Map<string, number>();
  for (const given of fc.sample(caseArbitrary, { numRuns: 1_500, seed: 1 })) {
    const facts = new Set<string>();
    meet(given, (fact) => facts.add(fact));
    for (const fact of facts) counts.set(fact, (counts.get(fact) ?? 0) + 1);
  }

  const seldom = expected.filter((fact) => (counts.get(fact) ?? 0) < 3);

  if (process.env['SHOW']) console.table([...counts].sort((a, b) => a[1] - b[1]));
  expect(seldom).toEqual([]);
});
