// A failing history for people: who did what to which key at which instant, what failed, what was
// expected and what was seen.
import type { TraceEntry } from './trace.ts';
import type { Simulation } from './simulate.ts';
import type { Violation } from './violations.ts';

/** What each rule asks for (DESIGN §4), and those that only a definition can break. */
const rules: Readonly<Record<string, string>> = {
  H1: 'a message is admitted once, at the next position of its key',
  H2: 'the instance of the key runs before the message is settled at the broker',
  H3: 'an instance of an older epoch does nothing',
  H4: 'a lost wake costs time and nothing else',
  H5: 'effect, cursor, windows and outputs are committed together, once, by the right epoch',
  H6: 'a key closes only when everything is taken, settled and published',
  H7: 'messages take effect in order, and none is passed over',
  H8: 'a held key rests and goes on where it stood',
  H9: 'what a dead instance left behind is taken up again',
  H10: 'a message is settled at the broker only when it is recorded',
  H11: 'outputs are published in order, and none is lost or changed',
  H12: 'what is still needed does not expire',
  H13: 'a roll-up counts every key once',
  H14: 'stale reads cost retries, never correctness',
  liveness: 'everything comes to rest when nothing fails any more',
  purity: 'apply gives the same for the same state and message',
  json: 'the state is the same after it was written and read as JSON',
  idempotency: 'an effect gets the same idempotency key at every attempt',
};

export function ruleText(rule: string): string {
  return rules[rule] ?? 'see DESIGN §4';
}

const linesMax = 200;

/** The lines of the story; `simulation` was run with `trace`. */
export function storyOf(simulation: Simulation): string[] {
  const { violations, trace = [], messages, faults, seed } = simulation;
  const [violation] = violations;
  if (!violation) return ['nothing is wrong with this history'];
  const { step } = violation;
  const told = trace.filter((entry) => isTold(entry, step) && entry.step <= step);
  const begin = trace.find(({ at }) => at > 0)?.at ?? 0;
  const left = told.length - linesMax;
  const kept = left > 0 ? told.slice(left) : told;
  const size = `${counted(messages.length, 'message')}, ${counted(faults.length, 'fault')}`;
  return [
    `${violation.rule}: ${violation.message}${placeOf(violation)}`,
    `  expected: ${ruleText(violation.rule)}`,
    `  history:  seed ${seed}, ${size}, seen at step ${violation.step}`,
    '',
    ...(left > 0 ? [`  … ${left} steps before these`] : []),
    ...kept.map((entry, i) => lineOf(entry, { number: i + 1, begin })),
    `  ${' '.repeat(4)}✗ ${violation.rule} is broken: ${violation.message}`,
  ];
}

const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;

function placeOf({ key, position }: Violation): string {
  if (key === undefined) return '';
  return ` (key '${key}'${position === undefined ? '' : `, position ${position}`})`;
}

/** What was sent, failed, written, published or done by people, and the step in which it was seen;
 *  the other steps only led there. */
function isTold({ actor, detail, step }: TraceEntry, last: number): boolean {
  if (actor === 'oracle') return false;
  if (step === last) return true;
  return actor === 'fault' || actor === 'senders' || actor === 'people' || detail !== undefined;
}

function lineOf(entry: TraceEntry, { number, begin }: { number: number; begin: number }): string {
  const { at, actor, what, key, detail } = entry;
  const seconds = ((at - begin) / 1000).toFixed(3).padStart(9);
  const about = [key === undefined ? '' : `'${key}'`, detail ?? ''].filter((text) => text !== '');
  const mark = actor === 'fault' ? '!' : ' ';
  const told = `${what} ${about.join(' ')}`.trimEnd();
  return `  ${String(number).padStart(3)}${mark}${seconds} s  ${actor.padEnd(9)} ${told}`;
}
