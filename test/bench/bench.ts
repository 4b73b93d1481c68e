// `npm run bench`: workload CONVOY-1 through three arms on one broker, measured.
//
// Owns:   which arm gets which phases, how large they are, the output.
// Leaves: one phase to phase.ts, processes to stack.ts and arms.ts.
//
// Nothing here asserts a time. It exits with 1 when the convoy arm lost, doubled or swapped a
// message: that is wrong at any speed.
import { availableParallelism, cpus, loadavg } from 'node:os';
import { Command, Option } from 'commander';
import { openProgress } from '../../infra/cli/progress.ts';
import { exitCodeOf, note, printError, printJson } from '../../infra/cli/output.ts';
import { printLine, WrongUse } from '../../infra/cli/output.ts';
import { wholeNumber } from '../../infra/cli/serve.ts';
import { isoInstant, realClock } from '../../shared/clock.ts';
import type { Arm, ArmName } from './arms.ts';
import { armNames, openArm } from './arms.ts';
import type { PhaseOptions, PhaseResult } from './phase.ts';
import { runPhase } from './phase.ts';
import { comparisonsOf, lineOf, notMeasured, tableOf } from './report.ts';
import type { Cloud } from './stack.ts';
import { startCloud } from './stack.ts';
import type { Distribution } from './workload.ts';
import { distributionNames, planSchedule, planWorkload } from './workload.ts';

interface Flags {
  json?: true;
  quick?: true;
  loadOnly?: true;
  distribution: Distribution[];
  arm: ArmName[];
  messages?: number;
  seed: number;
}

interface Sizes {
  /** Of load-and-drain. */
  messages: number;
  warmUp: number;
  openSeconds: number;
  killSeconds: number;
}

const openShares = [0.25, 0.5, 0.75];
const openMessagesMin = 50;
const naiveHotMessagesMax = 300;
const killShare = 0.5;
/** Into the open loop, as share of its length. */
const killAt = 1 / 3;

function sizesOf({ quick, messages = quick ? 1_500 : 10_000 }: Flags): Sizes {
  return {
    messages,
    warmUp: quick ? 200 : 1_000,
    openSeconds: quick ? 3 : 10,
    killSeconds: quick ? 6 : 12,
  };
}

/** Every line of results of one arm, one distribution after the other, one phase after the other.
 *  */
class ArmRun {
  readonly #arm: Arm;
  readonly #cloud: Cloud;
  readonly #flags: Flags;
  readonly #sizes: Sizes;
  readonly #balances = new Map<string, number>();
  #phases = 0;

  constructor(parts: { arm: Arm; cloud: Cloud; flags: Flags }) {
    this.#arm = parts.arm;
    this.#cloud = parts.cloud;
    this.#flags = parts.flags;
    this.#sizes = sizesOf(parts.flags);
  }

  async *results(): AsyncGenerator<PhaseResult> {
    // Code that has not run yet is slow; no arm shall pay for that in its first figures.
    await this.#run('U', 'warm-up', { messages: this.#sizes.warmUp });
    for (const distribution of this.#flags.distribution) {
      const messages = this.#loadSize(distribution);
      const load = await this.#run(distribution, 'load', { messages });
      yield load;
      if (this.#flags.loadOnly) continue;
      const isMain = this.#arm.name === 'convoy';
      // A quick run tells latencies of the convoy only, and of one distribution.
      const isFirst = distribution === this.#flags.distribution[0];
      if (this.#flags.quick && !(isMain && isFirst)) continue;
      for (const share of openShares) {
        const rate = load.messagesPerSecond * share;
        const seconds = this.#sizes.openSeconds;
        yield await this.#run(distribution, `open ${share * 100} %`, { rate, seconds });
      }
      if (!isMain) continue;
      const seconds = this.#sizes.killSeconds;
      const rate = load.messagesPerSecond * killShare;
      yield await this.#run(distribution, 'kill -9', {
        ...{ rate, seconds },
        killAfterMs: seconds * 1_000 * killAt,
      });
    }
  }

  /**
   * The naive arm would take most of the run: it is slow, and it replays the whole history of a key
   * at every step, so that its cost grows with the square of the messages of one key.
   */
  #loadSize(distribution: Distribution): number {
    const { messages } = this.#sizes;
    if (this.#arm.name !== 'naive') return messages;
    const max = ['H', 'S'].includes(distribution) ? naiveHotMessagesMax : messages;
    return Math.min(Math.max(Math.round(messages / 5), 100), max);
  }

  async #run(distribution: Distribution, phase: string, size: PhaseSize): Promise<PhaseResult> {
    this.#phases += 1;
    const rate = 'rate' in size ? size.rate : undefined;
    const messages =
      'rate' in size
        ? Math.max(Math.round(size.rate * size.seconds), openMessagesMin)
        : size.messages;
    const run = `${this.#flags.seed}-${this.#phases}`;
    const seed = this.#flags.seed * 1_000 + this.#phases;
    const workload = planWorkload({ distribution, messages, seed, run });
    const progress = openProgress(
      `${this.#arm.name} ${distribution} ${phase}`,
      workload.uniques,
      process.stderr.isTTY && !this.#flags.json,
    );
    const options: PhaseOptions = {
      ...{ cloud: this.#cloud, arm: this.#arm, phase, workload, balances: this.#balances },
      ...(rate !== undefined && {
        schedule: planSchedule(messages, rate, seed),
        offeredPerSecond: rate,
      }),
      ...('killAfterMs' in size && { killAfterMs: size.killAfterMs }),
      onProgress: (sent, delivered) =>
        progress.show(Math.min(delivered, workload.uniques), `delivered, ${sent} sent`),
    };
    try {
      return await runPhase(options);
    } finally {
      progress.end();
    }
  }
}

type PhaseSize = { messages: number } | { rate: number; seconds: number; killAfterMs?: number };

async function measure(flags: Flags): Promise<PhaseResult[]> {
  const results: PhaseResult[] = [];
  await using cloud = await startCloud(note);
  for (const name of flags.arm) {
    await using arm = await openArm(name, { cloud, log: note });
    for await (const result of new ArmRun({ arm, cloud, flags }).results()) {
      results.push(result);
      note(lineOf(result));
    }
  }
  return results;
}

function listOf<T extends string>(known: readonly T[]): (text: string) => T[] {
  return (text) =>
    text.split(',').map((name) => {
      const found = known.find((one) => one.toLowerCase() === name.trim().toLowerCase());
      if (found) return found;
      throw new WrongUse(`${name} is none of ${known.join(', ')}`);
    });
}

function readFlags(): Flags {
  return new Command('bench')
    .description('workload CONVOY-1 through the convoy, a plain receiver and a naive app')
    .option('--json', 'one JSON object on the last line')
    .option('--quick', 'small counts, latency and kill with one distribution: three minutes')
    .option('--load-only', 'load-and-drain only')
    .addOption(
      new Option('--distribution <names>', 'U, Z, H, S, M, separated by commas')
        .argParser(listOf(distributionNames))
        .default([...distributionNames], 'all'),
    )
    .addOption(
      new Option('--arm <names>', 'ceiling, convoy, naive, separated by commas')
        .argParser(listOf(armNames))
        .default([...armNames], 'all'),
    )
    .option('--messages <n>', 'messages per load phase', wholeNumber(100, 1_000_000))
    .option('--seed <n>', 'seed of the workload', wholeNumber(0, 2 ** 20), 1)
    .parse()
    .opts<Flags>();
}

async function main(): Promise<number> {
  const flags = readFlags();
  // The processes end with their channel, the folder with this process.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  const at = isoInstant(realClock.now());
  const loadBefore = loadavg()[0];
  const results = await measure(flags);
  const machine = {
    ...{ cores: availableParallelism(), cpu: cpus()[0]?.model, node: process.version },
    load: [loadBefore, loadavg()[0]],
  };
  for (const line of ['', ...tableOf(results), '', ...comparisonsOf(results), '']) printLine(line);
  for (const what of notMeasured) printLine(`not measured: ${what}`);
  if (flags.json) {
    const { quick = false, seed } = flags;
    printJson({ workload: 'CONVOY-1', at, seed, quick, machine, results, notMeasured });
  }
  const isWrong = ({ arm, violations, lost, doubled }: PhaseResult): boolean =>
    arm === 'convoy' && violations + lost + doubled > 0;
  return results.some(isWrong) ? 1 : 0;
}

// Timers of our clock keep no process alive.
const anchor = setInterval(() => {}, 60_000);
let code: number;
try {
  code = await main();
} catch (error) {
  printError(error, process.argv.includes('--json'));
  code = exitCodeOf(error);
}
clearInterval(anchor);
process.exit(code);
