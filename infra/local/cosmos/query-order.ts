// PURE. What Azure refuses in ORDER BY for lack of an index, refused here too: a query that works
// on the laptop must not fail in the cloud.

import { badRequest } from './errors.ts';
import type { CompositePath, IndexingPolicy } from './indexing-policy.ts';
import { aggregatesIn, selected } from './query-aggregate.ts';
import { propertyPath, type Query } from './query-tree.ts';

const isSame = (one: readonly string[], other: readonly string[]): boolean =>
  one.length === other.length && one.every((name, at) => name === other[at]);

// Azure: the same paths in the same sequence, all directions as declared or all reversed.
function isServedBy(composite: readonly CompositePath[], order: readonly CompositePath[]): boolean {
  if (composite.length !== order.length) return false;
  const isReversed = composite[0]?.isDescending !== order[0]?.isDescending;
  return composite.every((part, at) => {
    const wanted = order[at]!;
    return (
      isSame(part.path, wanted.path) && (part.isDescending !== wanted.isDescending) === isReversed
    );
  });
}

const isAlwaysIndexed = (path: readonly string[]): boolean =>
  path.length === 1 && (path[0] === 'id' || path[0] === '_ts');

/** Refuses an ORDER BY that Azure could not serve from the container's index. */
export function assertOrderServed(query: Query, root: string, policy: IndexingPolicy): void {
  // Aggregates are the same in any order: nothing is sorted.
  if (!query.order || selected(query).some((one) => aggregatesIn(one).length > 0)) return;
  if (query.joins.length > 0) {
    throw badRequest(
      'ORDER BY over correlated collections is not supported: the query has a JOIN.',
    );
  }
  const order = query.order.map(({ by, isDescending }): CompositePath => {
    const found = propertyPath(by);
    if (found?.root !== root || found.path.length === 0) {
      throw badRequest(
        'Unsupported ORDER BY clause. An ORDER BY item expression could not be mapped to a ' +
          'property path of the item.',
      );
    }
    return { path: found.path, isDescending };
  });
  if (order.length > 1) {
    if (policy.composites.some((composite) => isServedBy(composite, order))) return;
    throw badRequest(
      'The order by query does not have a corresponding composite index ' +
        'that it can be served from.',
    );
  }
  const path = order[0]?.path ?? [];
  let at = policy.paths;
  for (const name of path) at = at.at(name);
  if (at.self || isAlwaysIndexed(path)) return;
  throw badRequest(
    'The index path corresponding to the specified order-by item is excluded: ' +
      `/${path.join('/')}.`,
  );
}
