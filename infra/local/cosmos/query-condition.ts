// PURE. The condition of a patch: `from c where …`, tested on the one item being patched [CO 4].

import { preconditionFailed } from './errors.ts';
import type { JsonObject } from './json.ts';
import { parseQuery } from './query-parse.ts';
import { contextOf, runOver } from './query-select.ts';

/** Throws 412 unless the item meets the condition. */
export function assertCondition(condition: string, item: JsonObject, nowMs: number): void {
  const query = parseQuery(`SELECT VALUE 1 ${condition}`);
  if (runOver(query, contextOf(new Map(), nowMs), [item]).length === 0) throw preconditionFailed();
}
