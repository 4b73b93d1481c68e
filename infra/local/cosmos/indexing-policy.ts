// PURE. A container's indexing policy: which paths Azure would index (request units, ORDER BY), and
// which of them become SQLite expression indexes here.
//
// Every path that is named (not under a wildcard) and every composite index becomes one index on
// this side, so that a query that Azure serves from an index does not read the container here.

import { badRequest } from './errors.ts';
import type { Json, JsonObject } from './json.ts';
import { isObject, splitPath } from './json.ts';

/** A place in the tree of indexed paths; `at` steps down. */
export interface IndexedPaths {
  kind: 'none' | 'some';
  /** A scalar here is indexed. */
  self: boolean;
  at(name: string): IndexedPaths;
}

export interface CompositePath {
  path: string[];
  isDescending: boolean;
}

export interface IndexingPolicy {
  paths: IndexedPaths;
  /** Named scalar paths, `/kind/?`: candidates for an index of our own. */
  named: string[][];
  composites: CompositePath[][];
}

interface Branch {
  inner: Map<string, Branch>;
  scalar?: boolean;
  wildcard?: boolean;
}

const nothing: IndexedPaths = { kind: 'none', self: false, at: () => nothing };
const everything: IndexedPaths = { kind: 'some', self: true, at: () => everything };

/** The policy Azure gives a container that names none. */
export function defaultPolicy(): JsonObject {
  return {
    indexingMode: 'consistent',
    automatic: true,
    includedPaths: [{ path: '/*' }],
    excludedPaths: [{ path: '/"_etag"/?' }],
  };
}

const etagPath = '/"_etag"/?';
const root = '/*';

// `/` is how policies said `/*` before 2018; Azure still takes it.
function rootNamed(list: Json | undefined): Json | undefined {
  if (!Array.isArray(list)) return list;
  return list.map((entry) =>
    isObject(entry) && entry['path'] === '/' ? { ...entry, path: root } : entry,
  );
}

const names = (list: Json, path: string): boolean =>
  Array.isArray(list) && list.some((entry) => isObject(entry) && entry['path'] === path);

/**
 * A policy as Azure keeps it: what it does not name comes from the default, and the ETag is always
 * excluded.
 */
export function completePolicy(given: Json | undefined): JsonObject {
  if (given === undefined || given === null) return defaultPolicy();
  if (!isObject(given)) throw badRequest('The indexing policy is invalid.');
  const policy = { ...defaultPolicy(), ...given };
  if (String(policy['indexingMode']).toLowerCase() === 'none') return policy;
  const excluded = rootNamed(policy['excludedPaths']) ?? [];
  const isNothing = given['includedPaths'] === undefined && names(excluded, root);
  const includedPaths = isNothing ? [] : (rootNamed(policy['includedPaths']) ?? []);
  if (!Array.isArray(excluded)) return { ...policy, includedPaths };
  const excludedPaths = names(excluded, etagPath) ? excluded : [...excluded, { path: etagPath }];
  return { ...policy, includedPaths, excludedPaths };
}

function listOf(value: Json | undefined, what: string): Json[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw badRequest(`The indexing policy is invalid: ${what}.`);
  return value;
}

function pathOf(entry: Json | undefined, what: string): string {
  const path = isObject(entry) ? entry['path'] : undefined;
  if (typeof path !== 'string' || !path.startsWith('/')) {
    throw badRequest(
      `The indexing path '${JSON.stringify(path)}' in ${what} could not be accepted.`,
    );
  }
  return path;
}

function plant(top: Branch, text: string, isIncluded: boolean): string[] | undefined {
  const names = splitPath(text);
  const last = names?.at(-1);
  if (!names || (last !== '?' && last !== '*')) {
    throw badRequest(`The indexing path '${text}' could not be accepted: it must end in /? or /*.`);
  }
  let branch = top;
  for (const name of names.slice(0, -1)) {
    let next = branch.inner.get(name);
    if (!next) branch.inner.set(name, (next = { inner: new Map() }));
    branch = next;
  }
  if (last === '?') branch.scalar = isIncluded;
  else branch.wildcard = isIncluded;
  const path = names.slice(0, -1);
  return isIncluded && last === '?' && !path.includes('[]') ? path : undefined;
}

// The most precise path wins; `/?` is more precise than `/*` on the same branch.
function view(branch: Branch | undefined, inherited: boolean): IndexedPaths {
  const wildcard = branch?.wildcard ?? inherited;
  if (!branch) return wildcard ? everything : nothing;
  const cache = new Map<string, IndexedPaths>();
  for (const [name, inner] of branch.inner) cache.set(name, view(inner, wildcard));
  const rest = wildcard ? everything : nothing;
  const self = branch.scalar ?? wildcard;
  if (cache.size === 0 && self === wildcard) return rest;
  return { kind: 'some', self, at: (name) => cache.get(name) ?? rest };
}

function compositeOf(entry: Json): CompositePath[] {
  const parts = listOf(entry, 'compositeIndexes holds lists of paths');
  if (parts.length < 2) throw badRequest('A composite index needs at least two paths.');
  return parts.map((part) => {
    const text = pathOf(part, 'compositeIndexes');
    const path = splitPath(text);
    if (!path || path.includes('*') || path.includes('?')) {
      throw badRequest(`The composite index path '${text}' may not contain a wildcard.`);
    }
    return { path, isDescending: isObject(part) && part['order'] === 'descending' };
  });
}

/** Reads a policy; refuses what Azure refuses (paths without `/?` or `/*`, a missing root). */
export function readPolicy(policy: Json | undefined): IndexingPolicy {
  if (!isObject(policy)) throw badRequest('The indexing policy is invalid.');
  const mode = String(policy['indexingMode'] ?? 'consistent').toLowerCase();
  if (mode === 'none') return { paths: nothing, named: [], composites: [] };
  if (mode !== 'consistent') throw badRequest(`Indexing mode '${mode}' is not supported.`);
  const top: Branch = { inner: new Map() };
  const included = listOf(policy['includedPaths'], 'includedPaths is a list');
  const excluded = listOf(policy['excludedPaths'], 'excludedPaths is a list');
  const texts = [...included, ...excluded].map((entry) => pathOf(entry, 'the indexing policy'));
  if (texts.length > 0 && !texts.includes(root)) {
    throw badRequest("The special mandatory indexing path '/' is not provided: add '/*'.");
  }
  const named: string[][] = [];
  included.forEach((entry) => {
    const path = plant(top, pathOf(entry, 'includedPaths'), true);
    if (path && path.length > 0) named.push(path);
  });
  excluded.forEach((entry) => plant(top, pathOf(entry, 'excludedPaths'), false));
  if (texts.length === 0) top.wildcard = true;
  const composites = listOf(policy['compositeIndexes'], 'compositeIndexes').map(compositeOf);
  return { paths: view(top, false), named, composites };
}
