// The SQLite indexes behind a container: those its policy names, and those that queries turned out
// to need.
//
// Azure indexes every path a policy includes, `/*` most of all. Here every named path and composite
// is an index from the start; a path under a wildcard becomes one when a query over all partitions
// that filters by it was slow, up to a bound, and stays one.

import type { DatabaseSync } from 'node:sqlite';

import type { CompositePath, IndexingPolicy } from './indexing-policy.ts';

/** Indexes made for queries, per container: each costs every write. */
const learnedMax = 8;

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

const single = (path: string[]): CompositePath[] => [{ path, isDescending: false }];

/** A container, as far as its indexes go. */
interface Keyed {
  number: number;
  policy: IndexingPolicy;
  /** The partition key, which has an index already. */
  paths: readonly string[][];
}

/** The indexes that stand for a policy: its composites, then its named paths. */
function indexesOfPolicy({ policy, paths }: Keyed): PathIndex[] {
  const keyPath = paths.length === 1 ? JSON.stringify(paths[0]) : '';
  return [...policy.composites, ...policy.named.map(single)]
    .filter((parts) => parts.every((part) => isPlainPath(part.path)))
    .map((parts, at) => ({ suffix: `path_${at}`, parts, isComposite: parts.length > 1 }))
    .filter(({ parts, isComposite }) => isComposite || JSON.stringify(parts[0]?.path) !== keyPath);
}

function learnedPaths(sql: DatabaseSync, number: number): string[][] {
  const known = sql.prepare('SELECT path FROM learned WHERE container=? ORDER BY at').all(number);
  return known.map(({ path }) => JSON.parse(String(path)) as string[]);
}

const learnedIndex = (path: string[], at: number): PathIndex => ({
  suffix: `learned_${at}`,
  parts: single(path),
  isComposite: false,
});

/** All indexes of a container, as they are in the file. */
export function indexesOf(sql: DatabaseSync, container: Keyed): PathIndex[] {
  const learned = learnedPaths(sql, container.number);
  return [...indexesOfPolicy(container), ...learned.map(learnedIndex)];
}

export const createLearned = `CREATE TABLE IF NOT EXISTS learned(
  container INTEGER, at INTEGER, path TEXT, PRIMARY KEY(container,at)) WITHOUT ROWID;`;

function createIndex(sql: DatabaseSync, number: number, index: PathIndex): void {
  const { suffix, parts, isComposite } = index;
  const items = `items_${number}`;
  const keys = parts.map((part) => extract(part.path) + (part.isDescending ? ' DESC' : ''));
  // Items without the leading properties cannot be asked for by them: leave them out.
  const leading = isComposite ? parts.slice(0, -1) : parts;
  const filter = leading.map((part) => `${extract(part.path)} IS NOT NULL`).join(' AND ');
  // Under one value a single-path index goes by creation: pages resume there without sorting.
  if (!isComposite) keys.push('number');
  sql.exec(`CREATE INDEX ${items}_${suffix} ON ${items}(${keys.join(',')}) WHERE ${filter}`);
}

/** Makes the indexes of a policy, in place of all there were; inside a write. */
export function createIndexes(sql: DatabaseSync, container: Keyed): void {
  const { number } = container;
  const before = sql
    .prepare(`SELECT name FROM sqlite_master WHERE type='index' AND (name GLOB ? OR name GLOB ?)`)
    .all(`items_${number}_path_*`, `items_${number}_learned_*`);
  for (const index of before) sql.exec(`DROP INDEX "${String(index['name'])}"`);
  sql.prepare('DELETE FROM learned WHERE container=?').run(number);
  for (const index of indexesOfPolicy(container)) createIndex(sql, number, index);
}

/** Makes one more index for a path that queries ask for; false when there are enough. */
export function learnIndex(
  sql: DatabaseSync,
  path: string[],
  container: { number: number; indexes: readonly PathIndex[] },
): boolean {
  const { number, indexes } = container;
  const known = learnedPaths(sql, number);
  if (known.length >= learnedMax || isIndexed(indexes, path)) return false;
  createIndex(sql, number, learnedIndex(path, known.length));
  const insert = sql.prepare('INSERT INTO learned VALUES(?,?,?)');
  insert.run(number, known.length, JSON.stringify(path));
  return true;
}

/** Whether one more index may be made for queries. */
export const canLearn = (indexes: readonly PathIndex[]): boolean =>
  indexes.filter(({ suffix }) => suffix.startsWith('learned')).length < learnedMax;

/** Whether an index begins with the path. */
export function isIndexed(indexes: readonly PathIndex[], path: readonly string[]): boolean {
  const name = JSON.stringify(path);
  return indexes.some(({ parts }) => JSON.stringify(parts[0]?.path) === name);
}
