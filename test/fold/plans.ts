// What goes wrong in a run, and how messages are fed: by seed, or at exactly these calls.
import { prng } from '../support/prng.ts';
import { type Fault, type Plan, calmPlan, faults } from './world.ts';

/** How the messages of a step are fed. */
export interface Feed {
  /** How many are admitted before the next drain may begin; 0 = no drain waits for anything. */
  chunk(): number;
}

export interface Trial {
  plan: Plan;
  feed: Feed;
}

const faultsMax = 6;

/** Any interleaving, any cut into commits, deaths and lost answers: all by the seed. */
export function randomTrial(seed: number): Trial {
  const random = prng(seed);
  const rate = [0, 0.02, 0.1][random.below(3)] ?? 0;
  const isOrderly = random.chance(0.3);
  const early = random.chance(0.5) ? 0.02 : 0;
  const style = random.below(4);
  let left = faultsMax;
  return {
    plan: {
      fault: (_, label) => {
        if (left === 0 || !random.chance(rate)) return undefined;
        left -= 1;
        return faultAt(label, random.below(100));
      },
      choose: (among) => (isOrderly ? 0 : random.below(among)),
      hurries: () => early > 0 && random.chance(early),
      messagesPerCommit: 1 + random.below(random.chance(0.5) ? 4 : 42),
      drainSecondsMax: random.chance(0.5) ? 0 : 20,
      remembers: random.chance(0.7),
    },
    feed: { chunk: () => [1, 1_000, 1 + random.below(6), 0][style] ?? 0 },
  };
}

/** One of the faults that are possible at this call. */
function faultAt(label: string, n: number): Fault {
  const possible: Fault[] = faults.filter((fault) => fault !== 'twice' || label === 'activity');
  if (/^publish ([2-9]|\d\d)/.test(label)) possible.push('half');
  return possible[n % possible.length] ?? 'dies before';
}

/** Exactly these faults at exactly these calls; else calm and in the order of asking. */
export function exactTrial(
  at: ReadonlyMap<number, Fault>,
  { chunk, ...plan }: Partial<Plan> & { chunk: number },
): Trial {
  const fault = (n: number, label: string): Fault | undefined => {
    const wanted = at.get(n);
    if (wanted === 'half' && !/^publish ([2-9]|\d\d)/.test(label)) return undefined;
    return wanted === 'twice' && label !== 'activity' ? undefined : wanted;
  };
  return { plan: { ...calmPlan, ...plan, fault }, feed: { chunk: () => chunk } };
}
