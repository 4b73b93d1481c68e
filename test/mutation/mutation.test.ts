// Goal: every rule of the hand-off protocol, and every If-Match, bound and order in it, is needed,
// and somebody sees when it is gone. Method: the compiled code with the rule broken, against seeded
// histories, until an observer says what is wrong (`tsc` has to have run).
//
// Here run those that are found within a few seeds; `npm run mutation` (mutation.ts) runs them
// all.
import { expect, test } from 'vitest';
import { assertApplies, distUrl } from './mutant.ts';
import { equivalents } from './mutants/equivalents.ts';
import { mutants } from './mutants/list.ts';
import { unseen } from './mutants/unseen.ts';
import { type Result, controlsOf, runTasks, taskOf } from './run.ts';

const seedsOfFastOnes = 10;
const fast = mutants.filter(({ seedsMax }) => seedsMax <= seedsOfFastOnes);
const atOnce = 2;

test('every mutant still applies to the code, exactly once', () => {
  const stale = [...mutants, ...equivalents, ...unseen].flatMap((mutant) => {
    try {
      assertApplies(mutant, distUrl);
      return [];
    } catch (error) {
      return [`${mutant.rule} ${mutant.name}: ${String(error)}`];
    }
  });

  expect(stale).toEqual([]);
});

test('every rule has mutants, and some that are found fast', () => {
  const rules = Array.from({ length: 13 }, (_, i) => `H${i + 1}`);

  expect(rules.filter((rule) => !fast.some((mutant) => mutant.rule === rule))).toEqual([]);
  expect(new Set(mutants.map(({ rule, name }) => `${rule} ${name}`)).size).toBe(mutants.length);
});

test('the code as it is passes the seeds that the mutants meet', { timeout: 300_000 }, async () => {
  const controls = controlsOf(fast);

  const results = await runTasks(controls, { atOnce });

  const wrong = controls.filter((_, i) => results[i]?.kind === 'found');
  expect(wrong.map(({ scenario }, i) => ({ scenario, result: results[i] }))).toEqual([]);
});

test(`${fast.length} broken rules are found`, { timeout: 300_000 }, async () => {
  const results: Result[] = await runTasks(fast.map(taskOf), { atOnce });

  const survivors = fast.filter((_, i) => results[i]?.kind !== 'found');
  expect(survivors.map(({ rule, name, seedsMax }) => `${rule} ${name}: ${seedsMax} seeds`)).toEqual(
    [],
  );
});
