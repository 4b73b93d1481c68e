// Goal: in order, once, nothing lost, whatever fails. Method: seeded histories of the real code
// under infra/simulation; a failing seed is printed and repeats the history exactly.
import { expect, test } from 'vitest';
import { convoy } from '../../functions/convoy.ts';
import { scenarios } from '../../infra/simulation/scenarios.ts';
import { runSeeds, simulate } from '../../infra/simulation/simulate.ts';

const count = Number(process.env['COUNT'] ?? 100);
const from = Number(process.env['SEED'] ?? 1);

test.each(scenarios)('$name: $about', { timeout: 120_000 }, async ({ name }) => {
  const { failed } = await runSeeds({ scenario: name, from, count, orchestrator: convoy });

  const found = failed.map(({ seed, violations }) => ({ seed, first: violations[0] }));
  expect(found).toEqual([]);
});

test('the same seed is the same history, step by step', async () => {
  const options = { seed: 7, scenario: 'policies', orchestrator: convoy, trace: true };

  const [first, second] = [await simulate(options), await simulate(options)];

  expect(second).toEqual(first);
  expect(first.digest).not.toBe((await simulate({ ...options, seed: 8 })).digest);
});

test('the faults of a history, handed back in, repeat it', async () => {
  const options = { seed: 11, scenario: 'plain', orchestrator: convoy };

  const first = await simulate(options);
  const again = await simulate({ ...options, plan: first.faults });

  expect(again.faults).toEqual(first.faults);
  expect(again.digest).toBe(first.digest);
});
