// `npm run mutation`: every mutant against its scenario, the same seeds without a mutant, and the
// equivalent and the unseen ones once more. Exit 1 when a mutant survives, or when the right code
// is found wrong.
//
//   -- --rule H5       only this rule
//   -- --write         writes the table of RESULTS.md
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Command } from 'commander';
import { type Mutant, assertApplies, distUrl } from './mutant.ts';
import { equivalents } from './mutants/equivalents.ts';
import { mutants } from './mutants/list.ts';
import { unseen } from './mutants/unseen.ts';
import { resultsText } from './results.ts';
import { type Result, controlsOf, runTasks, taskOf } from './run.ts';

const options = new Command('mutation')
  .option('--rule <rule>', 'only the mutants of this rule')
  .option('--simulation <n>', 'seeds of the scenario `mixed` that each mutant meets as well', '0')
  .option('--write', 'write test/mutation/RESULTS.md')
  .parse()
  .opts<{ rule?: string; simulation: string; write?: true }>();

const isChosen = ({ rule }: Pick<Mutant, 'rule'>): boolean =>
  options.rule === undefined || rule === options.rule;
const chosen = mutants.filter(isChosen);
const equal = equivalents.filter(isChosen);
const dark = unseen.filter(isChosen);
for (const mutant of [...chosen, ...equal, ...dark]) assertApplies(mutant, distUrl);

const controls = controlsOf(chosen);
const simulated = Number(options.simulation);
const seedsOfEquivalents = 100;
const tasks = [
  ...controls,
  ...chosen.map(taskOf),
  ...equal.map((one) => ({ ...one, count: seedsOfEquivalents })),
  ...dark.map(taskOf),
  ...(simulated > 0 ? chosen : []).map(({ edits }) => ({
    edits,
    scenario: 'mixed',
    count: simulated,
  })),
];
const atOnce = Math.min(2, availableParallelism());
const onResult = (index: number, result: Result): void => {
  const mutant = chosen[index - controls.length];
  if (mutant) console.log(`${mutant.rule} ${mutant.name}: ${textOf(result)}`);
};
const all = await runTasks(tasks, { atOnce, onResult });
const takeNext = (count: number): Result[] => all.splice(0, count);
const control = takeNext(controls.length);
const found = takeNext(chosen.length);
const foundEqual = takeNext(equal.length);
const foundDark = takeNext(dark.length);

for (const [i, result] of control.entries()) {
  if (result.kind === 'found') console.log(`control ${controls[i]?.scenario}: ${textOf(result)}`);
}
for (const [i, result] of foundEqual.entries()) {
  if (result.kind === 'found') console.log(`not equivalent: ${equal[i]?.name}: ${textOf(result)}`);
}
for (const [i, result] of foundDark.entries()) {
  if (result.kind === 'found') console.log(`seen now: ${dark[i]?.name}: ${textOf(result)}`);
}
const survivors = chosen.filter((_, i) => found[i]?.kind === 'survived');
for (const { rule, name } of survivors) console.log(`SURVIVES ${rule} ${name}`);
const isRight = [...control, ...foundEqual].every(({ kind }) => kind === 'survived');
process.exitCode = isRight && survivors.length === 0 ? 0 : 1;

if (options.write) {
  const table = {
    mutants: chosen,
    found,
    controls,
    equivalents: equal,
    unseen: dark,
    simulated,
    mixed: all,
  };
  writeFileSync('test/mutation/RESULTS.md', resultsText(table));
}

function textOf(result: Result): string {
  if (result.kind === 'survived') return 'not found';
  const [first] = result.violations;
  return `seed ${result.seed}, ${first?.oracle}: ${first?.message.slice(0, 80)}`;
}
