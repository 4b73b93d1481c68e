// The management port: health, usage, and the management API [SB 16].
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { administrate } from './admin.ts';
import { errorAnswer } from './atom.ts';
import type { Answer } from './atom.ts';
import { errorOf, refusals } from './conditions.ts';
import { answerFault } from './fault-port.ts';
import type { FaultPort } from './fault-port.ts';
import type { Namespace } from './namespace.ts';
import { sasFault } from './sas.ts';

export interface ManagementOptions {
  namespace: Namespace;
  port: number;
  sharedAccessKey: string;
  faultPort?: FaultPort | undefined;
}

/** The largest description is a rule with long expressions and many parameters. */
const bodyBytesMax = 256 * 1024;

const json = (status: number, value: unknown): Answer => ({
  status,
  type: 'application/json',
  body: JSON.stringify(value),
});

export async function listenManagement(options: ManagementOptions) {
  const server = createServer((request, response) => {
    respond(request, response, options).catch((error: unknown) => {
      // The client went away while it was speaking.
      process.stderr.write(`broker: management: ${errorOf(error).description}\n`);
      response.destroy();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return { port, close: () => closeServer(server) };
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  options: ManagementOptions,
): Promise<void> {
  const body = await readBody(request);
  const answer = answerOf(request, body, options);
  // What an answer says must not be lost by a crash behind it.
  if (request.method !== 'GET') options.namespace.store.flush();
  const { status, type, body: text } = answer;
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

/** Undefined when it is too long. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    const bytes = Buffer.from(chunk as Uint8Array);
    length += bytes.length;
    if (length <= bodyBytesMax) chunks.push(bytes);
  }
  return length > bodyBytesMax ? undefined : Buffer.concat(chunks).toString('utf8');
}

function answerOf(
  request: IncomingMessage,
  body: string | undefined,
  options: ManagementOptions,
): Answer {
  const { namespace } = options;
  const url = new URL(request.url ?? '/', 'http://localhost');
  const path = decoded(url.pathname);
  if (path === undefined) return errorAnswer(refusals.badRequest('The path is not UTF-8.'));
  if (path === 'health') return health(namespace);
  if (path === 'usage') {
    const { operations, perEntity } = namespace.usage.report();
    return json(200, { serviceBusOperations: operations, perEntity });
  }
  if (options.faultPort && /^faults(?:\/|$)/.test(path)) {
    return answerFault(options.faultPort, request, { path, body: body ?? '' });
  }
  const token = request.headers.authorization ?? '';
  const refusal = sasFault(token, options.sharedAccessKey, namespace.clock.now());
  if (refusal !== undefined) return errorAnswer(refusals.unauthorized(refusal));
  if (body === undefined) {
    return errorAnswer(refusals.badRequest(`The body exceeds ${bodyBytesMax} bytes.`));
  }
  if (namespace.isUnwritable && request.method !== 'GET') {
    return errorAnswer(refusals.unwritable());
  }
  return administrate(namespace, {
    method: request.method ?? 'GET',
    path,
    query: url.searchParams,
    base: `http://${request.headers.host ?? 'localhost'}`,
    isUpdate: request.headers['if-match'] !== undefined,
    body,
  });
}

function health(namespace: Namespace): Answer {
  return namespace.isUnwritable
    ? json(503, { status: 'unhealthy', message: 'The data file cannot be written.' })
    : json(200, { status: 'healthy', message: 'Service is healthy.' });
}

function decoded(pathname: string): string | undefined {
  try {
    return decodeURIComponent(pathname).replace(/^\/+|(?<!\/)\/+$/g, '');
  } catch {
    return undefined;
  }
}
