// What an answer of Cosmos DB means for a caller of the port: try again, never again, or a batch
// that met another writer. Nothing here retries.
import type { BatchResult } from './store.ts';
import { StoreRefused, StoreUnavailable } from './store.ts';

/** 404, 409, 412: the batch met items that are not as its author believed. */
const preconditions = new Set([404, 409, 412]);
/** Throttled, timed out, moved, retry with, wrong key while it is being rotated. */
const passing = new Set([401, 404, 408, 410, 429, 449]);

// Sub-statuses [SDK statusCodes]: a 403 that heals by itself while a region fails over, and 404s
// that speak of the replica (1002) or of the container (1003), not of the item.
const writeForbidden = 3;
const accountNotFound = 1008;
const readSessionNotAvailable = 1002;
const ownerNotFound = 1003;

interface Failure {
  code?: unknown;
  substatus?: unknown;
  retryAfterInMs?: unknown;
  headers?: Record<string, unknown>;
}

/** The error of the SDK that carries the status: a batch wraps it [cosmos 12.4]. */
function failureOf(error: unknown): Failure {
  for (let at = error; at instanceof Error; at = at.cause) if ('code' in at) return at;
  return {};
}

/** Request units that a failed request cost all the same. */
export function chargeOf(error: unknown): number {
  return Number(failureOf(error).headers?.['x-ms-request-charge'] ?? 0) || 0;
}

/** The status of an HTTP answer inside a thrown error, or its network code. */
export function codeOf(error: unknown): unknown {
  return failureOf(error).code;
}

/** Translates whatever the SDK threw; `doing` names the method of the port. */
export function storeError(error: unknown, doing: string): StoreUnavailable | StoreRefused {
  if (error instanceof StoreUnavailable || error instanceof StoreRefused) return error;
  const { code, substatus, retryAfterInMs } = failureOf(error);
  const text = `Cosmos DB answered ${String(code ?? 'nothing')} to ${doing}`;
  const heals = code === 403 && (substatus === writeForbidden || substatus === accountNotFound);
  if (typeof code === 'number' && code >= 400 && code < 500 && !passing.has(code) && !heals) {
    return new StoreRefused(code, text, { cause: error });
  }
  const retryAfterMs = typeof retryAfterInMs === 'number' ? retryAfterInMs : undefined;
  return new StoreUnavailable(text, { cause: error, retryAfterMs, isThrottled: code === 429 });
}

/** A 404 of a point read: true when the item is absent, an error when something else is. */
export function assertItemAbsent(substatus: number | undefined, doing: string): void {
  if (substatus === readSessionNotAvailable) {
    throw new StoreUnavailable(`Cosmos DB: no replica is up to date enough for ${doing}`);
  }
  if (substatus === ownerNotFound) {
    throw new StoreUnavailable(`Cosmos DB: the database or container of ${doing} does not exist`);
  }
}

/** One operation's result inside the answer to a batch. */
export interface OperationResult {
  statusCode: number;
  eTag?: string;
  retryAfterMilliseconds?: number;
}

/** Of a throttled request, the pause that Azure asks for; undefined of any other failure. */
export function pauseOfThrottled(error: unknown): number | undefined {
  const { code, retryAfterInMs } = failureOf(error);
  if (code !== 429) return undefined;
  return typeof retryAfterInMs === 'number' ? retryAfterInMs : 0;
}

/** A batch of which one operation was throttled was not done, as any batch that fails. */
export function assertNotThrottled(results: readonly OperationResult[]): void {
  const throttled = results.find(({ statusCode }) => statusCode === 429);
  if (throttled === undefined) return;
  const retryAfterInMs = throttled.retryAfterMilliseconds;
  throw Object.assign(new Error('an operation of the batch'), { code: 429, retryAfterInMs });
}

/** Reads the answer to a batch [cosmos 12.4]: 207 and 424 everywhere but at the one that failed. */
export function batchResultOf(
  results: readonly OperationResult[],
  operations: readonly { kind: string }[],
): BatchResult {
  const failed = results.findIndex(({ statusCode }) => statusCode >= 300 && statusCode !== 424);
  if (failed >= 0) {
    const status = results[failed]?.statusCode ?? 500;
    if (preconditions.has(status)) return { applied: false, failed, status };
    throw Object.assign(new Error(`operation ${failed} of the batch`), { code: status });
  }
  if (results.length !== operations.length) {
    throw new StoreUnavailable(`Cosmos DB answered ${results.length} of ${operations.length}`);
  }
  // A delete has no etag afterwards, whatever the answer carries.
  const etags = results.map((result, index) =>
    operations[index]?.kind === 'delete' ? '' : (result.eTag ?? ''),
  );
  return { applied: true, etags };
}

/** A batch that failed as a whole met a precondition somewhere: nothing of it was applied, and the
 *  first operation (the gate's, in every batch of the protocol) is where its author looks again. */
export function wholeBatchFailure(error: unknown): BatchResult | undefined {
  const { code, substatus } = failureOf(error);
  if (typeof code !== 'number' || !preconditions.has(code)) return undefined;
  // A 404 that is not about an item never says that another writer was first.
  return code === 404 && substatus !== undefined && substatus !== 0
    ? undefined
    : { applied: false, failed: 0, status: code };
}
