// PURE. AMQP 1.0 values as bytes: find the end of a value without decoding it, read one, write one.
// Why our own: the bare message of a sender must reach the receiver byte for byte, and annotations
// need exact types (a long that arrives as a uint breaks the .NET client) [SB 7.1-7.3].
// Limits: arrays and described values are only skipped or sliced, decimals and chars are not read.

/** What a value decodes to. Timestamps are milliseconds, uuids 16 bytes in RFC order. */
export type Decoded =
  null | boolean | number | bigint | string | Buffer | Decoded[] | Map<string, Decoded> | undefined;

/** One section of a message: `start..end` with descriptor, `value` the offset of its value. */
export interface Section {
  code: number;
  start: number;
  value: number;
  end: number;
}

const depthMax = 32;

/** The offset behind the value that begins at `at`; throws when the bytes end before it does. */
export function skip(bytes: Buffer, at: number, depth = 0): number {
  const code = bytes[at];
  if (code === undefined || depth > depthMax) throw new RangeError('truncated AMQP value');
  if (code === 0) return skip(bytes, skip(bytes, at + 1, depth + 1), depth + 1);
  const end = at + 1 + sizeOf(bytes, at, code);
  if (end > bytes.length) throw new RangeError('truncated AMQP value');
  return end;
}

function sizeOf(bytes: Buffer, at: number, code: number): number {
  const fixed = [0, 1, 2, 4, 8, 16];
  const category = code >> 4;
  if (category >= 4 && category <= 9) return fixed[category - 4] ?? 0;
  if (category === 0xa || category === 0xc || category === 0xe) return 1 + bytes.readUInt8(at + 1);
  if (category === 0xb || category === 0xd || category === 0xf) {
    return 4 + bytes.readUInt32BE(at + 1);
  }
  throw new RangeError(`unknown AMQP constructor 0x${code.toString(16)}`);
}

/** Offsets of the items of the list or map at `at` (a map: key, value, key, value …). */
export function itemsOf(bytes: Buffer, at: number): number[] {
  const code = bytes[at];
  if (code === 0x45 || code === 0x40) return [];
  const isShort = code === 0xc0 || code === 0xc1;
  if (!isShort && code !== 0xd0 && code !== 0xd1) throw new RangeError('not an AMQP list or map');
  const count = isShort ? bytes.readUInt8(at + 2) : bytes.readUInt32BE(at + 5);
  const end = skip(bytes, at);
  const offsets: number[] = [];
  let next = at + (isShort ? 3 : 9);
  for (let index = 0; index < count; index++) {
    if (next >= end) throw new RangeError('AMQP list ends early');
    offsets.push(next);
    next = skip(bytes, next);
  }
  return offsets;
}

/** Splits a message into its sections. */
export function sectionsOf(bytes: Buffer): Section[] {
  const sections: Section[] = [];
  let start = 0;
  while (start < bytes.length) {
    if (bytes[start] !== 0) throw new RangeError('an AMQP section has no descriptor');
    const short = bytes[start + 1] === 0x53;
    if (!short && bytes[start + 1] !== 0x80) throw new RangeError('symbolic section descriptor');
    const code = bytes.readUInt8(start + (short ? 2 : 9));
    const value = start + (short ? 3 : 10);
    const end = skip(bytes, value);
    sections.push({ code, start, value, end });
    start = end;
  }
  return sections;
}

/** Decodes the value at `at`; `undefined` for kinds we never look into. */
export function decode(bytes: Buffer, at: number): Decoded {
  const code = bytes.readUInt8(at);
  switch (code) {
    case 0x40:
      return null;
    case 0x41:
      return true;
    case 0x42:
      return false;
    case 0x56:
      return bytes[at + 1] === 1;
    case 0xc0:
    case 0xd0:
    case 0x45:
      return itemsOf(bytes, at).map((item) => decode(bytes, item));
    case 0xc1:
    case 0xd1:
      return new Map([...mapOffsets(bytes, at)].map(([key, value]) => [key, decode(bytes, value)]));
    case 0xe0:
    case 0xf0:
      return decodeArray(bytes, at);
    default:
      return decodeNumber(bytes, at, code) ?? decodeText(bytes, at, code);
  }
}

function decodeNumber(bytes: Buffer, at: number, code: number): number | bigint | undefined {
  switch (code) {
    case 0x43:
    case 0x44:
      return 0;
    case 0x50:
    case 0x52:
    case 0x53:
      return bytes.readUInt8(at + 1);
    case 0x51:
    case 0x54:
    case 0x55:
      return bytes.readInt8(at + 1);
    case 0x60:
      return bytes.readUInt16BE(at + 1);
    case 0x61:
      return bytes.readInt16BE(at + 1);
    case 0x70:
      return bytes.readUInt32BE(at + 1);
    case 0x71:
      return bytes.readInt32BE(at + 1);
    case 0x72:
      return bytes.readFloatBE(at + 1);
    case 0x82:
      return bytes.readDoubleBE(at + 1);
    case 0x80:
      return narrow(bytes.readBigUInt64BE(at + 1));
    case 0x81:
    case 0x83:
      return narrow(bytes.readBigInt64BE(at + 1));
    default:
      return undefined;
  }
}

const narrow = (value: bigint): number | bigint =>
  value <= Number.MAX_SAFE_INTEGER && value >= Number.MIN_SAFE_INTEGER ? Number(value) : value;

function decodeText(bytes: Buffer, at: number, code: number): string | Buffer | undefined {
  switch (code) {
    case 0xa1:
    case 0xa3:
      return bytes.toString('utf8', at + 2, at + 2 + bytes.readUInt8(at + 1));
    case 0xb1:
    case 0xb3:
      return bytes.toString('utf8', at + 5, at + 5 + bytes.readUInt32BE(at + 1));
    case 0xa0:
      return bytes.subarray(at + 2, at + 2 + bytes.readUInt8(at + 1));
    case 0xb0:
      return bytes.subarray(at + 5, at + 5 + bytes.readUInt32BE(at + 1));
    case 0x98:
      return bytes.subarray(at + 1, at + 17);
    default:
      return undefined;
  }
}

/** Arrays hold one constructor, then the items without theirs: each item is decoded by a copy. */
function decodeArray(bytes: Buffer, at: number): Decoded[] {
  const isShort = bytes[at] === 0xe0;
  const count = isShort ? bytes.readUInt8(at + 2) : bytes.readUInt32BE(at + 5);
  let next = at + (isShort ? 3 : 9);
  const end = skip(bytes, at);
  const code = bytes.subarray(next, next + 1);
  if (code[0] === 0) throw new RangeError('an array of described values is not supported');
  next += 1;
  const values: Decoded[] = [];
  for (let index = 0; index < count && next <= end; index++) {
    const item = Buffer.concat([code, bytes.subarray(next, end)]);
    values.push(decode(item, 0));
    next += skip(item, 0) - 1;
  }
  return values;
}

/** Keys of a map with the offsets of their values. */
export function mapOffsets(bytes: Buffer, at: number): Map<string, number> {
  const offsets = new Map<string, number>();
  const items = itemsOf(bytes, at);
  for (let index = 0; index + 1 < items.length; index += 2) {
    offsets.set(String(decode(bytes, items[index] ?? 0)), items[index + 1] ?? 0);
  }
  return offsets;
}

/** Writers: each returns one complete AMQP value. */
export const encodeNull = Buffer.from([0x40]);

export const encodeBoolean = (value: boolean): Buffer => Buffer.from([value ? 0x41 : 0x42]);

export function encodeString(text: string): Buffer {
  return sized(0xa1, Buffer.from(text, 'utf8'));
}

export function encodeSymbol(text: string): Buffer {
  return sized(0xa3, Buffer.from(text, 'latin1'));
}

export function encodeBinary(content: Uint8Array): Buffer {
  return sized(0xa0, content);
}

/** Variable-width values: the one-byte form, or the four-byte form at code + 0x10. */
function sized(code: number, content: Uint8Array): Buffer {
  const isShort = content.length < 256;
  const head = Buffer.alloc(isShort ? 2 : 5);
  head[0] = isShort ? code : code + 0x10;
  if (isShort) head[1] = content.length;
  else head.writeUInt32BE(content.length, 1);
  return Buffer.concat([head, content]);
}

export function encodeInt(value: number): Buffer {
  const bytes = Buffer.alloc(5, 0x71);
  bytes.writeInt32BE(value, 1);
  return bytes;
}

export function encodeUint(value: number): Buffer {
  const bytes = Buffer.alloc(5, 0x70);
  bytes.writeUInt32BE(value, 1);
  return bytes;
}

export function encodeLong(value: number | bigint): Buffer {
  return eight(0x81, value);
}

export function encodeTimestamp(ms: number): Buffer {
  return eight(0x83, ms);
}

function eight(code: number, value: number | bigint): Buffer {
  const bytes = Buffer.alloc(9, code);
  bytes.writeBigInt64BE(BigInt(value), 1);
  return bytes;
}

export function encodeDouble(value: number): Buffer {
  const bytes = Buffer.alloc(9, 0x82);
  bytes.writeDoubleBE(value, 1);
  return bytes;
}

export function encodeUuid(bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([0x98]), bytes]);
}

/** The constructor of the lists we write. */
export const listCode = 0xd0;

export function encodeList(items: readonly Uint8Array[]): Buffer {
  return compound(listCode, Buffer.concat(items), items.length);
}

/** A map of already encoded `key, value, key, value …`. */
export function encodeMap(items: readonly Uint8Array[]): Buffer {
  return compound(0xd1, Buffer.concat(items), items.length);
}

/** An array: the items must all begin with the same constructor byte, which is written once. */
export function encodeArray(items: readonly Buffer[], emptyCode: number): Buffer {
  const code = items[0]?.[0] ?? emptyCode;
  const content = Buffer.concat([
    Buffer.from([code]),
    ...items.map((item) => {
      if (item[0] !== code) throw new RangeError('an AMQP array holds one kind of value');
      return item.subarray(1);
    }),
  ]);
  return compound(0xf0, content, items.length);
}

function compound(code: number, content: Buffer, count: number): Buffer {
  const head = Buffer.alloc(9);
  head[0] = code;
  head.writeUInt32BE(content.length + 4, 1);
  head.writeUInt32BE(count, 5);
  return Buffer.concat([head, content]);
}

/** A section: descriptor and value. */
export function encodeSection(code: number, value: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([0, 0x53, code]), value]);
}

/** The AMQP value for what a disposition brought (rhea decodes those, the exact type is lost). */
export function encodeAny(value: unknown): Buffer {
  if (value === null || value === undefined) return encodeNull;
  if (typeof value === 'boolean') return encodeBoolean(value);
  if (typeof value === 'string') return encodeString(value);
  if (typeof value === 'bigint') return encodeLong(value);
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) return encodeDouble(value);
    return Math.abs(value) < 2 ** 31 ? encodeInt(value) : encodeLong(value);
  }
  if (value instanceof Date) return encodeTimestamp(value.getTime());
  if (value instanceof Uint8Array) return encodeBinary(value);
  throw new TypeError('this kind of property value is not supported');
}
