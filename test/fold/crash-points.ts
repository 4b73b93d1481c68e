// Every crash point of a case: one run for each call and each way in which it can go wrong.
import type { Case } from './cases.ts';
import { follow } from './follow.ts';
import { exactTrial } from './plans.ts';
import type { Fault, Plan } from './world.ts';

type How = Partial<Plan> & { chunk: number };

export interface Tried {
  wrong: string[];
  runs: number;
}

const single: readonly Fault[] = [
  ...(['dies before', 'dies after', 'lost before', 'lost after', 'twice', 'half'] as const),
];
const paired: readonly Fault[] = ['dies before', 'dies after'];

/** Each call of the calm run, and what recovery adds to it, in turn. */
export async function everyFault(given: Case, how: How): Promise<Tried> {
  const tried: Tried = { wrong: [], runs: 0 };
  const calls = await calmCalls(given, how, tried);
  for (const fault of single) {
    for (let n = 1; n <= calls; n += 1)
      await one(tried, given, { ...how, at: new Map([[n, fault]]) });
  }
  return tried;
}

/** Each two of them: the second also among the calls of the recovery from the first. */
export async function everyPair(given: Case, how: How): Promise<Tried> {
  const tried: Tried = { wrong: [], runs: 0 };
  const calls = await calmCalls(given, how, tried);
  for (const first of paired) {
    for (let n = 1; n <= calls; n += 1) {
      const after = await one(tried, given, { ...how, at: new Map([[n, first]]) });
      for (const second of paired) {
        for (let m = n + 1; m <= after; m += 1) {
          const at = new Map([
            [n, first],
            [m, second],
          ]);
          await one(tried, given, { ...how, at });
        }
      }
    }
  }
  return tried;
}

async function calmCalls(given: Case, how: How, tried: Tried): Promise<number> {
  const { calls, wrong } = await follow(given, exactTrial(new Map(), how));
  tried.wrong.push(...wrong);
  return calls;
}

/** How many calls this run made. */
async function one(
  tried: Tried,
  given: Case,
  { at, ...how }: How & { at: ReadonlyMap<number, Fault> },
): Promise<number> {
  const { wrong, happened, calls } = await follow(given, exactTrial(at, how));
  if (happened.length === 0) return calls; // not possible at this call
  tried.runs += 1;
  if (wrong.length > 0) tried.wrong.push(`${happened.join(', ')}: ${wrong.join('; ')}`);
  return calls;
}
