// PURE. The count of what came out, against what was sent; it believes nobody's own opinion.
//
// C1. A violation is a place where first appearances step back in the sent order of their key.
// C2. Lost is an id without delivery, or an effect that the final balance of its key lacks.
// C3. Doubled is an id delivered under two different output ids, or an effect too many in the
//     final balance. Repeats of one output id are the broker's business and do not count.
import type { Workload } from './workload.ts';

/** A message that came out of an arm. */
export interface Delivery {
  key: string;
  /** The id of the input message. */
  id: string;
  /** The same for harmless repeats. */
  outputId: string;
  atMs: number;
  /** The emitted type, where the arm tells. */
  subject?: string;
  /** Effects in the state of the key so far, where the arm keeps a state. */
  balance?: number;
}

export interface Counted {
  violations: number;
  lost: number;
  doubled: number;
}

/**
 * Counts the deliveries of one workload, given in the order in which they came. `balances` holds
 * the balance of each key before it and is moved on.
 */
export function countDeliveries(
  workload: Workload,
  deliveries: readonly Delivery[],
  balances: Map<string, number>,
): Counted {
  const byKey = Map.groupBy(deliveries, ({ key }) => key);
  const counted: Counted = { violations: 0, lost: 0, doubled: 0 };
  for (const [key, ids] of workload.idsByKey) {
    const came = byKey.get(key) ?? [];
    const outputIds = new Map<string, Set<string>>();
    for (const { id, outputId } of came) {
      const known = outputIds.get(id);
      if (known) known.add(outputId);
      else outputIds.set(id, new Set([outputId]));
    }
    counted.violations += descents(ids, [...outputIds.keys()]);
    const before = balances.get(key) ?? 0;
    const after = came.reduce((most, { balance = 0 }) => Math.max(most, balance), before);
    const keepsState = came.some(({ balance }) => balance !== undefined);
    const surplus = keepsState ? after - before - ids.length : 0;
    balances.set(key, after);
    const missing = ids.filter((id) => !outputIds.has(id)).length;
    const twice = ids.filter((id) => (outputIds.get(id)?.size ?? 0) > 1).length;
    counted.lost += Math.max(missing, -surplus);
    counted.doubled += Math.max(twice, surplus);
  }
  return counted;
}

function descents(sent: readonly string[], appeared: readonly string[]): number {
  const rank = new Map(sent.map((id, i) => [id, i]));
  const ranks = appeared.flatMap((id) => rank.get(id) ?? []);
  return ranks.filter((at, i) => i > 0 && at < (ranks[i - 1] ?? 0)).length;
}

/** Milliseconds from the due instant of each id to its first delivery, ascending. */
export function latenciesOf(
  deliveries: readonly Delivery[],
  dueAtMs: ReadonlyMap<string, number>,
): number[] {
  const firstAt = new Map<string, number>();
  for (const { id, atMs } of deliveries) {
    firstAt.set(id, Math.min(firstAt.get(id) ?? Infinity, atMs));
  }
  return [...dueAtMs]
    .flatMap(([id, dueAt]) => {
      const at = firstAt.get(id);
      return at === undefined ? [] : [Math.max(at - dueAt, 0)];
    })
    .sort((a, b) => a - b);
}

/** Of an ascending list; 0 of an empty one. */
export function quantile(ascending: readonly number[], share: number): number {
  const at = Math.min(Math.ceil(ascending.length * share), ascending.length) - 1;
  return Math.round((ascending[at] ?? 0) * 10) / 10;
}
