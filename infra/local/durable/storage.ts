// The hub's file: instances, histories, inboxes, timers, work and entities, in SQLite.
//
// Owns:    the schema, the prepared statements, and group commit.
// Leaves:  every decision to its callers; a change is a function handed to `commit`.
//
// Invariants:
//   S1. A change runs whole or not at all (savepoint), and `commit` resolves only after the
//       transaction that holds it is in the file; so nobody acts on what a crash may undo.
//   S2. Changes take effect in the order in which they were handed in.
//   S3. One process per file: a second one is refused by name (exclusive lock).
//   S4. Inbox order is (rank, sequence): rank 0 = the start of a generation and what is carried
//       over to it, rank 1 = everything else, by arrival.
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { EntityStorage, entitySchema } from './entity-storage.ts';
import { hubFault } from './fault.ts';

export type RuntimeStatus =
  'Pending' | 'Running' | 'Suspended' | 'Completed' | 'Failed' | 'Terminated';

export interface InstanceItem {
  id: string;
  executionId: string;
  name: string;
  version: string;
  status: RuntimeStatus;
  input: string | null;
  output: string | null;
  customStatus: string | null;
  createdAt: number;
  updatedAt: number;
  parent: string | null;
}
export interface MessageItem {
  rank: number;
  sequence: number;
  executionId: string | null;
  event: string;
}
export interface TimerItem {
  instanceId: string;
  timerId: number;
  executionId: string;
  fireAt: number;
}
export interface WorkItem {
  sequence: number;
  instanceId: string;
  executionId: string;
  taskId: number;
  name: string;
  input: string | null;
}
export interface InstanceFilter {
  createdFrom: number;
  createdTo: number;
  statuses: readonly string[];
  prefix: string;
  after: string;
  limit: number;
}

const schema = `
CREATE TABLE IF NOT EXISTS instances (id TEXT PRIMARY KEY, executionId TEXT NOT NULL,
  name TEXT NOT NULL, version TEXT NOT NULL, status TEXT NOT NULL, input TEXT, output TEXT,
  customStatus TEXT, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL, parent TEXT)
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (instanceId TEXT NOT NULL, chunk INTEGER NOT NULL,
  events TEXT NOT NULL, PRIMARY KEY (instanceId, chunk)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inbox (instanceId TEXT NOT NULL, rank INTEGER NOT NULL,
  sequence INTEGER NOT NULL, kind INTEGER NOT NULL, executionId TEXT, event TEXT NOT NULL,
  PRIMARY KEY (instanceId, rank, sequence)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS timers (instanceId TEXT NOT NULL, timerId INTEGER NOT NULL,
  executionId TEXT NOT NULL, fireAt INTEGER NOT NULL,
  PRIMARY KEY (instanceId, timerId)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS timersByTime ON timers (fireAt);
CREATE TABLE IF NOT EXISTS work (sequence INTEGER PRIMARY KEY,
  instanceId TEXT NOT NULL, executionId TEXT NOT NULL, taskId INTEGER NOT NULL,
  name TEXT NOT NULL, input TEXT);
`;

function prepareAll(db: DatabaseSync) {
  const statements = {
    begin: 'BEGIN IMMEDIATE',
    commit: 'COMMIT',
    rollback: 'ROLLBACK',
    mark: 'SAVEPOINT change',
    keep: 'RELEASE change',
    undo: 'ROLLBACK TO change',
    instance: 'SELECT * FROM instances WHERE id = ?',
    shown: 'SELECT * FROM shownInstances WHERE id = ?',
    putInstance: `INSERT OR REPLACE INTO instances (id, executionId, name, version, status, input,
      output, customStatus, createdAt, updatedAt, parent) VALUES (?,?,?,?,?,?,?,?,?,?,?)`,
    progress: `UPDATE instances SET status = ?, output = ?, customStatus = ?, updatedAt = ?
      WHERE id = ?`,
    dropInstance: 'DELETE FROM instances WHERE id = ?',
    addChunk: 'INSERT INTO history (instanceId, chunk, events) VALUES (?,?,?)',
    chunks: 'SELECT events FROM history WHERE instanceId = ? ORDER BY chunk',
    dropHistory: 'DELETE FROM history WHERE instanceId = ?',
    addMessage: `INSERT INTO inbox (instanceId, rank, sequence, kind, executionId, event)
      VALUES (?,?,?,?,?,?)`,
    messages: `SELECT rank, sequence, executionId, event FROM inbox WHERE instanceId = ?
      ORDER BY rank, sequence LIMIT ?`,
    control: `SELECT rank, sequence, executionId, event FROM inbox WHERE instanceId = ?
      AND kind IN (3, 19, 20) ORDER BY rank, sequence LIMIT ?`,
    dropMessage: 'DELETE FROM inbox WHERE instanceId = ? AND rank = ? AND sequence = ?',
    dropMessages: 'DELETE FROM inbox WHERE instanceId = ? RETURNING executionId, event',
    waiting: 'SELECT DISTINCT instanceId FROM inbox',
    lastSequence: 'SELECT max(sequence) AS last FROM inbox',
    addTimer: `INSERT OR REPLACE INTO timers (instanceId, timerId, executionId, fireAt)
      VALUES (?,?,?,?)`,
    dropTimer: 'DELETE FROM timers WHERE instanceId = ? AND timerId = ?',
    dropTimers: 'DELETE FROM timers WHERE instanceId = ?',
    due: 'SELECT * FROM timers WHERE fireAt <= ? ORDER BY fireAt LIMIT ?',
    nextDue: 'SELECT min(fireAt) AS at FROM timers',
    addWork: `INSERT INTO work (sequence, instanceId, executionId, taskId, name, input)
      VALUES (?,?,?,?,?,?)`,
    lastWork: 'SELECT max(sequence) AS last FROM work',
    work: 'SELECT * FROM work WHERE sequence > ? ORDER BY sequence LIMIT ?',
    dropWork: 'DELETE FROM work WHERE sequence = ?',
    list: `SELECT * FROM shownInstances WHERE id > ?1 AND createdAt >= ?2 AND createdAt <= ?3
      AND (?4 = '' OR substr(id, 1, length(?4)) = ?4)
      AND (?5 = '' OR instr(?5, ',' || status || ',') > 0) ORDER BY id LIMIT ?6`,
  };
  const prepared = Object.entries(statements).map(([name, sql]) => [name, db.prepare(sql)]);
  return Object.fromEntries(prepared) as Record<keyof typeof statements, StatementSync>;
}

interface Waiting {
  change: () => unknown;
  resolve: (value: never) => void;
  reject: (reason: unknown) => void;
}

export class HubStorage {
  readonly #db: DatabaseSync;
  readonly #sql: ReturnType<typeof prepareAll>;
  #queue: Waiting[] = [];
  #flushAt: NodeJS.Immediate | undefined;
  #sequence: number;
  #workSequence: number;
  readonly #onFlushed: () => void;
  readonly entities: EntityStorage;

  /** `onFlushed` is called with each group, before those who waited for it go on. */
  constructor(file: string, onFlushed: () => void = () => {}) {
    this.#onFlushed = onFlushed;
    try {
      this.#db = new DatabaseSync(file);
      // Exclusive before WAL: no shared memory file, and a second process gets SQLITE_BUSY (S3).
      this.#db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;');
      this.#db.exec('PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 4000;');
      this.#db.exec('BEGIN EXCLUSIVE;');
      this.#db.exec(schema + entitySchema + 'COMMIT;');
    } catch (cause) {
      throw hubFault('HUB_FILE', `cannot open the task hub ${file}: is another host using it?`, {
        cause,
      });
    }
    this.#sql = prepareAll(this.#db);
    this.entities = new EntityStorage(this.#db);
    this.#sequence = Number(this.#sql.lastSequence.get()?.['last'] ?? 0);
    this.#workSequence = Number(this.#sql.lastWork.get()?.['last'] ?? 0);
  }

  /** Runs the change in the next group transaction; resolves when that is in the file (S1, S2). */
  commit<T>(change: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ change, resolve: resolve as Waiting['resolve'], reject });
      this.#flushAt ??= setImmediate(() => this.#flush());
    });
  }

  get isBusy(): boolean {
    return this.#queue.length > 0;
  }

  #flush(): void {
    this.#flushAt = undefined;
    this.#onFlushed();
    const group = this.#queue;
    this.#queue = [];
    const settled: (() => void)[] = [];
    const [first] = group;
    try {
      if (this.#db.isTransaction) this.#sql.rollback.run();
      this.#sql.begin.run();
      if (first && group.length === 1) settled.push(this.#only(first));
      else for (const waiting of group) settled.push(this.#attempt(waiting));
      this.#sql.commit.run();
    } catch (error) {
      try {
        if (this.#db.isTransaction) this.#sql.rollback.run();
      } catch {
        // It is tried again before the next group.
      }
      for (const waiting of group) waiting.reject(error);
      return;
    }
    for (const settle of settled) settle();
  }

  /** [S1] A change that is alone in its group needs no savepoint: its fault undoes the group. */
  #only(waiting: Waiting): () => void {
    const value = waiting.change() as never;
    return () => waiting.resolve(value);
  }

  #attempt(waiting: Waiting): () => void {
    this.#sql.mark.run();
    try {
      const value = waiting.change() as never;
      this.#sql.keep.run();
      return () => waiting.resolve(value);
    } catch (error) {
      // A full disk makes SQLite end the transaction by itself: the whole group is undone then.
      if (!this.#db.isTransaction) throw error;
      this.#sql.undo.run();
      this.#sql.keep.run();
      return () => waiting.reject(error);
    }
  }

  instance(id: string): InstanceItem | undefined {
    return this.#sql.instance.get(id) as unknown as InstanceItem | undefined;
  }

  /** As queries show it: entities stand among the instances, as on Azure. */
  shownInstance(id: string): InstanceItem | undefined {
    return this.#sql.shown.get(id) as unknown as InstanceItem | undefined;
  }

  putInstance(item: InstanceItem): void {
    const { id, executionId, name, version, status, input } = item;
    const { output, customStatus, createdAt, updatedAt, parent } = item;
    const head = [id, executionId, name, version, status, input] as const;
    this.#sql.putInstance.run(...head, output, customStatus, createdAt, updatedAt, parent);
  }

  /** Writes what an episode changes of its instance, and nothing of its start. */
  progress(item: InstanceItem): void {
    const { id, status, output, customStatus, updatedAt } = item;
    this.#sql.progress.run(status, output, customStatus, updatedAt, id);
  }

  /** Removes the instance and what it waits for. Work already queued still runs, as on Azure. */
  dropInstance(id: string): void {
    this.#sql.dropInstance.run(id);
    this.#sql.dropHistory.run(id);
    this.#sql.dropMessages.all(id);
    this.#sql.dropTimers.run(id);
  }

  listInstances(filter: InstanceFilter): InstanceItem[] {
    const statuses = filter.statuses.length > 0 ? `,${filter.statuses.join(',')},` : '';
    const { after, createdFrom, createdTo, prefix, limit } = filter;
    const found = this.#sql.list.all(after, createdFrom, createdTo, prefix, statuses, limit);
    return found as unknown as InstanceItem[];
  }

  addChunk(instanceId: string, chunk: number, events: string): void {
    this.#sql.addChunk.run(instanceId, chunk, events);
  }

  /** The history in pieces, each a comma-separated run of events. */
  chunks(instanceId: string): string[] {
    return this.#sql.chunks.all(instanceId).map((found) => String(found['events']));
  }

  dropHistory(instanceId: string): void {
    this.#sql.dropHistory.run(instanceId);
  }

  addMessage(instanceId: string, message: Omit<MessageItem, 'sequence'>, kind: number): void {
    const { rank, executionId, event } = message;
    this.#sql.addMessage.run(instanceId, rank, ++this.#sequence, kind, executionId, event);
  }

  /** The oldest messages; `controlOnly` sees terminate, suspend and resume only. */
  messages(instanceId: string, limit: number, controlOnly: boolean): MessageItem[] {
    const sql = controlOnly ? this.#sql.control : this.#sql.messages;
    return sql.all(instanceId, limit) as unknown as MessageItem[];
  }

  dropMessage(instanceId: string, message: MessageItem): void {
    this.#sql.dropMessage.run(instanceId, message.rank, message.sequence);
  }

  /** Empties an inbox; returns the events that were lost and were meant for any execution. */
  dropMessages(instanceId: string): string[] {
    const dropped = this.#sql.dropMessages.all(instanceId);
    const lost = dropped.filter(({ executionId }) => executionId === null);
    return lost.map((found) => String(found['event']));
  }

  instancesWithMessages(): string[] {
    return this.#sql.waiting.all().map((found) => String(found['instanceId']));
  }

  addTimer(timer: TimerItem): void {
    this.#sql.addTimer.run(timer.instanceId, timer.timerId, timer.executionId, timer.fireAt);
  }

  /** True when there was one. */
  dropTimer(instanceId: string, timerId: number): boolean {
    return Number(this.#sql.dropTimer.run(instanceId, timerId).changes) > 0;
  }

  /** True when there were any. */
  dropTimers(instanceId: string): boolean {
    return Number(this.#sql.dropTimers.run(instanceId).changes) > 0;
  }

  dueTimers(nowMs: number, limit: number): TimerItem[] {
    return this.#sql.due.all(nowMs, limit) as unknown as TimerItem[];
  }

  nextDueAt(): number | undefined {
    const at = this.#sql.nextDue.get()?.['at'];
    return typeof at === 'number' ? at : undefined;
  }

  addWork(work: Omit<WorkItem, 'sequence'>): void {
    const { instanceId, executionId, taskId, name, input } = work;
    const sequence = ++this.#workSequence;
    this.#sql.addWork.run(sequence, instanceId, executionId, taskId, name, input);
  }

  workAfter(sequence: number, limit: number): WorkItem[] {
    return this.#sql.work.all(sequence, limit) as unknown as WorkItem[];
  }

  dropWork(sequence: number): void {
    this.#sql.dropWork.run(sequence);
  }

  close(): void {
    if (this.#flushAt) clearImmediate(this.#flushAt);
    if (this.#queue.length > 0) this.#flush();
    this.#db.close();
  }
}
