// Requests that read many items: queries, their plans, the whole feed, the change feed.

import { readFeed } from './change-feed.ts';
import { badRequest, CosmosError } from './errors.ts';
import type { CosmosRequestInfo } from './intercept.ts';
import { isObject, type Json } from './json.ts';
import { keyOfHeader } from './partition-key.ts';
import { effectiveKey, keyFilter } from './partition-range.ts';
import { readParameters, type Context } from './query-compile.ts';
import { parsedQuery } from './query-cache.ts';
import { needsClient, planOf, type PlanRange } from './query-plan.ts';
import { pushdown } from './query-pushdown.ts';
import { runQuery, type QueryRequest } from './query-run.ts';
import { contextOf } from './query-select.ts';
import type { Query } from './query-tree.ts';
import { header, isSet, pageSize, type Action, type Reply, type Request } from './request.ts';
import { assertSession } from './session.ts';
import type { Container, Storage } from './storage.ts';

interface Target {
  storage: Storage;
  container: Container;
  request: Request;
}

/** A query with what its meaning depends on. */
interface Asked {
  text: string;
  query: Query;
  context: Context;
  /** The key in the header, or a prefix of it. */
  keyValues: Json[] | undefined;
}

function keyValuesOf({ request, container }: Target): Json[] | undefined {
  const value = header(request, 'x-ms-documentdb-partitionkey');
  return value === undefined ? undefined : keyOfHeader(value, container.paths.length, true);
}

function infoOf(target: Target, kind: 'query' | 'other', values?: Json[]): CosmosRequestInfo {
  const { database, id } = target.container;
  return { kind, database, container: id, ...(values && { partitionKey: values }) };
}

function askedOf(target: Target): Asked {
  const { body, nowMs } = target.request;
  const text = isObject(body) ? body['query'] : undefined;
  if (typeof text !== 'string') throw badRequest('The request payload has no query text.');
  const parameters = isObject(body) ? body['parameters'] : undefined;
  const context = contextOf(readParameters(parameters), nowMs);
  return { text, query: parsedQuery(text), context, keyValues: keyValuesOf(target) };
}

/** The keys a query can concern: the one of the header or of WHERE, else all. */
function planRange({ container }: Target, { query, context, keyValues }: Asked): PlanRange {
  const alias = query.from?.one?.kind === 'variable' ? query.from.name : undefined;
  const found = alias && pushdown(query, alias, { container, context, hasKey: false }).pk;
  const values = keyValues ?? (found ? (JSON.parse(found) as Json[]) : undefined);
  const isOneKey = values?.length === container.paths.length;
  // With one range there is nothing to choose, so nothing to compute.
  if (!values || container.rangeCount === 1) return { min: '', max: 'FF', isOneKey };
  const key = effectiveKey(container, values);
  return { min: key, max: isOneKey ? key : `${key}FF`, isOneKey };
}

/** What a client asks for before, or beside, a query. */
export function planAction(target: Target): Action {
  const asked = askedOf(target);
  return {
    info: infoOf(target, 'other'),
    run: () => {
      const plan = planOf(asked.query, asked.context, planRange(target, asked));
      return { status: 200, charge: 0, text: JSON.stringify(plan) };
    },
  };
}

// Kinder than Azure, which leaves every order to the client: of one range it is the answer itself.
function isOrderOnly({ rangeCount }: Container, query: Query): boolean {
  return rangeCount === 1 && !needsClient({ ...query, order: undefined });
}

// Azure's gateway passes a query on, page by page; what needs the results of all ranges it leaves
// to the client, and says so with the plan in the answer.
function refusalOf(target: Target, asked: Asked): CosmosError | undefined {
  const { request } = target;
  if (asked.keyValues || !asked.query.from) return undefined;
  if (header(request, 'x-ms-documentdb-partitionkeyrangeid') !== undefined) return undefined;
  const range = planRange(target, asked);
  if (range.isOneKey) return undefined;
  if (!isSet(request, 'x-ms-documentdb-query-enablecrosspartition')) {
    return badRequest(
      'Cross partition query is required but disabled. Please set ' +
        'x-ms-documentdb-query-enablecrosspartition to true, specify ' +
        'x-ms-documentdb-partitionkey, or revise your query to avoid this exception.',
    );
  }
  const isParallel = isSet(request, 'x-ms-documentdb-query-parallelizecrosspartitionquery');
  const isServed = !needsClient(asked.query) || isOrderOnly(target.container, asked.query);
  if (isServed && !isParallel) return undefined;
  const plan = planOf(asked.query, asked.context, range);
  return new CosmosError(
    400,
    'The provided cross partition query can not be directly served by the gateway. This is a ' +
      'first chance (internal) exception that all newer clients will know how to handle ' +
      'gracefully.',
    { substatus: 1004, additionalErrorInfo: JSON.stringify(plan) },
  );
}

/** Which range an answer is from: the one that was asked. */
function rangeHeader(request: Request): string[] {
  const id = header(request, 'x-ms-documentdb-partitionkeyrangeid');
  return id === undefined ? [] : ['x-ms-documentdb-partitionkeyrangeid', id];
}

function answer(target: Target, asked: Asked): Reply {
  const { storage, container, request } = target;
  const query: QueryRequest = {
    storage,
    container: storage.current(container),
    ...asked,
    isIncluded: keyFilter(request, container),
    continuation: header(request, 'x-ms-continuation'),
    countMax: pageSize(request),
    nowMs: request.nowMs,
  };
  const page = runQuery(query);
  const headers = ['x-ms-item-count', String(page.count), ...rangeHeader(request)];
  if (page.continuation !== undefined) headers.push('x-ms-continuation', page.continuation);
  if (header(request, 'x-ms-documentdb-populatequerymetrics') !== undefined) {
    const { itemsLoaded, count } = page;
    const metrics = `retrievedDocumentCount=${itemsLoaded};outputDocumentCount=${count}`;
    headers.push('x-ms-documentdb-query-metrics', `totalExecutionTimeInMs=0;${metrics}`);
  }
  const text = `{"_rid":"${container.rid}","Documents":${page.text},"_count":${page.count}}`;
  return { status: 200, charge: page.charge, headers, text };
}

/** Whether a query is answered, not left to the client; throws when it is no query. */
export const isServable = (target: Target): boolean =>
  refusalOf(target, askedOf(target)) === undefined;

export function queryAction(target: Target): Action {
  const asked = askedOf(target);
  const run = (): Reply => {
    assertSession(target);
    const refusal = refusalOf(target, asked);
    if (refusal) throw refusal;
    return answer(target, asked);
  };
  return { info: infoOf(target, 'query', asked.keyValues), run };
}

const everything = 'SELECT * FROM c';

/** All items of a container, or what has changed of them. */
export function feedAction(target: Target): Action {
  const { storage, container, request } = target;
  const keyValues = keyValuesOf(target);
  const isChangeFeed = header(request, 'a-im') !== undefined;
  const run = (): Reply => {
    if (isChangeFeed) {
      const isIncluded = keyFilter(request, container);
      const feed = { request, keyValues, isIncluded };
      const reply = readFeed(storage, storage.current(container), feed);
      return { ...reply, headers: [...(reply.headers ?? []), ...rangeHeader(request)] };
    }
    assertSession(target);
    const context = contextOf(new Map(), request.nowMs);
    return answer(target, { text: everything, query: parsedQuery(everything), context, keyValues });
  };
  return { info: infoOf(target, isChangeFeed ? 'other' : 'query', keyValues), run };
}
