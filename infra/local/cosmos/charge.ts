// PURE. What an operation would cost in request units.
//
// The model is reference/cosmos.md §11, source A (learn.microsoft.com, "understand request unit
// consumption", 2026-04-21): a size curve for reads and writes plus 0.2 units per indexed term.
// Batches are the sum of their operations and queries a rough formula: Azure publishes neither.

import type { Json, JsonObject } from './json.ts';
import { isObject } from './json.ts';
import type { IndexedPaths } from './indexing-policy.ts';

const sizesKb = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048];
const readUnits = [1, 1.04, 1.14, 1.33, 1.67, 2.19, 4.76, 9.95, 20.28, 40.95, 145.9, 291.8];
const writeUnits = [4.95, 6.29, 6.67, 7.04, 9.52, 11.23, 22.67, 48.19, 98.29, 184.57, 625, 1250];
const unitsPerTerm = 0.2;
const unitsPerPatchedPath = 0.4;

function interpolate(units: readonly number[], bytes: number): number {
  const kb = Math.max(1, bytes / 1024);
  let at = 0;
  while (at < sizesKb.length - 2 && kb > sizesKb[at + 1]!) at++;
  const share = (kb - sizesKb[at]!) / (sizesKb[at + 1]! - sizesKb[at]!);
  return units[at]! + (units[at + 1]! - units[at]!) * share;
}

export const readCharge = (bytes: number): number => interpolate(readUnits, bytes);

/** Create and delete: the size curve plus every indexed term. */
export const createCharge = (bytes: number, terms: number): number =>
  interpolate(writeUnits, bytes) + unitsPerTerm * terms;

export interface ReplaceSizes {
  bytesBefore: number;
  bytesAfter: number;
  /** Terms removed plus terms added. */
  termsChanged: number;
  patchedPaths?: number;
}

/** Replace, upsert of an existing item and patch: old version out, new version in. */
export const replaceCharge = (sizes: ReplaceSizes): number =>
  interpolate(writeUnits, sizes.bytesBefore) +
  interpolate(writeUnits, sizes.bytesAfter) +
  unitsPerTerm * sizes.termsChanged +
  unitsPerPatchedPath * (sizes.patchedPaths ?? 0);

/** A refused or empty operation still costs about one unit. */
export const minimumCharge = 1;

export interface QueryWork {
  itemsLoaded: number;
  bytesReturned: number;
}

/** A placeholder with the known anchors: 1 item of 10 KB is about 3.2 units. */
export const queryCharge = (work: QueryWork): number =>
  2.3 +
  0.05 * work.itemsLoaded +
  (work.bytesReturned > 0 ? interpolate(readUnits, work.bytesReturned) : 0);

// One term per scalar leaf. Items are at most 128 levels deep, so recursion is bounded.
function countTerms(value: Json, paths: IndexedPaths): number {
  if (paths.kind === 'none') return 0;
  if (value === null || typeof value !== 'object') return paths.self ? 1 : 0;
  let terms = 0;
  if (Array.isArray(value)) {
    const inner = paths.at('[]');
    for (const element of value) terms += countTerms(element, inner);
    return terms;
  }
  for (const name of Object.keys(value)) terms += countTerms(value[name]!, paths.at(name));
  return terms;
}

const system = new Set(['_rid', '_self', '_etag', '_attachments', '_ts']);

/** Indexed terms of an item under its container's indexing policy. */
export function termsOf(item: JsonObject, paths: IndexedPaths): number {
  let terms = 0;
  for (const name of Object.keys(item)) {
    if (!system.has(name)) terms += countTerms(item[name]!, paths.at(name));
  }
  return terms;
}

function changed(before: Json | undefined, after: Json | undefined, paths: IndexedPaths): number {
  if (paths.kind === 'none' || before === after) return 0;
  if (before === undefined) return after === undefined ? 0 : countTerms(after, paths);
  if (after === undefined) return countTerms(before, paths);
  if (Array.isArray(before) && Array.isArray(after)) {
    const inner = paths.at('[]');
    let terms = 0;
    for (let at = 0; at < Math.max(before.length, after.length); at++) {
      terms += changed(before[at], after[at], inner);
    }
    return terms;
  }
  if (isObject(before) && isObject(after)) return changedTerms(before, after, paths);
  return countTerms(before, paths) + countTerms(after, paths);
}

/** Terms removed plus terms added between two versions of an item. */
export function changedTerms(before: JsonObject, after: JsonObject, paths: IndexedPaths): number {
  let terms = 0;
  for (const name of Object.keys(before)) {
    if (system.has(name)) continue;
    const next = Object.hasOwn(after, name) ? after[name] : undefined;
    terms += changed(before[name], next, paths.at(name));
  }
  for (const name of Object.keys(after)) {
    if (!system.has(name) && !Object.hasOwn(before, name)) {
      terms += countTerms(after[name]!, paths.at(name));
    }
  }
  return terms;
}
