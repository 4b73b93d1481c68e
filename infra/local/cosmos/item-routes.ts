// Requests below `/dbs/{db}/colls/{coll}/docs`: items, batches, queries, the change feed.

import { readBatch, runBatch, type BatchRequest } from './batch.ts';
import { readFeed } from './change-feed.ts';
import { badRequest, CosmosError, methodNotAllowed, tooLarge } from './errors.ts';
import type { CosmosRequestInfo } from './intercept.ts';
import { applyOperation, type Operation, type OperationType, type Outcome } from './items.ts';
import { isObject, type Json } from './json.ts';
import { keyOfHeader } from './partition-key.ts';
import { readParameters } from './query-compile.ts';
import { parsedQuery } from './query-cache.ts';
import { runQuery, type QueryRequest } from './query-run.ts';
import { contextOf } from './query-select.ts';
import {
  header,
  isQuery,
  isSet,
  pageSize,
  type Action,
  type Reply,
  type Request,
} from './request.ts';
import type { Container, Storage } from './storage.ts';

const batchBytesMax = 2 * 1024 * 1024;

interface Target {
  storage: Storage;
  container: Container;
  request: Request;
}

function keyValuesOf(target: Target, isPrefixAllowed: boolean): Json[] | undefined {
  const value = header(target.request, 'x-ms-documentdb-partitionkey');
  if (value === undefined) return undefined;
  return keyOfHeader(value, target.container.paths.length, isPrefixAllowed);
}

function neededKey(target: Target): Json[] {
  const values = keyValuesOf(target, false);
  if (values) return values;
  throw badRequest('PartitionKey value must be supplied for this operation.');
}

function infoOf(target: Target, more: Partial<CosmosRequestInfo>): CosmosRequestInfo {
  const { database, id } = target.container;
  return { kind: 'other', database, container: id, ...more };
}

// A client that has seen a later write than this server knows (its data was reset) must not be told
// of an older state: Azure answers 404/1002.
function assertSession({ storage, request }: Target): void {
  const token = header(request, 'x-ms-session-token');
  const lsn = token === undefined ? undefined : /^[^:]*:(?:-?\d+#)?(\d+)/.exec(token)?.[1];
  if (lsn !== undefined && Number(lsn) > storage.lsn) {
    throw new CosmosError(404, 'The read session is not available for the input session token.', {
      substatus: 1002,
    });
  }
}

const kinds = {
  Create: 'create',
  Read: 'read',
  Replace: 'replace',
  Upsert: 'upsert',
  Delete: 'delete',
  Patch: 'patch',
} as const;

function pointAction(target: Target, operationType: OperationType, pathId?: string): Action {
  const { storage, container, request } = target;
  const values = neededKey(target);
  const bodyId = isObject(request.body) ? request.body['id'] : undefined;
  const id = pathId ?? (typeof bodyId === 'string' ? bodyId : undefined);
  const ifMatch = header(request, 'if-match');
  const ifNoneMatch = header(request, 'if-none-match');
  const operation: Operation = {
    operationType,
    ...(id !== undefined && { id }),
    ...(request.body !== undefined && { resourceBody: request.body }),
    ...(ifMatch !== undefined && { ifMatch }),
    ...(ifNoneMatch !== undefined && { ifNoneMatch }),
  };
  const pk = JSON.stringify(values);
  const apply = (): Outcome => {
    const place = { storage, container: storage.current(container), pk, nowMs: request.nowMs };
    return applyOperation(place, operation);
  };
  const info = infoOf(target, {
    kind: kinds[operationType],
    partitionKey: values,
    ...(id !== undefined && { id }),
    operations: [operation],
  });
  if (operationType === 'Read') {
    return {
      info,
      run: () => {
        assertSession(target);
        return replyOf(apply(), false);
      },
    };
  }
  const isMinimal = header(request, 'prefer') === 'return=minimal';
  return { info, run: async () => replyOf(await storage.write(apply), isMinimal) };
}

function replyOf(outcome: Outcome, isMinimal: boolean): Reply {
  const { status, charge, etag, body } = outcome;
  return {
    status,
    charge,
    ...(etag !== undefined && { etag }),
    ...(body !== undefined && !isMinimal && { text: body }),
  };
}

function batchAction(target: Target): Action {
  const { storage, container, request } = target;
  if (request.bodyBytes > batchBytesMax) throw tooLarge();
  const isAtomic = isSet(request, 'x-ms-cosmos-batch-atomic');
  const values = keyValuesOf(target, false);
  const batch: BatchRequest = {
    storage,
    container,
    nowMs: request.nowMs,
    isAtomic,
    isMinimal: header(request, 'prefer') === 'return=minimal',
    pk: values && JSON.stringify(values),
  };
  const entries = readBatch(batch, request.body);
  const info = infoOf(target, {
    kind: 'batch',
    ...(values && { partitionKey: values }),
    operations: entries,
  });
  const run = async (): Promise<Reply> => {
    const { status, charge, body } = await runBatch(batch, entries);
    return { status, charge, text: body };
  };
  return { info, run };
}

// Answered with one range and nothing to rewrite: the client then sends the query as it is, and
// this server, being one partition, does all of it [CO 12.2].
const queryPlan = JSON.stringify({
  partitionedQueryExecutionInfoVersion: 2,
  queryInfo: {
    distinctType: 'None',
    top: null,
    offset: null,
    limit: null,
    orderBy: [],
    orderByExpressions: [],
    groupByExpressions: [],
    groupByAliases: [],
    aggregates: [],
    groupByAliasToAggregateType: {},
    rewrittenQuery: '',
    hasSelectValue: true,
    hasNonStreamingOrderBy: false,
    dCountInfo: null,
  },
  queryRanges: [{ min: '', max: 'FF', isMinInclusive: true, isMaxInclusive: false }],
});

function queryText(body: unknown): string {
  const text = isObject(body) ? body['query'] : undefined;
  if (typeof text !== 'string') throw badRequest('The request payload has no query text.');
  return text;
}

function planAction(target: Target): Action {
  const text = queryText(target.request.body);
  return {
    info: infoOf(target, {}),
    run: () => {
      parsedQuery(text);
      return { status: 200, charge: 0, text: queryPlan };
    },
  };
}

function queryAction(target: Target, text: string, parameters: unknown): Action {
  const { storage, container, request } = target;
  const values = keyValuesOf(target, true);
  const run = (): Reply => {
    assertSession(target);
    const context = contextOf(readParameters(parameters), request.nowMs);
    const query: QueryRequest = {
      storage,
      container: storage.current(container),
      query: parsedQuery(text),
      text,
      context,
      keyValues: values,
      continuation: header(request, 'x-ms-continuation'),
      countMax: pageSize(request),
      nowMs: request.nowMs,
    };
    const page = runQuery(query);
    const headers = ['x-ms-item-count', String(page.count)];
    if (page.continuation !== undefined) headers.push('x-ms-continuation', page.continuation);
    if (header(request, 'x-ms-documentdb-populatequerymetrics') !== undefined) {
      const { itemsLoaded, count } = page;
      const metrics = `retrievedDocumentCount=${itemsLoaded};outputDocumentCount=${count}`;
      headers.push('x-ms-documentdb-query-metrics', `totalExecutionTimeInMs=0;${metrics}`);
    }
    const text1 = `{"_rid":"${container.rid}","Documents":${page.text},"_count":${page.count}}`;
    return { status: 200, charge: page.charge, headers, text: text1 };
  };
  const info = infoOf(target, { kind: 'query', ...(values && { partitionKey: values }) });
  return { info, run };
}

function feedAction(target: Target): Action {
  const { storage, container, request } = target;
  if (header(request, 'a-im') === undefined) return queryAction(target, 'SELECT * FROM c', []);
  const keyValues = keyValuesOf(target, true);
  return {
    info: infoOf(target, { kind: 'other', ...(keyValues && { partitionKey: keyValues }) }),
    run: () => readFeed(storage, storage.current(container), { request, keyValues }),
  };
}

/** What a request to the items of a container asks for. */
export function itemAction(target: Target): Action {
  const { request } = target;
  const { method } = request;
  const id = request.segments[5];
  if (id !== undefined) {
    if (method === 'GET') return pointAction(target, 'Read', id);
    if (method === 'PUT') return pointAction(target, 'Replace', id);
    if (method === 'DELETE') return pointAction(target, 'Delete', id);
    if (method === 'PATCH') return pointAction(target, 'Patch', id);
    throw methodNotAllowed();
  }
  if (method === 'GET') return feedAction(target);
  if (method !== 'POST') throw methodNotAllowed();
  if (isSet(request, 'x-ms-cosmos-is-query-plan-request')) return planAction(target);
  if (isQuery(request)) {
    const parameters = isObject(request.body) ? request.body['parameters'] : undefined;
    return queryAction(target, queryText(request.body), parameters);
  }
  if (isSet(request, 'x-ms-cosmos-is-batch-request')) return batchAction(target);
  const isUpsert = isSet(request, 'x-ms-documentdb-is-upsert');
  return pointAction(target, isUpsert ? 'Upsert' : 'Create');
}
