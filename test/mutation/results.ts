// RESULTS.md: the numbers of one run, as a table.
import type { Equivalent, Mutant } from './mutant.ts';
import type { Result, Task } from './run.ts';

export interface Results {
  mutants: readonly Mutant[];
  /** Of each mutant. */
  found: readonly Result[];
  controls: readonly Task[];
  equivalents: readonly Equivalent[];
  unseen: readonly Mutant[];
  /** Seeds of the scenario `mixed` that each mutant met as well; 0 = none. */
  simulated: number;
  mixed: readonly Result[];
}

const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
const head = (cells: readonly string[]): string[] => [row(cells), row(cells.map(() => '---'))];

/** A table cell holds no pipe and no line break. */
const cell = (text: string): string => text.replaceAll(/\s+/g, ' ').replaceAll('|', '/').trim();

export function resultsText(results: Results): string {
  const { mutants, found, controls, equivalents, unseen, simulated, mixed } = results;
  const isFound = (result: Result | undefined): boolean => result?.kind === 'found';
  const histories = controls.reduce((sum, { count }) => sum + count, 0);
  const inMixed = mixed.filter(isFound).length;
  const rows = mutants.map(({ rule, name, scenario }, i) =>
    row([
      rule,
      name,
      scenario,
      ...outcomeOf(found[i]),
      ...(simulated > 0 ? [seedOf(mixed[i])] : []),
    ]),
  );
  const columns = ['rule', 'broken', 'scenario', 'seed', 'what the observer says'];
  return [
    '# Mutation of the real code: numbers of the last run',
    '',
    'Written by `npm run mutation -- --write`. Each mutant is the compiled code with one ' +
      'rule of the',
    'hand-off protocol broken; `seed` is the first seed, counted from 1, whose history shows it.',
    '',
    `${found.filter(isFound).length} of ${mutants.length} mutants are found; the code as it is`,
    `passes the same seeds: ${histories} histories of ${controls.length} scenarios.`,
    ...(simulated > 0
      ? [
          '',
          `${inMixed} of them are found by the scenario \`mixed\` of infra/simulation alone,`,
          `within ${simulated} seeds: the last column.`,
        ]
      : []),
    '',
    ...head(simulated > 0 ? [...columns, 'in `mixed`'] : columns),
    ...rows,
    '',
    '## Not seen yet',
    '',
    'No scenario of today shows these within its seeds, and no argument makes them equivalent.',
    '',
    ...head(['rule', 'broken', 'tried in', 'seeds']),
    ...unseen.map(({ rule, name, scenario, seedsMax }) =>
      row([rule, name, scenario, String(seedsMax)]),
    ),
    '',
    '## Equivalent ones',
    '',
    'Nobody can tell these from the right code; none was found within 100 seeds.',
    '',
    ...head(['rule', 'broken', 'why it makes no difference']),
    ...equivalents.map(({ rule, name, why }) => row([rule, name, cell(why)])),
    '',
  ].join('\n');
}

function outcomeOf(result: Result | undefined): [string, string] {
  if (result?.kind !== 'found') return ['–', 'not found'];
  const [first] = result.violations;
  return [String(result.seed), cell(`${first?.oracle}: ${first?.message ?? ''}`).slice(0, 90)];
}

const seedOf = (result: Result | undefined): string =>
  result?.kind === 'found' ? String(result.seed) : '–';
