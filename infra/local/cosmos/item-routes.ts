// Requests below `/dbs/{db}/colls/{coll}`: items, batches, deletion by partition key; what reads
// many items is in query-routes.ts.

import { readBatch, runBatch, type BatchRequest } from './batch.ts';
import { badRequest, methodNotAllowed, tooLarge } from './errors.ts';
import type { CosmosRequestInfo } from './intercept.ts';
import {
  applyOperation,
  purgeKey,
  type Operation,
  type OperationType,
  type Outcome,
} from './items.ts';
import { isObject, type Json } from './json.ts';
import { keyOfHeader } from './partition-key.ts';
import { feedAction, planAction, queryAction } from './query-routes.ts';
import { header, isQuery, isSet, type Action, type Reply, type Request } from './request.ts';
import { assertSession } from './session.ts';
import type { Container, Storage } from './storage.ts';

const batchBytesMax = 2 * 1024 * 1024;
const purgedPerWrite = 500;

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
    isContinuing: header(request, 'x-ms-cosmos-batch-continue-on-error')?.toLowerCase() !== 'false',
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

/** Deletes all items of a partition key, in bounded writes; answers when none is left. */
export function partitionDelete(target: Target): Action {
  const { storage, container, request } = target;
  const values = neededKey(target);
  const pk = JSON.stringify(values);
  const purge = (): number => {
    const place = { storage, container: storage.current(container), pk, nowMs: request.nowMs };
    return purgeKey(place, purgedPerWrite);
  };
  const run = async (): Promise<Reply> => {
    while ((await storage.write(purge)) === purgedPerWrite);
    return { status: 200, charge: 1, text: '' };
  };
  return { info: infoOf(target, { partitionKey: values }), run };
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
  if (isQuery(request)) return queryAction(target);
  if (isSet(request, 'x-ms-cosmos-is-batch-request')) return batchAction(target);
  const isUpsert = isSet(request, 'x-ms-documentdb-is-upsert');
  return pointAction(target, isUpsert ? 'Upsert' : 'Create');
}
