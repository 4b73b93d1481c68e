// One phase: a workload goes through an arm, and everything the contract asks for is measured.
//
// Owns:   feeding, waiting for the end, the arithmetic of one line of results.
// Leaves: which phases there are to bench.ts, counting to count.ts.
//
// F1. Latency runs from the instant at which a message was due, not from when it got away: a slow
//     system cannot make its own latency look better.
// F2. Operations and CPU time are read after the instances have lingered and closed: what closing
//     costs is part of what a message costs.
// F3. Outputs are looked at only when all is over.
import type { CloudUsage } from '../../infra/local/address.ts';
import { realClock, sleep } from '../../shared/clock.ts';
import { createSender } from '../../shared/sender.ts';
import type { Arm, ArmName } from './arms.ts';
import type { Counted } from './count.ts';
import { countDeliveries, latenciesOf, quantile } from './count.ts';
import { cpuSecondsOf, forgetPeak, machineSeconds, peakMebibytesOf } from './measure.ts';
import type { Recovery } from './recovery.ts';
import { recoveryOf } from './recovery.ts';
import type { Cloud, HostUsage } from './stack.ts';
import type { Distribution, Workload } from './workload.ts';

export interface PhaseResult extends Counted {
  arm: ArmName;
  distribution: Distribution;
  phase: string;
  /** Sent, repeats included. */
  messages: number;
  keys: number;
  /** Offered, of an open loop. */
  offeredPerSecond?: number;
  /** From the first sending to the last delivery. */
  seconds: number;
  messagesPerSecond: number;
  latencyMs: { p50: number; p99: number };
  /** Absent where the machine does not tell, or the process was killed on the way. */
  cpuSecondsPer1000?: { total: number; cloud: number; worker: number; feeder: number };
  peakMebibytes?: { cloud: number; worker: number };
  /** How much of the machine's CPU time went to processes that are not ours, meanwhile. */
  othersPercent?: number;
  billedPerMessage: {
    serviceBusOperations: number;
    cosmosRequestUnits: number;
    storageTransactions?: number;
    activities?: number;
  };
  recovery?: Recovery;
}

export interface PhaseOptions {
  cloud: Cloud;
  arm: Arm;
  phase: string;
  workload: Workload;
  /** Of each key before this phase; moved on. */
  balances: Map<string, number>;
  /** Milliseconds from the start at which each message is due; without it, as fast as they go. */
  schedule?: readonly number[];
  offeredPerSecond?: number;
  killAfterMs?: number;
  onProgress(sent: number, delivered: number): void;
}

const lookEveryMs = 100;
const looksAlike = 3;
/** How long nothing may come before the rest is called lost. */
const quietMs = 20_000;
/** After a kill, locks of the dead host may have to run out. */
const quietAfterKillMs = 75_000;
const lingerMs = 5_500;
const restEveryMs = 1_000;
const restTriesMax = 20;

export async function runPhase(options: PhaseOptions): Promise<PhaseResult> {
  const { arm, workload, schedule, killAfterMs } = options;
  const before = await readMeters(options);
  forgetPeak(options.cloud.pid);
  forgetPeak(arm.pid);
  const startedAt = realClock.now();
  const state = { sent: 0, killedAt: undefined as number | undefined };
  const bomb =
    killAfterMs === undefined
      ? undefined
      : realClock.after(killAfterMs, () => {
          state.killedAt = realClock.now();
          arm.kill();
        });
  const feeding = feed(arm.queue, { options, schedule, onSent: (sent) => (state.sent = sent) });
  // Its failure is met below.
  feeding.catch(() => {});
  await drained(options, state);
  const dueAtMs = await feeding;
  bomb?.cancel();
  const busy = await readMeters(options);
  const feederSeconds = busy.feeder - before.feeder;
  if (arm.lingers) await atRest(arm);
  const after = await readMeters(options);
  const deliveries = await arm.collect();
  const lastAt = deliveries.reduce((latest, { atMs }) => Math.max(latest, atMs), startedAt);
  const latencies = latenciesOf(deliveries, dueAtMs);
  const seconds = (lastAt - startedAt) / 1_000;
  const { killedAt } = state;
  return {
    ...{ arm: arm.name, distribution: workload.distribution, phase: options.phase },
    ...{ messages: workload.messages.length, keys: workload.idsByKey.size },
    ...(options.offeredPerSecond === undefined
      ? {}
      : { offeredPerSecond: rounded(options.offeredPerSecond, 1) }),
    seconds: rounded(seconds, 2),
    messagesPerSecond: seconds > 0 ? rounded(workload.messages.length / seconds, 1) : 0,
    latencyMs: { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) },
    ...(killedAt === undefined && costOf(options, { before, after, feederSeconds })),
    ...(killedAt === undefined && othersOf(before, busy)),
    ...countDeliveries(workload, deliveries, options.balances),
    billedPerMessage: billed(options, { before, after, wasKilled: killedAt !== undefined }),
    ...(killedAt !== undefined && { recovery: recoveryOf({ deliveries, dueAtMs, killedAt }) }),
  };
}

interface Feeding {
  options: PhaseOptions;
  schedule: readonly number[] | undefined;
  onSent(sent: number): void;
}

/** Sends all; resolves with the instant at which each id was first due [F1]. */
async function feed(queue: string, feeding: Feeding): Promise<Map<string, number>> {
  const { options, schedule, onSent } = feeding;
  const dueAtMs = new Map<string, number>();
  const startedAt = realClock.now();
  async function* paced() {
    for (const [i, message] of options.workload.messages.entries()) {
      const dueAt = schedule ? startedAt + (schedule[i] ?? 0) : realClock.now();
      const waitMs = dueAt - realClock.now();
      if (waitMs > 0) await sleep(realClock, waitMs);
      if (!dueAtMs.has(message.id)) dueAtMs.set(message.id, dueAt);
      yield message;
    }
  }
  await using sender = createSender({ connectionString: options.cloud.address.serviceBus });
  await sender.sendAll(queue, paced(), { onProgress: ({ sent }) => onSent(sent) });
  return dueAtMs;
}

/** Waits until as many came out as went in and no more come, or nothing has come for long. */
async function drained(
  { arm, workload, killAfterMs, onProgress }: PhaseOptions,
  state: { readonly sent: number },
): Promise<void> {
  const limitMs = killAfterMs === undefined ? quietMs : quietAfterKillMs;
  let last = -1;
  let alike = 0;
  let newAt = realClock.now();
  for (;;) {
    // While it is being killed it may not answer; what it has published still counts.
    const count = await arm.count();
    onProgress(state.sent, count);
    alike = count === last ? alike + 1 : 0;
    if (count !== last || state.sent < workload.messages.length) newAt = realClock.now();
    last = count;
    if (count >= workload.uniques && alike >= looksAlike) return;
    if (realClock.now() - newAt > limitMs) return;
    await sleep(realClock, lookEveryMs);
  }
}

/** [F2] Until the instances have closed and the hub has nothing more to write. */
async function atRest(arm: Arm): Promise<void> {
  await sleep(realClock, lingerMs);
  let before = await arm.hostUsage();
  for (let tries = restTriesMax; tries > 0; tries -= 1) {
    await sleep(realClock, restEveryMs);
    const after = await arm.hostUsage();
    if (after.storageTransactions === before.storageTransactions) return;
    before = after;
  }
}

interface Meters extends CloudUsage, HostUsage {
  cloud: number | undefined;
  worker: number | undefined;
  feeder: number;
  machine: { busy: number; all: number } | undefined;
}

async function readMeters({ cloud, arm }: PhaseOptions): Promise<Meters> {
  return {
    ...(await cloud.usage()),
    ...(await arm.hostUsage()),
    cloud: cpuSecondsOf(cloud.pid),
    worker: cpuSecondsOf(arm.pid),
    feeder: feederCpuSeconds(),
    machine: machineSeconds(),
  };
}

function feederCpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

interface Span {
  before: Meters;
  after: Meters;
}

function costOf(
  { cloud, arm, workload }: PhaseOptions,
  { before, after, feederSeconds }: Span & { feederSeconds: number },
): Pick<PhaseResult, 'cpuSecondsPer1000' | 'peakMebibytes'> {
  const per1000 = 1_000 / workload.messages.length;
  const peaks = { cloud: peakMebibytesOf(cloud.pid), worker: peakMebibytesOf(arm.pid) };
  const spent = {
    cloud: (after.cloud ?? Number.NaN) - (before.cloud ?? Number.NaN),
    worker: (after.worker ?? Number.NaN) - (before.worker ?? Number.NaN),
  };
  const total = spent.cloud + spent.worker + feederSeconds;
  return {
    ...(Number.isNaN(total)
      ? {}
      : {
          cpuSecondsPer1000: {
            total: rounded(total * per1000, 3),
            cloud: rounded(spent.cloud * per1000, 3),
            worker: rounded(spent.worker * per1000, 3),
            feeder: rounded(feederSeconds * per1000, 3),
          },
        }),
    ...(peaks.cloud === undefined || peaks.worker === undefined
      ? {}
      : { peakMebibytes: { cloud: peaks.cloud, worker: peaks.worker } }),
  };
}

function othersOf(before: Meters, after: Meters): Pick<PhaseResult, 'othersPercent'> {
  const spent = (meter: 'cloud' | 'worker' | 'feeder'): number =>
    (after[meter] ?? Number.NaN) - (before[meter] ?? Number.NaN);
  const ours = spent('cloud') + spent('worker') + spent('feeder');
  if (!before.machine || !after.machine || Number.isNaN(ours)) return {};
  const others = after.machine.busy - before.machine.busy - ours;
  const all = after.machine.all - before.machine.all;
  return { othersPercent: Math.max(Math.round((others / all) * 100), 0) };
}

function billed(
  { workload }: PhaseOptions,
  { before, after, wasKilled }: Span & { wasKilled: boolean },
): PhaseResult['billedPerMessage'] {
  const count = workload.messages.length;
  const each = (meter: keyof CloudUsage | keyof HostUsage): number =>
    rounded((after[meter] - before[meter]) / count, 2);
  return {
    serviceBusOperations: each('serviceBusOperations'),
    cosmosRequestUnits: each('cosmosRequestUnits'),
    // A host that was killed has forgotten what it had counted.
    ...(wasKilled
      ? {}
      : { storageTransactions: each('storageTransactions'), activities: each('activities') }),
  };
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
