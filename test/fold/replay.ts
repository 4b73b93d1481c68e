// How a case that went wrong is printed, so that it can be run again.
import type { Case } from './cases.ts';

export function shown(failure: {
  given: Case;
  trial?: number;
  wrong: readonly string[];
  happened: readonly string[];
}): string {
  const { given, trial, wrong, happened } = failure;
  const faults = happened.length === 0 ? 'nothing failed' : happened.join(', ');
  const seed = trial === undefined ? '' : ` --trial ${trial}`;
  const replay = `npm run fold -- --case '${JSON.stringify(given)}'${seed}`;
  return [...wrong, `(${faults})`, replay].join('\n');
}
