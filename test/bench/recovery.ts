// PURE. How long an arm was away after a kill.
import type { Delivery } from './count.ts';

export interface Recovery {
  /** From the kill to the first delivery after it; null = there was none. */
  firstDeliveryMs: number | null;
  /** From the kill until no more messages were under way than at the kill; null = never. */
  caughtUpMs: number | null;
}

/** No process starts so fast: what comes sooner had left the host before it died. */
const afterglowMs = 100;

export interface Interruption {
  deliveries: readonly Delivery[];
  /** When each id was due. */
  dueAtMs: ReadonlyMap<string, number>;
  killedAt: number;
}

export function recoveryOf({ deliveries, dueAtMs, killedAt }: Interruption): Recovery {
  const deliveredAt = new Map<string, number>();
  for (const { id, atMs } of deliveries) {
    deliveredAt.set(id, Math.min(deliveredAt.get(id) ?? Infinity, atMs));
  }
  const changes = [
    ...[...dueAtMs.values()].map((at) => ({ at, by: 1 })),
    ...[...deliveredAt.values()].map((at) => ({ at, by: -1 })),
  ].sort((a, b) => a.at - b.at);
  const isBefore = ({ at }: { at: number }): boolean => at <= killedAt + afterglowMs;
  const underWay = changes.filter(isBefore).reduce((sum, { by }) => sum + by, 0);
  const since = (at: number): number => Math.round(at - killedAt);
  let firstDeliveryMs: number | null = null;
  let now = underWay;
  for (const { at, by } of changes.filter((change) => !isBefore(change))) {
    now += by;
    if (by < 0) firstDeliveryMs ??= since(at);
    if (firstDeliveryMs !== null && now <= underWay) {
      return { firstDeliveryMs, caughtUpMs: since(at) };
    }
  }
  return { firstDeliveryMs, caughtUpMs: null };
}
