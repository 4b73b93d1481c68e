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
    const [ceiling, naive] = [load('ceiling'), load('naive')];
    const texts = [
      ...(ceiling ? againstCeiling(convoy, ceiling) : []),
      ...(naive ? againstNaive(convoy, naive) : []),
    ];
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

function againstCeiling(convoy: PhaseResult, ceiling: PhaseResult): string[] {
  const share = (convoy.messagesPerSecond / ceiling.messagesPerSecond) * 100;
  return [`${share.toFixed(0)} % of the ceiling${caveatOf(convoy, ceiling)}`];
}

function againstNaive(convoy: PhaseResult, naive: PhaseResult): string[] {
  const speed = convoy.messagesPerSecond / naive.messagesPerSecond;
  const activities = [convoy, naive].map((one) => one.billedPerMessage.activities);
  const cpu = [convoy, naive].map((one) => one.cpuSecondsPer1000?.total ?? '-');
  return [
    `${speed.toFixed(1)} times the naive arm's speed${caveatOf(convoy, naive)}`,
    `${cpu.join(' against ')} CPU s per 1,000 and ${activities.join(' against ')} activities each`,
  ];
}

/** Speeds compare only where others left both arms about as much of the machine. */
const othersApartMax = 15;

function caveatOf(one: PhaseResult, other: PhaseResult): string {
  const [left = 0, right = 0] = [one.othersPercent, other.othersPercent];
  if (Math.abs(left - right) <= othersApartMax) return '';
  return ` (not comparable: others took ${left} % and ${right} % of the machine)`;
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
