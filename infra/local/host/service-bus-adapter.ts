// What the real host makes of a Service Bus message before a Node handler sees it: the ONE place of
// its quirks. PURE. Source: functions-host.md 2.3, 2.4, 1.13.
//
// A1 Strings of the metadata go as `string`: the library parses them as JSON, so '42' becomes 42.
// A2 `*Utc` instants carry no `Z`; the others end in +00:00.
// A3 With a string body every top-level property of a JSON object that is not an array replaces
//    metadata of that name, whatever the case; not with dataType 'binary'.
// A4 The first delivery counts 1 (the wire says 0).
// A5 Cardinality many: arrays of texts lose their empty elements unless the app has the capability
//    IncludeEmptyEntriesInMessagePayload, sequence numbers are Long objects, and without a dataType
//    one body that is not JSON fails the whole batch before the handler is called.
// A6 A text that surely is no JSON goes as the JSON of itself: the handler sees the same, and the
//    library throws and catches nothing.
import { HostFault, messageOf } from './faults.ts';
import type { TypedData } from './rpc.ts';

/** The fields of a received message that reach a handler (as @azure/service-bus names them). */
export interface ReceivedMessage {
  body: unknown;
  deliveryCount?: number | undefined;
  sequenceNumber?: { toString(): string } | undefined;
  enqueuedTimeUtc?: Date | undefined;
  expiresAtUtc?: Date | undefined;
  messageId?: string | number | Buffer | undefined;
  sessionId?: string | undefined;
  correlationId?: string | number | Buffer | undefined;
  contentType?: string | undefined;
  subject?: string | undefined;
  to?: string | undefined;
  replyTo?: string | undefined;
  replyToSessionId?: string | undefined;
  partitionKey?: string | undefined;
  deadLetterSource?: string | undefined;
  lockToken?: string | undefined;
  applicationProperties?: Record<string, unknown> | undefined;
  readonly _rawAmqpMessage?: { bodyType?: string } | undefined;
}

export interface AdaptedMessage {
  data: TypedData;
  triggerMetadata: Record<string, TypedData>;
}

/** Data and metadata of one message. Throws where the real host fails to bind [2.4]. */
export function adaptMessage(
  message: ReceivedMessage,
  dataType: string | undefined,
): AdaptedMessage {
  const triggerMetadata = metadataOf(message);
  if (dataType?.toLowerCase() === 'binary') {
    return { data: { bytes: bodyBytes(message) }, triggerMetadata };
  }
  const text = bodyText(message);
  overwriteMetadata(text, triggerMetadata); // [A3]
  return { data: textData(text), triggerMetadata };
}

/** What every JSON text matches, and few others do. */
const maybeJson =
  /^[\s\uFEFF]*(?:[{["]|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?\s*$|(?:true|false|null)\s*$)/i;

/** [A6] */
function textData(text: string): TypedData {
  return maybeJson.test(text) ? { string: text } : { json: JSON.stringify(text) };
}

export interface BatchOptions {
  dataType: string | undefined;
  /** The app's capability IncludeEmptyEntriesInMessagePayload [A5]. */
  keepsEmpty: boolean;
}

/** Data and metadata of a batch [2.3b, 2.4]. Throws where the real host fails to bind [A5]. */
export function adaptBatch(
  messages: readonly ReceivedMessage[],
  options: BatchOptions,
): AdaptedMessage {
  const triggerMetadata = batchMetadata(messages, options);
  const dataType = options.dataType?.toLowerCase();
  if (dataType === 'binary') {
    return { data: { collectionBytes: { bytes: messages.map(bodyBytes) } }, triggerMetadata };
  }
  const texts = messages.map(bodyText);
  if (dataType === 'string') return { data: textArray(texts, options), triggerMetadata };
  return { data: { json: JSON.stringify(texts.map(deserialized)) }, triggerMetadata };
}

function batchMetadata(
  messages: readonly ReceivedMessage[],
  options: BatchOptions,
): Record<string, TypedData> {
  const json = (read: (message: ReceivedMessage) => unknown): TypedData => ({
    json: JSON.stringify(messages.map(read)),
  });
  const instants = (read: (message: ReceivedMessage) => Date | undefined, zone: string) =>
    json((message) => {
      const at = read(message);
      return at ? dotnetInstant(at) + zone : `0001-01-01T00:00:00${zone}`;
    });
  const texts = (read: (message: ReceivedMessage) => unknown): TypedData =>
    textArray(
      messages.map((message) => String(read(message) ?? '')),
      options,
    );
  const properties = json((message) => ({ ...message.applicationProperties }));
  const partitionKeys = texts((message) => message.partitionKey);
  const subjects = texts((message) => message.subject);
  return {
    DeliveryCountArray: json((message) => (message.deliveryCount ?? 0) + 1), // [A4]
    DeadLetterSourceArray: texts((message) => message.deadLetterSource),
    LockTokenArray: texts((message) => message.lockToken),
    ExpiresAtUtcArray: instants((message) => message.expiresAtUtc, ''),
    ExpiresAtArray: instants((message) => message.expiresAtUtc, '+00:00'),
    EnqueuedTimeUtcArray: instants((message) => message.enqueuedTimeUtc, ''),
    EnqueuedTimeArray: instants((message) => message.enqueuedTimeUtc, '+00:00'),
    MessageIdArray: texts((message) => message.messageId),
    ContentTypeArray: texts((message) => message.contentType),
    ReplyToArray: texts((message) => message.replyTo),
    SequenceNumberArray: { collectionSint64: { sint64: messages.map(longOf) } },
    ToArray: texts((message) => message.to),
    SubjectArray: subjects,
    LabelArray: subjects,
    CorrelationIdArray: texts((message) => message.correlationId),
    ApplicationPropertiesArray: properties,
    UserPropertiesArray: properties,
    SessionIdArray: texts((message) => message.sessionId),
    ReplyToSessionIdArray: texts((message) => message.replyToSessionId),
    PartitionKeyArray: partitionKeys,
    TransactionPartitionKeyArray: partitionKeys, // so in the extension's source
  };
}

/** [A5] */
function textArray(texts: string[], { keepsEmpty }: BatchOptions): TypedData {
  return { collectionString: { string: keepsEmpty ? texts : texts.filter(Boolean) } };
}

/** An int64 as the protobuf loader gives it to the worker. */
function longOf({ sequenceNumber }: ReceivedMessage): {
  low: number;
  high: number;
  unsigned: boolean;
} {
  const value = BigInt(String(sequenceNumber ?? 0));
  const low = Number(BigInt.asIntN(32, value));
  return { low, high: Number(BigInt.asIntN(32, value >> 32n)), unsigned: false };
}

/** Newtonsoft reads every body to an object; one that it cannot read fails them all [2.4]. */
function deserialized(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new HostFault(
      "Binding parameters to complex objects (such as 'Object') uses Json.NET serialization. \n" +
        "1. Bind the parameter type as 'string' instead of 'Object' to get the raw values and " +
        'avoid JSON deserialization, or\n2. Change the queue payload to be valid json. The JSON ' +
        `parser failed: ${messageOf(error)}`,
    );
  }
}

function metadataOf(message: ReceivedMessage): Record<string, TypedData> {
  const { enqueuedTimeUtc, expiresAtUtc } = message;
  // The client decodes into plain objects, so a property called __proto__ comes as a prototype.
  const properties = JSON.stringify({ ...message.applicationProperties });
  const metadata: Record<string, TypedData> = {
    DeliveryCount: { json: String((message.deliveryCount ?? 0) + 1) }, // [A4]
    ApplicationProperties: { json: properties },
    UserProperties: { json: properties },
  };
  // an int64 as a bare JSON number: JavaScript rounds it beyond 2^53
  if (message.sequenceNumber) metadata['SequenceNumber'] = { json: String(message.sequenceNumber) };
  if (enqueuedTimeUtc) {
    metadata['EnqueuedTimeUtc'] = { json: `"${dotnetInstant(enqueuedTimeUtc)}"` };
    metadata['EnqueuedTime'] = { json: `"${dotnetInstant(enqueuedTimeUtc)}+00:00"` };
  }
  if (expiresAtUtc) {
    metadata['ExpiresAtUtc'] = { json: `"${dotnetInstant(expiresAtUtc)}"` };
    metadata['ExpiresAt'] = { json: `"${dotnetInstant(expiresAtUtc)}+00:00"` };
  }
  const texts: Record<string, unknown> = {
    MessageId: message.messageId,
    SessionId: message.sessionId,
    CorrelationId: message.correlationId,
    ContentType: message.contentType,
    Subject: message.subject,
    Label: message.subject,
    To: message.to,
    ReplyTo: message.replyTo,
    ReplyToSessionId: message.replyToSessionId,
    PartitionKey: message.partitionKey,
    DeadLetterSource: message.deadLetterSource,
    LockToken: message.lockToken,
  };
  for (const [name, value] of Object.entries(texts)) {
    if (value !== undefined && value !== null) metadata[name] = textData(String(value)); // [A1]
  }
  return metadata;
}

/** [A2] DateTime of kind Unspecified: no zone, no trailing zeros of the fraction. */
function dotnetInstant(at: Date): string {
  return at.toISOString().replace(/\.?0*Z$/, '');
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function bodyText(message: ReceivedMessage): string {
  const { body } = message;
  if (typeof body === 'string' && bodyType(message) === 'value') return body;
  const bytes = bodyBytes(message);
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return bytes.toString('utf8'); // lossy, as the real host: use dataType 'binary'
  }
}

function bodyBytes(message: ReceivedMessage): Buffer {
  const { body } = message;
  if (body === undefined || body === null) return Buffer.alloc(0);
  if (bodyType(message) === 'data') {
    if (Buffer.isBuffer(body)) return body;
    if (body instanceof Uint8Array) return Buffer.from(body);
  }
  throw new HostFault(
    `The body of message '${String(message.messageId)}' is an AMQP ${bodyType(message)} section, ` +
      'which cannot be read as string or bytes.',
  );
}

const bodyType = (message: ReceivedMessage): string => message._rawAmqpMessage?.bodyType ?? 'data';

const isoInstantPattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?$/;

/** [A3] Host Utility.ApplyBindingData with Newtonsoft's `(string)JToken`. */
function overwriteMetadata(text: string, metadata: Record<string, TypedData>): void {
  const trimmed = text.trim();
  if (!trimmed.startsWith('{') || !trimmed.endsWith('}')) return;
  let body: Record<string, unknown>;
  try {
    body = JSON.parse(trimmed) as Record<string, unknown>;
  } catch {
    return;
  }
  for (const [name, value] of Object.entries(body)) {
    if (value === null || Array.isArray(value)) continue;
    const lower = name.toLowerCase();
    const key = Object.keys(metadata).find((other) => other.toLowerCase() === lower) ?? name;
    metadata[key] =
      typeof value === 'object' ? { json: JSON.stringify(value) } : textData(scalarText(value));
  }
}

function scalarText(value: unknown): string {
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'string' && isoInstantPattern.test(value)) return invariantDate(value);
  return String(value);
}

/** Newtonsoft parses ISO dates and prints them as MM/dd/yyyy HH:mm:ss. */
function invariantDate(text: string): string {
  const hasZone = /(Z|[+-]\d\d:\d\d)$/.test(text);
  const at = new Date(hasZone ? text : `${text}Z`);
  if (Number.isNaN(at.getTime())) return text;
  const [day = '', time = ''] = at.toISOString().split('T');
  const [year = '', month = '', date = ''] = day.split('-');
  return `${month}/${date}/${year} ${time.slice(0, 8)}`;
}

/** [FH 5.3] The Trigger Details line. */
export function triggerDetails(message: ReceivedMessage & { lockedUntilUtc?: Date }): string {
  const instant = (at: Date | undefined): string => at?.toISOString() ?? '';
  const session = message.sessionId === undefined ? '' : `, SessionId: ${message.sessionId}`;
  return (
    `MessageId: ${String(message.messageId)}, SequenceNumber: ${String(message.sequenceNumber)}, ` +
    `DeliveryCount: ${(message.deliveryCount ?? 0) + 1}, ` +
    `EnqueuedTimeUtc: ${instant(message.enqueuedTimeUtc)}, ` +
    `LockedUntilUtc: ${instant(message.lockedUntilUtc)}${session}`
  );
}

/** The same of a batch: comma-joined. */
export function batchDetails(
  messages: readonly (ReceivedMessage & { lockedUntilUtc?: Date })[],
): string {
  const all = (read: (message: (typeof messages)[number]) => unknown): string =>
    messages.map((message) => String(read(message))).join(',');
  const session = messages[0]?.sessionId;
  return (
    `MessageIdArray: ${all((one) => one.messageId)}, ` +
    `SequenceNumberArray: ${all((one) => one.sequenceNumber)}, ` +
    `DeliveryCountArray: ${all((one) => (one.deliveryCount ?? 0) + 1)}, ` +
    `EnqueuedTimeUtcArray: ${all((one) => one.enqueuedTimeUtc?.toISOString())}, ` +
    `LockedUntilArray: ${all((one) => one.lockedUntilUtc?.toISOString())}` +
    (session === undefined ? '' : `, SessionId: ${session}`)
  );
}
