// A local Azure Cosmos DB (API for NoSQL) over plain HTTP and SQLite.
//
// Owns:    sockets, bodies, headers, authentication, faults of tests, usage counts, the expiry
//          sweep.
// Leaves:  what requests mean to routes.ts, what is stored to storage.ts.
//
// Invariants:
//   1. It listens on loopback only.
//   2. Whatever arrives is answered or its socket closed: no request ends the process.
//   3. A write is answered only after its commit; a process killed at any moment has lost nothing
//      that was answered, and holds no half of a batch.

import { type KeyObject, createSecretKey } from 'node:crypto';
import { createServer, STATUS_CODES } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';

import { realClock, type Clock } from '../../../shared/clock.ts';
import { assertSigned, emulatorKey } from './auth.ts';
import { badRequest, codeWord, tooLarge } from './errors.ts';
import { openFaultPort } from './fault-port.ts';
import { Faults } from './faults.ts';
import { CosmosFault, type CosmosIntercept, type CosmosRequestInfo } from './intercept.ts';
import { placementOf } from './placement.ts';
import { Replicas } from './replicas.ts';
import { segmentsOf, type Action, type Reply, type Request } from './request.ts';
import { errorReply, send } from './reply.ts';
import { resolveAction } from './routes.ts';
import { Storage } from './storage.ts';
import { startSweep } from './sweep.ts';
import { Throttle } from './throttle.ts';
import { Turns } from './turns.ts';

export { CosmosFault, type CosmosIntercept, type CosmosRequestInfo } from './intercept.ts';

export interface CosmosOptions {
  /** A path, or ':memory:'. */
  file: string;
  /** 0 = any free. */
  port: number;
  clock?: Clock;
  /** Base64 master key; without one any signature is accepted. */
  key?: string;
  intercept?: CosmosIntercept;
  /** Rules by which requests meet faults; none meet any without it. */
  faults?: Faults;
  /** The file grows no further: writes are then answered 5xx until items are deleted. */
  fileBytesMax?: number;
  /** A loopback port where another process sets such rules [fault-port.ts]; 0 = any free. */
  faultPort?: number;
}

export interface CosmosUsage {
  requestUnits: number;
  requests: number;
  /** Request units by kind of request. */
  perKind: Record<string, number>;
}

export interface CosmosServer {
  port: number;
  connectionString: string;
  usage(): CosmosUsage;
  close(): Promise<void>;
}

const bodyBytesMax = 4 * 1024 * 1024;
/** Beyond the limit a body is read to its end, so that the client sees 413, but not for ever. */
const drainBytesMax = 64 * 1024 * 1024;
const closeGraceMs = 1000;
/** Above Node's 5 s: the client's pooled sockets would be reset otherwise [CO 12.6]. */
const keepAliveMs = 120_000;

const nothing = Buffer.alloc(0);

interface Running {
  storage: Storage;
  replicas: Replicas;
  turns: Turns;
  clock: Clock;
  key: KeyObject | undefined;
  /** Clients date their requests by the real clock; a clock of tests has nothing to do with it. */
  isDateChecked: boolean;
  intercept: CosmosIntercept | undefined;
  throttle: Throttle;
  usage: CosmosUsage;
}

function readBody(incoming: IncomingMessage): Promise<Buffer | 'tooLarge'> {
  if (incoming.readableEnded) return Promise.resolve(nothing);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    incoming.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= bodyBytesMax) chunks.push(chunk);
      else chunks.length = 0;
      if (bytes > drainBytesMax) incoming.destroy();
    });
    incoming.on('end', () => {
      if (bytes > bodyBytesMax) resolve('tooLarge');
      else resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
    });
    incoming.on('error', reject);
    incoming.on('close', () => {
      if (!incoming.complete) reject(new Error('the client left'));
    });
  });
}

function endpointOf(incoming: IncomingMessage): string {
  const host = incoming.headers.host ?? '';
  const isPlain = /^[A-Za-z0-9.:[\]-]{1,255}$/.test(host);
  return `http://${isPlain ? host : `localhost:${incoming.socket.localPort}`}/`;
}

function parseBody(bytes: Buffer): unknown {
  if (bytes.length === 0) return undefined;
  try {
    return JSON.parse(bytes.toString()) as unknown;
  } catch {
    throw badRequest('The request body is not valid JSON.');
  }
}

function requestOf(incoming: IncomingMessage, body: Buffer, running: Running): Request {
  const method = incoming.method ?? '';
  const segments = segmentsOf(incoming.url ?? '');
  const { headers } = incoming;
  if (running.key) {
    const named = headers['x-ms-date'];
    const date = typeof named === 'string' ? named : headers.date;
    const signed = {
      method,
      segments,
      date,
      dateMs: Date.parse(date ?? ''),
      authorization: headers.authorization,
      nowMs: running.isDateChecked ? running.clock.now() : undefined,
    };
    assertSigned(signed, running.key);
  }
  return {
    method,
    segments,
    headers,
    body: parseBody(body),
    bodyBytes: body.length,
    nowMs: running.clock.now(),
    endpoint: endpointOf(incoming),
  };
}

function runWhere(running: Running, request: Request, action: Action): Promise<Reply> | Reply {
  const { storage, replicas, turns } = running;
  const placement = placementOf(storage, request);
  if (placement === 'replica') return replicas.read(request);
  if (placement === 'alone') return replicas.write(request);
  const isQuick = request.segments.length > 5 || !isReading(action);
  const turn = isQuick ? undefined : turns.next();
  return turn ? turn.then(() => action.run()) : action.run();
}

/** Whether it may take milliseconds: queries and feeds, not operations on one item. */
const isReading = ({ info }: Action): boolean =>
  info.container !== undefined && (info.kind === 'query' || info.kind === 'other');

async function runAction(running: Running, request: Request): Promise<[Reply, CosmosRequestInfo]> {
  const { storage, intercept, throttle } = running;
  const action = resolveAction(storage, request);
  const { info } = action;
  let reply: Reply;
  try {
    if (intercept?.before) await intercept.before(info);
    throttle.admit(info, storage, request.nowMs);
    reply = await runWhere(running, request, action);
  } catch (error) {
    if (error instanceof CosmosFault && error.isReset) throw error;
    reply = errorReply(error);
  }
  if (reply.status !== 429) throttle.charge(info, storage, reply.charge);
  if (intercept?.after) await intercept.after(info, reply.status);
  return [reply, info];
}

function count(usage: CosmosUsage, kind: string, charge: number): void {
  usage.requests++;
  usage.requestUnits += charge;
  usage.perKind[kind] = (usage.perKind[kind] ?? 0) + charge;
}

async function answer(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  running: Running,
): Promise<void> {
  let reply: Reply;
  let info: CosmosRequestInfo | undefined;
  try {
    const body = await readBody(incoming);
    if (body === 'tooLarge') throw tooLarge();
    [reply, info] = await runAction(running, requestOf(incoming, body, running));
  } catch (error) {
    const isReset = error instanceof CosmosFault && error.isReset;
    if (isReset || !incoming.complete || incoming.socket.destroyed) {
      incoming.socket.destroy();
      return;
    }
    reply = errorReply(error);
  }
  count(running.usage, info?.kind ?? 'other', reply.charge);
  if (!outgoing.destroyed) send(outgoing, { reply, info }, running.storage);
}

/** What does not get as far as a request. */
function notHttp(status: 400 | 431): string {
  const reason = status === 431 ? 'The headers are too large.' : 'This is not an HTTP request.';
  const text = JSON.stringify({ code: codeWord(400), message: reason });
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n`;
  const type = 'Content-Type: application/json\r\n';
  return `${head}${type}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
}

function createHttpServer(running: Running): Server {
  // A request without a body then needs no stream events.
  const options = { maxHeaderSize: 64 * 1024, optimizeEmptyRequests: true };
  const server = createServer(options, (incoming, outgoing) => {
    outgoing.on('error', () => {});
    answer(incoming, outgoing, running).catch(() => outgoing.destroy());
  });
  server.keepAliveTimeout = keepAliveMs;
  server.headersTimeout = keepAliveMs + 5000;
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable) socket.destroy();
    else socket.end(notHttp(error.code === 'HPE_HEADER_OVERFLOW' ? 431 : 400));
  });
  return server;
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      const address = server.address();
      resolve(address !== null && typeof address === 'object' ? address.port : port);
    });
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = realClock.after(closeGraceMs, () => server.closeAllConnections());
    server.close(() => {
      timer.cancel();
      resolve();
    });
    server.closeIdleConnections();
  });
}

/** Starts a server; a busy port rejects with `code` 'EADDRINUSE' and `port`. */
export async function startCosmos(options: CosmosOptions): Promise<CosmosServer> {
  const { file, clock = realClock, key, faultPort } = options;
  const faults = options.faults ?? (faultPort === undefined ? undefined : new Faults({ clock }));
  const intercept = faults?.intercept(options.intercept) ?? options.intercept;
  const { fileBytesMax } = options;
  const pagesMax = fileBytesMax === undefined ? undefined : Math.ceil(fileBytesMax / 4096);
  const storage = new Storage(file, { pagesMax });
  const running: Running = {
    storage,
    replicas: new Replicas(storage),
    turns: new Turns(),
    clock,
    isDateChecked: clock === realClock,
    key: key === undefined ? undefined : createSecretKey(key, 'base64'),
    intercept,
    throttle: new Throttle(),
    usage: { requestUnits: 0, requests: 0, perKind: {} },
  };
  const server = createHttpServer(running);
  let port: number;
  let remote: Server | undefined;
  try {
    if (faults && faultPort !== undefined) remote = await openFaultPort(faults, faultPort);
    port = await listen(server, '127.0.0.1', options.port);
  } catch (error) {
    remote?.close();
    storage.close();
    throw Object.assign(error instanceof Error ? error : new Error(String(error)), {
      port: options.port,
    });
  }
  // `localhost` may mean ::1 first: take it too, and where another program has it, name 127.0.0.1.
  const sixth = createHttpServer(running);
  const hasSixth = await listen(sixth, '::1', port).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== 'EADDRINUSE',
  );
  const timer = startSweep(storage, clock);
  const host = hasSixth ? 'localhost' : '127.0.0.1';
  const close = async (): Promise<void> => {
    timer.cancel();
    remote?.close();
    await Promise.all([closeServer(server), closeServer(sixth)]);
    await running.replicas.close();
    storage.close();
  };
  return {
    port,
    connectionString: `AccountEndpoint=http://${host}:${port}/;AccountKey=${key ?? emulatorKey};`,
    usage: () => ({ ...running.usage, perKind: { ...running.usage.perKind } }),
    close,
  };
}
