// What one drain knows, and the two small moves that draining, committing and publishing share.
import type { ConvoyDefinition } from '../convoy/definition.ts';
import type { Hold } from '../convoy/state.ts';
import type { GateItem, ProgressItem } from '../store/items.ts';
import type { StoreOperation, Versioned } from '../store/store.ts';
import type { Meter } from './meter.ts';
import type { Engine, InstanceInput } from './ports.ts';

export interface DrainRequest extends InstanceInput {
  /** The linger has passed without a wake: close instead of waiting. */
  mayClose: boolean;
}

/** [H11] What this drain knows to be with the broker. */
export interface Published {
  /** Outbox items that the next batch of this drain removes. */
  ids: Set<string>;
  /** The outputs of so many commits are published. */
  commits: number;
}

/** One drain in progress; `progress` is kept from our own commits, its ETag with it. */
export interface Drain {
  engine: Engine;
  request: DrainRequest;
  convoyId: string;
  definition: ConvoyDefinition | undefined;
  gate: Versioned<GateItem>;
  progress: Versioned<ProgressItem>;
  published: Published;
  meter: Meter;
}

/** [H11] The removals that ride along with the next batch; `removed` when it was applied. */
export function removalsOf(drain: Drain): StoreOperation[] {
  return [...drain.published.ids].map((id) => ({ kind: 'delete', id }));
}

/** [H11] Removes what no later batch of this drain will: a drain that ends without writing the
 *  gate. */
export async function removePublished(drain: Drain): Promise<void> {
  const ids = [...drain.published.ids];
  drain.published.ids.clear();
  for (let from = 0; from < ids.length; from += 90) {
    const some = ids.slice(from, from + 90).map((id) => ({ kind: 'delete' as const, id }));
    const result = await drain.engine.store.batch(drain.convoyId, some);
    if (result.applied) continue;
    // A zombie attempt removed some: each by itself, absence being success.
    for (const one of some) await drain.engine.store.batch(drain.convoyId, [one]);
  }
}

/** A refused batch changed nothing: the next pass reads both items again. 404: a zombie attempt
 *  removed some of the outbox items too. The others go now: what no batch removes any more would
 *  stay behind the gate's count [H6] and be published again, much later. */
export async function afterRefusal(drain: Drain, result: { status: number }): Promise<Next> {
  if (result.status === 404) await removePublished(drain);
  drain.engine.store.forget?.(drain.convoyId);
  return lookAgain;
}

/** How the next pass of a drain goes on: with this progress, or (undefined) with a fresh read. */
export interface Next {
  progress: Versioned<ProgressItem> | undefined;
}

/** Nothing that was read stands any more. */
export const lookAgain: Next = { progress: undefined };

/** [H5] Writes a hold under the fence; the next round rests [H8]. */
export async function holdKey(drain: Drain, hold: Hold): Promise<Next> {
  const { item, etag } = drain.progress;
  const held = { ...item, hold, writtenAt: drain.engine.clock.now() };
  const result = await drain.engine.store.batch(drain.convoyId, [
    { kind: 'replace', item: held, ifMatch: etag },
  ]);
  if (!result.applied) return afterRefusal(drain, result); // 412: somebody else moved on
  return { progress: { item: held, etag: result.etags[0] ?? '' } };
}

/** Quiet time counts from the last admission and begins anew when intake starts (DESIGN §5). */
export function silentSince(drain: Drain): number {
  return Math.max(drain.gate.item.lastAdmittedAt ?? 0, drain.engine.startedAt);
}
