// The message contract, read side (CONTRACT §2): what the Functions host hands to intake → one
// message to admit, or one to quarantine. Never throws: whatever arrives ends in one of the two.
//
// The host parses metadata strings as JSON ('42' → 42, '1e5' → 100000, 20 digits lose digits) and
// lower-cases the first letter of nested property names (reference/functions-host.md §1.6, §1.7,
// §2.3); so the application properties convoyKey, convoyMessageId and convoyType win over the
// broker's fields.
import { instantMs } from './clock.ts';
import { bodyLevelsMax, isNestedDeeper } from './convoy/json.ts';
import type { Admitted } from './convoy/state.ts';
import type { ErrorCode } from './errors.ts';
import { hexHash, keyFault } from './keys.ts';
import { laneKeyFault } from './lanes.ts';

/** What intake receives; `metadata` is `context.triggerMetadata` as it is. */
export interface Received {
  body: Buffer;
  metadata: Readonly<Record<string, unknown>>;
}

export interface MessageToAdmit {
  kind: 'message';
  key: string;
  message: Omit<Admitted, 'position'>;
  sequence: number | null;
  /** No message but a marker: the generation of lanes that waits for it to come through. */
  fence?: number;
  /** Not a refusal: said in the log. */
  warnings: { code: ErrorCode; reason: string }[];
}

export interface MessageToQuarantine {
  kind: 'quarantine';
  code: ErrorCode;
  reason: string;
  /** Names the delivery: the same message delivered again has the same identity. */
  identity: string;
  messageId: string;
  sessionId: string;
  sequence: number;
}

/** Bytes of a body that one Cosmos item can hold beside its fields. */
const bodyBytesMax = 1_400_000;
const messageIdLengthMax = 1024;

export function parseEnvelope(received: Received): MessageToAdmit | MessageToQuarantine {
  const { metadata } = received;
  const properties = recordOf(metadata['applicationProperties']);
  const sequence = sequenceOf(metadata['sequenceNumber']);
  const enqueuedAt = instantOf(metadata['enqueuedTime']) ?? 0;
  const identity = identityOf(received);
  const key = readKey(properties['convoyKey'], metadata['sessionId']);
  if ('code' in key) {
    return {
      kind: 'quarantine',
      ...key,
      identity,
      messageId: textOf(properties['convoyMessageId'] ?? metadata['messageId']),
      sessionId: textOf(metadata['sessionId']),
      sequence,
    };
  }
  const id = readMessageId(properties['convoyMessageId'], metadata['messageId'], identity);
  const fields = readFields(properties, metadata, enqueuedAt);
  const body = readBody(received.body);
  const fault = id.fault ?? fields.fault ?? body.fault;
  return {
    kind: 'message',
    key: key.key,
    message: { ...fields.values, ...body.values, messageId: id.id, ...(fault && { fault }) },
    sequence: sequence > 0 ? sequence : null,
    ...fenceIn(properties['convoyFence']),
    warnings: id.warning ? [id.warning] : [],
  };
}

/** Names the delivery: the same message delivered again has the same identity. */
export function identityOf({ body, metadata }: Received): string {
  const sequence = sequenceOf(metadata['sequenceNumber']);
  const enqueuedAt = instantOf(metadata['enqueuedTime']) ?? 0;
  return `${sequence}@${enqueuedAt}@${hexHash(body.toString('base64'))}`;
}

function fenceIn(value: unknown): { fence?: number } {
  return Number.isSafeInteger(value) && Number(value) >= 1 ? { fence: Number(value) } : {};
}

function readKey(
  convoyKey: unknown,
  sessionId: unknown,
): { key: string } | { code: ErrorCode; reason: string } {
  if (convoyKey === undefined || convoyKey === null) {
    if (sessionId === undefined || sessionId === null || sessionId === '') {
      return { code: 'CVY_KEY_MISSING', reason: 'neither convoyKey nor a session id' };
    }
    if (typeof sessionId !== 'string') {
      return { code: 'CVY_KEY_AMBIGUOUS', reason: `the host made ${textOf(sessionId)} of it` };
    }
    const fault = keyFault(sessionId);
    return fault === undefined ? { key: sessionId } : { code: 'CVY_KEY_INVALID', reason: fault };
  }
  if (convoyKey === '') return { code: 'CVY_KEY_MISSING', reason: 'convoyKey is empty' };
  if (typeof convoyKey !== 'string') {
    return { code: 'CVY_KEY_INVALID', reason: `convoyKey is not text but ${textOf(convoyKey)}` };
  }
  const fault = keyFault(convoyKey);
  if (fault !== undefined) return { code: 'CVY_KEY_INVALID', reason: fault };
  if (!sameAsHostParsed(convoyKey, sessionId)) {
    const reason = `convoyKey '${convoyKey}', session id ${textOf(sessionId)}`;
    return { code: 'CVY_KEY_MISMATCH', reason };
  }
  return { key: convoyKey };
}

/** Whether the host, given this text as session id, would hand over exactly this value. */
function sameAsHostParsed(text: string, handed: unknown): boolean {
  const parsed = hostParsed(text);
  if (typeof parsed === 'number') return Object.is(parsed, handed);
  try {
    return JSON.stringify(parsed) === JSON.stringify(handed);
  } catch {
    return false; // no host makes of a text what has no JSON
  }
}

/** What the host makes of a metadata string: any JSON becomes its value. */
export function hostParsed(text: string): unknown {
  // Only true, false and null begin with a letter, and a parse that fails is slow.
  if (/^[A-Za-eg-mo-su-z_]/.test(text)) return text;
  try {
    return lowerFirst(JSON.parse(text));
  } catch {
    return text;
  }
}

/** What the host makes of nested property names; by assigning it loses `__proto__`. */
export function lowerFirst(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(lowerFirst);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => name !== '__proto__')
      .map(([name, inner]) => [name.charAt(0).toLowerCase() + name.slice(1), lowerFirst(inner)]),
  );
}

interface Fault {
  code: string;
  reason: string;
}

/** The business id; where the host may have changed it, a name of the delivery instead (no
 *  dedup). */
function readMessageId(
  convoyMessageId: unknown,
  messageId: unknown,
  identity: string,
): { id: string; fault?: Fault; warning?: { code: ErrorCode; reason: string } } {
  const ofDelivery = `delivery:${hexHash(identity).slice(0, 32)}`;
  if (convoyMessageId !== undefined && convoyMessageId !== null) {
    if (isMessageId(convoyMessageId)) return { id: convoyMessageId };
    const reason = `convoyMessageId is ${textOf(convoyMessageId)}`;
    return { id: ofDelivery, fault: { code: 'CVY_ID_INVALID', reason } };
  }
  // Only a text that the host has parsed can be ill-formed: `"\ud800"`, quotes and all.
  if (isMessageId(messageId)) return { id: messageId };
  // -0 has the text of 0, which may be another message's id.
  if (Number.isSafeInteger(messageId) && !Object.is(messageId, -0)) {
    return { id: String(messageId) };
  }
  const reason = `the host made ${textOf(messageId)} of the message id`;
  return { id: ofDelivery, warning: { code: 'CVY_ID_AMBIGUOUS', reason } };
}

function isMessageId(id: unknown): id is string {
  if (typeof id !== 'string' || id.length === 0) return false;
  return id.length <= messageIdLengthMax && id.isWellFormed();
}

type FieldValues = Pick<
  Admitted,
  | 'type'
  | 'schemaVersion'
  | 'senderPosition'
  | 'laneKey'
  | 'occurredAt'
  | 'enqueuedAt'
  | 'traceparent'
>;

function readFields(
  properties: Readonly<Record<string, unknown>>,
  metadata: Readonly<Record<string, unknown>>,
  enqueuedAt: number,
): { values: FieldValues; fault?: Fault } {
  const wrong: string[] = [];
  const count = (name: string, value: unknown): number | undefined => {
    if (value === undefined || value === null) return undefined;
    if (Number.isSafeInteger(value) && Number(value) >= 1) return Number(value);
    wrong.push(`${name} must be an integer of at least 1, not ${textOf(value)}`);
    return undefined;
  };
  const schemaVersion = count('schemaVersion', properties['schemaVersion']) ?? 1;
  const senderPosition = count('senderPosition', properties['senderPosition']);
  const laneKey = properties['convoyLaneKey'] ?? undefined;
  const laneFault = laneKey === undefined ? undefined : laneKeyFault(laneKey);
  if (laneFault !== undefined) wrong.push(laneFault);
  const given = properties['occurredAt'];
  const occurredAt = given === undefined || given === null ? enqueuedAt : instantOf(given);
  if (occurredAt === undefined) {
    wrong.push(`occurredAt must be ISO-8601 with a zone, not ${textOf(given)}`);
  }
  const type = properties['convoyType'] ?? metadata['subject'] ?? metadata['label'] ?? 'message';
  // The host makes objects of subjects like `{"toString":1}`, which have no text.
  const isScalar = ['string', 'number', 'boolean'].includes(typeof type);
  const typeText = isScalar ? String(type) : textOf(type);
  if (!isScalar || typeText.length > 128 || !typeText.isWellFormed()) {
    wrong.push('the type must be a text of at most 128 characters');
  }
  const trace = properties['traceparent'] ?? properties['diagnostic-Id'];
  return {
    values: {
      type: typeText.slice(0, 128).toWellFormed(),
      schemaVersion,
      ...(senderPosition !== undefined && { senderPosition }),
      ...(typeof laneKey === 'string' && laneFault === undefined && { laneKey }),
      occurredAt: occurredAt ?? enqueuedAt,
      enqueuedAt,
      ...(typeof trace === 'string' && { traceparent: trace.slice(0, 256).toWellFormed() }),
    },
    ...(wrong.length > 0 && { fault: { code: 'CVY_ENVELOPE', reason: wrong.join('; ') } }),
  };
}

function readBody(body: Buffer): {
  values: Pick<Admitted, 'bodyText' | 'bodyBase64'>;
  fault?: Fault;
} {
  if (body.byteLength > bodyBytesMax) {
    const reason = `a body of ${body.byteLength} bytes does not fit one item`;
    return { values: {}, fault: { code: 'CVY_TOO_LARGE', reason } };
  }
  const asBytes = { bodyBase64: body.toString('base64') };
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    const reason = 'the body is not valid UTF-8';
    return { values: asBytes, fault: { code: 'CVY_BODY_NOT_UTF8', reason } };
  }
  try {
    JSON.parse(text);
  } catch (error) {
    const reason = `the body is not JSON: ${error instanceof Error ? error.message : ''}`;
    return { values: asBytes, fault: notJson(reason) };
  }
  if (isNestedDeeper(text, bodyLevelsMax)) {
    const reason = `the body nests deeper than ${bodyLevelsMax} levels`;
    return { values: asBytes, fault: notJson(reason) };
  }
  return { values: { bodyText: text } };
}

const notJson = (reason: string): Fault => ({
  code: 'CVY_BODY_NOT_JSON',
  reason: reason.slice(0, 256).toWellFormed(),
});

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
    ? (value as Readonly<Record<string, unknown>>)
    : {};
}

function sequenceOf(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : 0;
}

function instantOf(value: unknown): number | undefined {
  return typeof value === 'string' ? instantMs(value) : undefined;
}

/** Any value as short text for a reason. Never throws. */
function textOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = typeof value === 'string' ? value : jsonOr(value, `a ${typeof value}`);
  return (text.length <= 200 ? text : `${text.slice(0, 197)}…`).toWellFormed();
}

function jsonOr(value: unknown, otherwise: string): string {
  try {
    return JSON.stringify(value) ?? otherwise;
  } catch {
    return otherwise;
  }
}
