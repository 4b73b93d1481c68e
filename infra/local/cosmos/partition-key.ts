// PURE. Partition keys as typed values: 7 and "7", null, "" and a missing property are different
// keys. Inside the server a key is the JSON text of its values, a missing one written as {}.

import { badRequest } from './errors.ts';
import type { Json } from './json.ts';
import { isObject, valueAt } from './json.ts';

const keyBytesMax = 2048;

const mismatch = (): Error =>
  badRequest(
    "Partition key provided either doesn't correspond to definition in the collection or doesn't " +
      'match partition key field values specified in the document.',
  );

/** `{}`: how a missing value is written, in a header and, the client library says, in an item. */
const isEmpty = (value: unknown): boolean => isObject(value) && Object.keys(value).length === 0;

/** The key of an item's body. */
export function keyOfItem(item: Json, paths: readonly (readonly string[])[]): string {
  const values = paths.map((path) => {
    const value = valueAt(item, path);
    if (value === undefined || isEmpty(value)) return {};
    if (value !== null && typeof value === 'object') {
      throw badRequest('The partition key value must be a string, number, boolean or null.');
    }
    return value;
  });
  const key = JSON.stringify(values);
  if (key.length * 3 > keyBytesMax && Buffer.byteLength(key) > keyBytesMax) {
    throw badRequest(`The partition key is larger than ${keyBytesMax} bytes.`);
  }
  return key;
}

const isScalarOrMissing = (value: unknown): boolean =>
  value === null || typeof value !== 'object' || isEmpty(value);

/**
 * The key of a request header: `["p"]`, `[{}]` or `[]` for a missing one. A shorter list is the
 * prefix of a hierarchical key, legal only where `isPrefixAllowed` (queries) [CO 12.8].
 */
export function keyOfHeader(header: string, levels: number, isPrefixAllowed: boolean): Json[] {
  let values: unknown;
  try {
    values = JSON.parse(header);
  } catch {
    throw badRequest(`Partition key ${header.slice(0, 80)} is invalid.`);
  }
  if (!Array.isArray(values) || !values.every(isScalarOrMissing)) {
    throw badRequest(`Partition key ${header.slice(0, 80)} is invalid.`);
  }
  if (values.length === 0) return Array.from({ length: levels }, () => ({}));
  if (values.length > levels || (!isPrefixAllowed && values.length < levels)) throw mismatch();
  return values;
}
