// PURE. Results for people: one aligned table, and what the arms say of each other.
import { aligned } from '../../infra/cli/output.ts';
import type { ArmName } from './arms.ts';
import type { PhaseResult } from './phase.ts';
import type { Distribution } from './workload.ts';
import { distributionNames, distributionTexts } from './workload.ts';

export const notMeasured = [
  'poison isolation: needs a convoy whose code throws, which the samples do not',
  '100,000 idle keys',
  'several hosts on one cloud',
  'anything in Azure: these are the figures of the local stack',
];

const heads = [
  ...[
    '',
    'arm',
    'phase',
    'messages',
    'msg/s',
    'p50 ms',
    'p99 ms',
    'CPU s/1k',
    'RSS MiB',
    'others %',
  ],
  ...['order', 'lost', 'doubled', 'SB ops', 'RU', 'storage tx', 'activities'],
];

export function tableOf(results: readonly PhaseResult[]): string[] {
  return aligned([heads, ...results.map(cellsOf)]);
}

function cellsOf(result: PhaseResult): (string | number)[] {
  const { latencyMs, cpuSecondsPer1000, peakMebibytes, billedPerMessage } = result;
  const { serviceBusOperations, cosmosRequestUnits } = billedPerMessage;
  const { storageTransactions = '-', activities = '-' } = billedPerMessage;
  return [
    ...[result.distribution, result.arm, result.phase, result.messages],
    ...[result.messagesPerSecond, latencyMs.p50, latencyMs.p99],
    ...[cpuSecondsPer1000?.total ?? '-'],
    ...[peakMebibytes ? peakMebibytes.cloud + peakMebibytes.worker : '-'],
    ...[result.othersPercent ?? '-'],
    ...[result.violations, result.lost, result.doubled],
    ...[serviceBusOperations, cosmosRequestUnits, storageTransactions, activities],
  ];
}

/** One result while the run goes on. */
export function lineOf(result: PhaseResult): string {
  const { arm, distribution, phase, messages, messagesPerSecond, latencyMs } = result;
  const cpu = result.cpuSecondsPer1000?.total;
  return (
    `${arm} ${distribution} ${phase}: ${messages} at ${messagesPerSecond}/s, ` +
    `p50 ${latencyMs.p50} ms, p99 ${latencyMs.p99} ms` +
    (cpu === undefined ? '' : `, ${cpu} CPU s per 1,000, others ${result.othersPercent} %`)
  );
}

/** What follows from comparing arms, and from the kill. */
export function comparisonsOf(results: readonly PhaseResult[]): string[] {
  const lines = distributionNames.flatMap((distribution) => {
    const load = (arm: ArmName) => loadOf(results, distribution, arm);
    const convoy = load('convoy');
    if (!convoy) return [];
    const texts: string[] = [];
    const ceiling = load('ceiling');
    if (ceiling) {
      const share = convoy.messagesPerSecond / ceiling.messagesPerSecond;
      texts.push(`${(share * 100).toFixed(0)} % of the ceiling`);
    }
    const naive = load('naive');
    if (naive) {
      const speed = convoy.messagesPerSecond / naive.messagesPerSecond;
      texts.push(`${speed.toFixed(1)} times the naive arm's speed`);
      const activities = [convoy, naive].map((one) => one.billedPerMessage.activities);
      texts.push(`${activities.join(' against ')} activities per message`);
    }
    if (texts.length === 0) return [];
    return [`${distribution} (${distributionTexts[distribution]}): ${texts.join(', ')}`];
  });
  for (const { distribution, recovery } of results) {
    if (!recovery) continue;
    lines.push(
      `${distribution}, host killed: first output after ${spanOf(recovery.firstDeliveryMs)}, ` +
        `caught up after ${spanOf(recovery.caughtUpMs)}`,
    );
  }
  return lines;
}

const spanOf = (ms: number | null): string => (ms === null ? 'no end' : `${ms} ms`);

function loadOf(
  results: readonly PhaseResult[],
  distribution: Distribution,
  arm: ArmName,
): PhaseResult | undefined {
  return results.find(
    (one) => one.distribution === distribution && one.arm === arm && one.phase === 'load',
  );
}
