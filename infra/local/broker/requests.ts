// Requests over the $cbs and $management nodes: one table of operations.
//
// Owns:    reading a request, answering with the exact types the clients cast [SB 2, 11].
// Leaves:  links and credit of the replies to listener.ts, decisions to entity.ts.
//
// Invariants:
//   R1. Every answer with an error carries its condition as a symbol: from the number alone the
//       JavaScript client guesses wrongly [SB 11].
//   R2. Operations on a session need the lock, held by the associated link of the same connection
//       [SB 11.4]; a settlement needs the token and a holder of the same connection; peek needs none.
//   R3. An answer goes out after the commit of what it says.
import { errorOf, refusals } from './conditions.ts';
import type { AmqpError } from './conditions.ts';
import type { Entity } from './entity.ts';
import type { Holder } from './lane.ts';
import type { Consumer } from './link.ts';
import type { Namespace } from './namespace.ts';
import { operations } from './operations.ts';
import { sasFault } from './sas.ts';
import * as wire from './wire.ts';
import type { Decoded } from './wire.ts';

export interface Request {
  /** The message id as it came, to be echoed as correlation id in its own type. */
  messageId: Buffer;
  replyTo: string | null;
  properties: Map<string, Decoded>;
  /** The message and the offsets of the body map's values. */
  bytes: Buffer;
  body: Map<string, number>;
  /** A body that is not a map: the token of $cbs. */
  value: Decoded;
}

/** Where an operation runs. */
export interface RequestContext {
  namespace: Namespace;
  entity: Entity;
  /** The receiving link the client named, if it is one of this connection. */
  associated: Consumer | undefined;
  /** Whether a session's holder is a link of this connection. */
  isOurs(holder: Holder | undefined): boolean;
}

/** What an operation answers. */
export interface Reply {
  status: number;
  /** Encoded key, value, key, value … */
  body: Buffer[];
  error?: AmqpError;
}

/** Reads a request message; throws a Refusal. */
export function parseRequest(bytes: Buffer): Request {
  const request: Request = {
    messageId: wire.encodeNull,
    replyTo: null,
    properties: new Map(),
    bytes,
    body: new Map(),
    value: null,
  };
  try {
    for (const section of wire.sectionsOf(bytes)) {
      if (section.code === 0x73) readProperties(request, section.value);
      else if (section.code === 0x74) {
        const decoded = wire.decode(bytes, section.value);
        if (decoded instanceof Map) request.properties = decoded;
      } else if (section.code === 0x77) {
        const isMap = bytes[section.value] === 0xc1 || bytes[section.value] === 0xd1;
        if (isMap) request.body = wire.mapOffsets(bytes, section.value);
        else request.value = wire.decode(bytes, section.value);
      }
    }
  } catch (error) {
    throw refusals.malformed(error instanceof Error ? error.message : String(error));
  }
  return request;
}

function readProperties(request: Request, at: number): void {
  const { bytes } = request;
  const items = wire.itemsOf(bytes, at);
  const [messageId, replyTo] = [items[0], items[4]];
  if (messageId !== undefined) {
    request.messageId = bytes.subarray(messageId, wire.skip(bytes, messageId));
  }
  const text = replyTo === undefined ? null : wire.decode(bytes, replyTo);
  request.replyTo = typeof text === 'string' ? text : null;
}

/** A reply message: correlation id, application properties, body. */
function encodeReply(request: Request, properties: Buffer[], body: Uint8Array): Buffer {
  const nothing = wire.encodeNull;
  const correlation = [nothing, nothing, nothing, nothing, nothing, request.messageId];
  return Buffer.concat([
    wire.encodeSection(0x73, wire.encodeList(correlation)),
    wire.encodeSection(0x74, wire.encodeMap(properties)),
    wire.encodeSection(0x77, body),
  ]);
}

/** put-token: 202, or 401 when the signature does not prove the key [SB 2.4-2.9]. */
export function answerToken(
  request: Request,
  sharedAccessKey: string,
  nowMs: number,
): { bytes: Buffer; isAuthorized: boolean } {
  const fault = tokenFault(request, sharedAccessKey, nowMs);
  const properties = [
    wire.encodeString('status-code'),
    wire.encodeInt(fault === undefined ? 202 : 401),
    wire.encodeString('status-description'),
    wire.encodeString(fault ?? 'Accepted'),
  ];
  if (fault !== undefined) {
    properties.push(
      wire.encodeString('error-condition'),
      wire.encodeSymbol('amqp:unauthorized-access'),
    );
  }
  return {
    bytes: encodeReply(request, properties, wire.encodeNull),
    isAuthorized: fault === undefined,
  };
}

function tokenFault(request: Request, key: string, nowMs: number): string | undefined {
  const operation = request.properties.get('operation');
  if (operation !== 'put-token') return `The operation '${String(operation)}' is not supported.`;
  if (request.properties.get('type') !== 'servicebus.windows.net:sastoken') {
    return 'The local broker accepts shared access signatures only, no other token.';
  }
  return sasFault(typeof request.value === 'string' ? request.value : '', key, nowMs);
}

/** Runs a $management operation and hands over the encoded reply [R3]. */
export function answerOperation(
  request: Request,
  context: RequestContext,
  send: (bytes: Buffer) => void,
): void {
  const { namespace, entity } = context;
  const name = String(request.properties.get('operation') ?? '');
  const operation = operations[name.replace(/^com\.microsoft:/, '')];
  namespace.usage.count(entity.path);
  const fail = (error: AmqpError): void => send(encodeOperation(request, failure(error)));
  if (!operation) {
    fail(errorOf(refusals.notSupported(`the management operation '${name}'`)));
    return;
  }
  const run = (): void => {
    let reply: Reply;
    try {
      reply = operation(request, context);
    } catch (error) {
      reply = failure(errorOf(error));
    }
    namespace.commit((error) => {
      send(encodeOperation(request, error ? failure(error) : reply));
    });
  };
  const sessionId = sessionIdOf(request);
  const step = { queue: entity.path, ...(sessionId === null ? {} : { sessionId }) };
  if (name.includes('renew')) namespace.step({ kind: 'renew', ...step }, run, fail);
  else if (name.endsWith(':schedule-message')) namespace.step({ kind: 'send', ...step }, run, fail);
  else if (name.endsWith(':update-disposition')) {
    namespace.step({ kind: 'settle', ...step }, run, fail);
  } else run();
}

/** The session a request is about, or null. */
export function sessionIdOf(request: Request): string | null {
  const at = request.body.get('session-id');
  const sessionId = at === undefined ? null : wire.decode(request.bytes, at);
  return typeof sessionId === 'string' ? sessionId : null;
}

const statusOf: Record<string, number> = {
  'com.microsoft:session-lock-lost': 410,
  'com.microsoft:message-lock-lost': 410,
  'com.microsoft:message-not-found': 404,
  'amqp:not-found': 404,
  'amqp:unauthorized-access': 401,
  'amqp:not-implemented': 501,
  'amqp:internal-error': 500,
};

function failure(error: AmqpError): Reply {
  return { status: statusOf[error.condition] ?? 400, body: [], error };
}

function encodeOperation(request: Request, { status, body, error }: Reply): Buffer {
  const properties = [
    wire.encodeString('statusCode'),
    wire.encodeInt(status),
    wire.encodeString('statusDescription'),
    wire.encodeString(error?.description ?? (status === 204 ? 'No Content' : 'OK')),
  ];
  if (error) {
    properties.push(wire.encodeString('errorCondition'), wire.encodeSymbol(error.condition)); // R1
  }
  return encodeReply(request, properties, wire.encodeMap(body));
}
