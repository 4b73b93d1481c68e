// A container as operations need it: what its definition says, and the statements over its items.

import type { DatabaseSync, StatementSync } from 'node:sqlite';

import { indexesOf, type PathIndex } from './indexes.ts';
import { readPolicy, type IndexingPolicy } from './indexing-policy.ts';
import { splitPath, type JsonObject } from './json.ts';

export interface Container {
  number: number;
  database: string;
  id: string;
  rid: string;
  self: string;
  definition: JsonObject;
  paths: string[][];
  policy: IndexingPolicy;
  indexes: PathIndex[];
  uniqueKeys: string[][][];
  /** Azure's defaultTtl: undefined = off, -1 = on without expiry, else seconds. */
  defaultTtl: number | undefined;
  throughput: number | undefined;
  /** How many partition key ranges the keys are spread over. */
  rangeCount: number;
  statements: Statements;
}

export interface Statements {
  get: StatementSync;
  insert: StatementSync;
  update: StatementSync;
  remove: StatementSync;
  purge: StatementSync;
  bodyOf: StatementSync;
  uniqueGet: StatementSync;
  uniquePut: StatementSync;
  uniqueRemove: StatementSync;
}

/** What operations need of a container's definition. */
function readContainer(
  definition: JsonObject,
): Omit<Container, 'number' | 'database' | 'statements' | 'indexes'> {
  const paths = (definition['partitionKey'] as { paths: string[] }).paths;
  const unique = definition['uniqueKeyPolicy'] as
    { uniqueKeys?: { paths: string[] }[] } | undefined;
  const ttl = definition['defaultTtl'];
  const split = (path: string): string[] => splitPath(path) ?? [];
  return {
    id: String(definition['id']),
    rid: String(definition['_rid']),
    self: String(definition['_self']),
    definition,
    paths: paths.map(split),
    policy: readPolicy(definition['indexingPolicy']),
    uniqueKeys: (unique?.uniqueKeys ?? []).map((key) => key.paths.map(split)),
    defaultTtl: typeof ttl === 'number' ? ttl : undefined,
    throughput: undefined,
    rangeCount: 1,
  };
}

/** Prepares a container that the file holds. */
export function openContainer(
  sql: DatabaseSync,
  container: { number: number; database: string; definition: JsonObject },
): Container {
  const { number, database, definition } = container;
  const read = readContainer(definition);
  const items = `items_${number}`;
  const unique = `unique_${number}`;
  const prepare = (text: string): StatementSync => sql.prepare(text);
  const columns = 'lsn,pk,id,etag,expires,number,ts,body';
  return {
    ...read,
    number,
    database,
    indexes: indexesOf(sql, { number, policy: read.policy, paths: read.paths }),
    statements: {
      get: prepare(`SELECT lsn,pk,id,etag,expires,number,body FROM ${items}
        WHERE pk=? AND id=?`),
      insert: prepare(`INSERT INTO ${items}(${columns}) VALUES(?,?,?,?,?,?,?,?)`),
      update: prepare(`UPDATE ${items} SET lsn=?,etag=?,expires=?,ts=?,body=? WHERE number=?`),
      remove: prepare(`DELETE FROM ${items} WHERE number=?`),
      purge: prepare(`SELECT number,pk,id FROM ${items} WHERE expires<=? LIMIT ?`),
      bodyOf: prepare(`SELECT body FROM ${items} WHERE number=?`),
      uniqueGet: prepare(`SELECT id FROM ${unique} WHERE pk=? AND value=?`),
      uniquePut: prepare(`INSERT INTO ${unique}(pk,value,id) VALUES(?,?,?)`),
      uniqueRemove: prepare(`DELETE FROM ${unique} WHERE pk=? AND id=?`),
    },
  };
}
