// Where a request runs: on the event loop, or in a replica because it may read or write much.
//
// A query stays when it names one partition and the items that its id range holds are few:
// counting those costs microseconds. All else that reads (across partitions, feeds with a filter,
// joins, subqueries) goes to a replica, whatever it would cost in fact. In memory there are no
// replicas and everything runs here.

import { isObject, type Json } from './json.ts';
import { keyOfHeader } from './partition-key.ts';
import { parsedQuery } from './query-cache.ts';
import { isServable } from './query-routes.ts';
import { readParameters } from './query-compile.ts';
import { isFewItems } from './query-statement.ts';
import { contextOf } from './query-select.ts';
import { innerExpressions, type Expression, type Query } from './query-tree.ts';
import { header, isQuery, isSet, type Request } from './request.ts';
import type { Container, Storage } from './storage.ts';

export type Placement = 'here' | 'replica' | 'alone';

/** More makes parsing alone noticeable. */
const queryCharactersMax = 16_384;
/** Dropping or changing more items than this stops the event loop for milliseconds. */
const itemsMax = 2000;

/** Decides where a request runs. */
export function placementOf(storage: Storage, request: Request): Placement {
  if (storage.file === undefined) return 'here';
  const { segments, method } = request;
  const [root, database, colls, id, feed, item] = segments;
  if (root !== 'dbs' || database === undefined) return 'here';
  if (feed === undefined) return ownerPlacement(storage, request);
  if (colls !== 'colls' || id === undefined || feed !== 'docs' || item !== undefined) return 'here';
  const container = storage.container(database, id);
  if (!container) return 'here';
  if (method === 'GET') return feedPlacement(request);
  if (method !== 'POST' || !isQuery(request)) return 'here';
  if (isSet(request, 'x-ms-cosmos-is-query-plan-request')) return 'here';
  try {
    return isLight(storage, container, request) ? 'here' : 'replica';
  } catch {
    // Whatever is wrong with it is said where it runs.
    return 'here';
  }
}

const feedFilters = [
  'x-ms-documentdb-partitionkey',
  'x-ms-documentdb-partitionkeyrangeid',
  'x-ms-start-epk',
  'if-modified-since',
];

// A page of the feed is read in the order of an index; what is filtered may be far apart.
function feedPlacement(request: Request): Placement {
  if (header(request, 'a-im') === undefined) return 'replica';
  const isFiltered = feedFilters.some((name) => header(request, name) !== undefined);
  return isFiltered ? 'replica' : 'here';
}

function ownerPlacement(storage: Storage, { method, segments }: Request): Placement {
  const [, database = '', , id] = segments;
  if (method !== 'DELETE' && (method !== 'PUT' || id === undefined)) return 'here';
  const containers =
    id === undefined ? storage.containersOf(database) : [storage.container(database, id)];
  const isLarge = containers.some((one) => one && storage.countUpTo(one, itemsMax) === itemsMax);
  return isLarge ? 'alone' : 'here';
}

function isLight(storage: Storage, container: Container, request: Request): boolean {
  const { body, nowMs } = request;
  const text = isObject(body) ? body['query'] : undefined;
  const keyHeader = header(request, 'x-ms-documentdb-partitionkey');
  if (typeof text !== 'string' || text.length > queryCharactersMax) return false;
  if (keyHeader === undefined) return !isServable({ storage, container, request });
  const keyValues: Json[] = keyOfHeader(keyHeader, container.paths.length, true);
  if (keyValues.length < container.paths.length) return false;
  const query = parsedQuery(text);
  if (!isSimple(query)) return false;
  const parameters = readParameters(isObject(body) ? body['parameters'] : undefined);
  const context = contextOf(parameters, nowMs);
  return isFewItems({ storage, container, query, context, keyValues });
}

const slowCalls = new Set(['REGEXMATCH']);

function isSimple({ from, joins, select, where, group, order }: Query): boolean {
  if (joins.length > 0 || from?.each) return false;
  const selected = select.kind === 'value' ? [select.value] : [];
  const members = select.kind === 'list' ? select.members.map(({ value }) => value) : [];
  const sorted = (order ?? []).map(({ by }) => by);
  return [...selected, ...members, ...(where ? [where] : []), ...(group ?? []), ...sorted].every(
    isSimpleExpression,
  );
}

function isSimpleExpression(expression: Expression): boolean {
  if ('query' in expression) return false;
  if (expression.kind === 'call' && slowCalls.has(expression.name)) return false;
  return innerExpressions(expression).every(isSimpleExpression);
}
