// The whole check as a script:
//   npm run model                        every scope, small and large
//   npm run model -- --scope "a zombie"  one scope (or mutant), with its trace if it fails
//   npm run model -- --states 5000000    ends a scope there; it is then said to be incomplete
//   npm run model -- --mutants           what becomes of every broken rule
import { parseArgs } from 'node:util';
import { patchedCode, realCode } from './code.ts';
import { type Exploration, explore } from './explore.ts';
import { mutants } from './mutants.ts';
import { type Mutant, scopeOf } from './patches.ts';
import type { Scope } from './scope.ts';
import { largeScopes, smallScopes } from './scopes.ts';
import { System } from './steps.ts';

const { values } = parseArgs({
  options: {
    scope: { type: 'string' },
    states: { type: 'string', default: '20000000' },
    mutants: { type: 'boolean', default: false },
  },
});
const statesMax = Number(values.states);
const isAsked = (name: string): boolean => values.scope === undefined || name === values.scope;

const covered = new Map<string, number>();
let isRight = true;
if (values.mutants) {
  for (const mutant of mutants) if (isAsked(mutant.name)) await tryMutant(mutant);
} else {
  for (const scope of [...smallScopes, ...largeScopes])
    if (isAsked(scope.name)) await tryScope(scope);
  const counts = [...covered].sort(([, a], [, b]) => b - a);
  console.log('\nsteps taken, by kind:');
  for (const [kind, count] of counts)
    console.log(`${count.toLocaleString('en').padStart(14)}  ${kind}`);
}
process.exitCode = isRight ? 0 : 1;

async function tryScope(scope: Scope): Promise<void> {
  const startedAt = performance.now();
  const found = await explore(new System(realCode, scope), { statesMax, onProgress });
  for (const [kind, n] of found.coverage) covered.set(kind, (covered.get(kind) ?? 0) + n);
  const isGood = found.violation === undefined && found.isComplete;
  isRight &&= isGood;
  const end = found.isComplete ? 'clean' : 'INCOMPLETE';
  report(found.violation?.rule ?? end, { name: scope.name, found, startedAt });
  if (found.violation) console.log(found.violation.trace.join('\n'));
}

async function tryMutant(mutant: Mutant): Promise<void> {
  const startedAt = performance.now();
  const code = mutant.patches.length > 0 ? await patchedCode(mutant.patches) : realCode;
  const found = await explore(new System(code, scopeOf(mutant)), { statesMax, onProgress });
  const isGood = (found.violation === undefined) === (mutant.equivalent !== undefined);
  isRight &&= isGood;
  const said = found.violation?.rule.split('\n')[0] ?? 'nothing to see';
  const name = `${mutant.rule}  ${mutant.name}`;
  report(`${isGood ? '' : 'MISSED: '}${said}`, { name, found, startedAt });
  if (values.scope !== undefined) console.log(found.violation?.trace.join('\n'));
}

function onProgress(states: number, waiting: number): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${states} states, ${waiting} waiting  `);
}

function report(end: string, run: { name: string; found: Exploration; startedAt: number }): void {
  if (process.stderr.isTTY) process.stderr.write('\r');
  const seconds = (performance.now() - run.startedAt) / 1000;
  const { states, runs, depth } = run.found;
  const rate = Math.round(states / seconds).toLocaleString('en');
  const size = states.toLocaleString('en').padStart(11);
  const cost = `${seconds.toFixed(1)} s, ${rate}/s, depth ${depth}, code run ${runs} times`;
  console.log(`${run.name.padEnd(64)} ${size} states  ${cost}  ${end}`);
}
