// The broker's data file: SQLite in WAL mode, one transaction for everything that met in one turn
// of the event loop (group commit), so that strict senders and receivers share the cost of a
// commit.
//
// Owns:    durability of messages, numbers, duplicate ids and session states; message bodies.
// Leaves:  every decision to entity.ts. Locks and counts of live receivers are never written.
//
// Invariants:
//   D1. A callback of `afterCommit` runs after the commit of every change recorded before it.
//   D2. Reads see everything recorded before them (a read commits first when it must).
//   D3. What could not be committed (a full disk) is kept, nobody is told that it was done, and it
//       is tried again until it is; meanwhile `failure` says why, and nothing new may be recorded
//       for a client: so memory and file never differ for good, and what is kept is bounded.
// Durability: synchronous NORMAL survives the death of the process, not a power cut [SB 20.6].
import { DatabaseSync } from 'node:sqlite';
import { realClock } from '../../../shared/clock.ts';
import type { Change, Stored } from './entity-port.ts';
import type { Entry } from './lane.ts';
import { MessageCache, compact } from './message-cache.ts';
import type { CachedMessage } from './message-cache.ts';
import { withProperties } from './message.ts';
import type { Content, Property } from './message.ts';
import * as tables from './store-tables.ts';
import type { Statements } from './store-tables.ts';

/** Messages kept in memory for their first delivery. */
const cacheBytes = 16_000_000;
const pageCacheKib = 16_000;
const tryAgainMs = 250;

/** The data file cannot be used; the message says which and why. */
export class DataFileFault extends Error {}

/** A change of the entities, of a session's state, or of which entities there are. */
export type StoreChange =
  | Change
  | { kind: 'state'; queue: string; sessionId: string; state: Buffer | null; updatedAt: number }
  | { kind: 'define'; path: string; text: string }
  | { kind: 'undefine'; path: string }
  /** A deleted queue: nothing of it may come back when its name is used again. */
  | { kind: 'purge'; queue: string };

type Pending =
  | Exclude<StoreChange, { kind: 'sequence' | 'purge' }>
  | { kind: 'purge'; queue: string; firstId: number };

/** What the file knows of a queue. */
export interface OpenedQueue {
  firstId: number;
  lastSequence: number;
}

export class Store {
  /** Why nothing can be committed now [D3]. */
  failure: unknown;
  /** Called when that is over. */
  onRecovered: (() => void) | undefined;
  private readonly database: DatabaseSync;
  private readonly prepared: Statements;
  private readonly queues = new Map<string, OpenedQueue>();
  private nextNumber = 0;
  private pending: Pending[] = [];
  private readonly sequences = new Map<string, number>();
  /** Messages whose columns are not up to date yet [D2]. */
  private readonly stale = new Set<number>();
  private readonly seen = new Map<string, number>();
  private readonly cache = new MessageCache(cacheBytes);
  private callbacks: (() => void)[] = [];
  private isFlushPlanned = false;
  private isClosed = false;
  private isTryingAgain = false;

  /** Opens or makes the file; throws a DataFileFault. */
  constructor(file: string) {
    this.database = openDatabase(file);
    this.prepared = Object.fromEntries(
      Object.entries(tables.statements).map(([name, sql]) => [name, this.database.prepare(sql)]),
    ) as Statements;
    // A million objects with names would be so much more garbage.
    this.prepared.backlog.setReturnArrays(true);
    for (const stored of this.prepared.queues.all()) {
      const number = Number(stored['number']);
      this.nextNumber = Math.max(this.nextNumber, number + 1);
      this.queues.set(String(stored['path']), {
        firstId: number * tables.sequencesPerQueue,
        lastSequence: Number(stored['last_sequence']),
      });
    }
  }

  /** The place of a queue in the file, made when it is new. Throws a DataFileFault when all are
   *  taken. */
  open(path: string): OpenedQueue {
    this.commit();
    const known = this.queues.get(path);
    if (known) return known;
    const number = this.freeNumber();
    const opened = { firstId: number * tables.sequencesPerQueue, lastSequence: 0 };
    this.prepared.queue.run(path, number);
    // A queue that was deleted while clients still used it may have left something.
    this.purgeMessages(opened.firstId);
    this.queues.set(path, opened);
    return opened;
  }

  /** Numbers of deleted queues are not used again before they must be: somebody may still settle
   *  messages of the old queue. */
  private freeNumber(): number {
    const taken = new Set([...this.queues.values()].map(({ firstId }) => numberOf(firstId)));
    for (let tried = 0; tried < tables.queueNumbersMax; tried++) {
      const number = this.nextNumber++ % tables.queueNumbersMax;
      if (!taken.has(number)) return number;
    }
    throw new DataFileFault(`The data file has room for ${tables.queueNumbersMax} queues.`);
  }

  record(change: StoreChange): void {
    this.planFlush();
    if (change.kind === 'sequence') {
      if (this.queues.has(change.queue)) this.sequences.set(change.queue, change.sequence);
    } else if (change.kind === 'purge') this.drop(change.queue);
    else {
      this.follow(change);
      this.pending.push(change);
    }
  }

  /** What reads find before the commit [D2]. */
  private follow(change: Pending): void {
    if (change.kind === 'add') {
      const { annotations, bare } = change.message;
      const content = { annotations: compact(annotations), bare: compact(bare) };
      this.cache.put(change.id, { entry: change.entry, content });
    } else if (change.kind === 'update') this.recache(change.id, change);
    else if (change.kind === 'move') this.recache(change.from, change);
    else if (change.kind === 'remove') this.cache.delete(change.id);
    else if (change.kind === 'seen') {
      this.seen.set(seenKey(change.id, change.messageId), change.expiresAt);
    }
  }

  private drop(queue: string): void {
    const opened = this.queues.get(queue);
    if (!opened) return;
    this.queues.delete(queue);
    this.sequences.delete(queue);
    this.pending.push({ kind: 'purge', queue, firstId: opened.firstId });
  }

  private recache(from: number, change: Extract<Change, { kind: 'update' | 'move' }>): void {
    const { id, entry, properties = [] } = change;
    this.stale.add(id);
    const cached = this.cache.get(from);
    if (!cached) return;
    this.cache.delete(from);
    const { annotations, bare } = cached.content;
    const content = { annotations, bare: withProperties(bare, properties) };
    this.cache.put(id, { entry, content });
  }

  /** [D1] */
  afterCommit(callback: () => void): void {
    this.callbacks.push(callback);
    this.planFlush();
  }

  private planFlush(): void {
    if (this.isFlushPlanned || this.isClosed) return;
    this.isFlushPlanned = true;
    setImmediate(() => this.flush());
  }

  /** Commits what is recorded, then answers those who wait for it. */
  flush(): void {
    this.isFlushPlanned = false;
    if (this.isClosed) return;
    this.commit();
    if (this.failure !== undefined) return;
    const callbacks = this.callbacks;
    this.callbacks = [];
    for (const callback of callbacks) callback();
  }

  private commit(): void {
    const isIdle = this.pending.length === 0 && this.sequences.size === 0;
    if (isIdle || this.failure !== undefined) return;
    try {
      // A full disk makes SQLite end a transaction by itself, or not.
      if (this.database.isTransaction) this.database.exec('ROLLBACK');
      this.database.exec('BEGIN IMMEDIATE');
      for (const change of this.pending) this.apply(change);
      for (const [path, last] of this.sequences) this.prepared.sequence.run(last, path);
      this.database.exec('COMMIT');
      this.pending = [];
      this.sequences.clear();
      this.stale.clear();
      this.seen.clear();
    } catch (error) {
      this.fail(error);
    }
  }

  /** [D3] */
  private fail(error: unknown): void {
    this.failure = error;
    if (!this.isTryingAgain) {
      process.stderr.write(`broker: the data file cannot be written: ${String(error)}\n`);
    }
    this.isTryingAgain = true;
    realClock.after(tryAgainMs, () => this.tryAgain());
  }

  private tryAgain(): void {
    if (this.isClosed) return;
    this.failure = undefined;
    this.flush();
    if (this.failure !== undefined) return;
    this.isTryingAgain = false;
    process.stderr.write('broker: the data file is written again\n');
    this.onRecovered?.();
  }

  private apply(change: Pending): void {
    const { add, remove, writeState, clearState, define, undefine } = this.prepared;
    switch (change.kind) {
      case 'add':
        add.run(...tables.columnsOf(change.id, change.entry, change.message));
        return;
      case 'update':
        this.update(change);
        return;
      case 'move':
        this.move(change);
        return;
      case 'remove':
        remove.run(change.id);
        return;
      case 'seen':
        this.prepared.seen.run(change.id, numberOf(change.id), change.messageId, change.expiresAt);
        return;
      case 'forget':
        this.forget(change);
        return;
      case 'state': {
        const { queue, sessionId, state, updatedAt } = change;
        if (state === null) clearState.run(queue, sessionId);
        else writeState.run(queue, sessionId, state, updatedAt);
        return;
      }
      case 'define':
        define.run(change.path, change.text);
        return;
      case 'undefine':
        undefine.run(change.path);
        return;
      case 'purge':
        this.purge(change);
    }
  }

  private update({ id, entry, properties = [] }: Extract<Change, { kind: 'update' }>): void {
    this.prepared.update.run(entry.deliveryCount, Number(entry.deferred), id);
    this.addProperties(id, properties);
  }

  private move({ from, id, entry, properties = [] }: Extract<Change, { kind: 'move' }>): void {
    const { enqueuedAt, expiresAt, deliveryCount, scheduledAt, deferred, source } = entry;
    this.prepared.move.run(
      ...[id, enqueuedAt, tables.orNever(expiresAt), deliveryCount],
      ...[scheduledAt, Number(deferred), source, from],
    );
    this.addProperties(id, properties);
  }

  private addProperties(id: number, properties: readonly Property[]): void {
    const stored = properties.length > 0 ? this.prepared.find.get(id) : undefined;
    if (!stored) return;
    this.prepared.rewrite.run(withProperties(tables.contentOf(stored).bare, properties), id);
  }

  /** Ids were seen in the order of their numbers: what is over is a range at the front. */
  private forget({ firstId, until }: Extract<Change, { kind: 'forget' }>): void {
    const end = firstId + tables.sequencesPerQueue;
    const live = this.prepared.firstSeenAfter.get(firstId, end, until);
    this.prepared.forget.run(firstId, live ? Number(live['id']) : end);
  }

  private purge({ queue, firstId }: Extract<Pending, { kind: 'purge' }>): void {
    this.purgeMessages(firstId);
    this.prepared.purgeStates.run(queue);
    this.prepared.purgeQueue.run(queue);
  }

  private purgeMessages(firstId: number): void {
    this.prepared.purgeMessages.run(firstId, firstId + tables.sequencesPerQueue);
    this.prepared.forget.run(firstId, firstId + tables.sequencesPerQueue);
  }

  /** What is known of a message; undefined when it is gone. */
  load(id: number): Entry | undefined {
    return this.find(id)?.entry;
  }

  /** The bytes of a message; undefined when it is gone. */
  read(id: number): Content | undefined {
    return this.find(id)?.content;
  }

  private find(id: number): CachedMessage | undefined {
    const cached = this.cache.get(id);
    if (cached) return cached;
    if (this.stale.has(id)) this.commit(); // [D2]
    const stored = this.prepared.find.get(id);
    if (!stored) return undefined;
    const message = { entry: tables.entryOf(stored), content: tables.contentOf(stored) };
    this.cache.put(id, message);
    return message;
  }

  /** Messages of a queue in order, whatever their place [SB 12.8]. */
  peek(queue: string, from: number, count: number): { entry: Entry; content: Content }[] {
    this.commit();
    const firstId = this.queues.get(queue)?.firstId ?? 0;
    const start = firstId + Math.min(Math.max(from, 0), tables.sequencesPerQueue);
    const found = this.prepared.peek.all(start, firstId + tables.sequencesPerQueue, count);
    return found.map((stored) => ({
      entry: tables.entryOf(stored),
      content: tables.contentOf(stored),
    }));
  }

  /** Shows all messages of a queue in order, without their bytes: the columns of `backlog`. */
  eachStored({ firstId }: OpenedQueue, show: (stored: Stored) => void): void {
    const end = firstId + tables.sequencesPerQueue;
    for (const columns of this.prepared.backlog.iterate(firstId, end)) {
      if (Array.isArray(columns)) show(tables.storedOf(columns));
    }
  }

  /** Until when a message id counts as seen in a queue. */
  seenUntil({ firstId }: OpenedQueue, messageId: string): number | undefined {
    const pending = this.seen.get(seenKey(firstId, messageId));
    if (pending !== undefined) return pending;
    const stored = this.prepared.seenUntil.get(numberOf(firstId), messageId);
    return stored && Number(stored['expires_at']);
  }

  /** What was defined at run time, by path. */
  definitions(): { path: string; text: string }[] {
    this.commit();
    return this.prepared.definitions
      .all()
      .map((stored) => ({ path: String(stored['path']), text: String(stored['text']) }));
  }

  readState(queue: string, sessionId: string): Buffer | null {
    this.commit();
    const stored = this.prepared.readState.get(queue, sessionId);
    return stored ? tables.bufferOf(stored['state']) : null;
  }

  statesSince(queue: string, at: number): string[] {
    this.commit();
    return this.prepared.statesSince.all(queue, at).map((stored) => String(stored['session_id']));
  }

  /** Commits what is recorded and gives the file free; again is harmless. */
  close(): void {
    if (this.isClosed) return;
    this.failure = undefined;
    this.flush();
    this.isClosed = true;
    this.database.close();
  }
}

/** One process owns the file; a second one on it fails here instead of corrupting the queues. */
function openDatabase(file: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file);
    database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;');
    database.exec(`PRAGMA synchronous = NORMAL; PRAGMA cache_size = -${pageCacheKib};`);
    const version = Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
    const tableCount = database.prepare('SELECT COUNT(*) AS count FROM sqlite_schema').get();
    if (version !== tables.schemaVersion && tableCount?.['count'] !== 0) {
      throw new DataFileFault(`It was written by version ${version}; remove it to start afresh.`);
    }
    database.exec(`PRAGMA user_version = ${tables.schemaVersion}; ${tables.schema}`);
    return database;
  } catch (error) {
    database?.close();
    const cause = error instanceof Error ? error.message : String(error);
    throw new DataFileFault(`The data file ${file} cannot be used: ${cause}`, { cause: error });
  }
}

const numberOf = (id: number): number => Math.floor(id / tables.sequencesPerQueue);
const seenKey = (id: number, messageId: string): string => `${numberOf(id)}/${messageId}`;
