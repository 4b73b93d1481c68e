// The engine is the pure fold of the definition: outcomes, state, windows, outputs with their
// numbers, holds and counts of every key, whatever fails, however the messages are cut into commits
// and whoever goes first. A failing case prints the line that repeats it; SEED=… CASES=… repeats
// the run, and `npm run fold` (run.ts) runs many.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Case, caseArbitrary } from './cases.ts';
import { follow } from './follow.ts';
import { type Trial, exactTrial, randomTrial } from './plans.ts';
import { regressions } from './regressions.ts';
import { shown } from './replay.ts';

const cases = Number(process.env['CASES'] ?? 400);
const seed = process.env['SEED'];
const limit = { timeout: 600_000 };

const wrongIn = async (given: Case, trial: Trial): Promise<string[]> =>
  (await follow(given, trial)).wrong;

test(`${cases} cases, each with an interleaving and faults of its own`, limit, async () => {
  await fc.assert(
    fc.asyncProperty(caseArbitrary, fc.nat(), async (given, trial) => {
      const { wrong, happened } = await follow(given, randomTrial(trial));
      if (wrong.length > 0) throw new Error(shown({ given, trial, wrong, happened }));
    }),
    { numRuns: cases, ...(seed !== undefined && { seed: Number(seed) }) },
  );
});

test.each(Object.keys(regressions))('once wrong: %s', async (name) => {
  const given = regressions[name];
  if (given === undefined) throw new Error(name);
  for (let trial = 0; trial < 8; trial += 1) {
    expect(await wrongIn(given, randomTrial(trial))).toEqual([]);
  }
});

/** However the same stream is cut: one by one, in pieces, all at once; commits of 1 to 42. */
test('the cut into commits and drains is of no consequence', limit, async () => {
  const cuts = [1, 2, 5, 1_000].flatMap((chunk) =>
    [1, 3, 42].flatMap((messagesPerCommit) =>
      [0, 20].map((drainSecondsMax) => ({ chunk, messagesPerCommit, drainSecondsMax })),
    ),
  );
  await fc.assert(
    fc.asyncProperty(caseArbitrary, async (given) => {
      for (const cut of cuts) {
        const wrong = await wrongIn(given, exactTrial(new Map(), cut));
        if (wrong.length > 0)
          throw new Error(`${JSON.stringify(cut)}\n${shown({ given, wrong, happened: [] })}`);
      }
    }),
    { numRuns: Math.ceil(cases / 20), ...(seed !== undefined && { seed: Number(seed) }) },
  );
});
