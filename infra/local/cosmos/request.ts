// PURE. A request as the routes see it, and the answer they give.

import type { IncomingHttpHeaders } from 'node:http';

import { badRequest } from './errors.ts';
import type { CosmosRequestInfo } from './intercept.ts';

export interface Request {
  method: string;
  /** Decoded segments of the path. */
  segments: readonly string[];
  headers: IncomingHttpHeaders;
  /** The parsed JSON body; undefined when there is none. */
  body: unknown;
  bodyBytes: number;
  nowMs: number;
  /** `http://host:port/` as the client called us. */
  endpoint: string;
}

export interface Reply {
  status: number;
  charge: number;
  /** JSON text. */
  text?: string;
  /** The same as bytes, in place of `text`. */
  bytes?: Uint8Array;
  etag?: string;
  /** Headers beyond those every answer has, as name, value, name, value … */
  headers?: readonly string[];
}

/** What a request asks for, understood but not yet done. */
export interface Action {
  info: CosmosRequestInfo;
  run(): Promise<Reply> | Reply;
}

/** One header as a text; repeated ones are not ours. */
export function header(request: Request, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

export const isSet = (request: Request, name: string): boolean =>
  header(request, name)?.toLowerCase() === 'true';

const itemTarget = /^\/dbs\/[^/?]+\/colls\/[^/?]+\/docs\/./;

/** Splits and decodes a request target; refuses what is not a plain path. */
export function segmentsOf(target: string): string[] {
  // The id of an item may hold a `?`, which the client library does not encode.
  const path = itemTarget.test(target) ? target : (target.split('?', 1)[0] ?? '');
  if (!path.startsWith('/')) throw badRequest('The request target must be a path.');
  try {
    return path
      .split('/')
      .filter((segment) => segment !== '')
      .map(decodeURIComponent);
  } catch {
    throw badRequest('The URL is not well-formed.');
  }
}

/** `x-ms-max-item-count`: a positive count, or -1 for as many as fit a page. */
export function pageSize(request: Request): number {
  const text = header(request, 'x-ms-max-item-count');
  if (text === undefined) return 100;
  const count = Number(text);
  if (!Number.isInteger(count) || count === 0 || count < -1) {
    throw badRequest(`x-ms-max-item-count '${text.slice(0, 20)}' is invalid.`);
  }
  return count === -1 ? Infinity : count;
}

export const isQuery = (request: Request): boolean =>
  isSet(request, 'x-ms-documentdb-isquery') ||
  (header(request, 'content-type') ?? '').startsWith('application/query+json');
