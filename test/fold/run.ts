// Many cases of the fold, with progress; a failing one is made small and printed with the line that
// repeats it. Exit 0 only if the engine was the fold in every one.
//
// npm run fold -- [--cases N] [--seed S]        cases, each with its interleaving and faults
// npm run fold -- --crashes [--cases N]         every single crash point of each case
// npm run fold -- --case '{…}' [--trial T]      one case; without a trial in peace
import { parseArgs } from 'node:util';
import fc from 'fast-check';
import { type Case, caseArbitrary } from './cases.ts';
import { everyFault } from './crash-points.ts';
import { follow } from './follow.ts';
import { exactTrial, randomTrial } from './plans.ts';
import { shown } from './replay.ts';

const { values: flags } = parseArgs({
  options: {
    cases: { type: 'string' },
    seed: { type: 'string' },
    case: { type: 'string' },
    trial: { type: 'string' },
    crashes: { type: 'boolean' },
  },
});
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const reportEveryMs = 10_000;

async function one(given: Case, trial: string | undefined): Promise<boolean> {
  const calm = exactTrial(new Map(), { chunk: 1_000 });
  const followed = await follow(given, trial === undefined ? calm : randomTrial(Number(trial)));
  print(followed.happened.join('\n'));
  print(followed.wrong.length === 0 ? 'the engine is the fold' : followed.wrong.join('\n'));
  return followed.wrong.length === 0;
}

async function judge(given: Case, trial: number): Promise<void> {
  if (flags.crashes) {
    const { wrong } = await everyFault(given, { chunk: 1 + (trial % 3) });
    if (wrong.length > 0) throw new Error(shown({ given, wrong, happened: [] }));
    return;
  }
  const { wrong, happened } = await follow(given, randomTrial(trial));
  if (wrong.length > 0) throw new Error(shown({ given, trial, wrong, happened }));
}

async function many(): Promise<boolean> {
  const numRuns = Number(flags.cases ?? (flags.crashes ? 200 : 20_000));
  const seed = Number(flags.seed ?? Date.now() % 1_000_000_000);
  const startedAt = performance.now();
  let done = 0;
  const report = (): void => {
    const seconds = (performance.now() - startedAt) / 1000;
    print(`${done} of ${numRuns} cases, ${(done / seconds).toFixed(0)}/s, seed ${seed}`);
  };
  const timer = setInterval(report, reportEveryMs);
  const property = fc.asyncProperty(caseArbitrary, fc.nat(), async (given, trial) => {
    await judge(given, trial);
    done += 1;
  });
  const details = await fc.check(property, { numRuns, seed });
  clearInterval(timer);
  report();
  if (!details.failed) return true;
  print(`NOT the fold; again with --seed ${seed}${flags.crashes ? ' --crashes' : ''}`);
  print(String(details.errorInstance instanceof Error ? details.errorInstance.message : ''));
  return false;
}

const isRight =
  flags.case === undefined ? await many() : await one(JSON.parse(flags.case) as Case, flags.trial);
process.exitCode = isRight ? 0 : 1;
