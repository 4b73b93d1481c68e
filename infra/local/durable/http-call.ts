// callHttp: the activity that the hub itself offers, and the polls of a 202.
// [reference/durable.md 6.7]
//
// Invariants:
//   Q1. Any answer is a result; only a request that gets none is a failure.
//   Q2. A poll asks the Location of the answer before it, with GET and without the function key.
import { hubFault } from './fault.ts';
import type { SdkHttpRequest, SdkTask } from './sdk.ts';

export const httpActivityName = 'BuiltIn::HttpActivity';

const bodyBytesMax = 64 * 1024 * 1024;

/** Where a follow-up call stands: children are call, timer, call, timer, call … */
export function pollPlace(task: SdkTask): { timer: SdkTask; before: SdkTask } | undefined {
  const outer = task.parent?.actionObj;
  const own = task.actionObj;
  if (outer === 'noOp' || outer?.actionType !== 8) return undefined;
  if (own === 'noOp' || own?.actionType !== 8) return undefined;
  const children = task.parent?.children ?? [];
  const at = children.indexOf(task);
  const [before, timer] = [children[at - 2], children[at - 1]];
  return before && timer ? { timer, before } : undefined;
}

interface HttpResult {
  statusCode: number;
  headers: Record<string, string>;
  content: string;
}

function headerOf(headers: Record<string, string>, name: string): string | undefined {
  return Object.entries(headers).find(([key]) => key.toLowerCase() === name)?.[1];
}

/** [Q2] The request of a follow-up call; undefined for a first one. */
export function pollRequest(task: SdkTask | undefined): SdkHttpRequest | undefined {
  const place = task && pollPlace(task);
  const own = task?.actionObj;
  if (!place || own === 'noOp' || !own?.httpRequest) return undefined;
  const { content: _, headers = {}, uri, ...request } = own.httpRequest;
  const answered = place.before.result as HttpResult | undefined;
  const location = headerOf(answered?.headers ?? {}, 'location') ?? uri;
  const next = new URL(location, uri);
  const isSameOrigin = next.origin === new URL(uri).origin;
  const kept = Object.entries(headers).filter(([name]) => mayTravel(name, isSameOrigin));
  return { ...request, method: 'GET', uri: next.href, headers: Object.fromEntries(kept) };
}

/** Keys and tokens do not follow a Location to another origin. */
function mayTravel(name: string, isSameOrigin: boolean): boolean {
  if (/^x-functions-key$/i.test(name)) return false;
  return isSameOrigin || !/^(authorization|cookie)$/i.test(name);
}

/** Performs the request of a TaskScheduled; the result as JSON text. Rejects without an answer. */
export async function performHttp(input: string, signal: AbortSignal): Promise<string> {
  const { method, uri, content, headers, tokenSource } = JSON.parse(input) as SdkHttpRequest;
  if (tokenSource) {
    throw hubFault('HUB_PROTOCOL', 'callHttp with a tokenSource is not supported by the local hub');
  }
  const given = new Headers(headers);
  if (/multipart/i.test(given.get('content-type') ?? '')) {
    throw new TypeError('Multipart content is not supported with CallHttpAsync.');
  }
  if (content !== undefined && !given.has('content-type')) given.set('content-type', 'text/plain');
  const body = content === undefined ? {} : { body: content };
  const answer = await fetch(uri, { method, headers: given, signal, ...body }).catch(refused);
  const result: HttpResult = {
    statusCode: answer.status,
    headers: Object.fromEntries(answer.headers),
    content: await bodyOf(answer),
  };
  return JSON.stringify(result);
}

/** undici hides why in the cause. */
function refused(error: unknown): never {
  const cause = error instanceof Error ? error.cause : undefined;
  throw cause instanceof Error ? cause : error;
}

async function bodyOf(answer: Response): Promise<string> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of answer.body ?? []) {
    size += piece.length;
    if (size > bodyBytesMax) throw new RangeError('the answer is larger than 64 MB');
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}
