// The operations on one item: create, read, replace, upsert, delete, patch.
//
// Owns:    preconditions, id and size rules, system properties, expiry, unique keys.
// Leaves:  transactions to storage.ts (every function here runs inside one write), several at once
//          to batch.ts.
//
// Invariants:
//   1. Everything is checked before anything is written, unique keys apart (the savepoint undoes
//      them).
//   2. An expired item does not exist, whether or not it was swept [CO 11, TTL].
//   3. Compare-and-swap is replace with If-Match; upsert with If-Match creates a missing item, as
//      Azure does [CO 4].

import { randomUUID } from 'node:crypto';

import { changedTerms, createCharge, readCharge, replaceCharge, termsOf } from './charge.ts';
import {
  badRequest,
  conflict,
  CosmosError,
  notFound,
  preconditionFailed,
  tooLarge,
} from './errors.ts';
import { assertDepth, isObject, valueAt, type Json, type JsonObject } from './json.ts';
import { keyOfItem } from './partition-key.ts';
import { patched, readPatch } from './patch.ts';
import type { Container, Storage, StoredItem } from './storage.ts';

export type OperationType = 'Create' | 'Read' | 'Replace' | 'Upsert' | 'Delete' | 'Patch';

export interface Operation {
  operationType: OperationType;
  id?: string;
  resourceBody?: unknown;
  ifMatch?: string;
  ifNoneMatch?: string;
}

export interface Outcome {
  status: number;
  charge: number;
  etag?: string;
  /** The item's JSON text. */
  body?: string;
}

/** Where an operation happens; `pk` is the key the request names. */
export interface Place {
  storage: Storage;
  container: Container;
  pk: string;
  nowMs: number;
}

const itemBytesMax = 2 * 1024 * 1024;
const idBytesMax = 1023;
const ttlMax = 2_147_483_647;
const systemNames = ['_rid', '_self', '_etag', '_attachments', '_ts', '_lsn'] as const;

function assertId(id: unknown): asserts id is string {
  if (typeof id !== 'string' || id === '') {
    throw badRequest(
      "The input content is invalid because the required properties - 'id; ' - are missing.",
    );
  }
  // The service takes any other character; clients refuse more [CO: limits].
  if (/[/\\]/.test(id)) throw badRequest(`Id contains illegal characters ['/', '\\'].`);
  if (id.length * 3 > idBytesMax && Buffer.byteLength(id) > idBytesMax) {
    throw badRequest(`Id is longer than ${idBytesMax} bytes.`);
  }
}

/** Checks a new version of an item; its partition key must be the one the request names. */
function checkedItem(place: Place, body: unknown): JsonObject & { id: string } {
  if (!isObject(body)) throw badRequest('The request payload is invalid: an item is an object.');
  const id = body['id'];
  assertId(id);
  const ttl = body['ttl'];
  const isTtl = Number.isInteger(ttl) && (ttl === -1 || (Number(ttl) > 0 && Number(ttl) <= ttlMax));
  if (ttl !== undefined && !isTtl) {
    throw badRequest(
      `The input ttl '${JSON.stringify(ttl)}' is invalid: -1 or a positive integer.`,
    );
  }
  assertDepth(body);
  if (keyOfItem(body, place.container.paths) !== place.pk) {
    throw new CosmosError(
      400,
      "PartitionKey extracted from document doesn't match the one specified in the header.",
      { substatus: 1001 },
    );
  }
  return body as JsonObject & { id: string };
}

/** The item as a reader sees it now. */
export function liveItem(place: Place, id: string): StoredItem | undefined {
  const found = place.storage.get(place.container, place.pk, id);
  if (found?.expires != null && found.expires * 1000 <= place.nowMs) return undefined;
  return found;
}

function removeItem(place: Place, item: { number: number; pk: string; id: string }): void {
  const { statements, uniqueKeys } = place.container;
  statements.remove.run(item.number);
  if (uniqueKeys.length > 0) statements.uniqueRemove.run(item.pk, item.id);
}

function claimUniqueKeys(place: Place, item: JsonObject & { id: string }): void {
  const { statements, uniqueKeys } = place.container;
  if (uniqueKeys.length === 0) return;
  statements.uniqueRemove.run(place.pk, item.id);
  uniqueKeys.forEach((paths, at) => {
    const value = JSON.stringify([at, ...paths.map((path) => valueAt(item, path) ?? null)]);
    const holder = statements.uniqueGet.get(place.pk, value)?.['id'];
    if (holder !== undefined) {
      if (liveItem(place, String(holder))) throw conflict('Unique index constraint violation.');
      const expired = place.storage.get(place.container, place.pk, String(holder));
      if (expired) removeItem(place, expired);
    }
    statements.uniquePut.run(place.pk, value, item.id);
  });
}

function ridOf(container: Container, number: number): string {
  const rid = Buffer.alloc(16);
  Buffer.from(container.rid, 'base64').copy(rid);
  rid.writeBigUInt64BE(BigInt(number), 8);
  return rid.toString('base64').replaceAll('/', '-');
}

interface Written {
  body: string;
  bytes: number;
  etag: string;
}

function writeItem(place: Place, item: JsonObject & { id: string }, before?: StoredItem): Written {
  const { container, storage, pk } = place;
  const lsn = storage.nextLsn();
  const number = before?.number ?? lsn;
  const rid = ridOf(container, number);
  const etag = `"${randomUUID()}"`;
  const ts = Math.floor(place.nowMs / 1000);
  const clean = { ...item };
  for (const name of systemNames) delete clean[name];
  clean['_rid'] = rid;
  clean['_self'] = `${container.self}docs/${rid}/`;
  clean['_etag'] = etag;
  clean['_attachments'] = 'attachments/';
  clean['_ts'] = ts;
  const body = JSON.stringify(clean);
  const bytes = Buffer.byteLength(body);
  if (bytes > itemBytesMax) throw tooLarge();
  claimUniqueKeys(place, item);
  const seconds =
    container.defaultTtl === undefined ? -1 : Number(item['ttl'] ?? container.defaultTtl);
  const expires = seconds > 0 ? ts + seconds : null;
  const { insert, update } = container.statements;
  if (before) update.run(lsn, etag, expires, ts, body, number);
  else insert.run(lsn, pk, item.id, etag, expires, number, ts, body);
  return { body, bytes, etag };
}

function assertMatch(operation: Operation, item: StoredItem): void {
  const { ifMatch, ifNoneMatch } = operation;
  if (ifMatch !== undefined && ifMatch !== '*' && ifMatch !== item.etag) throw preconditionFailed();
  if (ifNoneMatch === '*' || ifNoneMatch === item.etag) throw preconditionFailed();
}

function createItem(place: Place, operation: Operation): Outcome {
  const item = checkedItem(place, operation.resourceBody);
  const found = place.storage.get(place.container, place.pk, item.id);
  if (found) {
    if (liveItem(place, item.id)) throw conflict();
    removeItem(place, found);
  }
  const { body, bytes, etag } = writeItem(place, item);
  const terms = termsOf(item, place.container.policy.paths);
  return { status: 201, body, etag, charge: createCharge(bytes, terms) };
}

function replaceWith(
  place: Place,
  item: JsonObject & { id: string },
  change: { before: StoredItem; beforeBody: JsonObject; patchedPaths?: number },
): Outcome {
  const { before, beforeBody, patchedPaths } = change;
  const { body, bytes, etag } = writeItem(place, item, before);
  const charge = replaceCharge({
    bytesBefore: Buffer.byteLength(before.body),
    bytesAfter: bytes,
    termsChanged: changedTerms(beforeBody, item, place.container.policy.paths),
    patchedPaths: patchedPaths ?? 0,
  });
  return { status: 200, body, etag, charge };
}

const parsed = (item: StoredItem): JsonObject => JSON.parse(item.body) as JsonObject;

function existing(place: Place, operation: Operation): StoredItem {
  const item = liveItem(place, operation.id ?? '');
  if (!item) throw notFound();
  return item;
}

function replaceItem(place: Place, operation: Operation): Outcome {
  const item = checkedItem(place, operation.resourceBody);
  if (item.id !== operation.id) {
    throw badRequest('Replacing the id of an item is not allowed: delete and create it instead.');
  }
  const before = existing(place, operation);
  assertMatch(operation, before);
  return replaceWith(place, item, { before, beforeBody: parsed(before) });
}

function upsertItem(place: Place, operation: Operation): Outcome {
  const item = checkedItem(place, operation.resourceBody);
  const before = liveItem(place, item.id);
  if (!before) return createItem(place, operation);
  assertMatch(operation, before);
  return replaceWith(place, item, { before, beforeBody: parsed(before) });
}

function readItem(place: Place, operation: Operation): Outcome {
  const item = existing(place, operation);
  if (operation.ifNoneMatch === item.etag) return { status: 304, etag: item.etag, charge: 1 };
  const charge = readCharge(Buffer.byteLength(item.body));
  return { status: 200, body: item.body, etag: item.etag, charge };
}

function deleteItem(place: Place, operation: Operation): Outcome {
  const item = existing(place, operation);
  assertMatch(operation, item);
  // A deletion is a write too: it takes a place in the write order, so session tokens rise.
  place.storage.nextLsn();
  removeItem(place, item);
  const terms = termsOf(parsed(item), place.container.policy.paths);
  return { status: 204, charge: createCharge(Buffer.byteLength(item.body), terms) };
}

function patchItem(place: Place, operation: Operation): Outcome {
  const patch = readPatch(operation.resourceBody);
  const before = existing(place, operation);
  assertMatch(operation, before);
  const beforeBody = parsed(before);
  const after: Json = patched(parsed(before), patch, place.nowMs);
  if (isObject(after) && after['id'] !== before.id) {
    throw badRequest('A patch may not change the id.');
  }
  const item = checkedItem(place, after);
  return replaceWith(place, item, { before, beforeBody, patchedPaths: patch.operations.length });
}

const operations: Record<OperationType, (place: Place, operation: Operation) => Outcome> = {
  Create: createItem,
  Read: readItem,
  Replace: replaceItem,
  Upsert: upsertItem,
  Delete: deleteItem,
  Patch: patchItem,
};

export const isOperationType = (name: unknown): name is OperationType =>
  typeof name === 'string' && Object.hasOwn(operations, name);

/** Applies one operation; throws CosmosError with nothing changed (given the write's savepoint). */
export function applyOperation(place: Place, operation: Operation): Outcome {
  return operations[operation.operationType](place, operation);
}

/** Removes up to `countMax` items of a partition key; returns how many. */
export function purgeKey(place: Place, countMax: number): number {
  const { storage, container, pk } = place;
  const sql = `SELECT number,id FROM items_${container.number} WHERE pk=? LIMIT ?`;
  const found = [...storage.iterate(sql, [pk, countMax])];
  if (found.length > 0) storage.nextLsn();
  for (const item of found) {
    removeItem(place, { number: Number(item['number']), pk, id: String(item['id']) });
  }
  return found.length;
}

/** Removes up to `countMax` expired items; returns how many. */
export function purgeExpired(place: Omit<Place, 'pk'>, countMax: number): number {
  const nowSeconds = Math.floor(place.nowMs / 1000);
  const expired = place.container.statements.purge.all(nowSeconds, countMax);
  for (const item of expired) {
    const pk = String(item['pk']);
    removeItem({ ...place, pk }, { number: Number(item['number']), pk, id: String(item['id']) });
  }
  return expired.length;
}
