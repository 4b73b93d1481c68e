// The SQLite file: which databases, containers and items exist.
//
// Owns:    the schema, the prepared statements, the write order (lsn), group commit.
// Leaves:  what a write means to items.ts, the shape of definitions to account.ts.
//
// Invariants:
//   1. One SQLite table per container, keyed by the number an item has for life, so that a write
//      leaves every index alone whose value it does not change. The lsn, given anew at every write,
//      is an indexed column: the entries in its order are the change feed.
//   2. lsn never falls, not even when the newest items are deleted and the process restarts: it is
//      reserved in blocks before use, so session tokens and feed positions stay valid.
//   3. Writes of one event-loop turn share one transaction and are answered after its commit; each
//      has its own savepoint, so one that throws leaves nothing behind and spoils no other.
//   4. Nothing outside `write` changes an item, and nothing in there awaits: a reader, who runs
//      between transactions on the same connection, never sees half of one.

import assert from 'node:assert/strict';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';

import { CosmosError, ownerNotFound } from './errors.ts';
import type { JsonObject } from './json.ts';
import { readPolicy, type CompositePath, type IndexingPolicy } from './indexing-policy.ts';
import { splitPath } from './json.ts';

export interface StoredItem {
  lsn: number;
  pk: string;
  id: string;
  etag: string;
  /** Seconds since the epoch at which the item is gone; null = never. */
  expires: number | null;
  /** Number of the item for life: the lsn of its creation. */
  number: number;
  body: string;
}

export interface Container {
  number: number;
  database: string;
  id: string;
  rid: string;
  self: string;
  definition: JsonObject;
  paths: string[][];
  policy: IndexingPolicy;
  uniqueKeys: string[][][];
  /** Azure's defaultTtl: undefined = off, -1 = on without expiry, else seconds. */
  defaultTtl: number | undefined;
  throughput: number | undefined;
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

const lsnBlock = 10_000;
/** A batch has at most 100 operations, each one place in the write order. */
const lsnsPerWriteMax = 100;

/** The SQL that reads a path of an item; index and query must use the very same text. */
export const extract = (path: readonly string[]): string =>
  `json_extract(body,'$${path.map((name) => `."${name}"`).join('')}')`;

/** The SQL that reads the type of the value at a path; NULL when there is none. */
export const typeAt = (path: readonly string[]): string => extract(path).replace('extract', 'type');

/** Paths that may stand in SQL text; others are evaluated in JavaScript only. */
export const isPlainPath = (path: readonly string[]): boolean =>
  path.every((name) => /^[A-Za-z0-9_-]{1,128}$/.test(name));

export interface PathIndex {
  /** The index is called `items_<container>_<suffix>`. */
  suffix: string;
  parts: CompositePath[];
  isComposite: boolean;
}

/** The SQLite indexes that stand for a policy: its composites, then its named paths. */
export function indexesOf(policy: IndexingPolicy): PathIndex[] {
  const single = policy.named.map((path): CompositePath[] => [{ path, isDescending: false }]);
  return [...policy.composites, ...single]
    .filter((parts) => parts.every((part) => isPlainPath(part.path)))
    .map((parts, at) => ({ suffix: `path_${at}`, parts, isComposite: parts.length > 1 }));
}

interface PendingWrite {
  apply(): unknown;
  done(value: unknown): void;
  failed(error: unknown): void;
}

export class Storage {
  readonly sql: DatabaseSync;
  #lsn: number;
  #lsnReserved: number;
  #pending: PendingWrite[] = [];
  #containers = new Map<string, Container>();
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  readonly #rollback: StatementSync;
  readonly #savepoint: StatementSync;
  readonly #release: StatementSync;
  readonly #undo: StatementSync;
  readonly #reserve: StatementSync;

  constructor(file: string) {
    this.sql = new DatabaseSync(file);
    this.sql.exec(`PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY;
      PRAGMA cache_size=-65536; PRAGMA mmap_size=268435456; PRAGMA busy_timeout=2000;
      PRAGMA locking_mode=EXCLUSIVE; PRAGMA wal_autocheckpoint=4000;
      CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS databases(
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, body TEXT);
      CREATE TABLE IF NOT EXISTS containers(number INTEGER PRIMARY KEY AUTOINCREMENT,
        database TEXT, id TEXT, body TEXT, throughput REAL, UNIQUE(database,id));`);
    const prepare = (text: string): StatementSync => this.sql.prepare(text);
    this.#begin = prepare('BEGIN IMMEDIATE');
    this.#commit = prepare('COMMIT');
    this.#rollback = prepare('ROLLBACK');
    this.#savepoint = prepare('SAVEPOINT one');
    this.#release = prepare('RELEASE one');
    this.#undo = prepare('ROLLBACK TO one');
    this.#reserve = prepare(`INSERT INTO meta VALUES('lsn',?)
      ON CONFLICT(name) DO UPDATE SET value=excluded.value`);
    const reserved = prepare(`SELECT value FROM meta WHERE name='lsn'`).get()?.['value'];
    this.#lsn = this.#lsnReserved = typeof reserved === 'number' ? reserved : 0;
  }

  /** The newest write; also the session token. */
  get lsn(): number {
    return this.#lsn;
  }

  /** The next position in the write order; only inside `write`. */
  nextLsn(): number {
    assert(this.#lsn < this.#lsnReserved, 'a write takes more positions than were reserved');
    return ++this.#lsn;
  }

  #reserveLsns(writes: number): void {
    if (this.#lsn + writes * lsnsPerWriteMax <= this.#lsnReserved) return;
    this.#lsnReserved = this.#lsn + writes * lsnsPerWriteMax + lsnBlock;
    this.#reserve.run(this.#lsnReserved);
  }

  /** Applies a change in the next group commit; settles when it is on disk, or undone. */
  write<T>(apply: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const done = (value: unknown): void => resolve(value as T);
      this.#pending.push({ apply, done, failed: reject });
      if (this.#pending.length === 1) setImmediate(() => this.flush());
    });
  }

  /** Commits what is pending, at once. */
  flush(): void {
    const writes = this.#pending;
    if (writes.length === 0) return;
    this.#pending = [];
    const reservedBefore = this.#lsnReserved;
    const settled: (() => void)[] = [];
    try {
      this.#begin.run();
      this.#reserveLsns(writes.length);
      for (const write of writes) settled.push(this.#applyOne(write));
      this.#commit.run();
    } catch (error) {
      this.#lsnReserved = Math.min(reservedBefore, this.#lsn);
      if (this.sql.isTransaction) this.#rollback.run();
      const reason = `The write could not be committed: ${String(error)}`;
      for (const write of writes) write.failed(new CosmosError(503, reason));
      return;
    }
    for (const settle of settled) settle();
  }

  #applyOne(write: PendingWrite): () => void {
    this.#savepoint.run();
    try {
      const value = write.apply();
      this.#release.run();
      return () => write.done(value);
    } catch (error) {
      // A full disk makes SQLite end the transaction by itself: then nothing is left to undo.
      if (!this.sql.isTransaction) throw error;
      this.#undo.run();
      this.#release.run();
      return () => write.failed(error);
    }
  }

  get(container: Container, pk: string, id: string): StoredItem | undefined {
    const found = container.statements.get.get(pk, id);
    return found === undefined ? undefined : (found as unknown as StoredItem);
  }

  /** The containers opened so far, by `database/id`. */
  openContainers(): Iterable<Container> {
    return this.#containers.values();
  }

  container(database: string, id: string): Container | undefined {
    const name = `${database}/${id}`;
    const known = this.#containers.get(name);
    if (known) return known;
    const found = this.sql
      .prepare('SELECT number, body, throughput FROM containers WHERE database=? AND id=?')
      .get(database, id);
    if (!found) return undefined;
    const definition = JSON.parse(String(found['body'])) as JsonObject;
    const container = this.#openContainer(Number(found['number']), database, definition);
    container.throughput = found['throughput'] === null ? undefined : Number(found['throughput']);
    this.#containers.set(name, container);
    return container;
  }

  /** The container as it is now: a request may have waited while it was changed or deleted. */
  current(container: Container): Container {
    const found = this.container(container.database, container.id);
    if (found?.number !== container.number) throw ownerNotFound();
    return found;
  }

  /** Forgets what was read of a container whose definition changed. */
  forget(database: string, id: string): void {
    this.#containers.delete(`${database}/${id}`);
  }

  #openContainer(number: number, database: string, definition: JsonObject): Container {
    const read = readContainer(definition);
    const items = `items_${number}`;
    const unique = `unique_${number}`;
    const prepare = (text: string): StatementSync => this.sql.prepare(text);
    const columns = 'lsn,pk,id,etag,expires,number,ts,body';
    return {
      ...read,
      number,
      database,
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

  /** Creates what holds the items of a container; part of the write that creates it. */
  createItems(number: number, policy: IndexingPolicy): void {
    const items = `items_${number}`;
    this.sql.exec(`CREATE TABLE ${items}(number INTEGER PRIMARY KEY, lsn INTEGER NOT NULL,
        pk TEXT NOT NULL, id TEXT NOT NULL, etag TEXT NOT NULL, expires INTEGER,
        ts INTEGER NOT NULL, body TEXT NOT NULL);
      CREATE UNIQUE INDEX ${items}_lsn ON ${items}(lsn);
      CREATE UNIQUE INDEX ${items}_key ON ${items}(pk,id);
      CREATE INDEX ${items}_expires ON ${items}(expires) WHERE expires IS NOT NULL;
      CREATE TABLE unique_${number}(pk TEXT, value TEXT, id TEXT, PRIMARY KEY(pk,value))
        WITHOUT ROWID;
      CREATE INDEX unique_${number}_id ON unique_${number}(pk,id);`);
    this.createIndexes(number, policy);
  }

  /** Makes the expression indexes of a policy, in place of those of the policy before. */
  createIndexes(number: number, policy: IndexingPolicy): void {
    const items = `items_${number}`;
    const before = this.sql
      .prepare(`SELECT name FROM sqlite_master WHERE type='index' AND name GLOB ?`)
      .all(`${items}_path_*`);
    for (const index of before) this.sql.exec(`DROP INDEX "${String(index['name'])}"`);
    for (const { suffix, parts, isComposite } of indexesOf(policy)) {
      const keys = parts.map((part) => extract(part.path) + (part.isDescending ? ' DESC' : ''));
      // Items without the leading properties cannot be asked for by them: leave them out.
      const leading = isComposite ? parts.slice(0, -1) : parts;
      const filter = leading.map((part) => `${extract(part.path)} IS NOT NULL`).join(' AND ');
      // Under one value a single-path index goes by creation: pages resume there without sorting.
      if (!isComposite) keys.push('number');
      this.sql.exec(
        `CREATE INDEX ${items}_${suffix} ON ${items}(${keys.join(',')}) WHERE ${filter}`,
      );
    }
  }

  dropItems(number: number): void {
    this.sql.exec(`DROP TABLE items_${number}; DROP TABLE unique_${number};`);
  }

  /** Runs a read whose SQL depends on the query; the statement lives as long as the iteration. */
  iterate(text: string, values: readonly SQLInputValue[]): Iterable<Record<string, unknown>> {
    return this.sql.prepare(text).iterate(...values);
  }

  close(): void {
    this.flush();
    this.sql.close();
  }
}

/** What operations need of a container's definition. */
function readContainer(
  definition: JsonObject,
): Omit<Container, 'number' | 'database' | 'statements'> {
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
  };
}
