// Goal: in order, once, nothing lost, whatever fails. Method: seeded histories of the real code
// (infra/simulation) in every scenario; a failing seed is printed and repeats the history exactly:
// `npm run sim -- --scenario NAME --from SEED --seeds 1`.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Coverage } from '../../infra/simulation/coverage.ts';
import { callFaults, worldFaults } from '../../infra/simulation/faults.ts';
import type { Orchestrator } from '../../infra/simulation/orchestration.ts';
import { plainPlot } from '../../infra/simulation/scenarios/plain.ts';
import { scenarioNamed, scenarios } from '../../infra/simulation/scenarios.ts';
import { type Simulation, runSeeds, simulate } from '../../infra/simulation/simulate.ts';
import { convoy } from './orchestrator.ts';

const count = Number(process.env['COUNT'] ?? 125);
const from = Number(process.env['SEED'] ?? 1);
const coverage = new Coverage();

const faultsOf = ({ seed, violations }: Simulation): string => {
  const [first] = violations;
  return `seed ${seed}: ${first?.oracle} ${first?.rule} ${first?.key ?? ''} ${first?.message}`;
};

test.each(scenarios)('$name: $about', { timeout: 180_000 }, async ({ name }) => {
  const report = await runSeeds({ scenario: name, from, count, orchestrator: convoy });

  coverage.add(report.coverage);
  expect(report.failed.map(faultsOf)).toEqual([]);
});

/** States, transitions and places that these seeds must have met, beside every kind of fault. */
const metByAll = [
  ...['none', 'retrying', 'blocked', 'paused', 'publishing'].map((hold) => `state:active/${hold}`),
  ...['state:held/blocked', 'state:held/paused', 'state:idle/none'],
  ...['gate:none → active by admitFirst', 'gate:idle → active by admit'],
  ...['gate:idle → active by reopen', 'gate:held → active by reopen'],
  ...['gate:active → idle by close', 'gate:active → held by rest'],
  ...['admit', 'commit', 'hold', 'wait', 'close', 'rest', 'reopen'].map((s) => `refused:412 ${s}`),
  ...['admitFirst', 'admit'].map((site) => `refused:409 ${site}`),
  ...['commit', 'wait', 'close', 'removePublished'].map((site) => `refused:404 ${site}`),
  ...['admit', 'commit', 'hold', 'wait', 'close', 'rest', 'countRepeat'].map(
    (site) => `crash:store.write.${site}`,
  ),
  ...['gate', 'progress', 'inbox', 'outbox', 'seen'].map((kind) => `crash:store.read.${kind}`),
  ...['hub.start', 'hub.wake', 'hub.result', 'publisher.send', 'broker.settle', 'deployment'].map(
    (place) => `crash:${place}`,
  ),
  ...['CVY_HANDLER', 'CVY_EFFECT', 'CVY_GAP', 'CVY_VERSION', 'CVY_CONVOY_UNKNOWN'].map(
    (code) => `hold:blocked ${code}`,
  ),
  ...['applied', 'rejected', 'invalid', 'parked', 'skipped', 'healed'].map((o) => `outcome:${o}`),
  ...['pause', 'resume', 'retry', 'skip', 'park', 'replay', 'cancel', 'replayDead'].map(
    (action) => `operator:${action}`,
  ),
  ...['write:dead', 'write:quarantine', 'write:markReplayed', 'operator:replayQuarantined'],
  ...['broker:sessionLost', 'broker:settledTooLate', 'broker:deadLettered', 'output:repeated'],
  ...['hub:continueAsNew', 'hub:terminated', 'hub:purged', 'hub:rerun'],
];

test.runIf(count >= 125)('every fault, state and transition was met', () => {
  const wanted = [...metByAll, ...[...worldFaults, ...callFaults].map((kind) => `fault:${kind}`)];

  expect(wanted.filter((name) => !coverage.counts.has(name))).toEqual([]);
});

const failedOnce = JSON.parse(readFileSync(new URL('seeds.json', import.meta.url), 'utf8')) as {
  scenario: string;
  seed: number;
  reason: string;
}[];

test.each(failedOnce)('$scenario $seed holds now – $reason', async ({ scenario, seed }) => {
  const { violations } = await simulate({ scenario, seed, orchestrator: convoy });

  expect(violations).toEqual([]);
});

test('the same seed is the same history, step by step', async () => {
  const options = { seed: 7, scenario: 'mixed', orchestrator: convoy, trace: true };

  const [first, second] = [await simulate(options), await simulate(options)];

  expect(JSON.stringify(second.trace)).toBe(JSON.stringify(first.trace));
  expect(second.digest).toBe(first.digest);
  expect((await simulate({ ...options, seed: 8 })).digest).not.toBe(first.digest);
});

test('the faults of a history, handed back in, repeat it; fewer make another one', async () => {
  const options = { seed: 11, scenario: 'mixed', orchestrator: convoy };
  const first = await simulate(options);

  const again = await simulate({ ...options, plan: first.faults });
  const fewer = await simulate({ ...options, plan: first.faults.slice(0, 3) });

  expect(again.digest).toBe(first.digest);
  expect(again.faults).toEqual(first.faults);
  expect(fewer.faults.length).toBeLessThanOrEqual(3);
  expect(fewer.violations).toEqual([]);
});

/** Ends for good where it should wait and drain again. */
function* neverWaits(context: {
  df: { getInput(): object; callActivity(...of: unknown[]): unknown };
}) {
  yield context.df.callActivity('drain', { ...context.df.getInput(), mayClose: false });
}

test('oracles find an orchestrator that ends without closing', async () => {
  const orchestrator: Orchestrator = neverWaits;

  const { failed } = await runSeeds({ scenario: 'smooth', from: 1, count: 5, orchestrator });

  expect(failed.map(({ violations }) => violations[0]?.rule)).toContain('H4');
});

test('oracles find a convoy that keeps something beside its state', async () => {
  const scenario = {
    ...scenarioNamed('crashes'),
    plot: (random: Parameters<typeof plainPlot>[0]) => {
      const plot = plainPlot(random);
      const [definition] = plot.versions;
      let calls = 0;
      const apply: typeof definition.apply = (state, message, context) => {
        calls += 1;
        const { sum } = definition.apply(state, message, context) as { sum: number };
        return { sum: sum + (calls > 20 ? 1 : 0) };
      };
      return { ...plot, versions: [{ ...definition, apply }] as const };
    },
  };

  const { failed } = await runSeeds({ scenario, from: 1, count: 20, orchestrator: convoy });

  expect(failed.map(({ violations }) => violations[0]?.oracle)).toContain('rest');
});
