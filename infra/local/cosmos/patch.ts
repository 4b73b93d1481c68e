// PURE. Partial updates: add, set, replace, remove, incr, move, with an optional condition.

import { badRequest } from './errors.ts';
import { isObject, member, type Json, type JsonObject } from './json.ts';
import { assertCondition } from './query-condition.ts';

const operationsMax = 10;
const systemNames = new Set(['_rid', '_self', '_etag', '_attachments', '_ts', '_lsn']);

interface PatchOperation {
  op: string;
  path: string[];
  from: string[] | undefined;
  value: Json | undefined;
}

export interface Patch {
  condition: string | undefined;
  operations: PatchOperation[];
}

function pointer(path: unknown, what: string): string[] {
  if (typeof path !== 'string' || !path.startsWith('/') || path.length < 2) {
    throw badRequest(`The ${what} of a patch operation must begin with '/'.`);
  }
  const names = path
    .slice(1)
    .split('/')
    .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'));
  if (systemNames.has(names[0] ?? '')) {
    throw badRequest(`System property ${names[0]} cannot be patched.`);
  }
  return names;
}

/** Reads the body of a patch request: a list of operations, or an object with a condition too. */
export function readPatch(body: unknown): Patch {
  const list = Array.isArray(body) ? body : isObject(body) ? body['operations'] : undefined;
  if (!Array.isArray(list) || list.length === 0) {
    throw badRequest('Invalid patch request: a list of operations is needed.');
  }
  if (list.length > operationsMax) {
    throw badRequest(`The number of patch operations can't exceed ${operationsMax}.`);
  }
  const condition = isObject(body) ? body['condition'] : undefined;
  if (condition !== undefined && typeof condition !== 'string') {
    throw badRequest('The condition of a patch request must be a text.');
  }
  const operations = list.map((entry: unknown): PatchOperation => {
    if (!isObject(entry)) throw badRequest('A patch operation must be an object.');
    const op = String(entry['op']);
    if (!Object.hasOwn(appliers, op)) throw badRequest(`Unsupported patch operation: '${op}'.`);
    const from = op === 'move' ? pointer(entry['from'], 'from') : undefined;
    const value = entry['value'];
    if (value === undefined && op !== 'remove' && op !== 'move') {
      throw badRequest(`Patch operation '${op}' needs a value.`);
    }
    return { op, path: pointer(entry['path'], 'path'), from, value };
  });
  return { condition, operations };
}

interface Slot {
  parent: Json[] | JsonObject;
  name: string;
}

function slotOf(item: Json, path: readonly string[]): Slot {
  let parent: Json | undefined = item;
  for (const name of path.slice(0, -1)) {
    const key: string | number = Array.isArray(parent) ? Number(name) : name;
    parent = member(parent, key);
  }
  if (parent === null || typeof parent !== 'object') {
    throw badRequest(
      'Add Operation can only create a child object of an existing node (array or object) and ' +
        'cannot create path recursively.',
    );
  }
  return { parent, name: path.at(-1) ?? '' };
}

function indexOf(name: string, last: number): number {
  const index = /^(0|[1-9][0-9]*)$/.test(name) ? Number(name) : -1;
  if (index < 0 || index > last) throw badRequest('Index to operate on is out of array bounds.');
  return index;
}

// Object.defineProperty, because assignment to `__proto__` would not create a property.
function define(target: JsonObject, name: string, value: Json): void {
  Object.defineProperty(target, name, {
    value,
    configurable: true,
    enumerable: true,
    writable: true,
  });
}

function put({ parent, name }: Slot, value: Json, isInserting: boolean): void {
  if (!Array.isArray(parent)) define(parent, name, value);
  else if (name === '-') parent.push(value);
  else if (isInserting) parent.splice(indexOf(name, parent.length), 0, value);
  else parent[indexOf(name, parent.length - 1)] = value;
}

function current({ parent, name }: Slot): Json | undefined {
  return Array.isArray(parent) ? parent[indexOf(name, parent.length - 1)] : member(parent, name);
}

function take(slot: Slot): Json {
  const value = current(slot);
  if (value === undefined) throw badRequest('Node to be removed is absent.');
  if (Array.isArray(slot.parent)) slot.parent.splice(Number(slot.name), 1);
  else delete slot.parent[slot.name];
  return value;
}

function increment(slot: Slot, by: Json | undefined): void {
  const before = current(slot);
  if (typeof by !== 'number' || (before !== undefined && typeof before !== 'number')) {
    throw badRequest('Increment must be applied to a number, by a number.');
  }
  const after = (before ?? 0) + by;
  if (!Number.isFinite(after)) throw badRequest('Increment leaves the range of numbers.');
  put(slot, after, false);
}

const appliers: Record<string, (item: Json, operation: PatchOperation) => void> = {
  add: (item, { path, value }) => put(slotOf(item, path), value ?? null, true),
  set: (item, { path, value }) => put(slotOf(item, path), value ?? null, false),
  replace: (item, { path, value }) => {
    const slot = slotOf(item, path);
    if (current(slot) === undefined) throw badRequest('Node to be replaced is absent.');
    put(slot, value ?? null, false);
  },
  remove: (item, { path }) => void take(slotOf(item, path)),
  incr: (item, { path, value }) => increment(slotOf(item, path), value),
  move: (item, { path, from }) => {
    const source = from ?? [];
    if (source.length < path.length && source.every((name, at) => name === path[at])) {
      throw badRequest('The path of a move may not be a child of its from.');
    }
    const value = take(slotOf(item, source));
    put(slotOf(item, path), value, true);
  },
};

/** The item after the patch (changed in place); refuses whole when one operation fails. */
export function patched(item: JsonObject, patch: Patch, nowMs: number): JsonObject {
  if (patch.condition !== undefined) assertCondition(patch.condition, item, nowMs);
  patch.operations.forEach((operation, at) => {
    try {
      appliers[operation.op]?.(item, operation);
    } catch (error) {
      throw badRequest(`For Operation(${at + 1}): ${error instanceof Error ? error.message : ''}`);
    }
  });
  return item;
}
