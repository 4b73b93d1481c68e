// Requests over the $cbs and $management nodes: one table of operations.
//
// Owns:    reading a request, answering with the exact types the clients cast [SB 2, 11].
// Leaves:  links and credit of the replies to listener.ts, decisions to entity.ts.
//
// Invariants:
//   R1. Every answer with an error carries its condition as a symbol: from the number alone the
//       JavaScript client guesses wrongly [SB 11].
//   R2. Operations on a session need the lock, held by the associated link of the same connection
//       [SB 11.4]; a settlement needs the token and a holder of the same connection; peek needs
//       none.
//   R3. An answer goes out after the commit of what it says; a renewal writes nothing.
import { errorOf, refusals } from './conditions.ts';
import type { AmqpError } from './conditions.ts';
import { operations } from './operations.ts';
import type { Reply, RequestContext } from './operation.ts';
import { encodeReply, sessionIdOf } from './request.ts';
import type { Request } from './request.ts';
import { sasFault } from './sas.ts';
import * as wire from './wire.ts';

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
  const operation = operations.get(name);
  // What carries messages is counted by them [SB 18.6].
  if (!carriesMessages.has(name)) namespace.usage.count(entity.path);
  const fail = (error: AmqpError): void => send(encodeOperation(request, failure(error)));
  if (!operation) {
    fail(errorOf(refusals.notSupported(`the management operation '${name}'`)));
    return;
  }
  const isRenewal = name.includes('renew');
  const run = (): void => {
    let reply: Reply;
    try {
      namespace.requireLive(entity);
      reply = operation(request, context);
    } catch (error) {
      reply = failure(errorOf(error));
    }
    const answer = (): void => send(encodeOperation(request, reply));
    // A lock is renewed in memory: that must not wait for a disk.
    if (isRenewal) answer();
    else namespace.commit(answer);
  };
  const sessionId = sessionIdOf(request);
  const step = { queue: entity.path, ...(sessionId === null ? {} : { sessionId }) };
  if (isRenewal) namespace.step({ kind: 'renew', ...step }, run, fail);
  else if (name.endsWith(':schedule-message')) namespace.step({ kind: 'send', ...step }, run, fail);
  else if (name.endsWith(':update-disposition')) {
    namespace.step({ kind: 'settle', ...step }, run, fail);
  } else namespace.step({ kind: 'manage', ...step }, run, fail);
}

const carriesMessages = new Set([
  'com.microsoft:schedule-message',
  'com.microsoft:receive-by-sequence-number',
]);

const statusOf: Record<string, number> = {
  'com.microsoft:session-lock-lost': 410,
  'com.microsoft:message-lock-lost': 410,
  'com.microsoft:message-not-found': 404,
  'com.microsoft:entity-already-exists': 409,
  'com.microsoft:entity-disabled': 400,
  'amqp:not-found': 404,
  'amqp:resource-limit-exceeded': 403,
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
