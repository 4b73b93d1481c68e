// HTTP messages in and out of their RPC form [FH 1.8]: what a request becomes for the handler and
// what becomes of the handler's answer.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { InvocationResponse, RpcCookie, RpcHttp } from './rpc.ts';

/** The real host's limit for a request body, and the setting that moves it. */
export function bodyBytesMax(): number {
  return Number(process.env['FUNCTIONS_REQUEST_BODY_SIZE_LIMIT']) || 104_857_600;
}

export class BodyTooLarge extends Error {}

/** Reads a whole body; throws `BodyTooLarge` beyond the limit. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  const bytesMax = bodyBytesMax();
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > bytesMax) throw new BodyTooLarge(`a body of more than ${bytesMax} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

export function headersOf(request: IncomingMessage): Record<string, string> {
  const headers = Object.entries(request.headersDistinct).flatMap(([name, values]) =>
    values ? [[name, values.join(',')] as const] : [],
  );
  return Object.fromEntries(headers);
}

/** The query as a flat map: values of one name are joined by commas. */
export function queryOf(request: IncomingMessage): Record<string, string> {
  const query = new Map<string, string>();
  for (const [name, value] of new URL(request.url ?? '/', 'http://localhost').searchParams) {
    const before = query.get(name);
    query.set(name, before === undefined ? value : `${before},${value}`);
  }
  return Object.fromEntries(query);
}

/** The request as the handler's trigger data. */
export function toRpcRequest(
  request: IncomingMessage,
  params: Record<string, string>,
  body: Buffer,
): RpcHttp {
  const nullable = (from: Record<string, string>): Record<string, { value: string }> =>
    Object.fromEntries(Object.entries(from).map(([name, value]) => [name, { value }]));
  const query = queryOf(request);
  const url = `http://${request.headers.host ?? 'localhost'}${request.url ?? '/'}`;
  // A body without Content-Length arrives empty in buffered mode [FH 1.8].
  const isSized = Number(request.headers['content-length'] ?? 0) > 0;
  return {
    method: request.method ?? 'GET',
    url,
    nullableHeaders: nullable(headersOf(request)),
    nullableQuery: nullable(query),
    // The real host copies query values among the parameters; the route's own win.
    nullableParams: nullable({ ...query, ...params }),
    ...(isSized ? { body: { bytes: body } } : {}),
  };
}

/** Writes the answer of an invocation: nothing returned is 200 and empty [FH 1.8]. */
export function sendRpcAnswer(
  response: ServerResponse,
  answer: InvocationResponse | undefined,
  isHead: boolean,
): void {
  const http = answer?.returnValue?.http;
  if (!http) {
    response.writeHead(200, { 'content-length': '0' }).end();
    return;
  }
  response.statusCode = Number(http.statusCode ?? 200);
  for (const [name, value] of Object.entries(http.headers ?? {})) {
    if (!hopByHop.has(name)) response.setHeader(name, value);
  }
  const cookies = (http.cookies ?? []).map(cookieText);
  if (cookies.length > 0) response.setHeader('set-cookie', cookies);
  const body = http.body?.bytes ? Buffer.from(http.body.bytes) : Buffer.alloc(0);
  const isBodyless = response.statusCode === 204 || response.statusCode === 304;
  if (!isBodyless) {
    if (body.length > 0 && !response.hasHeader('content-type')) {
      response.setHeader('content-type', 'application/octet-stream');
    }
    response.setHeader('content-length', body.length);
  }
  response.end(isHead || isBodyless ? undefined : body);
}

const hopByHop = new Set(['transfer-encoding', 'connection', 'keep-alive', 'content-length']);

/** ASP.NET's SetCookieHeaderValue: name and value escaped, attributes in its order. */
export function cookieText(cookie: RpcCookie): string {
  const name = encodeURIComponent(cookie.name ?? '');
  const parts = [`${name}=${encodeURIComponent(cookie.value ?? '')}`];
  const expires = cookie.expires?.value;
  if (expires !== undefined && expires !== null) parts.push(`expires=${expiresText(expires)}`);
  if (cookie.maxAge?.value !== undefined) parts.push(`max-age=${Math.floor(cookie.maxAge.value)}`);
  if (cookie.domain?.value) parts.push(`domain=${cookie.domain.value}`);
  // the host's CookieOptions default
  parts.push(`path=${cookie.path?.value || '/'}`);
  if (cookie.secure?.value) parts.push('secure');
  const sameSite = { lax: 'lax', strict: 'strict', explicitNone: 'none' }[cookie.sameSite ?? ''];
  if (sameSite) parts.push(`samesite=${sameSite}`);
  if (cookie.httpOnly?.value) parts.push('httponly');
  return parts.join('; ');
}

/** The library sends a protobuf timestamp: {seconds, nanos}. */
function expiresText(value: unknown): string {
  const { seconds } = value as { seconds?: number };
  const at = seconds === undefined ? new Date(value as string) : new Date(Number(seconds) * 1000);
  return at.toUTCString();
}

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value));
  response
    .writeHead(status, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': body.length,
    })
    .end(body);
}

export function sendEmpty(response: ServerResponse, status: number): void {
  response.writeHead(status, { 'content-length': '0' }).end();
}
