// The SQLite file: which databases, containers and items exist.
//
// Owns:    the schema, the prepared statements, the write order (lsn), group commit.
// Leaves:  what a write means to items.ts, the shape of definitions to account.ts, indexes by path
//          to indexes.ts, threads to replicas.ts.
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
//      between transactions on the same connection, never sees half of one. Another connection
//      reads a snapshot (WAL).
//   5. One process writes a file: the lock beside it is held until the process ends, whatever ends
//      it. Within the process a replica writes only while `hold` keeps the others waiting.

import assert from 'node:assert/strict';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';

import { CosmosError, ownerNotFound } from './errors.ts';
import { openContainer, type Container } from './container.ts';
import { createIndexes, createLearned } from './indexes.ts';
import type { IndexingPolicy } from './indexing-policy.ts';
import { splitPath, type JsonObject } from './json.ts';

export type { Container } from './container.ts';

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

const lsnBlock = 10_000;
/** A batch has at most 100 operations, each one place in the write order. */
const lsnsPerWriteMax = 100;

interface PendingWrite {
  apply(): unknown;
  done(value: unknown): void;
  failed(error: unknown): void;
}

export interface StorageOptions {
  /** Another connection of the process that owns the file. */
  isReplica?: boolean;
  /** The most SQLite pages, of 4 KB, that the file may have; then it is as full as a disk. */
  pagesMax?: number | undefined;
}

/** Work of one turn of the event loop; what is left waits for the next one. */
const flushMs = 8;
/** One writer only: SQLite's own lock on an empty file, gone with the process. */
const lockName = (file: string): string => `${file}-lock`;
const memory = ':memory:';
const commitsPerLook = 16;
const sqliteBusy = 5;
const textsMax = 128;

function lockFile(file: string): DatabaseSync {
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(lockName(file));
    lock.exec('PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock?.close();
    const isBusy = Reflect.get(Object(error), 'errcode') === sqliteBusy;
    const what = isBusy ? 'is in use by another server' : 'cannot be written';
    throw new CosmosError(503, `${file} ${what}: ${String(error)}`);
  }
}

const schema = `
  CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS databases(
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, body TEXT);
  CREATE TABLE IF NOT EXISTS containers(number INTEGER PRIMARY KEY AUTOINCREMENT,
    database TEXT, id TEXT, body TEXT, throughput REAL, UNIQUE(database,id));
  CREATE TABLE IF NOT EXISTS offers(number INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT UNIQUE, ranges INTEGER, body TEXT);`;

export class Storage {
  readonly sql: DatabaseSync;
  /** Where other connections find the same items; undefined in memory. */
  readonly file: string | undefined;
  readonly #lock: DatabaseSync | undefined;
  readonly #isReplica: boolean;
  #lsn: number;
  #lsnReserved: number;
  #pending: PendingWrite[] = [];
  #isFlushing = false;
  #holds = 0;
  #containers = new Map<string, Container>();
  readonly #shared = new Map<string, number | undefined>();
  /** Rises with every change of a definition. */
  version = 0;
  /** What the last query filtered by without an index. */
  unindexed: { database: string; container: string; path: string[] } | undefined;
  /** Told now and then how many pages the WAL holds. */
  onGrowth: ((pages: number) => void) | undefined;
  readonly #texts = new Map<string, StatementSync>();
  #commits = 0;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  readonly #rollback: StatementSync;
  readonly #savepoint: StatementSync;
  readonly #release: StatementSync;
  readonly #undo: StatementSync;
  readonly #reserve: StatementSync;
  readonly #walPages: StatementSync;

  constructor(file: string, options: StorageOptions = {}) {
    this.#isReplica = options.isReplica ?? false;
    this.file = file === memory ? undefined : file;
    this.#lock = this.file === undefined || this.#isReplica ? undefined : lockFile(file);
    this.sql = new DatabaseSync(file);
    // Checkpoints are made by a replica, off this thread [replicas.ts].
    this.sql.exec(`PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY;
      PRAGMA cache_size=${this.#isReplica ? -16384 : -65536}; PRAGMA busy_timeout=2000;
      PRAGMA wal_autocheckpoint=0;`);
    if (options.pagesMax !== undefined) this.sql.exec(`PRAGMA max_page_count=${options.pagesMax}`);
    if (!this.#isReplica) this.sql.exec(schema + createLearned);
    const prepare = (text: string): StatementSync => this.sql.prepare(text);
    this.#begin = prepare('BEGIN IMMEDIATE');
    this.#commit = prepare('COMMIT');
    this.#rollback = prepare('ROLLBACK');
    this.#savepoint = prepare('SAVEPOINT one');
    this.#release = prepare('RELEASE one');
    this.#undo = prepare('ROLLBACK TO one');
    this.#reserve = prepare(`INSERT INTO meta VALUES('lsn',?)
      ON CONFLICT(name) DO UPDATE SET value=excluded.value`);
    this.#walPages = prepare('PRAGMA wal_checkpoint(NOOP)');
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

  /** A replica learns how far its owner is, and forgets definitions that changed since. */
  follow(lsn: number, version: number): void {
    this.#lsn = lsn;
    if (this.version !== version) this.#containers.clear();
    this.version = version;
  }

  #reserveLsns(writes: number): void {
    if (this.#isReplica || this.#lsn + writes * lsnsPerWriteMax <= this.#lsnReserved) return;
    this.#lsnReserved = this.#lsn + writes * lsnsPerWriteMax + lsnBlock;
    this.#reserve.run(this.#lsnReserved);
  }

  /** Applies a change in the next group commit; settles when it is on disk, or undone. */
  write<T>(apply: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const done = (value: unknown): void => resolve(value as T);
      this.#pending.push({ apply, done, failed: reject });
      this.#flushSoon();
    });
  }

  #flushSoon(): void {
    if (this.#isFlushing || this.#holds > 0 || this.#pending.length === 0) return;
    this.#isFlushing = true;
    setImmediate(() => {
      this.#isFlushing = false;
      if (this.#holds > 0) return;
      this.#commitSome(performance.now() + flushMs);
      this.#flushSoon();
    });
  }

  /** Keeps all writes waiting while a job changes the file through another connection. */
  async hold<T>(job: () => Promise<T>): Promise<T> {
    this.#holds++;
    try {
      return await job();
    } finally {
      this.#holds--;
      this.#flushSoon();
    }
  }

  /** Commits what is pending, at once. */
  flush(): void {
    while (this.#pending.length > 0) this.#commitSome(Infinity);
  }

  /** One transaction of what is pending, as much as fits the time, at least one write. */
  #commitSome(untilMs: number): void {
    const writes: PendingWrite[] = [];
    const reservedBefore = this.#lsnReserved;
    const settled: (() => void)[] = [];
    try {
      this.#begin.run();
      this.#reserveLsns(this.#pending.length);
      const isLone = this.#pending.length === 1;
      for (const write of this.#pending) {
        writes.push(write);
        settled.push(isLone ? this.#applyLone(write, reservedBefore) : this.#applyOne(write));
        if (performance.now() >= untilMs) break;
      }
      if (this.sql.isTransaction) this.#commit.run();
    } catch (error) {
      this.#lsnReserved = Math.min(reservedBefore, this.#lsn);
      if (this.sql.isTransaction) this.#rollback.run();
      const reason = `The write could not be committed: ${String(error)}`;
      if (writes.length === 0) writes.push(...this.#pending);
      this.#pending.splice(0, writes.length);
      for (const write of writes) write.failed(new CosmosError(503, reason));
      return;
    }
    this.#pending.splice(0, writes.length);
    for (const settle of settled) settle();
    if (++this.#commits % commitsPerLook === 0) this.#lookAtWal();
  }

  #lookAtWal(): void {
    if (this.onGrowth) this.onGrowth(Number(this.#walPages.get()?.['log']));
  }

  // With nobody else in the transaction there is nothing to keep: no savepoint is needed.
  #applyLone(write: PendingWrite, reservedBefore: number): () => void {
    try {
      const value = write.apply();
      return () => write.done(value);
    } catch (error) {
      if (!this.sql.isTransaction) throw error;
      this.#rollback.run();
      if (this.#lsnReserved !== reservedBefore) {
        this.#lsnReserved = Math.min(reservedBefore, this.#lsn);
      }
      return () => write.failed(error);
    }
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

  /** The containers opened so far. */
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
    const number = Number(found['number']);
    const container = openContainer(this.sql, { number, database, definition });
    container.throughput = found['throughput'] === null ? undefined : Number(found['throughput']);
    const offer = this.sql.prepare('SELECT ranges FROM offers WHERE owner=?').get(container.rid);
    container.rangeCount = Number(offer?.['ranges'] ?? 1);
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
    this.#shared.clear();
    this.version++;
  }

  /** Forgets all definitions: another connection may have changed some. */
  forgetAll(): void {
    this.#containers.clear();
    this.#shared.clear();
    this.version++;
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

  /** Makes the indexes of a policy, in place of those of the policy before. */
  createIndexes(number: number, policy: IndexingPolicy): void {
    const find = `SELECT json_extract(body,'$.partitionKey.paths') AS paths FROM containers
      WHERE number=?`;
    const texts = JSON.parse(String(this.sql.prepare(find).get(number)?.['paths'])) as string[];
    const paths = texts.map((text) => splitPath(text) ?? []);
    createIndexes(this.sql, { number, policy, paths });
  }

  dropItems(number: number): void {
    this.sql.exec(`DROP TABLE items_${number}; DROP TABLE unique_${number};
      DELETE FROM learned WHERE container=${number}`);
  }

  /** What the containers of a database without a throughput of their own share, per second. */
  sharedThroughput(database: string): number | undefined {
    if (this.#shared.has(database)) return this.#shared.get(database);
    const offer = "json_extract(body,'$.content.";
    const find = `SELECT coalesce(${offer}offerAutopilotSettings.maxThroughput'),
      ${offer}offerThroughput')) AS most FROM offers WHERE owner=
      (SELECT json_extract(body,'$._rid') FROM databases WHERE id=?)`;
    const most = this.sql.prepare(find).get(database)?.['most'];
    const shared = typeof most === 'number' ? most : undefined;
    this.#shared.set(database, shared);
    return shared;
  }

  /** The containers of a database. */
  containersOf(database: string): (Container | undefined)[] {
    const all = this.sql.prepare('SELECT id FROM containers WHERE database=?').all(database);
    return all.map(({ id }) => this.container(database, String(id)));
  }

  /** How many items a container has, counted no further than `max`. */
  countUpTo({ number }: Container, max: number): number {
    const text = `SELECT count(*) AS n FROM (SELECT 1 FROM items_${number} LIMIT ${max})`;
    return Number(this.sql.prepare(text).get()?.['n']);
  }

  /** Runs a read whose SQL depends on the query; its statement is kept for the next time. */
  *iterate(text: string, values: readonly SQLInputValue[]): Generator<Record<string, unknown>> {
    const statement = this.#texts.get(text) ?? this.sql.prepare(text);
    // Not to be found while it runs: the same text may be asked for again in between.
    this.#texts.delete(text);
    try {
      yield* statement.iterate(...values);
    } finally {
      const [oldest] = this.#texts.size >= textsMax ? this.#texts.keys() : [];
      if (oldest !== undefined) this.#texts.delete(oldest);
      this.#texts.set(text, statement);
    }
  }

  close(): void {
    this.flush();
    this.sql.close();
    this.#lock?.close();
  }
}
