// What one drain knows, and the two small moves that draining, committing and publishing share.
import type { ConvoyDefinition } from '../convoy/definition.ts';
import type { Hold } from '../convoy/state.ts';
import type { GateItem, ProgressItem } from '../store/items.ts';
import type { StoreOperation, Versioned } from '../store/store.ts';
import type { Engine, InstanceInput } from './ports.ts';

export interface DrainRequest extends InstanceInput {
  /** The linger has passed without a wake: close instead of waiting. */
  mayClose: boolean;
}

/** One drain in progress; `progress` is kept from our own commits, its ETag with it. */
export interface Drain {
  engine: Engine;
  request: DrainRequest;
  convoyId: string;
  definition: ConvoyDefinition | undefined;
  gate: Versioned<GateItem>;
  progress: Versioned<ProgressItem>;
  /** [H11] Outbox items that the broker has acknowledged: the next batch of this drain removes them. */
  published: Set<string>;
}

/** [H11] The removals that ride along with the next batch; `removed` when it was applied. */
export function removalsOf(drain: Drain): StoreOperation[] {
  return [...drain.published].map((id) => ({ kind: 'delete', id }));
}

/** After a refused batch: a zombie attempt removed them too (404), so they are not ours to remove. */
export function afterRefusal(drain: Drain, result: { status: number }): void {
  if (result.status === 404) drain.published.clear();
  drain.engine.store.forget?.(drain.convoyId);
}

/** How the next pass of a drain goes on: with these items, or (undefined) with a fresh read. */
export interface Next {
  progress: Versioned<ProgressItem> | undefined;
  gate?: Versioned<GateItem> | undefined;
}

/** [H5] Writes a hold under the fence; the next round rests [H8]. */
export async function holdKey(drain: Drain, hold: Hold): Promise<Next> {
  const { item, etag } = drain.progress;
  const held = { ...item, hold, writtenAt: drain.engine.clock.now() };
  const result = await drain.engine.store.batch(drain.convoyId, [
    { kind: 'replace', item: held, ifMatch: etag },
  ]);
  if (!result.applied) {
    afterRefusal(drain, result);
    return { progress: undefined }; // 412: somebody else moved on, look again
  }
  return { progress: { item: held, etag: result.etags[0] ?? '' } };
}

/** Quiet time counts from the last admission and begins anew when intake starts (DESIGN §5). */
export function silentSince(drain: Drain): number {
  return Math.max(drain.gate.item.lastAdmittedAt ?? 0, drain.engine.startedAt);
}
