// PURE. Where a partition key lies in the space of effective keys: the hash that clients and
// service agree on, as upper-case hexadecimal text of 32 digits per level.
//
// Version 2 here: one key, and every level of a hierarchical one, is MurmurHash3 (x64, 128 bits,
// seed 0) of its typed bytes, the bytes reversed and the highest two bits cleared.

import type { Json } from './json.ts';

const mask = (1n << 64n) - 1n;
const c1 = 0x87c37b91114253d5n;
const c2 = 0x4cf5ad432745937fn;

const rotated = (value: bigint, by: bigint): bigint =>
  ((value << by) | (value >> (64n - by))) & mask;

function finalMix(start: bigint): bigint {
  let hash = start;
  hash ^= hash >> 33n;
  hash = (hash * 0xff51afd7ed558ccdn) & mask;
  hash ^= hash >> 33n;
  hash = (hash * 0xc4ceb9fe1a85ec53n) & mask;
  return hash ^ (hash >> 33n);
}

const mixFirst = (block: bigint): bigint => (rotated((block * c1) & mask, 31n) * c2) & mask;

const mixSecond = (block: bigint): bigint => (rotated((block * c2) & mask, 33n) * c1) & mask;

/** MurmurHash3, x64 variant, 128 bits, seed 0: its two halves. */
function murmur(bytes: Buffer): [bigint, bigint] {
  const blocks = Math.floor(bytes.length / 16);
  let one = 0n;
  let two = 0n;
  for (let at = 0; at < blocks; at++) {
    one ^= mixFirst(bytes.readBigUInt64LE(at * 16));
    one = ((rotated(one, 27n) + two) * 5n + 0x52dce729n) & mask;
    two ^= mixSecond(bytes.readBigUInt64LE(at * 16 + 8));
    two = ((rotated(two, 31n) + one) * 5n + 0x38495ab5n) & mask;
  }
  const tail = Buffer.alloc(16);
  bytes.copy(tail, 0, blocks * 16);
  two ^= mixSecond(tail.readBigUInt64LE(8));
  one ^= mixFirst(tail.readBigUInt64LE(0));
  const length = BigInt(bytes.length);
  one ^= length;
  two ^= length;
  one = (one + two) & mask;
  two = (two + one) & mask;
  one = finalMix(one);
  two = finalMix(two);
  one = (one + two) & mask;
  return [one, (two + one) & mask];
}

function typedBytes(value: Json): Buffer {
  if (typeof value === 'string') {
    return Buffer.concat([Buffer.of(0x08), Buffer.from(value), Buffer.of(0xff)]);
  }
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(9, 0x05);
    bytes.writeDoubleLE(value, 1);
    return bytes;
  }
  if (typeof value === 'boolean') return Buffer.of(value ? 0x03 : 0x02);
  return Buffer.of(value === null ? 0x01 : 0x00);
}

function hashOf(value: Json): string {
  const [one, two] = murmur(typedBytes(value));
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(one, 0);
  bytes.writeBigUInt64LE(two, 8);
  bytes.reverse();
  bytes[0]! &= 0x3f;
  return bytes.toString('hex').toUpperCase();
}

/** The effective key of a partition key, or of a prefix of one: a missing value is `{}`. */
export const effectiveKeyV2 = (values: readonly Json[]): string => values.map(hashOf).join('');
