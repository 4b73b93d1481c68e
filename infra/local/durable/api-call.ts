// What the handlers of the durable HTTP API share: the call, answers, JSON at the door.
import type { HubParts, HubRequest, HubResponse } from './parts.ts';
import type { managementUrls } from './status.ts';

export interface ApiCall {
  parts: HubParts;
  request: HubRequest;
  /** Decoded path segments. */
  path: string[];
  links: (id: string) => ReturnType<typeof managementUrls>;
}

export const continuationHeader = 'x-ms-continuation-token';
export const pageDefault = 100;
const pageMax = 1_000;

export function json(
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): HubResponse {
  const type = { 'content-type': 'application/json; charset=utf-8' };
  return { status, headers: { ...type, ...headers }, body: JSON.stringify(body) };
}

export const refuse = (status: number, text: string): HubResponse =>
  json(status, { Message: text });
/** What an ArgumentException of the extension becomes. */
export function refuseArgument(text: string): HubResponse {
  const Message = 'One or more of the arguments submitted is incorrect';
  return json(400, { Message, ExceptionMessage: text, ExceptionType: 'System.ArgumentException' });
}

/** What any other exception of it becomes. */
export function refuseState(text: string): HubResponse {
  const Message = 'Something went wrong while processing your request';
  const ExceptionType = 'System.InvalidOperationException';
  return json(500, { Message, ExceptionMessage: text, ExceptionType });
}

export const accepted = (): HubResponse => ({ status: 202, headers: {}, body: '' });
export const missing = (id: string): HubResponse =>
  refuse(404, `No instance with ID '${id}' was found.`);

export function headerOf(request: HubRequest, name: string): string | undefined {
  return Object.entries(request.headers).find(([key]) => key.toLowerCase() === name)?.[1];
}

export function hasJsonType(request: HubRequest): boolean {
  const type = headerOf(request, 'content-type')?.split(';')[0]?.trim().toLowerCase();
  return type === 'application/json';
}

/** JSON text as given, null when the body is empty; undefined when it is not JSON. */
export function jsonText(body: string): string | null | undefined {
  if (body.trim() === '') return null;
  try {
    JSON.parse(body);
    return body.trim();
  } catch {
    return undefined;
  }
}

export interface Page {
  limit: number;
  /** The last id of the page before. */
  after: string;
}

/** Which page is asked for, or why it is malformed. */
export function pageOf(request: HubRequest): Page | string {
  const top = Number(request.query.get('top') ?? pageDefault);
  if (!Number.isInteger(top) || top < 1) return 'top is no positive integer.';
  const token = headerOf(request, continuationHeader) ?? '';
  return { limit: Math.min(top, pageMax), after: Buffer.from(token, 'base64').toString('utf8') };
}

/** The header that leads to the next page, when this one is full. */
export function nextPage(found: readonly { id: string }[], { limit }: Page) {
  const last = found.length === limit ? found.at(-1) : undefined;
  const next: Record<string, string> = {};
  if (last) next[continuationHeader] = Buffer.from(last.id).toString('base64');
  return next;
}

/** The two ends of a time filter in milliseconds, or why they are malformed. */
export function timesOf(
  query: URLSearchParams,
  name: string,
): { from: number; to: number } | string {
  const from = Date.parse(query.get(`${name}From`) ?? '1970-01-01');
  const to = Date.parse(query.get(`${name}To`) ?? '9999-12-31');
  if (Number.isNaN(from) || Number.isNaN(to)) return `${name}… is no instant.`;
  return { from, to };
}
