// What a sender hands over, checked and stamped: the table of CONTRACT §2 in code.
//
// Owns:   which fields a message carries on the wire, and every refusal that needs no broker.
// Leaves: the size limit (only the broker knows it) and the sending to sender.ts.
import { instantMs } from './clock.ts';
import { bodyLevelsMax, isNestedDeeper } from './convoy/json.ts';
import { ConvoyError } from './errors.ts';
import { brokerMessageId, convoyNamePattern, keyFault } from './keys.ts';
import { laneKeyFault } from './lanes.ts';

/** A message of a line-of-business app. */
export interface OutgoingMessage {
  /** Business id, the dedup key: the same id is applied once. Default: a random UUID. */
  id?: string | undefined;
  type: string;
  /** Anything JSON can carry. */
  body: unknown;
  /** Event time for windows: ISO-8601 with a zone. */
  occurredAt?: string | undefined;
  /** The sender's own order inside the key, 1, 2, 3 … */
  senderPosition?: number | undefined;
  /** Decides the lane where the key is split; order then holds between messages of one lane key. */
  laneKey?: string | undefined;
  schemaVersion?: number | undefined;
  /** W3C trace context. */
  traceparent?: string | undefined;
}

/** A message in the shape of the Service Bus client. */
export interface StampedMessage {
  sessionId: string;
  messageId: string;
  subject: string;
  contentType: string;
  body: Buffer;
  applicationProperties: Record<string, string | number>;
}

const idLengthMax = 1024;
// Service Bus keeps a subject of at most 128 characters.
const typeLengthMax = 128;
const traceparentPattern = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** Refuses what no queue can be named after. */
export function assertConvoyName(convoy: unknown): asserts convoy is string {
  if (typeof convoy !== 'string' || !convoyNamePattern.test(convoy)) {
    throw new ConvoyError(
      'CVY_CONVOY_UNKNOWN',
      `${shown(convoy)} cannot be the name of a convoy ([a-z][a-z0-9-]{0,29})`,
    );
  }
}

/** The message as it travels; throws a ConvoyError naming what is wrong with it. */
export function stamp(key: unknown, message: OutgoingMessage & { id: string }): StampedMessage {
  assertKey(key);
  assertMessageId(message.id);
  const applicationProperties: Record<string, string | number> = {
    convoyKey: key,
    convoyMessageId: message.id,
    convoyType: typeOf(message.type),
    schemaVersion: wholeNumber('schemaVersion', message.schemaVersion ?? 1),
  };
  if (message.senderPosition !== undefined) {
    applicationProperties['senderPosition'] = wholeNumber('senderPosition', message.senderPosition);
  }
  if (message.laneKey !== undefined) {
    const laneFault = laneKeyFault(message.laneKey);
    if (laneFault !== undefined) throw new ConvoyError('CVY_ENVELOPE', laneFault);
    applicationProperties['convoyLaneKey'] = message.laneKey;
  }
  if (message.occurredAt !== undefined) {
    applicationProperties['occurredAt'] = instant(message.occurredAt);
  }
  if (message.traceparent !== undefined) {
    const traceparent = traceContext(message.traceparent);
    applicationProperties['traceparent'] = traceparent;
    applicationProperties['Diagnostic-Id'] = traceparent;
  }
  return {
    sessionId: key,
    messageId: brokerMessageId(key, message.id),
    subject: message.type,
    contentType: 'application/json',
    body: jsonBody(message.body),
    applicationProperties,
  };
}

function assertKey(key: unknown): asserts key is string {
  if (key === undefined || key === null || key === '') {
    throw new ConvoyError('CVY_KEY_MISSING', 'the message has no key');
  }
  if (typeof key !== 'string') {
    throw new ConvoyError('CVY_KEY_INVALID', `the key is a ${typeof key}, not a text`);
  }
  const fault = keyFault(key);
  if (fault) throw new ConvoyError('CVY_KEY_INVALID', fault);
}

function assertMessageId(id: unknown): asserts id is string {
  const fault =
    typeof id !== 'string'
      ? `the message id is a ${typeof id}, not a text`
      : id.length === 0
        ? 'the message id is empty'
        : id.length > idLengthMax
          ? `the message id has ${id.length} characters`
          : id.isWellFormed()
            ? undefined
            : 'the message id holds a lone surrogate (broken Unicode)';
  if (fault) throw new ConvoyError('CVY_ID_INVALID', fault);
}

function typeOf(type: unknown): string {
  if (typeof type === 'string' && type.length > 0 && type.length <= typeLengthMax) {
    if (type.isWellFormed()) return type;
  }
  throw new ConvoyError(
    'CVY_ENVELOPE',
    `type is ${shown(type)}, not a text of 1-${typeLengthMax} characters`,
  );
}

function wholeNumber(name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 1) return value;
  throw new ConvoyError('CVY_ENVELOPE', `${name} is ${shown(value)}, not a whole number from 1 on`);
}

function instant(value: unknown): string {
  if (typeof value === 'string' && instantMs(value) !== undefined) return value;
  throw new ConvoyError(
    'CVY_ENVELOPE',
    `occurredAt is ${shown(value)}, not an ISO-8601 instant with a zone`,
  );
}

function traceContext(value: unknown): string {
  if (typeof value === 'string' && traceparentPattern.test(value)) return value;
  throw new ConvoyError('CVY_ENVELOPE', `traceparent is ${shown(value)}, not a W3C trace context`);
}

function jsonBody(body: unknown): Buffer {
  let text: string | undefined;
  try {
    text = JSON.stringify(body);
  } catch (error) {
    throw new ConvoyError('CVY_BODY_NOT_JSON', 'the body cannot be written as JSON', {
      cause: error,
    });
  }
  if (text === undefined) {
    throw new ConvoyError('CVY_BODY_NOT_JSON', `the body is ${typeof body}, which JSON has not`);
  }
  if (isNestedDeeper(text, bodyLevelsMax)) {
    const received = `the body nests deeper than ${bodyLevelsMax} levels`;
    throw new ConvoyError('CVY_BODY_NOT_JSON', received);
  }
  return Buffer.from(text, 'utf8');
}

function shown(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
