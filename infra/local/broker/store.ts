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
//   D3. After a failed commit nothing is answered with success any more: `failure` is set for good.
// Durability: synchronous NORMAL survives the death of the process, not a power cut [SB 20.6].
import { DatabaseSync } from 'node:sqlite';
import type { StatementSync } from 'node:sqlite';
import type { Change } from './entity-port.ts';
import type { Entry } from './lane.ts';
import { withProperties } from './message.ts';
import type { Content } from './message.ts';

const schema = `
  CREATE TABLE IF NOT EXISTS queues (path TEXT PRIMARY KEY, last_sequence INTEGER NOT NULL)
    WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY, queue TEXT NOT NULL, sequence INTEGER NOT NULL,
    enqueued_sequence INTEGER NOT NULL, session_id TEXT, message_id TEXT NOT NULL,
    enqueued_at INTEGER NOT NULL, expires_at INTEGER, ttl_ms INTEGER,
    delivery_count INTEGER NOT NULL, scheduled_at INTEGER, deferred INTEGER NOT NULL,
    source TEXT, size INTEGER NOT NULL, annotations BLOB NOT NULL, bare BLOB NOT NULL);
  CREATE INDEX IF NOT EXISTS messages_by_sequence ON messages (queue, sequence);
  CREATE TABLE IF NOT EXISTS seen (
    queue TEXT NOT NULL, message_id TEXT NOT NULL, expires_at INTEGER NOT NULL,
    PRIMARY KEY (queue, message_id)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS session_states (
    queue TEXT NOT NULL, session_id TEXT NOT NULL, state BLOB NOT NULL,
    updated_at INTEGER NOT NULL, PRIMARY KEY (queue, session_id)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS definitions (path TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
`;

const statements = {
  add: `INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  update: `UPDATE messages SET queue = ?, sequence = ?, enqueued_at = ?, expires_at = ?,
    delivery_count = ?, scheduled_at = ?, deferred = ?, source = ? WHERE id = ?`,
  rewrite: 'UPDATE messages SET bare = ? WHERE id = ?',
  remove: 'DELETE FROM messages WHERE id = ?',
  read: 'SELECT annotations, bare FROM messages WHERE id = ?',
  peek: `SELECT * FROM messages WHERE queue = ? AND sequence >= ? ORDER BY sequence LIMIT ?`,
  index: `SELECT id, sequence, enqueued_sequence, session_id, message_id, enqueued_at, expires_at,
    ttl_ms, delivery_count, scheduled_at, deferred, source, size
    FROM messages WHERE queue = ? ORDER BY sequence`,
  size: 'SELECT COALESCE(SUM(size), 0) AS bytes FROM messages WHERE queue = ?',
  lastId: 'SELECT COALESCE(MAX(id), 0) AS id FROM messages',
  sequence: `INSERT INTO queues VALUES (?, ?)
    ON CONFLICT (path) DO UPDATE SET last_sequence = excluded.last_sequence`,
  lastSequence: 'SELECT last_sequence FROM queues WHERE path = ?',
  seen: `INSERT INTO seen VALUES (?, ?, ?)
    ON CONFLICT (queue, message_id) DO UPDATE SET expires_at = excluded.expires_at`,
  forget: 'DELETE FROM seen WHERE queue = ? AND expires_at <= ?',
  seenIds: 'SELECT message_id, expires_at FROM seen WHERE queue = ? ORDER BY expires_at',
  readState: 'SELECT state FROM session_states WHERE queue = ? AND session_id = ?',
  writeState: `INSERT INTO session_states VALUES (?, ?, ?, ?)
    ON CONFLICT (queue, session_id)
    DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at`,
  clearState: 'DELETE FROM session_states WHERE queue = ? AND session_id = ?',
  statesSince: `SELECT session_id FROM session_states WHERE queue = ? AND updated_at >= ?
    ORDER BY session_id`,
  define: `INSERT INTO definitions VALUES (?, ?)
    ON CONFLICT (path) DO UPDATE SET text = excluded.text`,
  undefine: 'DELETE FROM definitions WHERE path = ?',
  definitions: 'SELECT path, text FROM definitions ORDER BY path',
  purgeMessages: 'DELETE FROM messages WHERE queue = ?',
  purgeSeen: 'DELETE FROM seen WHERE queue = ?',
  purgeStates: 'DELETE FROM session_states WHERE queue = ?',
  purgeSequence: 'DELETE FROM queues WHERE path = ?',
} as const;

type Statements = Record<keyof typeof statements, StatementSync>;
type Stored = Record<string, null | number | bigint | string | Uint8Array>;

/** A change of the entities, of a session's state, or of which entities there are. */
export type StoreChange =
  | Change
  | { kind: 'state'; queue: string; sessionId: string; state: Buffer | null; updatedAt: number }
  | { kind: 'define'; path: string; text: string }
  | { kind: 'undefine'; path: string }
  /** A deleted queue: nothing of it may come back when its name is used again. */
  | { kind: 'purge'; queue: string };

export class Store {
  failure: unknown;
  private readonly database: DatabaseSync;
  private readonly prepared: Statements;
  private pending: StoreChange[] = [];
  private readonly sequences = new Map<string, number>();
  /** Messages whose stored bytes are not up to date yet [D2]. */
  private readonly stale = new Set<number>();
  private callbacks: (() => void)[] = [];
  private isFlushPlanned = false;
  private isClosed = false;

  constructor(file: string) {
    this.database = new DatabaseSync(file);
    // One process owns the file; a second one on it fails here instead of corrupting the queues.
    this.database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;');
    this.database.exec('PRAGMA synchronous = NORMAL; PRAGMA cache_size = -32000;');
    this.database.exec(schema);
    this.prepared = Object.fromEntries(
      Object.entries(statements).map(([name, sql]) => [name, this.database.prepare(sql)]),
    ) as Statements;
  }

  record(change: StoreChange): void {
    if (change.kind === 'sequence') this.sequences.set(change.queue, change.sequence);
    else {
      if (change.kind === 'update' && change.properties?.length) this.stale.add(change.entry.id);
      if (change.kind === 'purge') this.sequences.delete(change.queue);
      this.pending.push(change);
    }
    this.planFlush();
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
    const callbacks = this.callbacks;
    this.callbacks = [];
    this.commit();
    for (const callback of callbacks) callback();
  }

  private commit(): void {
    if (this.pending.length === 0 && this.sequences.size === 0) return;
    const changes = this.pending;
    this.pending = [];
    if (this.failure !== undefined) return;
    try {
      this.database.exec('BEGIN IMMEDIATE');
      for (const change of changes) this.apply(change);
      for (const [path, last] of this.sequences) this.prepared.sequence.run(path, last);
      this.database.exec('COMMIT');
      this.sequences.clear();
      this.stale.clear();
    } catch (error) {
      // [D3] Memory and file differ now; the broker stops answering, and says why.
      this.failure = error;
      process.stderr.write(`broker: the data file cannot be written: ${String(error)}\n`);
    }
  }

  private apply(change: StoreChange): void {
    switch (change.kind) {
      case 'add':
        this.prepared.add.run(...fieldsOf(change.queue, change.entry), ...contentOf(change));
        return;
      case 'update':
        this.update(change);
        return;
      case 'remove':
        this.prepared.remove.run(change.id);
        return;
      case 'sequence':
        return;
      case 'seen':
        this.prepared.seen.run(change.queue, change.messageId, change.expiresAt);
        return;
      case 'forget':
        this.prepared.forget.run(change.queue, change.until);
        return;
      case 'state':
        if (change.state === null) this.prepared.clearState.run(change.queue, change.sessionId);
        else {
          const { queue, sessionId, state, updatedAt } = change;
          this.prepared.writeState.run(queue, sessionId, state, updatedAt);
        }
        return;
      case 'define':
        this.prepared.define.run(change.path, change.text);
        return;
      case 'undefine':
        this.prepared.undefine.run(change.path);
        return;
      case 'purge':
        this.purge(change.queue);
    }
  }

  private purge(queue: string): void {
    const { purgeMessages, purgeSeen, purgeStates, purgeSequence } = this.prepared;
    for (const statement of [purgeMessages, purgeSeen, purgeStates, purgeSequence]) {
      statement.run(queue);
    }
  }

  private update({ queue, entry, properties }: Extract<Change, { kind: 'update' }>): void {
    const { id, sequence, enqueuedAt, expiresAt, deliveryCount, scheduledAt } = entry;
    const expires = Number.isFinite(expiresAt) ? expiresAt : null;
    const flag = Number(entry.deferred);
    this.prepared.update.run(
      ...[queue, sequence, enqueuedAt, expires, deliveryCount, scheduledAt, flag, entry.source, id],
    );
    if (!properties?.length) return;
    const content = bytesOf(this.prepared.read.get(id));
    if (content) this.prepared.rewrite.run(withProperties(content.bare, properties), id);
  }

  /** The bytes of a message; undefined when it is gone. */
  read(id: number): Content | undefined {
    if (this.stale.has(id)) this.commit(); // [D2]
    return bytesOf(this.prepared.read.get(id));
  }

  /** Messages of a queue in order, whatever their place [SB 12.8]. */
  peek(queue: string, from: number, count: number): { entry: Entry; content: Content }[] {
    this.commit();
    return this.prepared.peek.all(queue, from, count).map((stored) => ({
      entry: entryOf(stored),
      content: bytesOf(stored) ?? { annotations: Buffer.alloc(0), bare: Buffer.alloc(0) },
    }));
  }

  *entries(queue: string): Generator<Entry> {
    for (const stored of this.prepared.index.iterate(queue)) yield entryOf(stored);
  }

  *seenIds(queue: string): Generator<{ messageId: string; expiresAt: number }> {
    for (const stored of this.prepared.seenIds.iterate(queue)) {
      yield { messageId: String(stored['message_id']), expiresAt: Number(stored['expires_at']) };
    }
  }

  /** What was defined at run time, by path. */
  definitions(): { path: string; text: string }[] {
    this.commit();
    return this.prepared.definitions
      .all()
      .map((stored) => ({ path: String(stored['path']), text: String(stored['text']) }));
  }

  lastId(): number {
    return Number(this.prepared.lastId.get()?.['id'] ?? 0);
  }

  lastSequence(queue: string): number {
    return Number(this.prepared.lastSequence.get(queue)?.['last_sequence'] ?? 0);
  }

  sizeOf(queue: string): number {
    this.commit();
    return Number(this.prepared.size.get(queue)?.['bytes'] ?? 0);
  }

  readState(queue: string, sessionId: string): Buffer | null {
    this.commit();
    const state = this.prepared.readState.get(queue, sessionId)?.['state'];
    return state instanceof Uint8Array ? bufferOf(state) : null;
  }

  statesSince(queue: string, at: number): string[] {
    this.commit();
    return this.prepared.statesSince.all(queue, at).map((stored) => String(stored['session_id']));
  }

  close(): void {
    this.flush();
    this.isClosed = true;
    this.database.close();
  }
}

function fieldsOf(queue: string, entry: Entry) {
  const expiresAt = Number.isFinite(entry.expiresAt) ? entry.expiresAt : null;
  const { id, sequence, enqueuedSequence, sessionId, messageId, enqueuedAt, ttlMs } = entry;
  const { deliveryCount, scheduledAt, deferred, source, size } = entry;
  return [
    ...[id, queue, sequence, enqueuedSequence, sessionId, messageId, enqueuedAt, expiresAt, ttlMs],
    ...[deliveryCount, scheduledAt, Number(deferred), source, size],
  ];
}

function contentOf({ message }: Extract<Change, { kind: 'add' }>): [Buffer, Buffer] {
  return [message.annotations, message.bare];
}

function entryOf(stored: Stored): Entry {
  const number = (name: string): number => Number(stored[name]);
  const optional = (name: string): number | null => (stored[name] === null ? null : number(name));
  const text = (name: string): string | null =>
    stored[name] === null ? null : String(stored[name]);
  return {
    id: number('id'),
    sequence: number('sequence'),
    enqueuedSequence: number('enqueued_sequence'),
    sessionId: text('session_id'),
    messageId: text('message_id') ?? '',
    enqueuedAt: number('enqueued_at'),
    expiresAt: optional('expires_at') ?? Infinity,
    ttlMs: optional('ttl_ms'),
    deliveryCount: number('delivery_count'),
    scheduledAt: optional('scheduled_at'),
    deferred: number('deferred') === 1,
    source: text('source'),
    size: number('size'),
    place: 'pending',
  };
}

function bytesOf(stored: Stored | undefined): Content | undefined {
  const [annotations, bare] = [stored?.['annotations'], stored?.['bare']];
  if (!(annotations instanceof Uint8Array) || !(bare instanceof Uint8Array)) return undefined;
  return { annotations: bufferOf(annotations), bare: bufferOf(bare) };
}

const bufferOf = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
