// PURE. A message between wire and store: what the broker reads of it, and what it writes.
//
// Owns:    the split of a transfer into what the sender said (kept byte for byte) and what the
//          broker says about it (header and message annotations, written anew on each delivery).
// Leaves:  values and types to wire.ts, when to deliver to entity.ts.
//
// Invariants:
//   M1. The bare message (properties … footer) of a sender reaches the receiver unchanged, except
//       for a stamped message id and for properties that a settlement adds [SB 7.1, 7.7].
//   M2. Annotations of the broker carry the exact AMQP types that the .NET client casts [SB 7.2].
//   M3. A sender cannot forge the broker's own annotations.
import * as wire from './wire.ts';

/** Message format of a transfer that carries several messages [SB 5.4]. */
export const batchFormat = 0x80013700;

export interface ParsedMessage {
  sessionId: string | null;
  messageId: string;
  ttlMs: number | null;
  scheduledAt: number | null;
  /** What the sender said in the sections that the broker writes anew: its header fields as a list,
   *  where there are any, then its annotations, key, value, key, value … */
  annotations: Buffer;
  bare: Buffer;
  /** The number a topic gave the message before it copied it to a subscription. */
  enqueuedSequence?: number;
  /** Where a message comes from that goes to a dead-letter queue straight away. */
  source?: string;
}

/** One application property, its value already encoded. */
export interface Property {
  name: string;
  value: Buffer;
}

/** What the broker writes in front of the bare message. */
export interface DeliveryFacts {
  sequence: number;
  enqueuedSequence: number;
  enqueuedAt: number;
  deliveryCount: number;
  ttlMs: number | null;
  source: string | null;
  lockedUntil?: number;
  /** The lock of a message handed out by its number, as a uuid: the Python client looks here. */
  lockToken?: Buffer;
  /** 0 active, 1 deferred, 2 scheduled; written when not active [SB 7.2]. */
  state?: number;
}

/** A message as it lies in the store. */
export interface Content {
  annotations: Buffer;
  bare: Buffer;
}

const key = {
  sequence: wire.encodeSymbol('x-opt-sequence-number'),
  enqueuedSequence: wire.encodeSymbol('x-opt-enqueue-sequence-number'),
  enqueuedAt: wire.encodeSymbol('x-opt-enqueued-time'),
  lockedUntil: wire.encodeSymbol('x-opt-locked-until'),
  state: wire.encodeSymbol('x-opt-message-state'),
  source: wire.encodeSymbol('x-opt-deadletter-source'),
  lockToken: wire.encodeSymbol('x-opt-lock-token'),
};

/** [M3] */
const ownAnnotations = new Set([
  'x-opt-sequence-number',
  'x-opt-enqueue-sequence-number',
  'x-opt-enqueued-time',
  'x-opt-locked-until',
  'x-opt-message-state',
  'x-opt-deadletter-source',
]);

/** A message that waits for its instant stays "scheduled" for whoever receives it afterwards, as on
 *  the service [azure-sdk-for-js pull 19357]; a deferral outweighs it. */
export function markScheduled(message: ParsedMessage): ParsedMessage {
  const annotations = Buffer.concat([message.annotations, key.state, wire.encodeInt(2)]);
  return { ...message, annotations };
}

/** Reads one encoded message. `stampId` is called when the sender set no message id [SB 5.7]. */
export function parseMessage(bytes: Buffer, stampId: () => string): ParsedMessage {
  const parsed: ParsedMessage = {
    sessionId: null,
    messageId: '',
    ttlMs: null,
    scheduledAt: null,
    annotations: Buffer.alloc(0),
    bare: Buffer.alloc(0),
  };
  const sections = wire.sectionsOf(bytes);
  let properties: number[] = [];
  for (const section of sections) {
    if (section.code === 0x70) readHeader(bytes, section.value, parsed);
    else if (section.code === 0x72) readAnnotations(bytes, section.value, parsed);
    else if (section.code === 0x73) properties = wire.itemsOf(bytes, section.value);
  }
  parsed.sessionId = textAt(bytes, properties[10]);
  const bareAt = sections.find((section) => section.code >= 0x73)?.start ?? bytes.length;
  assertIdType(bytes[properties[0] ?? -1]);
  const messageId = textAt(bytes, properties[0]);
  if (messageId !== null) return { ...parsed, messageId, bare: bytes.subarray(bareAt) };
  const stamped = stampId();
  const bare = withMessageId(bytes.subarray(bareAt), stamped);
  return { ...parsed, messageId: stamped, bare };
}

/** Durable, priority and first-acquirer come back as sent; time-to-live and count are ours. */
function readHeader(bytes: Buffer, at: number, parsed: ParsedMessage): void {
  const fields = wire.itemsOf(bytes, at);
  const ttlMs = fields[2] === undefined ? null : wire.decode(bytes, fields[2]);
  parsed.ttlMs = typeof ttlMs === 'number' ? ttlMs : null;
  const kept = [fields[0], fields[1], fields[3]].map((field) =>
    field === undefined ? wire.encodeNull : bytes.subarray(field, wire.skip(bytes, field)),
  );
  if (kept.every((field) => field[0] === wire.encodeNull[0])) return;
  parsed.annotations = Buffer.concat([wire.encodeList(kept), parsed.annotations]);
}

function readAnnotations(bytes: Buffer, at: number, parsed: ParsedMessage): void {
  const items = wire.itemsOf(bytes, at);
  const kept: Buffer[] = [];
  for (let index = 0; index + 1 < items.length; index += 2) {
    const [name, value] = [items[index] ?? 0, items[index + 1] ?? 0];
    const text = wire.decode(bytes, name);
    if (text === 'x-opt-scheduled-enqueue-time') {
      const at = wire.decode(bytes, value);
      if (typeof at === 'number') parsed.scheduledAt = at;
    }
    // [AMQP 3.2.10] Keys are symbols; others are reserved.
    if (typeof text === 'string' && !ownAnnotations.has(text)) {
      kept.push(bytes.subarray(name, wire.skip(bytes, value)));
    }
  }
  parsed.annotations = Buffer.concat([parsed.annotations, ...kept]);
}

/** [AMQP 3.2.11-14] null, ulong, uuid, binary, string; clients fail over anything else. */
const idTypes = new Set([0x40, 0x44, 0x53, 0x80, 0x98, 0xa0, 0xb0, 0xa1, 0xb1]);

function assertIdType(code: number | undefined): void {
  if (code === undefined || idTypes.has(code)) return;
  throw new RangeError(`a message id of AMQP type 0x${code.toString(16)}`);
}

/** Message ids may be strings, numbers, uuids or binary: one text for each, distinct per kind. */
function textAt(bytes: Buffer, at: number | undefined): string | null {
  const value = at === undefined ? null : wire.decode(bytes, at);
  if (value === null || value === undefined) return null;
  if (Buffer.isBuffer(value)) return `hex:${value.toString('hex')}`;
  return typeof value === 'string' ? value : String(value);
}

function withMessageId(bare: Buffer, messageId: string): Buffer {
  const section = wire.sectionsOf(bare).find((candidate) => candidate.code === 0x73);
  const items = section ? wire.itemsOf(bare, section.value) : [];
  const others = items.slice(1).map((item) => bare.subarray(item, wire.skip(bare, item)));
  const list = wire.encodeList([wire.encodeString(messageId), ...others]);
  const properties = wire.encodeSection(0x73, list);
  return Buffer.concat([properties, section ? bare.subarray(section.end) : bare]);
}

/** The messages inside a transfer: one, or those of a batch envelope [SB 5.4]. */
export function splitTransfer(bytes: Buffer, format: number): Buffer[] {
  if (format !== batchFormat) return [bytes];
  return wire
    .sectionsOf(bytes)
    .filter((section) => section.code === 0x75)
    .map((section) => {
      const content = wire.decode(bytes, section.value);
      if (!Buffer.isBuffer(content)) throw new RangeError('a data section holds no binary');
      // A copy: the slice would keep the whole envelope in memory as long as one message lives.
      return Buffer.from(content);
    });
}

/** Header + annotations + untouched bare message [M1, M2]. */
export function encodeMessage(facts: DeliveryFacts, content: Content): Buffer {
  const items = [
    key.sequence,
    wire.encodeLong(facts.sequence),
    key.enqueuedSequence,
    wire.encodeLong(facts.enqueuedSequence),
    key.enqueuedAt,
    wire.encodeTimestamp(facts.enqueuedAt),
  ];
  if (facts.lockedUntil !== undefined) {
    items.push(key.lockedUntil, wire.encodeTimestamp(facts.lockedUntil));
  }
  if (facts.source !== null) items.push(key.source, wire.encodeString(facts.source));
  const { header, annotations } = partsOf(content.annotations);
  for (const [name, value] of annotations) {
    if (!facts.state || !name.equals(key.state)) items.push(name, value);
  }
  if (facts.state) items.push(key.state, wire.encodeInt(facts.state));
  const { lockToken } = facts;
  const token = lockToken ? [key.lockToken, wire.encodeUuid(lockToken)] : [];
  return Buffer.concat([
    encodeHeader(facts, header),
    lockToken ? wire.encodeSection(0x71, wire.encodeMap(token)) : Buffer.alloc(0),
    wire.encodeSection(0x72, wire.encodeMap(items)),
    content.bare,
  ]);
}

/** The two things that `ParsedMessage.annotations` holds. */
function partsOf(bytes: Buffer): { header: Buffer[]; annotations: [Buffer, Buffer][] } {
  const slice = (at: number): Buffer => bytes.subarray(at, wire.skip(bytes, at));
  const hasHeader = bytes[0] === wire.listCode;
  const annotations: [Buffer, Buffer][] = [];
  for (let at = hasHeader ? slice(0).length : 0; at < bytes.length;) {
    const name = slice(at);
    const value = slice(at + name.length);
    annotations.push([name, value]);
    at += name.length + value.length;
  }
  return { header: hasHeader ? wire.itemsOf(bytes, 0).map(slice) : [], annotations };
}

/** [SB 6.9] delivery-count = number of previous deliveries, written on every delivery. */
function encodeHeader(facts: DeliveryFacts, sent: readonly Buffer[]): Buffer {
  const nothing = wire.encodeNull;
  const [durable = nothing, priority = nothing, firstAcquirer = nothing] = sent;
  const ttl = facts.ttlMs === null ? nothing : wire.encodeUint(Math.min(facts.ttlMs, 2 ** 32 - 1));
  const count = wire.encodeUint(facts.deliveryCount);
  return wire.encodeSection(0x70, wire.encodeList([durable, priority, ttl, firstAcquirer, count]));
}

/** The bare message with application properties added or replaced [SB 7.6, 7.7]. */
export function withProperties(bare: Buffer, added: readonly Property[]): Buffer {
  if (added.length === 0) return bare;
  const sections = wire.sectionsOf(bare);
  const section = sections.find((candidate) => candidate.code === 0x74);
  const names = new Set(added.map((property) => property.name));
  const items: Buffer[] = [];
  const old = section ? wire.itemsOf(bare, section.value) : [];
  for (let index = 0; index + 1 < old.length; index += 2) {
    const [name, value] = [old[index] ?? 0, old[index + 1] ?? 0];
    if (names.has(String(wire.decode(bare, name)))) continue;
    items.push(bare.subarray(name, value), bare.subarray(value, wire.skip(bare, value)));
  }
  for (const { name, value } of added) items.push(wire.encodeString(name), value);
  const replaced = wire.encodeSection(0x74, wire.encodeMap(items));
  const before = section?.start ?? sections.find((candidate) => candidate.code === 0x73)?.end ?? 0;
  return Buffer.concat([bare.subarray(0, before), replaced, bare.subarray(section?.end ?? before)]);
}

/** A message as a peek shows it that asked for no body. */
export function withoutBody({ annotations, bare }: Content): Content {
  const kept = wire
    .sectionsOf(bare)
    .filter(({ code }) => code < 0x75 || code > 0x77)
    .map(({ start, end }) => bare.subarray(start, end));
  return { annotations, bare: Buffer.concat(kept) };
}

/** The properties a dead-lettered message gets [SB 7.6]. */
export function deadLetterProperties(
  reason: string | undefined,
  description: string | undefined,
): Property[] {
  const properties: Property[] = [];
  if (reason !== undefined) {
    properties.push({ name: 'DeadLetterReason', value: wire.encodeString(reason) });
  }
  if (description !== undefined) {
    properties.push({ name: 'DeadLetterErrorDescription', value: wire.encodeString(description) });
  }
  return properties;
}
