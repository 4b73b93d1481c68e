// Crash rounds for as long as one likes: real processes and files, seeded mishaps, the observer.
//
// npm run crash -- [--rounds N] [--seed S] [--mishaps M] [--orders O] [--topology launched|pair]
//                  [--deeds kill,pause,…] [--verbose]
//
// Round i has the seed S + i. A round that fails prints what happened when, and the line that
// repeats it; exit 1 when one failed. As root on Linux the disk gets full and read-only, too.
import { parseArgs } from 'node:util';
import { possibleDeeds } from './disk.ts';
import { described, planRound } from './mishaps.ts';
import type { Deed, Scale, Topology } from './mishaps.ts';
import { runRound } from './round.ts';
import type { MishapSeen } from './round.ts';

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    mishaps: { type: 'string', default: '6' },
    orders: { type: 'string', default: '600' },
    topology: { type: 'string' },
    deeds: { type: 'string' },
    verbose: { type: 'boolean', default: false },
  },
});
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const possible = possibleDeeds();
const scale: Scale = {
  orders: Number(flags.orders),
  mishaps: Number(flags.mishaps),
  deeds: flags.deeds === undefined ? possible : (flags.deeds.split(',') as Deed[]),
  topology: flags.topology as Topology | undefined,
};

const replay = (seed: number): string => {
  const { rounds: _, seed: __, verbose: ___, ...others } = flags;
  const kept = Object.entries(others).map(([name, value]) => `--${name} ${value}`);
  return `npm run crash -- --rounds 1 --seed ${seed} ${kept.join(' ')}`;
};

const seen: MishapSeen[] = [];

async function round(seed: number): Promise<boolean> {
  const plan = planRound(seed, scale);
  const startedAt = performance.now();
  const timeline: string[] = [];
  const note = (text: string): void => {
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(2).padStart(7);
    timeline.push(`${seconds} ${text}`);
    if (flags.verbose) print(timeline.at(-1) ?? '');
  };
  let failures: string[];
  let told = '';
  try {
    const mayMount = possible.includes('full');
    const { verdict, mishaps, ...result } = await runRound({ plan, mayMount, note });
    failures = result.failures;
    seen.push(...mishaps);
    const { violations, lost, doubled, messages } = verdict;
    told = `${messages.sent} sent, ${violations}/${lost}/${doubled}, ${verdict.epochs} epochs`;
  } catch (error) {
    failures = [error instanceof Error ? (error.stack ?? error.message) : String(error)];
  }
  const took = ((performance.now() - startedAt) / 1000).toFixed(1);
  const isGood = failures.length === 0;
  const deeds = plan.mishaps.map(described).join(', ');
  print(`${isGood ? 'ok  ' : 'FAIL'} seed ${seed} ${plan.topology} ${took} s: ${told}; ${deeds}`);
  if (isGood) return true;
  if (!flags.verbose) for (const line of timeline) print(`  ${line}`);
  for (const failure of failures) print(`  ${failure}`);
  print(`  ${replay(seed)}`);
  return false;
}

function table(): string[] {
  const groups = Map.groupBy(seen, ({ mishap: { deed, victim } }) =>
    deed === 'full' ? 'full disk' : `${deed} ${victim}`,
  );
  return [...groups]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([name, list]) => {
      const times = list.flatMap(({ recoveredMs }) => recoveredMs ?? []).sort((a, b) => a - b);
      const median = times[Math.floor(times.length / 2)];
      const under = list.filter(({ underWay = 0 }) => underWay > 0).length;
      return (
        `  ${name.padEnd(24)} ${String(list.length).padStart(4)} times, ${under} with a known ` +
        `backlog; next output after ${median ?? '–'} ms (median), ${times.at(-1) ?? '–'} ms (most)`
      );
    });
}

// What a round has started goes with us.
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(name, () => process.exit(130));
let failed = 0;
const rounds = Number(flags.rounds);
for (let i = 0; i < rounds; i += 1) {
  if (!(await round(Number(flags.seed) + i))) failed += 1;
}
for (const line of table()) print(line);
print(`${rounds - failed} of ${rounds} rounds: nothing lost, doubled or out of order`);
process.exitCode = failed === 0 ? 0 : 1;
