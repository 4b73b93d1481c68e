// Databases, containers, throughput: what holds the items.
//
// Owns:    the definitions and their rules (names, partition key, unique keys, TTL, indexing
//          policy).
// Leaves:  the tables behind a container to storage.ts.

import { randomUUID } from 'node:crypto';

import { badRequest, conflict, notFound, ownerNotFound } from './errors.ts';
import { defaultPolicy, readPolicy } from './indexing-policy.ts';
import { isObject, splitPath, type Json, type JsonObject } from './json.ts';
import type { Container, Storage } from './storage.ts';

const nameCharactersMax = 255;
const levelsMax = 3;
const throughputMin = 400;

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

/** Creates a database; inside a write. */
export function createDatabase(storage: Storage, body: unknown, nowMs: number): JsonObject {
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
  return definition;
}

const text = (definition: JsonObject): string => JSON.stringify(definition);

/** Deletes a database with its containers; inside a write. */
export function deleteDatabase(storage: Storage, id: string): void {
  if (!databaseNamed(storage, id)) throw notFound();
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
  if (!isList || !value.every((path) => typeof path === 'string' && splitPath(path))) {
    throw badRequest(`${what} must be a list of paths like /name.`);
  }
  return value as string[];
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
  const version = key['version'] ?? 2;
  return { ...key, paths, kind, version };
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
  for (const key of keys) checkedPaths(isObject(key) ? key['paths'] : undefined, 'A unique key');
}

/** The throughput a request asks for: manual, or the most of autoscale. */
export function throughputOf(header: string | undefined, autoscale: string | undefined) {
  const settings = autoscale === undefined ? undefined : (JSON.parse(autoscale) as unknown);
  const most = isObject(settings) ? settings['maxThroughput'] : header;
  if (most === undefined) return undefined;
  const value = Number(most);
  if (!Number.isInteger(value) || value < throughputMin || value % 100 !== 0) {
    throw badRequest(`The throughput must be a multiple of 100, at least ${throughputMin}.`);
  }
  return value;
}

export interface ContainerRequest {
  database: string;
  body: unknown;
  throughput: number | undefined;
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
  const indexingPolicy = policyOf(body);
  const policy = readPolicy(indexingPolicy);
  const insert = storage.sql.prepare(
    'INSERT INTO containers(database,id,body,throughput) VALUES(?,?,?,?)',
  );
  const number = Number(insert.run(database, id, '{}', throughput ?? null).lastInsertRowid);
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
  return definition;
}

// A policy that names only some parts gets the rest from the default, as in Azure.
function policyOf(body: JsonObject): JsonObject {
  const given = body['indexingPolicy'];
  if (given === undefined || given === null) return defaultPolicy();
  if (!isObject(given)) throw badRequest('The indexing policy is invalid.');
  return { ...defaultPolicy(), ...given };
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
  const indexingPolicy = policyOf(body);
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
  storage.sql.prepare('DELETE FROM containers WHERE number=?').run(container.number);
}

/** What `readOffer` finds: one offer per container with its own throughput. */
export function listOffers(storage: Storage): JsonObject[] {
  const all = storage.sql
    .prepare('SELECT number,body,throughput FROM containers WHERE throughput IS NOT NULL')
    .all();
  return all.map((found) => {
    const definition = JSON.parse(String(found['body'])) as JsonObject;
    const id = `offer${String(found['number'])}`;
    return {
      id,
      _rid: id,
      _self: `offers/${id}/`,
      _etag: definition['_etag'] ?? '',
      resource: definition['_self'] ?? '',
      offerResourceId: definition['_rid'] ?? '',
      offerVersion: 'V2',
      offerType: 'Invalid',
      content: { offerThroughput: Number(found['throughput']) },
    };
  });
}
