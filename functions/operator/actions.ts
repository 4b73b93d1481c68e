// The POST routes: enqueue a message, and the operator's actions on a key.
//
// Owns:   reading and checking what the caller asks for.
// Leaves: stamping and sending to shared/sender.ts; what an action does to shared/engine.
import { operatorActions } from '../../shared/engine/operate.ts';
import { ConvoyError } from '../../shared/errors.ts';
import type { OutgoingMessage } from '../../shared/sender.ts';
import { toPathKey } from '../../shared/keys.ts';
import type { OperatorDeps } from './deps.ts';
import { keyToActOn } from './lane-keys.ts';
import { laneDetailOf } from './lanes.ts';
import { assertParameters, convoyIn, keyIn, objectIn } from './request.ts';
import type { Call } from './request.ts';

const reasonLengthMax = 1_000;
const byLengthMax = 200;

function refuse(received: string): never {
  throw new ConvoyError('CVY_BAD_REQUEST', received);
}

function assertFields(body: Record<string, unknown>, known: readonly string[]): void {
  const unknown = Object.keys(body).filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    refuse(`unknown field ${unknown.join(', ')} in the body; known are ${known.join(', ')}`);
  }
}

function textField(body: Record<string, unknown>, name: string, lengthMax: number): string {
  const value = body[name];
  if (typeof value !== 'string' || value.trim() === '' || value.length > lengthMax) {
    refuse(`${name} in the body is ${shown(value)}; a text of 1-${lengthMax} is expected`);
  }
  return value;
}

function integerField(body: Record<string, unknown>, name: string, min: number): number {
  const value = body[name];
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min) return value;
  return refuse(`${name} in the body is ${shown(value)}; an integer from ${min} is expected`);
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'absent').slice(0, 60);
}

/** `POST …/{pause|resume|retry|skip|park|replay|cancel}` → the new detail. */
export async function actOnConvoy(deps: OperatorDeps, call: Call) {
  assertParameters(call, []);
  const name = call.params['action'] ?? '';
  const action = operatorActions.find((candidate) => candidate === name);
  if (!action) throw unknownAction(name);
  const convoy = convoyIn(call);
  const asked = keyIn(call);
  const body = await objectIn(call);
  const key = await keyToActOn(deps, convoy, asked);
  if (action === 'replay' && body['source'] === 'dead') {
    return replayDeadLetters(deps, { convoy, key, asked, body });
  }
  assertFields(body, [
    'reason',
    'expectedCursor',
    'by',
    ...(action === 'replay' ? ['source'] : []),
  ]);
  if (body['source'] !== undefined && body['source'] !== 'parked') {
    refuse(`source in the body is ${shown(body['source'])}; 'parked' or 'dead' is expected`);
  }
  await deps.operate({ convoy, key, action, ...judgement(body) });
  return laneDetailOf(deps, convoy, asked);
}

function unknownAction(name: string): ConvoyError {
  const all = operatorActions.join(', ');
  return new ConvoyError('CVY_NOT_FOUND', `there is no action '${name}'; there are ${all}`);
}

const perSecondMax = 1_000;
const perSecondDefault = 100;

/** `POST …/replay` with `source: 'dead'` → the new detail, and how far the replay came. */
async function replayDeadLetters(
  deps: OperatorDeps,
  request: { convoy: string; key: string; asked: string; body: Record<string, unknown> },
) {
  const { convoy, key, asked, body } = request;
  assertFields(body, ['reason', 'expectedCursor', 'by', 'source', 'perSecond']);
  const perSecond = Math.min(
    body['perSecond'] === undefined ? perSecondDefault : integerField(body, 'perSecond', 1),
    perSecondMax,
  );
  const report = await deps.replayDead({ convoy, key, perSecond, ...judgement(body) });
  return { ...(await laneDetailOf(deps, convoy, asked)), replay: report };
}

/** Who acts and why, and what the operator saw. */
function judgement(body: Record<string, unknown>) {
  return {
    ...whoAndWhy(body),
    ...(body['expectedCursor'] !== undefined && {
      expectedCursor: integerField(body, 'expectedCursor', 0),
    }),
  };
}

function whoAndWhy(body: Record<string, unknown>): { reason: string; by?: string } {
  return {
    reason: textField(body, 'reason', reasonLengthMax),
    ...(body['by'] !== undefined && { by: textField(body, 'by', byLengthMax) }),
  };
}

/** `POST /quarantine/{convoy}/{id}/replay`: admits the message under the key of the operator. */
export async function replayFromQuarantine(deps: OperatorDeps, call: Call) {
  assertParameters(call, []);
  const convoy = convoyIn(call);
  const id = call.params['id'] ?? '';
  if (!/^[0-9a-f]{64}$/.test(id)) {
    throw new ConvoyError('CVY_NOT_FOUND', `no quarantined message '${id.slice(0, 80)}'`);
  }
  const body = await objectIn(call);
  assertFields(body, ['key', 'reason', 'by']);
  const key = textField(body, 'key', 1_024);
  const done = await deps.replayQuarantined({ convoy, id, key, ...whoAndWhy(body) });
  return { convoy, key, pathKey: toPathKey(key), ...done };
}

const messageFields = [
  ...['type', 'body', 'id', 'occurredAt', 'senderPosition', 'schemaVersion'],
  'laneKey',
];

/** `POST …/messages`: the id comes in the header Idempotency-Key, or in the body as `id`. */
export async function enqueue(deps: OperatorDeps, call: Call) {
  assertParameters(call, []);
  const convoy = convoyIn(call);
  const key = keyIn(call);
  if (!deps.convoys.some(({ name }) => name === convoy)) {
    throw new ConvoyError('CVY_CONVOY_UNKNOWN', `no convoy '${convoy}' is registered`);
  }
  const body = await objectIn(call);
  assertFields(body, messageFields);
  const [messageId] = await deps.sender.send(convoy, key, messageOf(call, body));
  return { convoy, key, pathKey: toPathKey(key), messageId };
}

function messageOf(call: Call, body: Record<string, unknown>): OutgoingMessage {
  const idText = body['id'] === undefined ? undefined : textField(body, 'id', 1_024);
  const headerId = call.headers.get('idempotency-key') ?? undefined;
  if (headerId !== undefined && idText !== undefined && headerId !== idText) {
    refuse(`Idempotency-Key is '${headerId}', id in the body is '${idText}'; send one of them`);
  }
  const id = headerId ?? idText;
  const traceparent = call.headers.get('traceparent') ?? undefined;
  if (!('body' in body)) refuse('field body is absent; send {"type": …, "body": …}');
  return {
    type: textField(body, 'type', 128),
    body: body['body'],
    ...(id !== undefined && { id }),
    ...(traceparent !== undefined && { traceparent }),
    ...(body['occurredAt'] !== undefined && { occurredAt: textField(body, 'occurredAt', 40) }),
    ...(body['laneKey'] !== undefined && { laneKey: textField(body, 'laneKey', 256) }),
    ...(body['senderPosition'] !== undefined && {
      senderPosition: integerField(body, 'senderPosition', 1),
    }),
    ...(body['schemaVersion'] !== undefined && {
      schemaVersion: integerField(body, 'schemaVersion', 0),
    }),
  };
}
