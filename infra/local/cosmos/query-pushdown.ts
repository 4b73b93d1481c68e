// PURE. What of a query SQLite may do: a filter that is a superset of the query's own, and an order
// where it is exactly the query's own.
//
// Invariants:
//   1. The SQL filter never drops an item that WHERE keeps; JavaScript still decides every item.
//   2. An order is handed down only when WHERE pins the type of each ordered property to text or
//      number: SQLite sees missing and null, false and 0 as one, Cosmos does not.
//   3. Only plain property names and bound values enter SQL text.

import type { SQLInputValue } from 'node:sqlite';

import { extract, isPlainPath, typeAt } from './indexes.ts';
import type { Value } from './json.ts';
import type { Context } from './query-compile.ts';
import { propertyPath, type Expression, type Query } from './query-tree.ts';
import type { Container } from './storage.ts';

export interface Condition {
  sql: string;
  values: SQLInputValue[];
  /** Says something of the id, and of nothing else. */
  isOfId?: boolean;
  /** True exactly where the expression is; else it may hold for more items. */
  isExact?: boolean;
}

export interface Pushdown {
  conditions: Condition[];
  /** Partition key from WHERE, when it names one. */
  pk: string | undefined;
  /** ORDER BY terms in SQL; undefined when the order must be made in JavaScript. */
  order: OrderTerm[] | undefined;
  /** Properties that WHERE sets equal to a value, as SQL. */
  equalities: { path: string[]; condition: Condition }[];
  /** Properties that WHERE compares in SQL, those with one value first. */
  compared: string[][];
  /** The conditions are WHERE, no less. */
  isExact: boolean;
}

export interface OrderTerm {
  sql: string;
  isDescending: boolean;
  /** WHERE leaves it one value only. */
  isFixed: boolean;
}

type Scalar = 'text' | 'number';

interface Reading {
  container: Container;
  context: Context;
  alias: string;
  /** One partition only: its key index serves the query, not an index over all partitions. */
  isScoped: boolean;
  pinned: Map<string, Scalar>;
  /** Properties with one value only. */
  fixed: Set<string>;
}

const listMax = 500;
const both = (sql: string, ...values: SQLInputValue[]): Condition => ({ sql, values });

function constant(expression: Expression, context: Context): { value: Value } | undefined {
  if (expression.kind === 'literal') return { value: expression.value };
  if (expression.kind === 'parameter') return { value: context.parameters.get(expression.name) };
  if (expression.kind !== 'unary' || expression.operator !== '-') return undefined;
  const inner = constant(expression.operand, context);
  return typeof inner?.value === 'number' ? { value: -inner.value } : undefined;
}

function pathOf(expression: Expression, reading: Reading): string[] | undefined {
  const found = propertyPath(expression);
  return found?.root === reading.alias && found.path.length > 0 ? found.path : undefined;
}

/** The SQL for a property; a leading + keeps SQLite from an index that spans all partitions. */
function column(path: readonly string[], isScoped: boolean): string | undefined {
  if (path.length === 1 && path[0] === 'id') return 'id';
  if (path.length === 1 && path[0] === '_ts') return 'ts';
  if (!isPlainPath(path)) return undefined;
  return (isScoped ? '+' : '') + extract(path);
}

const isPlainText = (value: string): boolean => !value.includes('\0') && value.isWellFormed();

// SQLite and JavaScript may read the last digits of a fraction or of a huge integer differently, so
// such bounds are widened; JavaScript then decides.
function bounds(value: number): [number, number] {
  if (Number.isSafeInteger(value)) return [value, value];
  const slack = Math.abs(value) * 1e-12;
  return [value - slack, value + slack];
}

function compareTo(sql: string, operator: string, value: Value): Condition | undefined {
  if (value === null && operator === '=') return both(`${sql} IS NULL`);
  if (typeof value === 'boolean' && operator === '=') return both(`${sql}=?`, value ? 1 : 0);
  if (typeof value === 'string' && isPlainText(value)) {
    // SQLite reads an array or object as its JSON text.
    const isExact = !/^[[{]/.test(value);
    if (operator === '=') return { ...both(`${sql}=?`, value), isExact };
    // Every number sorts before every text in SQLite: keep to the texts.
    return operator.startsWith('<')
      ? both(`${sql}>='' AND ${sql}${operator}?`, value)
      : both(`${sql}${operator}?`, value);
  }
  if (typeof value !== 'number') return undefined;
  const [low, high] = bounds(value);
  if (operator === '=') {
    return low === high ? both(`${sql}=?`, low) : both(`${sql}>=? AND ${sql}<=?`, low, high);
  }
  const isExact = low === high;
  if (operator.startsWith('<')) return both(`${sql}${isExact ? operator : '<='}?`, high);
  return both(`${sql}${isExact ? operator : '>='}? AND ${sql}<''`, low);
}

const mirrored: Record<string, string> = { '<': '>', '<=': '>=', '>': '<', '>=': '<=', '=': '=' };

const scalarType = (value: Value): Scalar | undefined =>
  typeof value === 'string' ? 'text' : typeof value === 'number' ? 'number' : undefined;

const pathName = (path: readonly string[]): string => JSON.stringify(path);

/** Reads `path operator constant`, either way round. */
function comparisonOf(
  expression: Expression,
  reading: Reading,
): { path: string[]; operator: string; value: Value } | undefined {
  if (expression.kind !== 'binary') return undefined;
  const operator = mirrored[expression.operator];
  if (operator === undefined) return undefined;
  const left = pathOf(expression.left, reading);
  const right = constant(expression.right, reading.context);
  if (left && right) return { path: left, operator: expression.operator, value: right.value };
  const path = pathOf(expression.right, reading);
  const value = constant(expression.left, reading.context);
  return path && value ? { path, operator, value: value.value } : undefined;
}

const isKeyPath = (path: readonly string[], { container }: Reading): boolean =>
  container.paths.length === 1 && pathName(container.paths[0] ?? []) === pathName(path);

const isScalar = (value: Value): boolean =>
  value === null || (value !== undefined && typeof value !== 'object');

function listCondition(
  path: readonly string[],
  values: readonly Value[],
  reading: Reading,
): Condition | undefined {
  if (values.length === 0 || values.length > listMax) return undefined;
  if (isKeyPath(path, reading) && values.every(isScalar)) {
    const keys = values.map((value) => JSON.stringify([value]));
    return both(`pk IN (${keys.map(() => '?').join(',')})`, ...keys);
  }
  const sql = column(path, reading.isScoped);
  const isExact = values.every((value) =>
    typeof value === 'string' ? isPlainText(value) : Number.isSafeInteger(value),
  );
  if (!sql || !isExact) return undefined;
  const bound = values.filter((value) => typeof value === 'string' || typeof value === 'number');
  return both(`${sql} IN (${bound.map(() => '?').join(',')})`, ...bound);
}

/** The first text after all that begin with `prefix`; undefined when there is none. */
function afterPrefix(prefix: string): string | undefined {
  const points = [...prefix];
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    const code = last.codePointAt(0) ?? 0;
    if (code === 0x10ffff) continue;
    return points.join('') + String.fromCodePoint(code === 0xd7ff ? 0xe000 : code + 1);
  }
  return undefined;
}

function callCondition(
  expression: Expression & { kind: 'call' },
  reading: Reading,
): Condition | undefined {
  const [first, second] = expression.list;
  if (expression.name === 'ARRAY_CONTAINS' && expression.list.length === 2 && first && second) {
    const list = constant(first, reading.context)?.value;
    const path = pathOf(second, reading);
    return path && Array.isArray(list) ? listCondition(path, list, reading) : undefined;
  }
  const path = first && pathOf(first, reading);
  if (!path || (expression.name !== 'STARTSWITH' && expression.name !== 'IS_DEFINED')) {
    return undefined;
  }
  if (expression.name === 'IS_DEFINED') {
    return isPlainPath(path) ? both(`${typeAt(path)} IS NOT NULL`) : undefined;
  }
  const prefix = second && constant(second, reading.context)?.value;
  const sql = column(path, reading.isScoped);
  if (!sql || expression.list.length !== 2 || typeof prefix !== 'string') return undefined;
  if (!isPlainText(prefix)) return undefined;
  const after = afterPrefix(prefix);
  if (after === undefined) return both(`${sql}>=?`, prefix);
  return both(`${sql}>=? AND ${sql}<?`, prefix, after);
}

function betweenCondition(
  expression: Expression & { kind: 'between' },
  reading: Reading,
): Condition | undefined {
  const path = pathOf(expression.operand, reading);
  const low = constant(expression.low, reading.context);
  const high = constant(expression.high, reading.context);
  const sql = path && column(path, reading.isScoped);
  if (!sql || !low || !high) return undefined;
  return joined([compareTo(sql, '>=', low.value), compareTo(sql, '<=', high.value)], 'AND');
}

function joined(parts: (Condition | undefined)[], word: string): Condition | undefined {
  const known = parts.filter((part) => part !== undefined);
  if (known.length === 0) return undefined;
  return {
    sql: known.map((part) => `(${part.sql})`).join(` ${word} `),
    values: known.flatMap((part) => part.values),
  };
}

/** A condition that holds wherever the expression is true; undefined = no help. */
function conditionOf(expression: Expression, reading: Reading): Condition | undefined {
  switch (expression.kind) {
    case 'and': {
      const parts = [expression.left, expression.right].map((one) => conditionOf(one, reading));
      return joined(parts, 'AND');
    }
    case 'or': {
      const left = conditionOf(expression.left, reading);
      const right = left && conditionOf(expression.right, reading);
      return left && right ? joined([left, right], 'OR') : undefined;
    }
    case 'binary': {
      const found = comparisonOf(expression, reading);
      if (!found) return undefined;
      const { path, operator, value } = found;
      if (operator === '=' && isKeyPath(path, reading) && isScalar(value)) {
        return { ...both('pk=?', JSON.stringify([value])), isExact: true };
      }
      const sql = column(path, reading.isScoped);
      return sql === undefined ? undefined : compareTo(sql, operator, value);
    }
    case 'in': {
      const path = pathOf(expression.operand, reading);
      const values = expression.list.map((one) => constant(one, reading.context));
      if (!path || values.some((value) => value === undefined)) return undefined;
      return listCondition(
        path,
        values.map((found) => found?.value),
        reading,
      );
    }
    case 'between':
      return betweenCondition(expression, reading);
    case 'call':
      return callCondition(expression, reading);
    default:
      return undefined;
  }
}

function conjuncts(expression: Expression | undefined): Expression[] {
  if (!expression) return [];
  if (expression.kind !== 'and') return [expression];
  return [...conjuncts(expression.left), ...conjuncts(expression.right)];
}

// What each conjunct says about the type of a property, given that it is true.
function pin(expression: Expression, reading: Reading): void {
  const set = (path: string[] | undefined, type: Scalar | undefined): void => {
    if (path && type) reading.pinned.set(pathName(path), type);
  };
  const found = comparisonOf(expression, reading);
  if (found) return set(found.path, scalarType(found.value));
  if (expression.kind === 'between') {
    const low = constant(expression.low, reading.context)?.value;
    return set(pathOf(expression.operand, reading), scalarType(low));
  }
  if (expression.kind === 'in') {
    const types = expression.list.map((one) => scalarType(constant(one, reading.context)?.value));
    const isUniform = types.every((type) => type === types[0]);
    return set(pathOf(expression.operand, reading), isUniform ? types[0] : undefined);
  }
  if (expression.kind !== 'call') return;
  const path = expression.list[0] && pathOf(expression.list[0], reading);
  if (expression.name === 'IS_NUMBER') set(path, 'number');
  if (expression.name === 'IS_STRING' || expression.name === 'STARTSWITH') set(path, 'text');
}

/** The one property that a conjunct is about, of those `conditionOf` can turn into SQL. */
function comparedPath(part: Expression, reading: Reading): string[] | undefined {
  if (part.kind === 'between' || part.kind === 'in') return pathOf(part.operand, reading);
  if (part.kind !== 'call') return comparisonOf(part, reading)?.path;
  const [first, second] = part.list;
  const operand = part.name === 'ARRAY_CONTAINS' ? second : first;
  return operand && pathOf(operand, reading);
}

function orderOf(query: Query, reading: Reading): OrderTerm[] | undefined {
  const terms = query.order?.map(({ by, isDescending }): OrderTerm | undefined => {
    const path = pathOf(by, reading);
    const sql = path && column(path, reading.isScoped);
    const isPinned = sql === 'id' || sql === 'ts' || (path && reading.pinned.has(pathName(path)));
    if (!sql || !isPinned) return undefined;
    return { sql, isDescending, isFixed: reading.fixed.has(pathName(path)) };
  });
  const known = terms?.filter((term) => term !== undefined);
  return known && known.length === terms?.length ? known : undefined;
}

/** Reads what SQLite can do for a query over `alias`; `hasKey` = the request names a partition. */
export function pushdown(
  query: Query,
  alias: string,
  options: { container: Container; context: Context; hasKey: boolean },
): Pushdown {
  const { container, context, hasKey } = options;
  const pinned = new Map<string, Scalar>();
  const fixed = new Set<string>();
  const reading: Reading = { container, context, alias, isScoped: hasKey, pinned, fixed };
  const parts = conjuncts(query.where);
  let pk: string | undefined;
  for (const part of parts) {
    pin(part, reading);
    const found = comparisonOf(part, reading);
    if (found?.operator === '=' && scalarType(found.value)) fixed.add(pathName(found.path));
    if (found?.operator === '=' && isKeyPath(found.path, reading) && isScalar(found.value)) {
      pk = JSON.stringify([found.value]);
    }
  }
  reading.isScoped = hasKey || pk !== undefined;
  const conditions: Condition[] = [];
  const compared: string[][] = [];
  for (const part of parts) {
    const condition = conditionOf(part, reading);
    const path = condition && comparedPath(part, reading);
    if (condition)
      conditions.push({ ...condition, isOfId: path?.length === 1 && path[0] === 'id' });
    if (path) compared.push(path);
  }
  const equalities = parts.flatMap((part) => {
    const found = comparisonOf(part, reading);
    const isUseful = found?.operator === '=' && scalarType(found.value) !== undefined;
    const condition = isUseful ? conditionOf(part, reading) : undefined;
    return found && condition ? [{ path: found.path, condition }] : [];
  });
  const exact = equalities.map(({ path }) => path);
  const order = orderOf(query, reading);
  const isExact =
    conditions.length === parts.length && conditions.every((condition) => condition.isExact);
  return { conditions, pk, order, equalities, isExact, compared: [...exact, ...compared] };
}
