// The SQL that finds the items of a query: filter, order, and where a page resumes.
//
// Invariants:
//   1. Within the order of the query (or without one) items go by partition key and id, or by
//      number (creation): both stay the same for the life of an item, so a page can resume there.
//   2. A page that resumes never starts before the last item, except among equals: the reader skips
//      those. So it does not read again what earlier pages gave.

import type { SQLInputValue } from 'node:sqlite';

import type { Json } from './json.ts';
import type { Context } from './query-compile.ts';
import { pushdown, type Condition, type OrderTerm, type Pushdown } from './query-pushdown.ts';
import { canLearn, isIndexed, isPlainPath } from './indexes.ts';
import type { Query } from './query-tree.ts';
import type { Container, Storage } from './storage.ts';

/** The last item of a page, as far as the SQL is concerned. */
export interface Resume {
  pk?: string;
  id?: string;
  number?: number;
  keys?: Json[][];
}

export interface StatementRequest {
  storage: Storage;
  container: Container;
  query: Query;
  context: Context;
  keyValues: Json[] | undefined;
  nowMs: number;
  /** The name the item is bound to; undefined when FROM takes something inside it. */
  alias: string | undefined;
  resume: Resume | undefined;
  /** The result is computed whole: in no order. */
  isWhole: boolean;
  /** Whether the reader needs the text of items. */
  isText: boolean;
}

export interface Statement {
  text: string;
  values: SQLInputValue[];
  /** Whether items come in the order of the query. */
  isOrdered: boolean;
  /** Whether equals go by number instead of partition key and id. */
  isByNumber: boolean;
  /** Gives the number of items where SQL alone decides which. */
  count: Condition | undefined;
}

/** More entries than this make an index no better than another one. */
const probeMax = 1000;

function keyCondition({ keyValues, container }: StatementRequest): Condition | undefined {
  if (!keyValues) return undefined;
  const key = JSON.stringify(keyValues);
  if (keyValues.length === container.paths.length) return { sql: 'pk=?', values: [key] };
  const prefix = `${key.slice(0, -1)},`;
  return { sql: 'pk>=? AND pk<?', values: [prefix, `${prefix}\u{10ffff}`] };
}

/**
 * The index of one property that WHERE sets equal to a value, when the query spans all
 * partitions; of several the one with fewest entries, counted up to a bound.
 */
function indexFor(request: StatementRequest, plan: Pushdown): string | undefined {
  const { container, storage } = request;
  const single = container.indexes.filter((index) => !index.isComposite);
  const candidates = plan.equalities.flatMap(({ path, condition }) => {
    const name = JSON.stringify(path);
    const index = single.find(({ parts }) => JSON.stringify(parts[0]?.path) === name);
    return index ? [{ name: `items_${container.number}_${index.suffix}`, condition }] : [];
  });
  if (candidates.length < 2) return candidates[0]?.name;
  const counted = candidates.map(({ name, condition }) => {
    const source = `items_${container.number} INDEXED BY ${name}`;
    const probe = `SELECT 1 FROM ${source} WHERE ${condition.sql} LIMIT ${probeMax}`;
    const [found] = storage.iterate(`SELECT count(*) AS n FROM (${probe})`, condition.values);
    return { name, count: Number(found?.['n']) };
  });
  return counted.toSorted((a, b) => a.count - b.count)[0]?.name;
}

// ORDER BY a, b with a fixed by WHERE goes on at b; with a free it goes on at a.
function resumeInOrder(order: readonly OrderTerm[], keys: readonly Json[][]): Condition[] {
  const at = order.findIndex((term) => !term.isFixed);
  const term = order[at];
  const bound = keys[at]?.[0];
  if (!term || !isExact(bound)) return [];
  const sql = `${term.sql}${term.isDescending ? '<=' : '>='}?`;
  return [{ sql, values: [bound] }];
}

/** Whether SQLite and JavaScript surely read the value alike. */
function isExact(value: Json | undefined): value is string | number {
  if (typeof value === 'number') return Number.isSafeInteger(value);
  return typeof value === 'string' && value.isWellFormed() && !value.includes('\0');
}

function resumeAt({ resume }: StatementRequest, isByNumber: boolean): Condition[] {
  if (resume?.pk === undefined) return [];
  if (isByNumber) return [{ sql: 'number>=?', values: [resume.number ?? 0] }];
  return [{ sql: '(pk,id)>=(?,?)', values: [resume.pk, resume.id ?? ''] }];
}

/** Small enough for the event loop: about 5 ms at most. */
const fewItems = 256;
const fewBytes = 1024 * 1024;

/** Whether a query of one partition has few and small items to look at, by the range of its ids. */
export function isFewItems(
  request: Pick<StatementRequest, 'storage' | 'container' | 'query' | 'context' | 'keyValues'>,
): boolean {
  const { storage, container, query, context, keyValues } = request;
  const { from } = query;
  const alias = from?.one?.kind === 'variable' ? from.name : undefined;
  const plan =
    alias === undefined ? undefined : pushdown(query, alias, { container, context, hasKey: true });
  const conditions = [
    { sql: 'pk=?', values: [JSON.stringify(keyValues)] },
    ...(plan?.conditions.filter(({ isOfId }) => isOfId) ?? []),
  ];
  const where = conditions.map(({ sql }) => `(${sql})`).join(' AND ');
  const looked = `SELECT octet_length(body) AS bytes FROM items_${container.number}
    WHERE ${where} LIMIT ${fewItems + 1}`;
  const values = conditions.flatMap((condition) => condition.values);
  const sums = `SELECT count(*) AS n, sum(bytes) AS bytes FROM (${looked})`;
  const [found] = storage.iterate(sums, values);
  return Number(found?.['n']) <= fewItems && Number(found?.['bytes']) <= fewBytes;
}

/** A container with as many items is worth an index for what is asked of it. */
const manyItems = 2000;

/** A path that WHERE compares, that the policy includes and that has no index. */
function unindexedPath(request: StatementRequest, plan: Pushdown): string[] | undefined {
  const { indexes, policy, paths } = request.container;
  if (!canLearn(indexes)) return undefined;
  const known = new Set(paths.map((path) => JSON.stringify(path)));
  return plan.compared.find((path) => {
    if (isIndexed(indexes, path) || !isPlainPath(path)) return false;
    if (path[0] === 'id' || path[0] === '_ts' || known.has(JSON.stringify(path))) return false;
    let at = policy.paths;
    for (const name of path) at = at.at(name);
    return at.self;
  });
}

const nothing: Pushdown = {
  conditions: [],
  pk: undefined,
  order: undefined,
  equalities: [],
  compared: [],
  isExact: false,
};

// Expired items are few and have an index; asking every item whether it is one would read them all.
function countOf(container: Container, conditions: readonly Condition[], nowMs: number): Condition {
  const items = `items_${container.number}`;
  const where = conditions.map(({ sql }) => `AND (${sql})`).join(' ');
  const values = conditions.flatMap((condition) => condition.values);
  const expired = `${items} INDEXED BY ${items}_expires WHERE expires<=?`;
  return {
    sql: `SELECT (SELECT count(*) FROM ${items} WHERE true ${where}) -
      (SELECT count(*) FROM ${expired} ${where}) AS n`,
    values: [...values, Math.floor(nowMs / 1000), ...values],
  };
}

/** Writes the statement of a query. */
export function statementFor(request: StatementRequest): Statement {
  const { container, query, context, nowMs, alias, resume, isWhole } = request;
  const hasKey = request.keyValues?.length === container.paths.length;
  const plan: Pushdown =
    alias === undefined ? nothing : pushdown(query, alias, { container, context, hasKey });
  const isSpanning = !request.keyValues && plan.pk === undefined;
  const index = isSpanning && !query.order && !isWhole ? indexFor(request, plan) : undefined;
  const path = isSpanning && index === undefined ? unindexedPath(request, plan) : undefined;
  if (path && request.storage.countUpTo(container, manyItems) === manyItems) {
    const { database, id } = container;
    request.storage.unindexed = { database, container: id, path };
  }
  const isByNumber = resume?.pk === undefined ? index !== undefined : resume.number !== undefined;
  const key = keyCondition(request);
  const count =
    isWhole && plan.isExact
      ? countOf(container, [...(key ? [key] : []), ...plan.conditions], nowMs)
      : undefined;
  const live = { sql: 'expires IS NULL OR expires>?', values: [Math.floor(nowMs / 1000)] };
  const conditions = [...(key ? [key] : []), ...plan.conditions, live];
  if (!query.order) conditions.push(...resumeAt(request, isByNumber));
  else if (plan.order) conditions.push(...resumeInOrder(plan.order, resume?.keys ?? []));
  const isOrdered = !query.order || plan.order !== undefined;
  const tie = query.order?.[0]?.isDescending ? 'DESC' : 'ASC';
  const terms = (plan.order ?? []).map(
    (term) => `${term.sql} ${term.isDescending ? 'DESC' : 'ASC'}`,
  );
  terms.push(...(isByNumber ? ['number'] : [`pk ${tie}`, `id ${tie}`]));
  const where = conditions.map(({ sql }) => `(${sql})`).join(' AND ');
  const source = `items_${container.number}${index === undefined ? '' : ` INDEXED BY ${index}`}`;
  // For a page the bodies are fetched one by one: SQLite then sorts keys only, and only as many
  // items are read as the page takes.
  const columns = `number,pk,id${isWhole && request.isText ? ',body' : ''}`;
  const tail = isWhole || !isOrdered ? '' : `ORDER BY ${terms.join(',')}`;
  return {
    text: `SELECT ${columns} FROM ${source} WHERE ${where} ${tail}`,
    values: conditions.flatMap(({ values }) => values),
    isOrdered,
    isByNumber,
    count,
  };
}
