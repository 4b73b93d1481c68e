// PURE. Effective keys of version 1, that of definitions which name no version: a 32-bit hash,
// followed by the (shortened) value itself.

import type { Json } from './json.ts';

const textMax = 100;

const rotated = (value: number, by: number): number => (value << by) | (value >>> (32 - by));

const mixed = (block: number): number =>
  Math.imul(rotated(Math.imul(block, 0xcc9e2d51), 15), 0x1b873593);

/** MurmurHash3, x86 variant, 32 bits, seed 0. */
function murmur(bytes: Buffer): number {
  const blocks = Math.floor(bytes.length / 4);
  let hash = 0;
  for (let at = 0; at < blocks; at++) {
    hash ^= mixed(bytes.readInt32LE(at * 4));
    hash = Math.imul(rotated(hash, 13), 5) + 0xe6546b64;
  }
  const tail = Buffer.alloc(4);
  bytes.copy(tail, 0, blocks * 4);
  hash ^= mixed(tail.readInt32LE(0)) ^ bytes.length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

const uint64 = (value: bigint): bigint => BigInt.asUintN(64, value);

/** A number; texts are in the order of the numbers. 7 bits per byte, low bit = more follow. */
export function numberKey(value: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  const bits = bytes.readBigUInt64BE();
  let rest = uint64(bits < 1n << 63n ? bits ^ (1n << 63n) : ~bits + 1n);
  const out = [0x05, Number(rest >> 56n)];
  rest = uint64(rest << 8n);
  do {
    out.push(Number(rest >> 56n) | 1);
    rest = uint64(rest << 7n);
  } while (rest !== 0n);
  const last = (out.pop() ?? 0) & 0xfe;
  if (last !== 0) out.push(last);
  return Buffer.from(out).toString('hex').toUpperCase();
}

function textKey(text: string): string {
  const bytes = Buffer.from(text).map((byte) => Math.min(255, byte + 1));
  return `08${Buffer.from(bytes).toString('hex').toUpperCase()}00`;
}

/** The effective key of a value; a missing one is `{}`. */
export function effectiveKeyV1(value: Json): string {
  if (typeof value === 'string') {
    const text = value.slice(0, textMax);
    const bytes = Buffer.concat([Buffer.of(0x08), Buffer.from(text), Buffer.of(0x00)]);
    return numberKey(murmur(bytes)) + textKey(text);
  }
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(9, 0x05);
    bytes.writeDoubleLE(value, 1);
    return numberKey(murmur(bytes)) + numberKey(value);
  }
  const type = typeof value === 'boolean' ? (value ? 3 : 2) : value === null ? 1 : 0;
  return `${numberKey(murmur(Buffer.of(type)))}0${type}`;
}
