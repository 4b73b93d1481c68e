// The part of the hub's file that holds entities: their state, their locks, their queues.
// Every method runs inside a change of HubStorage.commit, reads excepted.
//
// Invariants:
//   Y1. The queue order is the order of arrival; one entity's operations are numbered across the
//       whole file, so a forwarded lock request stands behind what came before it.
import type { DatabaseSync, StatementSync } from 'node:sqlite';

export interface EntityItem {
  /** `@name@key`, the name in lower case. */
  id: string;
  doesExist: boolean;
  /** JSON text. */
  state: string | null;
  /** The orchestration in whose critical section it is. */
  lockedBy: string | null;
  createdAt: number;
  updatedAt: number;
}
export interface OperationItem {
  sequence: number;
  /** The asking instance; '' for a client. */
  caller: string;
  /** JSON text of an EntityRequest. */
  request: string;
}
export interface EntityFilter {
  prefix: string;
  updatedFrom: number;
  updatedTo: number;
  after: string;
  limit: number;
}

export const entitySchema = `
CREATE TABLE IF NOT EXISTS entities (id TEXT PRIMARY KEY, doesExist INTEGER NOT NULL, state TEXT,
  lockedBy TEXT, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS operations (entityId TEXT NOT NULL, sequence INTEGER NOT NULL,
  caller TEXT NOT NULL, request TEXT NOT NULL, PRIMARY KEY (entityId, sequence)) WITHOUT ROWID;
CREATE TEMP VIEW IF NOT EXISTS shownInstances AS
  SELECT id, executionId, name, version, status, input, output, customStatus, createdAt, updatedAt,
    parent FROM instances
  UNION ALL
  SELECT id, '', '@' || substr(id, 2, instr(substr(id, 2), '@') - 1), '', 'Running',
    json_patch('{}', json_object('exists', json(iif(doesExist, 'true', 'false')), 'state', state)),
    NULL, json_patch('{}', json_object('entityExists', json(iif(doesExist, 'true', 'false')),
    'lockedBy', lockedBy)),
    createdAt, updatedAt, NULL FROM entities;
`;

const statementTexts = {
  find: 'SELECT * FROM entities WHERE id = ?',
  put: `INSERT OR REPLACE INTO entities (id, doesExist, state, lockedBy, createdAt, updatedAt)
    VALUES (?,?,?,?,?,?)`,
  drop: 'DELETE FROM entities WHERE id = ?',
  list: `SELECT * FROM entities WHERE id > ?1 AND doesExist = 1 AND updatedAt >= ?2
    AND updatedAt <= ?3 AND (?4 = '' OR substr(id, 1, length(?4)) = ?4) ORDER BY id LIMIT ?5`,
  add: 'INSERT INTO operations (entityId, sequence, caller, request) VALUES (?,?,?,?)',
  operations: `SELECT sequence, caller, request FROM operations WHERE entityId = ?
    ORDER BY sequence LIMIT ?`,
  operationsOf: `SELECT sequence, caller, request FROM operations WHERE entityId = ? AND caller = ?
    ORDER BY sequence LIMIT ?`,
  lockedBy: 'SELECT id FROM entities WHERE lockedBy = ?',
  dropOperation: 'DELETE FROM operations WHERE entityId = ? AND sequence = ?',
  dropOperations: 'DELETE FROM operations WHERE entityId = ?',
  waiting: 'SELECT DISTINCT entityId FROM operations',
  last: 'SELECT max(sequence) AS last FROM operations',
};

export class EntityStorage {
  readonly #sql: Record<keyof typeof statementTexts, StatementSync>;
  #sequence: number;

  constructor(db: DatabaseSync) {
    const prepared = Object.entries(statementTexts).map(([name, sql]) => [name, db.prepare(sql)]);
    this.#sql = Object.fromEntries(prepared) as Record<keyof typeof statementTexts, StatementSync>;
    this.#sequence = Number(this.#sql.last.get()?.['last'] ?? 0);
  }

  entity(id: string): EntityItem | undefined {
    const found = this.#sql.find.get(id);
    return found && itemOf(found);
  }

  put(item: EntityItem): void {
    const { id, doesExist, state, lockedBy, createdAt, updatedAt } = item;
    this.#sql.put.run(id, Number(doesExist), state, lockedBy, createdAt, updatedAt);
  }

  /** Removes the entity and what was queued for it. */
  drop(id: string): void {
    this.#sql.drop.run(id);
    this.#sql.dropOperations.run(id);
  }

  list({ after, updatedFrom, updatedTo, prefix, limit }: EntityFilter): EntityItem[] {
    return this.#sql.list.all(after, updatedFrom, updatedTo, prefix, limit).map(itemOf);
  }

  addOperation(entityId: string, caller: string, request: string): void {
    this.#sql.add.run(entityId, ++this.#sequence, caller, request);
  }

  /** The oldest operations; of one caller only, when it holds the lock. */
  operations(entityId: string, limit: number, caller: string | null): OperationItem[] {
    const found =
      caller === null
        ? this.#sql.operations.all(entityId, limit)
        : this.#sql.operationsOf.all(entityId, caller, limit);
    return found as unknown as OperationItem[];
  }

  dropOperation(entityId: string, sequence: number): void {
    this.#sql.dropOperation.run(entityId, sequence);
  }

  lockedBy(owner: string): string[] {
    return this.#sql.lockedBy.all(owner).map((found) => String(found['id']));
  }

  entitiesWithOperations(): string[] {
    return this.#sql.waiting.all().map((found) => String(found['entityId']));
  }
}

function itemOf(found: Record<string, unknown>): EntityItem {
  return { ...(found as unknown as EntityItem), doesExist: found['doesExist'] === 1 };
}
