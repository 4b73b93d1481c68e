// How the memory store orders and pages the lists over all keys.
import type { GateItem, ProgressItem } from './items.ts';
import { assertInstants } from './limits.ts';
import { assertLimit } from './paging.ts';
import type { GateFilter, InstantRange, Page } from './store.ts';

export function oldestFirst(
  gates: GateItem[],
  range: InstantRange & { limit: number; at(gate: GateItem): number | null },
): GateItem[] {
  assertLimit(range.limit);
  assertInstants(range);
  return gates
    .map((gate) => ({ gate, at: range.at(gate) ?? Number.NEGATIVE_INFINITY }))
    .filter(({ at }) => at > range.after && at <= range.upTo)
    .sort((a, b) => a.at - b.at)
    .slice(0, range.limit)
    .map(({ gate }) => gate);
}

/** Gates and progress items are listed by convoy id here, by Cosmos in its own stable order. */
export function pageOfGates<Item extends GateItem | ProgressItem>(
  found: Item[],
  filter: GateFilter,
): Page<Item> {
  assertLimit(filter.limit);
  const { convoy, phase, continuation, limit } = filter;
  const rest = found
    .filter((item) => convoy === undefined || item.convoy === convoy)
    .filter((item) => phase === undefined || ('phase' in item && item.phase === phase))
    .filter((item) => continuation === undefined || item.convoyId > continuation)
    .sort((a, b) => (a.convoyId < b.convoyId ? -1 : 1));
  const items = rest.slice(0, limit);
  const last = items.at(-1);
  return rest.length > limit && last ? { items, continuation: last.convoyId } : { items };
}
