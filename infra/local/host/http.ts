// The HTTP side of the host: which request goes where, and the HTTP trigger in buffered mode.
// Source: functions-host.md 1.8. Routes are routes.ts, message forms http-answer.ts, streaming is
// http-stream.ts, /admin is admin.ts.
//
// P1 The host's own space (/admin, /runtime/webhooks, /durabletask) comes before functions.
// P2 No match is 404 (the wrong method too), a throw is 500 with an empty body, nothing returned is
//    200 with an empty body.
// P3 Auth levels are open, as with `func start` without --enableAuth.
// P4 An app that streams gets every HTTP function streamed: the flag is the library's, and global.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Say } from './console.ts';
import { applyCors } from './cors.ts';
import { HostFault, messageOf } from './faults.ts';
import type { HostFunction } from './functions.ts';
import {
  BodyTooLarge,
  readBody,
  sendEmpty,
  sendJson,
  sendRpcAnswer,
  toRpcRequest,
} from './http-answer.ts';
import type { HttpCall } from './http-call.ts';
import type { StreamProxy } from './http-stream.ts';
import type { Invoker } from './invoker.ts';
import { createThrottle, TooManyRequests, type Throttle } from './throttle.ts';
import type { CorsSettings } from './settings.ts';
import { compileRoute, isConflict, isReserved, matchRoute, type Route } from './routes.ts';

export interface HttpFunction {
  fn: HostFunction;
  route: Route;
}

/** Handles what it knows and says whether it did. */
export type HostRoute = (
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
) => Promise<boolean>;

export interface HttpOptions {
  functions: readonly HttpFunction[];
  invoker: Invoker;
  hostRoutes: readonly HostRoute[];
  customHeaders: Record<string, string>;
  cors: CorsSettings;
  limits: { maxConcurrent: number; maxOutstanding: number };
  /** Of an app that streams; else HTTP is buffered. */
  streams: StreamProxy | undefined;
  say: Say;
}

/** Compiles the routes in matching order; a function whose route clashes is refused by reason. */
export function readHttpFunctions(
  functions: readonly HostFunction[],
  prefix: string,
): { accepted: HttpFunction[]; refused: { name: string; reason: string }[] } {
  const accepted: HttpFunction[] = [];
  const refused: { name: string; reason: string }[] = [];
  for (const fn of functions) {
    try {
      accepted.push({ fn, route: readRoute(fn, prefix, accepted) });
    } catch (error) {
      refused.push({
        name: fn.name,
        reason: messageOf(error),
      });
    }
  }
  return { accepted, refused };
}

function readRoute(fn: HostFunction, prefix: string, before: readonly HttpFunction[]): Route {
  const { route: template = fn.name, methods = ['GET', 'POST'] } = fn.trigger;
  if (typeof template !== 'string') throw new HostFault('route is not a text');
  if (isReserved(template)) {
    throw new HostFault('The specified route conflicts with one or more built in routes.');
  }
  const route = compileRoute(template || fn.name, prefix, (methods as unknown[]).map(String));
  const other = before.find((one) => isConflict(one.route, route));
  if (other) {
    throw new HostFault(
      `The route specified conflicts with the route defined by function '${other.fn.name}'.`,
    );
  }
  return route;
}

/** The request listener of a running host. */
export function createHttp(
  options: HttpOptions,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const throttle = createThrottle(options.limits);
  return async (request, response) => {
    try {
      await dispatch({ ...options, throttle }, request, response);
    } catch (error) {
      if (response.headersSent) response.destroy();
      else if (error instanceof BodyTooLarge) sendEmpty(response, 413);
      else if (error instanceof TooManyRequests) sendEmpty(response, 429);
      else {
        // a client that went away is no fault of the host
        if (!request.destroyed) options.say('error', `HTTP: ${String(error)}`);
        sendEmpty(response, 500);
      }
    }
  };
}

async function dispatch(
  options: HttpOptions & { throttle: Throttle },
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = URL.parse(request.url ?? '/', 'http://localhost');
  if (!url || !request.url?.startsWith('/')) return sendEmpty(response, 400);
  for (const [name, value] of Object.entries(options.customHeaders)) {
    response.setHeader(name, value);
  }
  if (applyCors(options.cors, request, response)) return;
  for (const route of options.hostRoutes) {
    if (await route(request, response, url)) return; // [P1]
  }
  const method = request.method ?? 'GET';
  // the raw path: decoding is the matcher's
  const path = (request.url.split('?', 1)[0] ?? '/').replace(/(?<!\/)\/+$/, '') || '/';
  for (const { fn, route } of options.functions) {
    const params = matchRoute(route, method, path);
    if (!params) continue;
    const call: HttpCall = { fn, params, request, response };
    return options.throttle.run(() => options.streams?.run(call) ?? runHttp(options, call));
  }
  sendEmpty(response, 404); // [P2]
}

async function runHttp(options: HttpOptions, call: HttpCall): Promise<void> {
  const { fn, params, request, response } = call;
  const body = await readBody(request);
  const traceParent = request.headers['traceparent'];
  const outcome = await options.invoker
    .run(fn, {
      data: { http: toRpcRequest(request, params, body) },
      reason: 'This function was programmatically called via the host APIs.',
      wantsResponse: true,
      ...(typeof traceParent === 'string' ? { traceParent } : {}),
    })
    .catch(() => undefined); // the invoker has said it
  if (!outcome) return sendEmpty(response, 500); // [P2]
  sendRpcAnswer(response, outcome.response, request.method === 'HEAD');
}

/** GET / : a page where Azure has one. */
export const homePage: HostRoute = async (request, response, url) => {
  if (url.pathname !== '/' || request.method !== 'GET') return false;
  if (/^true$/i.test(process.env['AzureWebJobsDisableHomepage'] ?? '')) sendEmpty(response, 204);
  else {
    response
      .writeHead(200, { 'content-type': 'text/html; charset=utf-8' })
      .end('<!doctype html><title>Functions host</title>Your Functions app is up and running');
  }
  return true;
};

/** While the app loads: what the real host answers before it runs. */
export const unavailable = (_: IncomingMessage, response: ServerResponse): void =>
  sendJson(response, 503, { state: 'Starting' });
