// Several operations in one request: the transactional batch and the bulk request.
//
// Invariants:
//   1. A transactional batch applies whole or not at all: its operations run in one savepoint, and
//      the first failure undoes them all. The answer is then 207: the failed operation with its own
//      status, every other one 424 [CO 3.1, 12.4].
//   2. Every operation of a transactional batch is in the partition of the request [CO 12.5].
//   3. A bulk request is not atomic: each operation stands alone, and names its own partition.

import { badRequest, CosmosError } from './errors.ts';
import { applyOperation, isOperationType, type Operation, type Outcome } from './items.ts';
import { minimumCharge } from './charge.ts';
import { isObject, type Json } from './json.ts';
import { keyOfHeader, keyOfItem } from './partition-key.ts';
import type { Container, Storage } from './storage.ts';

const operationsMax = 100;

export interface BatchRequest {
  storage: Storage;
  container: Container;
  nowMs: number;
  isAtomic: boolean;
  /** Whether a bulk request goes on after an operation that failed. */
  isContinuing: boolean;
  /** Whether answers leave out the items (`Prefer: return=minimal`). */
  isMinimal: boolean;
  pk: string | undefined;
}

export interface BatchEntry extends Operation {
  pk: string;
}

/** Checks the request as a whole; what is wrong here refuses it before anything is tried. */
export function readBatch(request: BatchRequest, body: unknown): BatchEntry[] {
  if (!Array.isArray(body) || body.length === 0) {
    throw badRequest('The batch request body is invalid: a list of operations is needed.');
  }
  if (body.length > operationsMax) {
    throw badRequest('Batch request has more operations than what is supported.');
  }
  if (request.isAtomic && request.pk === undefined) {
    throw badRequest('PartitionKey value must be supplied for this operation.');
  }
  return body.map((entry: unknown) => readEntry(request, entry));
}

function text(value: Json | undefined, what: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw badRequest(`The ${what} of an operation must be a text.`);
  return value;
}

function readEntry(request: BatchRequest, entry: unknown): BatchEntry {
  if (!isObject(entry)) throw badRequest('An operation of a batch must be an object.');
  const operationType = entry['operationType'];
  if (!isOperationType(operationType)) {
    throw badRequest(
      `Operation type '${JSON.stringify(operationType)}' is not supported in batch.`,
    );
  }
  const { paths } = request.container;
  const own = text(entry['partitionKey'], 'partitionKey');
  const ownKey = own && JSON.stringify(keyOfHeader(own, paths.length, false));
  const resourceBody = entry['resourceBody'];
  const pk = ownKey ?? request.pk;
  if (pk === undefined) throw badRequest('PartitionKey value must be supplied for this operation.');
  const isWholeItem = operationType !== 'Patch' && isObject(resourceBody);
  const isForeign = isWholeItem && keyOfItem(resourceBody, paths) !== pk;
  if (request.isAtomic && (pk !== request.pk || isForeign)) {
    throw badRequest(
      'One or more operations within the batch request have a different partition key value than ' +
        'the request.',
    );
  }
  const id = text(entry['id'], 'id');
  const ifMatch = text(entry['ifMatch'], 'ifMatch');
  const ifNoneMatch = text(entry['ifNoneMatch'], 'ifNoneMatch');
  return {
    operationType,
    pk,
    ...(id !== undefined && { id }),
    ...(resourceBody !== undefined && { resourceBody }),
    ...(ifMatch !== undefined && { ifMatch }),
    ...(ifNoneMatch !== undefined && { ifNoneMatch }),
  };
}

export interface BatchResult {
  status: number;
  charge: number;
  /** The answer's JSON text. */
  body: string;
}

/** Undoes the savepoint of an atomic batch and carries the answer out of it. */
class BatchFailed extends Error {
  readonly result: BatchResult;
  constructor(result: BatchResult) {
    super('batch failed');
    this.result = result;
  }
}

function answer(status: number, charge: number, more: string): string {
  return `{"statusCode":${status},"requestCharge":${+charge.toFixed(2)}${more}}`;
}

// The item is JSON text already: spliced in, not parsed and written again.
function success(outcome: Outcome, isMinimal: boolean): string {
  const etag = outcome.etag === undefined ? '' : `,"eTag":${JSON.stringify(outcome.etag)}`;
  const isQuiet = outcome.body === undefined || isMinimal;
  const item = isQuiet ? '' : `,"resourceBody":${outcome.body}`;
  return answer(outcome.status, outcome.charge, etag + item);
}

function failure(error: CosmosError): string {
  const substatus = error.substatus === undefined ? '' : `,"subStatusCode":${error.substatus}`;
  const message = `,"message":${JSON.stringify(error.message)}`;
  return answer(error.status, minimumCharge, substatus + message);
}

function applyAtomic(request: BatchRequest, entries: readonly BatchEntry[]): BatchResult {
  const answers: string[] = [];
  const container = request.storage.current(request.container);
  let charge = 0;
  for (const entry of entries) {
    try {
      const outcome = applyOperation({ ...request, container, pk: entry.pk }, entry);
      charge += outcome.charge;
      answers.push(success(outcome, request.isMinimal));
    } catch (error) {
      if (!(error instanceof CosmosError)) throw error;
      const failedAt = answers.length;
      const all = entries.map((_, at) => (at === failedAt ? failure(error) : answer(424, 0, '')));
      const body = `[${all.join(',')}]`;
      throw new BatchFailed({ status: 207, charge: minimumCharge, body });
    }
  }
  return { status: 200, charge, body: `[${answers.join(',')}]` };
}

async function runAtomic(
  request: BatchRequest,
  entries: readonly BatchEntry[],
): Promise<BatchResult> {
  try {
    return await request.storage.write(() => applyAtomic(request, entries));
  } catch (error) {
    if (error instanceof BatchFailed) return error.result;
    throw error;
  }
}

async function runBulk(
  request: BatchRequest,
  entries: readonly BatchEntry[],
): Promise<BatchResult> {
  let charge = 0;
  let status = 200;
  const apply = async (entry: BatchEntry): Promise<string> => {
    if (status !== 200 && !request.isContinuing) return answer(424, 0, '');
    try {
      const run = (): Outcome => {
        const container = request.storage.current(request.container);
        return applyOperation({ ...request, container, pk: entry.pk }, entry);
      };
      const outcome = await request.storage.write(run);
      charge += outcome.charge;
      return success(outcome, request.isMinimal);
    } catch (error) {
      if (!(error instanceof CosmosError)) throw error;
      status = 207;
      charge += minimumCharge;
      return failure(error);
    }
  };
  const answers: string[] = [];
  if (request.isContinuing) answers.push(...(await Promise.all(entries.map(apply))));
  else for (const entry of entries) answers.push(await apply(entry));
  return { status, charge, body: `[${answers.join(',')}]` };
}

/** Runs a batch or bulk request; resolves when its outcome is durable. */
export function runBatch(
  request: BatchRequest,
  entries: readonly BatchEntry[],
): Promise<BatchResult> {
  return request.isAtomic ? runAtomic(request, entries) : runBulk(request, entries);
}
