// PURE. JSON as Cosmos sees it: the values, how they compare, paths into them, limits on them.
//
// Order across types (ORDER BY, MIN, MAX): undefined < null < false < true < number < string <
// array < object. Text compares by code point, which is the order of its UTF-8 bytes and
// therefore also SQLite's: an order taken from an SQLite index and one computed here are the same.

import { badRequest } from './errors.ts';

export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [name: string]: Json;
}
/** A value inside a query: JSON or undefined (the path does not exist, the types do not fit). */
export type Value = Json | undefined;

/** Azure's limit on nested levels in an item. */
const depthMax = 128;

export function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

function typeOrder(value: Value): number {
  if (value === undefined) return 0;
  if (value === null) return 1;
  if (typeof value === 'boolean') return 2;
  if (typeof value === 'number') return 3;
  if (typeof value === 'string') return 4;
  return Array.isArray(value) ? 5 : 6;
}

// UTF-16 order differs from code point order only above the surrogates: lift them over the rest.
const lifted = (unit: number): number =>
  unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800;

/** Compares two texts by code point. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) {
    const left = a.charCodeAt(at);
    const right = b.charCodeAt(at);
    if (left !== right) return lifted(left) - lifted(right);
  }
  return a.length - b.length;
}

/** The total order of ORDER BY: by type, then by value. */
export function compareValues(a: Value, b: Value): number {
  const order = typeOrder(a);
  const other = typeOrder(b);
  if (order !== other) return order - other;
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'boolean' && typeof b === 'boolean') return Number(a) - Number(b);
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b);
  if (order < 5) return 0;
  return compareText(JSON.stringify(a), JSON.stringify(b));
}

/** Deep equality; both sides are defined. */
export function equalJson(a: Json, b: Json): boolean {
  if (a === b) return true;
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false;
    return a.every((value, at) => equalJson(value, b[at] ?? null));
  }
  if (!isObject(a) || !isObject(b)) return false;
  const names = Object.keys(a);
  if (names.length !== Object.keys(b).length) return false;
  return names.every((name) => Object.hasOwn(b, name) && equalJson(a[name]!, b[name]!));
}

/** Compares two values of one scalar type; undefined when the types do not fit (SQL's unknown). */
export function compareScalars(a: Value, b: Value): number | undefined {
  const order = typeOrder(a);
  if (order !== typeOrder(b) || order < 1 || order > 4) return undefined;
  return compareValues(a, b);
}

/** An own property of an object, or an element of an array; anything else is undefined. */
export function member(target: Value, key: Value): Value {
  if (target === null || typeof target !== 'object') return undefined;
  if (Array.isArray(target)) return typeof key === 'number' ? target[key] : undefined;
  return typeof key === 'string' && Object.hasOwn(target, key) ? target[key] : undefined;
}

/** The value at a path of property names. */
export function valueAt(target: Value, path: readonly string[]): Value {
  let value = target;
  for (const name of path) value = member(value, name);
  return value;
}

/** Splits `/a/"b c"/d` into its names (partition key, unique key and index paths). */
export function splitPath(path: string): string[] | undefined {
  const names: string[] = [];
  const pattern = /\/(?:"((?:[^"\\]|\\.)*)"|([^/"]+))/y;
  while (pattern.lastIndex < path.length) {
    const match = pattern.exec(path);
    if (!match) return undefined;
    names.push(match[1] === undefined ? (match[2] ?? '') : match[1].replace(/\\(.)/g, '$1'));
  }
  return names.length > 0 ? names : undefined;
}

/** Refuses values nested deeper than Azure stores; so every later walk may recurse. */
export function assertDepth(value: unknown, left = depthMax): void {
  if (value === null || typeof value !== 'object') return;
  if (left === 0) throw badRequest(`The item exceeds the maximum nesting of ${depthMax} levels.`);
  for (const inner of Object.values(value)) assertDepth(inner, left - 1);
}
