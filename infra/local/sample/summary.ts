// PURE. The summary of a run: CONTRACT §1, as an object and as a panel for people.
import type { StackUsage } from '../address.ts';
import type { Verdict } from './judge.ts';

export interface Summary {
  convoys: number;
  messages: Verdict['messages'];
  order: { violations: number };
  lost: number;
  doubled: number;
  windows: { closed: number; late: number };
  outputs: { published: number };
  epochs: number;
  seconds: number;
  throughput: number;
  latencyMs: { p50: number; p99: number };
  /** `restarts` only when there were: what was counted before the last of them is missing. */
  cost: Omit<StackUsage, 'restarts'> & { restarts?: number; usdPerMillionMessages: number };
}

/**
 * List prices in US$ per million, from memory and not confirmed against a price page (the base fee
 * of a namespace and stored data are not in it): Service Bus Standard operations beyond the 13
 * million included [SB 18.7], serverless request units, storage transactions of queues and tables.
 */
export const usdPerMillion = {
  serviceBusOperations: 0.8,
  cosmosRequestUnits: 0.25,
  storageTransactions: 0.04,
} as const;

export function summarize(verdict: Verdict, usage: StackUsage): Summary {
  const { sent } = verdict.messages;
  const usd =
    usage.serviceBusOperations * usdPerMillion.serviceBusOperations +
    usage.cosmosRequestUnits * usdPerMillion.cosmosRequestUnits +
    usage.storageTransactions * usdPerMillion.storageTransactions;
  return {
    convoys: verdict.convoys,
    messages: verdict.messages,
    order: { violations: verdict.violations },
    lost: verdict.lost,
    doubled: verdict.doubled,
    // The convoy of the sample stream has no windows.
    windows: { closed: 0, late: 0 },
    outputs: { published: verdict.published },
    epochs: verdict.epochs,
    seconds: verdict.seconds,
    throughput: verdict.seconds > 0 ? rounded(sent / verdict.seconds, 1) : 0,
    latencyMs: verdict.latencyMs,
    cost: {
      serviceBusOperations: usage.serviceBusOperations,
      cosmosRequestUnits: rounded(usage.cosmosRequestUnits, 2),
      storageTransactions: usage.storageTransactions,
      usdPerMillionMessages: sent > 0 ? rounded(usd / sent, 2) : 0,
      ...(usage.restarts > 0 && { restarts: usage.restarts }),
    },
  };
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/** The summary for people. */
export function summaryPanel(summary: Summary, failures: readonly string[]): string[] {
  const { messages, latencyMs, cost } = summary;
  const named = (counts: Readonly<Record<string, number>>): string =>
    Object.entries(counts)
      .filter(([, count]) => count > 0)
      .map(([name, count]) => `${grouped(count)} ${name}`)
      .join(', ');
  const { sent, ...outcomes } = messages;
  const lines: [string, string][] = [
    ['messages', `${grouped(sent)} sent: ${named(outcomes)}`],
    ['convoys', `${grouped(summary.convoys)} keys, ${grouped(summary.epochs)} epochs`],
    ['outputs', `${grouped(summary.outputs.published)} published`],
    ['order', `${grouped(summary.order.violations)} violations`],
    ['lost', grouped(summary.lost)],
    ['doubled', grouped(summary.doubled)],
    ['speed', `${summary.throughput} messages/s over ${summary.seconds.toFixed(1)} s`],
    ['latency', `p50 ${latencyMs.p50} ms, p99 ${latencyMs.p99} ms`],
    [
      'in Azure',
      `${grouped(cost.serviceBusOperations)} Service Bus operations, ` +
        `${grouped(Math.round(cost.cosmosRequestUnits))} RU, ` +
        `${grouped(cost.storageTransactions)} storage transactions: ` +
        (cost.restarts !== undefined
          ? 'counted only since a process came back'
          : `about US$ ${cost.usdPerMillionMessages} per million messages`),
    ],
    ['checks', failures.length === 0 ? 'all hold' : `${failures.length} failed`],
  ];
  return ['', ...lines.map(([name, text]) => `  ${name.padEnd(9)} ${text}`), ''];
}

function grouped(value: number): string {
  return value.toLocaleString('en-US');
}
