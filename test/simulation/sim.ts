// `npm run sim -- [--seeds N] [--from S] [--scenario NAME] [--jobs N]`: many histories of the real
// code in worker threads, with their rate and what they have met. Exit 1 when one of them broke a
// rule; it prints the line that repeats it.
import { availableParallelism } from 'node:os';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { SingleBar } from 'cli-progress';
import { Command } from 'commander';
import { Coverage } from '../../infra/simulation/coverage.ts';
import { scenarioNamed, scenarios } from '../../infra/simulation/scenarios.ts';
import { runSeeds } from '../../infra/simulation/simulate.ts';
import { convoy } from './orchestrator.ts';

interface Work {
  scenario: string;
  from: number;
  count: number;
}

/** What a worker says: histories done since it last spoke, and in the end what they came to. */
interface Word {
  done: number;
  steps: number;
  failed: { scenario: string; seed: number; rule: string; message: string }[];
  coverage: [string, number][];
  isLast: boolean;
}

const chunk = 200;
const shownFailures = 20;

async function work(shares: readonly Work[], say: (word: Word) => void): Promise<void> {
  for (const [n, share] of shares.entries()) {
    const { steps, failed, coverage } = await runSeeds({ ...share, orchestrator: convoy });
    const faults = failed.map(({ seed, violations: [first] }) => ({
      ...{ scenario: share.scenario, seed },
      ...{ rule: first?.rule ?? '', message: first?.message ?? '' },
    }));
    const isLast = n === shares.length - 1;
    say({ done: share.count, steps, failed: faults, coverage: [...coverage], isLast });
  }
}

/** The scenarios in turn, in shares that are dealt out to the workers. */
function sharesOf(options: { seeds: number; from: number; scenario?: string }): Work[] {
  const names = options.scenario
    ? [scenarioNamed(options.scenario).name]
    : scenarios.map(({ name }) => name);
  const each = Math.ceil(options.seeds / names.length);
  const shares: Work[] = [];
  for (let from = options.from; from < options.from + each; from += chunk) {
    const count = Math.min(chunk, options.from + each - from);
    for (const scenario of names) shares.push({ scenario, from, count });
  }
  return shares;
}

function report(coverage: Coverage, words: readonly Word[]): number {
  const names = [...coverage.counts.keys()].sort();
  for (const name of names) console.log(`${name.padEnd(44)} ${coverage.counts.get(name)}`);
  const failed = words.flatMap((word) => word.failed);
  for (const { scenario, seed, rule, message } of failed.slice(0, shownFailures)) {
    console.log(`${rule}: ${message}`);
    console.log(`  npm run sim -- --scenario ${scenario} --from ${seed} --seeds 1`);
  }
  return failed.length;
}

async function main(): Promise<void> {
  const options = new Command('sim')
    .description('runs many histories of the real code under faults')
    .option('--seeds <n>', 'histories in all', '10000')
    .option('--from <seed>', 'first seed', '1')
    .option('--scenario <name>', `only this one of ${scenarios.map((s) => s.name).join(', ')}`)
    .option('--jobs <n>', 'worker threads', String(availableParallelism()))
    .parse()
    .opts<{ seeds: string; from: string; scenario?: string; jobs: string }>();
  const { seeds, from, jobs, ...rest } = options;
  const shares = sharesOf({ ...rest, seeds: Number(seeds), from: Number(from) });
  const count = shares.reduce((sum, share) => sum + share.count, 0);
  const bar = new SingleBar({
    format: '{bar} {value}/{total} histories, {failed} failed, {eta} s',
  });
  if (process.stdout.isTTY) bar.start(count, 0, { failed: 0 });
  const coverage = new Coverage();
  const words: Word[] = [];
  const startedAt = performance.now();
  const hear = (word: Word): void => {
    words.push(word);
    coverage.add(new Map(word.coverage));
    bar.increment(word.done, { failed: words.reduce((sum, { failed }) => sum + failed.length, 0) });
  };
  const lines = Array.from({ length: Math.min(Number(jobs), shares.length) }, (_, job) =>
    shares.filter((_share, n) => n % Number(jobs) === job),
  );
  await Promise.all(lines.map((line) => runWorker(line, hear)));
  bar.stop();
  const seconds = (performance.now() - startedAt) / 1000;
  const failures = report(coverage, words);
  const steps = words.reduce((sum, word) => sum + word.steps, 0);
  const speed = [count, steps].map((n) => Math.round(n / seconds)).join(' histories/s, ');
  console.log(
    `${count} histories in ${Math.round(seconds)} s (${speed} steps/s), ${failures} failed`,
  );
  process.exitCode = failures > 0 ? 1 : 0;
}

function runWorker(shares: readonly Work[], hear: (word: Word) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: shares, stderr: true });
    worker.on('message', hear);
    worker.on('error', reject);
    worker.on('exit', () => resolve());
  });
}

if (isMainThread) await main();
else await work(workerData as Work[], (word) => parentPort?.postMessage(word));
