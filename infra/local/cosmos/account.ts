// Databases and containers: what holds the items.
//
// Owns:    the definitions and their rules (names, partition key, unique keys, TTL, indexing
//          policy).
// Leaves:  the tables behind a container to storage.ts, throughput to offers.ts.

import { randomUUID } from 'node:crypto';

import { badRequest, conflict, notFound, ownerNotFound } from './errors.ts';
import { completePolicy, readPolicy } from './indexing-policy.ts';
import { isObject, type Json, type JsonObject } from './json.ts';
import { createOffer, deleteOffer, hasOffer, type Throughput } from './offers.ts';
import type { Container, Storage } from './storage.ts';

const nameCharactersMax = 255;
const levelsMax = 3;
/** Names of letters, digits and _; any others are quoted. */
const keyPath = /^(?:\/(?:[\p{L}\p{N}_]+|"(?:[^"\\]|\\.)+"))+$/u;

/** The document a client reads first: one region, whose endpoint is this server [CO 12.1]. */
export function accountOf(endpoint: string): JsonObject {
  const region = [{ name: 'Local', databaseAccountEndpoint: endpoint }];
  const replicas = { asyncReplication: false, minReplicaSetSize: 1, maxReplicasetSize: 1 };
  return {
    _self: '',
    id: 'local',
    _rid: 'local',
    media: '//media/',
    addresses: '//addresses/',
    _dbs: '//dbs/',
    writableLocations: region,
    readableLocations: region,
    enableMultipleWriteLocations: false,
    userReplicationPolicy: replicas,
    userConsistencyPolicy: { defaultConsistencyLevel: 'Session' },
    systemReplicationPolicy: { minReplicaSetSize: 1, maxReplicasetSize: 1 },
    readPolicy: { primaryReadCoefficient: 1, secondaryReadCoefficient: 1 },
    queryEngineConfiguration: '{}',
  };
}

function ridOf(...numbers: number[]): string {
  const rid = Buffer.alloc(numbers.length * 4);
  numbers.forEach((number, at) => rid.writeUInt32BE(number >>> 0, at * 4));
  return rid.toString('base64').replaceAll('/', '-');
}

function nameIn(body: unknown): string {
  const id = isObject(body) ? body['id'] : undefined;
  if (typeof id !== 'string' || id === '') {
    throw badRequest(
      "The input content is invalid because the required properties - 'id; ' - are missing.",
    );
  }
  if (/[/\\#?]/.test(id) || id.endsWith(' ') || id.length > nameCharactersMax) {
    throw badRequest(
      `The name '${id.slice(0, 60)}' is invalid: 1 to ${nameCharactersMax} characters, ` +
        'none of / \\ # ?, no space at the end.',
    );
  }
  return id;
}

/** The definition of a database; undefined when there is none. */
export function databaseNamed(storage: Storage, id: string): JsonObject | undefined {
  const found = storage.sql.prepare('SELECT body FROM databases WHERE id=?').get(id);
  return found && (JSON.parse(String(found['body'])) as JsonObject);
}

export function listDatabases(storage: Storage): JsonObject[] {
  const all = storage.sql.prepare('SELECT body FROM databases ORDER BY number').all();
  return all.map((found) => JSON.parse(String(found['body'])) as JsonObject);
}

export interface DatabaseRequest {
  body: unknown;
  throughput: Throughput | undefined;
  nowMs: number;
}

/** Creates a database; inside a write. */
export function createDatabase(storage: Storage, request: DatabaseRequest): JsonObject {
  const { body, throughput, nowMs } = request;
  const id = nameIn(body);
  if (databaseNamed(storage, id)) throw conflict();
  const insert = storage.sql.prepare('INSERT INTO databases(id,body) VALUES(?,?)');
  const number = Number(insert.run(id, '{}').lastInsertRowid);
  const rid = ridOf(number);
  const definition: JsonObject = {
    id,
    _rid: rid,
    _self: `dbs/${rid}/`,
    _etag: `"${randomUUID()}"`,
    _colls: 'colls/',
    _users: 'users/',
    _ts: Math.floor(nowMs / 1000),
  };
  storage.sql.prepare('UPDATE databases SET body=? WHERE number=?').run(text(definition), number);
  if (throughput) createOffer(storage, definition, throughput);
  return definition;
}

const text = (definition: JsonObject): string => JSON.stringify(definition);

/** Deletes a database with its containers; inside a write. */
export function deleteDatabase(storage: Storage, id: string): void {
  const database = databaseNamed(storage, id);
  if (!database) throw notFound();
  deleteOffer(storage, database);
  for (const definition of listContainers(storage, id)) {
    deleteContainer(storage, id, String(definition['id']));
  }
  storage.sql.prepare('DELETE FROM databases WHERE id=?').run(id);
}

export function listContainers(storage: Storage, database: string): JsonObject[] {
  const all = storage.sql
    .prepare('SELECT body FROM containers WHERE database=? ORDER BY number')
    .all(database);
  return all.map((found) => JSON.parse(String(found['body'])) as JsonObject);
}

function checkedPaths(value: Json | undefined, what: string): string[] {
  const isList = Array.isArray(value) && value.length > 0;
  if (!isList || !value.every((path) => typeof path === 'string')) {
    throw badRequest(`${what} must be a list of paths like /name.`);
  }
  for (const path of value) {
    if (keyPath.test(path)) continue;
    throw badRequest(
      `${what} component definition path '${path.slice(0, 80)}' could not be accepted. Partition ` +
        'key paths must contain only valid characters and not contain a trailing slash or ' +
        'wildcard character.',
    );
  }
  return value;
}

function partitionKeyOf(body: JsonObject): JsonObject {
  const key = body['partitionKey'];
  if (!isObject(key)) throw badRequest('The partition key definition is missing.');
  const paths = checkedPaths(key['paths'], 'The partition key');
  const kind = key['kind'] ?? 'Hash';
  if (kind !== 'Hash' && kind !== 'MultiHash') {
    throw badRequest(`The partition key kind ${JSON.stringify(kind)} is invalid.`);
  }
  if (paths.length > (kind === 'Hash' ? 1 : levelsMax)) {
    throw badRequest(`Too many partition key paths for kind ${kind}.`);
  }
  const version = key['version'] ?? (kind === 'Hash' ? undefined : 2);
  if (version !== undefined && version !== 2 && (version !== 1 || kind !== 'Hash')) {
    throw badRequest(`The partition key version ${JSON.stringify(version)} is invalid.`);
  }
  return { ...key, paths, kind, ...(version !== undefined && { version }) };
}

function assertDefinition(body: JsonObject): void {
  const ttl = body['defaultTtl'];
  const isTtl = Number.isInteger(ttl) && (ttl === -1 || Number(ttl) > 0);
  if (ttl !== undefined && ttl !== null && !isTtl) {
    throw badRequest('The defaultTtl must be -1 or a positive integer.');
  }
  const unique = body['uniqueKeyPolicy'];
  const keys = isObject(unique) ? unique['uniqueKeys'] : undefined;
  if (keys === undefined) return;
  if (!Array.isArray(keys)) throw badRequest('uniqueKeys must be a list.');
  for (const key of keys) checkedPaths(isObject(key) ? key['paths'] : undefined, 'The unique key');
}

export interface ContainerRequest {
  database: string;
  body: unknown;
  throughput: Throughput | undefined;
  nowMs: number;
}

const links = {
  _docs: 'docs/',
  _sprocs: 'sprocs/',
  _triggers: 'triggers/',
  _udfs: 'udfs/',
  _conflicts: 'conflicts/',
};

/** Creates a container; inside a write. */
export function createContainer(storage: Storage, request: ContainerRequest): JsonObject {
  const { database, body, throughput, nowMs } = request;
  const owner = databaseNamed(storage, database);
  if (!owner) throw ownerNotFound();
  const id = nameIn(body);
  if (!isObject(body)) throw badRequest('The request payload is invalid.');
  if (storage.container(database, id)) throw conflict();
  const partitionKey = partitionKeyOf(body);
  assertDefinition(body);
  const indexingPolicy = completePolicy(body['indexingPolicy']);
  const policy = readPolicy(indexingPolicy);
  const insert = storage.sql.prepare(
    'INSERT INTO containers(database,id,body,throughput) VALUES(?,?,?,?)',
  );
  const number = Number(insert.run(database, id, '{}', throughput?.most ?? null).lastInsertRowid);
  const databaseRid = String(owner['_rid']);
  const rid = ridOf(Buffer.from(databaseRid, 'base64').readUInt32BE(0), number);
  const definition: JsonObject = {
    conflictResolutionPolicy: {
      mode: 'LastWriterWins',
      conflictResolutionPath: '/_ts',
      conflictResolutionProcedure: '',
    },
    geospatialConfig: { type: 'Geography' },
    ...body,
    indexingPolicy,
    partitionKey,
    _rid: rid,
    _ts: Math.floor(nowMs / 1000),
    _self: `dbs/${databaseRid}/colls/${rid}/`,
    _etag: `"${randomUUID()}"`,
    ...links,
  };
  storage.sql.prepare('UPDATE containers SET body=? WHERE number=?').run(text(definition), number);
  storage.createItems(number, policy);
  if (throughput || !hasOffer(storage, owner)) createOffer(storage, definition, throughput);
  return definition;
}

/** Changes TTL and indexing policy of a container; its items stay. Inside a write. */
export function replaceContainer(
  storage: Storage,
  container: Container,
  change: { body: unknown; nowMs: number },
): JsonObject {
  const { body } = change;
  if (!isObject(body) || body['id'] !== container.id) {
    throw badRequest('The id of a container cannot be changed.');
  }
  const before = container.definition;
  const key = partitionKeyOf(body);
  if (
    JSON.stringify(key['paths']) !== JSON.stringify((before['partitionKey'] as JsonObject)['paths'])
  ) {
    throw badRequest('The partition key of a container cannot be changed.');
  }
  const unique = JSON.stringify(body['uniqueKeyPolicy'] ?? null);
  if (
    body['uniqueKeyPolicy'] !== undefined &&
    unique !== JSON.stringify(before['uniqueKeyPolicy'] ?? null)
  ) {
    throw badRequest('The unique keys of a container cannot be changed.');
  }
  assertDefinition(body);
  const indexingPolicy = completePolicy(body['indexingPolicy']);
  const policy = readPolicy(indexingPolicy);
  const { defaultTtl: _, ...kept } = before;
  const definition: JsonObject = {
    ...kept,
    ...(typeof body['defaultTtl'] === 'number' && { defaultTtl: body['defaultTtl'] }),
    indexingPolicy,
    _etag: `"${randomUUID()}"`,
    _ts: Math.floor(change.nowMs / 1000),
  };
  const save = storage.sql.prepare('UPDATE containers SET body=? WHERE number=?');
  save.run(text(definition), container.number);
  if (JSON.stringify(before['indexingPolicy']) !== JSON.stringify(indexingPolicy)) {
    storage.createIndexes(container.number, policy);
  }
  if (before['defaultTtl'] !== definition['defaultTtl'])
    restampExpiry(storage, container, definition);
  storage.forget(container.database, container.id);
  return definition;
}

// Azure counts TTL from _ts whenever it looks; here the instant is stored, so it is computed anew.
function restampExpiry(storage: Storage, container: Container, definition: JsonObject): void {
  const items = `items_${container.number}`;
  const ttl = definition['defaultTtl'];
  if (ttl === undefined) {
    storage.sql.exec(`UPDATE ${items} SET expires=NULL WHERE expires IS NOT NULL`);
    return;
  }
  const seconds = `COALESCE(json_extract(body,'$.ttl'),${Number(ttl)})`;
  storage.sql.exec(
    `UPDATE ${items} SET expires=CASE WHEN ${seconds}>0 THEN ts+${seconds} ELSE NULL END`,
  );
}

/** Deletes a container with its items; inside a write. */
export function deleteContainer(storage: Storage, database: string, id: string): void {
  const container = storage.container(database, id);
  if (!container) throw notFound();
  storage.forget(database, id);
  storage.dropItems(container.number);
  deleteOffer(storage, container.definition);
  storage.sql.prepare('DELETE FROM containers WHERE number=?').run(container.number);
}
