// Errors → RFC 9457 problem details: what was received and what to do about it, for every error.
import type { HttpResponseInit } from '@azure/functions';
import { ConvoyError, errorRegistry, reasonOf } from '../../shared/errors.ts';
import type { ErrorCode } from '../../shared/errors.ts';
import { StoreRefused, StoreUnavailable } from '../../shared/store/store.ts';

const statusPerCode: Partial<Record<ErrorCode, number>> = {
  CVY_BAD_REQUEST: 400,
  CVY_KEY_MISSING: 400,
  CVY_KEY_INVALID: 400,
  CVY_ID_INVALID: 400,
  CVY_BODY_NOT_JSON: 400,
  CVY_BODY_NOT_UTF8: 400,
  CVY_SCHEMA: 400,
  CVY_ENVELOPE: 400,
  CVY_LANE_UNKNOWN: 400,
  CVY_NOT_FOUND: 404,
  CVY_CONVOY_UNKNOWN: 404,
  CVY_CONFLICT: 409,
  CVY_LANES: 409,
  CVY_BODY_TOO_LARGE: 413,
  CVY_UNREACHABLE: 503,
  CVY_LANES_STALE: 503,
  CVY_THROTTLED: 503,
};

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ErrorCode;
  received: string;
  remedy: string;
}

/** The problem of anything thrown. What we did not foresee shows its code, never its inside. */
export function problemOf(error: unknown): Problem {
  const known = knownError(error);
  const { code, received, remedy } = known;
  return {
    type: `urn:convoy:error:${code}`,
    title: errorRegistry[code].meaning,
    status: statusPerCode[code] ?? 500,
    detail: known.message,
    code,
    received,
    remedy,
  };
}

function knownError(error: unknown): ConvoyError {
  if (error instanceof ConvoyError) return error;
  if (error instanceof StoreUnavailable && error.isThrottled) {
    return new ConvoyError('CVY_THROTTLED', 'Cosmos DB limits the rate', { cause: error });
  }
  if (error instanceof StoreUnavailable) {
    return new ConvoyError('CVY_UNREACHABLE', 'the store does not answer now', { cause: error });
  }
  if (error instanceof StoreRefused) {
    const received = `the store refused the request with ${error.status}`;
    return new ConvoyError('CVY_INTERNAL', received, { cause: error });
  }
  const received = `an unforeseen ${error instanceof Error ? error.name : typeof error}`;
  return new ConvoyError('CVY_INTERNAL', received, { cause: error });
}

export function problemResponse(error: unknown): HttpResponseInit {
  const problem = problemOf(error);
  return {
    status: problem.status,
    headers: {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      ...(problem.status === 503 ? { 'retry-after': '5' } : {}),
    },
    body: JSON.stringify(problem),
  };
}

/** One line for the log: the code and the whole chain of causes, without bodies or secrets. */
export function problemLine(error: unknown): string {
  const chain: string[] = [];
  for (let cause: unknown = error; cause && chain.length < 5;) {
    chain.push(reasonOf(cause));
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return chain.join(' <- ');
}
