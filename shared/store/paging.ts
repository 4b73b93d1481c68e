// Lists inside one partition go by item id, so their continuation is the last id that was given: it
// never expires, and both adapters understand the same one.
import { StoreRefused } from './store.ts';

/** Ids of one kind, optionally below one more segment: `from <= id < below`. */
export interface IdRange {
  from: string;
  below: string;
}

/** All ids that start with `<prefix>:` (`;` is the character after `:`). */
export function idsUnder(prefix: string): IdRange {
  return { from: `${prefix}:`, below: `${prefix};` };
}

/** The rest of a range after the last id of the page before. */
export function restOf(range: IdRange, continuation: string | undefined): IdRange {
  if (continuation === undefined) return range;
  if (continuation < range.from || continuation >= range.below) {
    throw new StoreRefused(400, `continuation ${JSON.stringify(continuation)} is not of this list`);
  }
  // `!` sorts before every character an id may hold: the least bound above the last id.
  return { from: `${continuation}!`, below: range.below };
}

/** A page of at most `limit` of the found items, of which one more than that was asked for. */
export function pageOf<Item extends { id: string }>(
  found: Item[],
  limit: number,
): { items: Item[]; continuation?: string } {
  const items = found.slice(0, limit);
  const last = items.at(-1);
  return found.length > limit && last ? { items, continuation: last.id } : { items };
}

/** Throws StoreRefused unless 1 <= limit <= 1000: every answer of the store is bounded. */
export function assertLimit(limit: number): void {
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000) {
    throw new StoreRefused(400, `limit ${limit} is not between 1 and 1000`);
  }
}
