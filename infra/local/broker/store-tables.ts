// The tables of the broker's data file, its statements, and the two ways between columns and
// entries.
//
// The id of a message says where it belongs: the number of its queue, then its sequence number. So
// one B-tree serves reading, peeking in order and deleting, and sends append to it.
import type { StatementSync } from 'node:sqlite';
import type { Stored } from './entity-port.ts';
import type { Entry } from './lane.ts';
import type { Content } from './message.ts';

/** Sequence numbers per queue: 137 thousand million, so that an id stays a safe integer. */
export const sequencesPerQueue = 2 ** 37;
export const queueNumbersMax = 2 ** 16;

/** Raised when the tables change: the file of another version is refused. */
export const schemaVersion = 2;

export const schema = `
  CREATE TABLE IF NOT EXISTS queues (
    path TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, last_sequence INTEGER NOT NULL)
    WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY, session_id TEXT, message_id TEXT NOT NULL,
    enqueued_sequence INTEGER NOT NULL, enqueued_at INTEGER NOT NULL, expires_at INTEGER,
    ttl_ms INTEGER, delivery_count INTEGER NOT NULL, scheduled_at INTEGER,
    deferred INTEGER NOT NULL, source TEXT, size INTEGER NOT NULL,
    annotations BLOB NOT NULL, bare BLOB NOT NULL);
  CREATE TABLE IF NOT EXISTS seen (
    id INTEGER PRIMARY KEY, queue INTEGER NOT NULL, message_id TEXT NOT NULL,
    expires_at INTEGER NOT NULL);
  CREATE UNIQUE INDEX IF NOT EXISTS seen_by_message ON seen (queue, message_id);
  CREATE TABLE IF NOT EXISTS session_states (
    queue TEXT NOT NULL, session_id TEXT NOT NULL, state BLOB NOT NULL,
    updated_at INTEGER NOT NULL, PRIMARY KEY (queue, session_id)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS definitions (path TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
`;

export const statements = {
  add: `INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  update: 'UPDATE messages SET delivery_count = ?, deferred = ? WHERE id = ?',
  move: `UPDATE messages SET id = ?, enqueued_at = ?, expires_at = ?, delivery_count = ?,
    scheduled_at = ?, deferred = ?, source = ? WHERE id = ?`,
  rewrite: 'UPDATE messages SET bare = ? WHERE id = ?',
  remove: 'DELETE FROM messages WHERE id = ?',
  find: 'SELECT * FROM messages WHERE id = ?',
  peek: 'SELECT * FROM messages WHERE id >= ? AND id < ? ORDER BY id LIMIT ?',
  backlog: `SELECT id, session_id, expires_at, scheduled_at, deferred, size FROM messages
    WHERE id >= ? AND id < ? ORDER BY id`,
  queue: 'INSERT INTO queues VALUES (?, ?, 0)',
  queues: 'SELECT path, number, last_sequence FROM queues',
  sequence: 'UPDATE queues SET last_sequence = ? WHERE path = ?',
  seen: `INSERT INTO seen VALUES (?, ?, ?, ?) ON CONFLICT (queue, message_id)
    DO UPDATE SET id = excluded.id, expires_at = excluded.expires_at`,
  seenUntil: 'SELECT expires_at FROM seen WHERE queue = ? AND message_id = ?',
  firstSeenAfter: `SELECT id FROM seen WHERE id >= ? AND id < ? AND expires_at > ?
    ORDER BY id LIMIT 1`,
  forget: 'DELETE FROM seen WHERE id >= ? AND id < ?',
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
  purgeMessages: 'DELETE FROM messages WHERE id >= ? AND id < ?',
  purgeStates: 'DELETE FROM session_states WHERE queue = ?',
  purgeQueue: 'DELETE FROM queues WHERE path = ?',
} as const;

export type Statements = Record<keyof typeof statements, StatementSync>;
type Value = null | number | bigint | string | Uint8Array;
type Columns = Record<string, Value>;

/** NULL stands for Infinity. */
export const orNever = (instant: number): number | null =>
  Number.isFinite(instant) ? instant : null;

/** The columns of a new message, in the order of the table. */
export function columnsOf(id: number, entry: Entry, { annotations, bare }: Content): Value[] {
  const { sessionId, messageId, enqueuedSequence, enqueuedAt, expiresAt, ttlMs } = entry;
  const { deliveryCount, scheduledAt, deferred, source, size } = entry;
  return [
    ...[id, sessionId, messageId, enqueuedSequence, enqueuedAt, orNever(expiresAt), ttlMs],
    ...[deliveryCount, scheduledAt, Number(deferred), source, size, annotations, bare],
  ];
}

const optional = (value: Value | undefined): number | null =>
  value === null || value === undefined ? null : Number(value);
const text = (value: Value | undefined): string | null =>
  typeof value === 'string' ? value : null;

export function entryOf(stored: Columns): Entry {
  const id = Number(stored['id']);
  return {
    id,
    sequence: id % sequencesPerQueue,
    enqueuedSequence: Number(stored['enqueued_sequence']),
    sessionId: text(stored['session_id']),
    messageId: text(stored['message_id']) ?? '',
    enqueuedAt: Number(stored['enqueued_at']),
    expiresAt: optional(stored['expires_at']) ?? Infinity,
    ttlMs: optional(stored['ttl_ms']),
    deliveryCount: Number(stored['delivery_count']),
    scheduledAt: optional(stored['scheduled_at']),
    deferred: stored['deferred'] === 1,
    source: text(stored['source']),
    size: Number(stored['size']),
  };
}

/** What a queue takes back after a restart, from the columns that `backlog` selects. */
export function storedOf(columns: readonly Value[]): Stored {
  const [id, sessionId, expiresAt, scheduledAt, deferred, size] = columns;
  return {
    sequence: Number(id) % sequencesPerQueue,
    sessionId: text(sessionId),
    expiresAt: optional(expiresAt) ?? Infinity,
    scheduledAt: optional(scheduledAt),
    isDeferred: deferred === 1,
    size: Number(size),
  };
}

export function contentOf(stored: Columns): Content {
  return { annotations: bufferOf(stored['annotations']), bare: bufferOf(stored['bare']) };
}

export function bufferOf(value: Value | undefined): Buffer {
  if (!(value instanceof Uint8Array)) return Buffer.alloc(0);
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}
