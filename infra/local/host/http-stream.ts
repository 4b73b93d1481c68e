// The HTTP trigger of an app with `app.setup({ enableHttpStream: true })` [FH 1.9]: the library
// listens on a port of its own, and the host joins caller and library with nothing buffered.
//
// X1 The invocation goes first with empty HTTP data; headers and route parameters are in its
//    metadata. The caller's request follows over the proxy, marked with the invocation id.
// X2 An invocation that fails before it has answered is 500 and empty; one that fails later breaks
//    the answer off, so that nobody takes a part for the whole.
// X3 When the caller goes away the proxied request goes too.
// X4 Backpressure holds all the way: pipes, never buffers.
import { Agent, request as openRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { Transform } from 'node:stream';
import { BodyTooLarge, bodyBytesMax, headersOf, queryOf, sendEmpty } from './http-answer.ts';
import type { HttpCall } from './http-call.ts';
import type { Invoker } from './invoker.ts';
import type { TypedData } from './rpc.ts';

export interface StreamProxy {
  run(call: HttpCall): Promise<void>;
  close(): void;
}

/** Hop by hop: for the connection to the library, not for the caller. */
const ownHeaders = new Set(['connection', 'keep-alive', 'transfer-encoding', 'x-ms-invocation-id']);

/** `httpUri` is the capability that the library gives: where it listens. */
export function createStreamProxy(httpUri: string, invoker: Invoker): StreamProxy {
  const port = Number(new URL(httpUri).port);
  const agent = new Agent({ keepAlive: true });
  return {
    run: (call) => runStreamed({ invoker, port, agent }, call),
    close: () => agent.destroy(),
  };
}

interface Proxy {
  invoker: Invoker;
  port: number;
  agent: Agent;
}

async function runStreamed(proxy: Proxy, call: HttpCall): Promise<void> {
  const { request, response, fn } = call;
  let leg: ClientRequest | undefined;
  let relayed: Promise<void> | undefined;
  const traceParent = request.headers['traceparent'];
  const outcome = await proxy.invoker
    .run(fn, {
      data: { http: {} },
      triggerMetadata: metadataOf(call),
      reason: 'This function was programmatically called via the host APIs.',
      wantsResponse: true,
      onStart: (invocationId) => {
        leg = openLeg(proxy, request, invocationId); // [X1]
        relayed = relay(leg, call);
        relayed.catch(() => {}); // looked at below, when the invocation has ended
      },
      ...(typeof traceParent === 'string' ? { traceParent } : {}),
    })
    .catch(() => undefined); // the invoker has said it
  const isAnswered = outcome?.result !== undefined && outcome.result !== null;
  if (isAnswered || response.writableEnded) return await relayed;
  leg?.destroy();
  if (response.headersSent)
    response.destroy(); // [X2]
  else sendEmpty(response, outcome ? 200 : 500);
}

function openLeg(proxy: Proxy, request: IncomingMessage, invocationId: string): ClientRequest {
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined && name !== 'connection' && name !== 'expect') headers[name] = value;
  }
  headers['x-ms-invocation-id'] = invocationId;
  headers['x-forwarded-host'] = request.headers.host ?? 'localhost';
  headers['x-forwarded-proto'] = 'http';
  const { method, url: path } = request;
  return openRequest({
    host: '127.0.0.1',
    port: proxy.port,
    agent: proxy.agent,
    headers,
    method,
    path,
  });
}

/** Joins the two halves [X4]; resolves when the answer is through. */
async function relay(leg: ClientRequest, { request, response }: HttpCall): Promise<void> {
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    leg.once('response', resolve).once('error', reject);
  });
  const underway = untilUnderway(leg);
  response.once('close', () => {
    if (!response.writableFinished) void underway.then(() => leg.destroy()); // [X3]
  });
  const limited = limit(bodyBytesMax());
  // no pipeline: one that fails would destroy the caller's socket, on which the answer goes
  limited.on('error', (error) => leg.destroy(error));
  leg.on('error', () => {
    request.unpipe(limited);
    request.resume();
  });
  request.pipe(limited).pipe(leg);
  const answer = await answered;
  response.statusCode = answer.statusCode ?? 200;
  for (const [name, values] of Object.entries(answer.headersDistinct)) {
    if (values && !ownHeaders.has(name)) response.setHeader(name, values);
  }
  await pipeline(answer, response);
}

/** The library waits for ever for a request that is cut off before it has got its head. */
function untilUnderway(leg: ClientRequest): Promise<void> {
  leg.flushHeaders();
  return new Promise((resolve) => {
    leg.once('error', () => resolve());
    leg.once('socket', (socket) => {
      if (socket.connecting) socket.once('connect', () => setImmediate(resolve));
      else setImmediate(resolve);
    });
  });
}

/** Passes on what it gets and fails beyond the limit. */
function limit(bytesMax: number): Transform {
  let size = 0;
  return new Transform({
    transform(chunk: Buffer, _, done) {
      size += chunk.length;
      if (size > bytesMax) done(new BodyTooLarge(`a body of more than ${bytesMax} bytes`));
      else done(null, chunk);
    },
  });
}

/** [FH 1.9] The library takes `Headers`, and every text beside it as a route parameter. */
function metadataOf({ request, params }: HttpCall): Record<string, TypedData> {
  const metadata: Record<string, TypedData> = {};
  const query = queryOf(request);
  for (const [name, value] of Object.entries({ ...query, ...params })) {
    metadata[name] = { string: value }; // query values too, as buffered requests have them
  }
  metadata['Headers'] = { json: JSON.stringify(headersOf(request)) };
  metadata['Query'] = { json: JSON.stringify(query) };
  return metadata;
}
