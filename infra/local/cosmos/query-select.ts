// PURE. SELECT as a pipeline: bind, join, filter, group, project.

import { badRequest } from './errors.ts';
import { compareValues, type Json, type Value } from './json.ts';
import { aggregatesIn, assertGrouped, Grouping, selected } from './query-aggregate.ts';
import type { GroupingPlan } from './query-aggregate.ts';
import { compile, objectOf, type Context, type Evaluate, type Scope } from './query-compile.ts';
import { innerExpressions, type Expression, type Query } from './query-tree.ts';

export interface Selection {
  /** The scopes one bound item gives: one per combination of joined elements that passes WHERE. */
  expand(scope: Scope): Generator<Scope>;
  project: Evaluate;
  grouping: GroupingPlan | undefined;
  order: { by: Evaluate; isDescending: boolean }[] | undefined;
  top: number | undefined;
  offset: number;
  limit: number | undefined;
}

/** The value of TOP, OFFSET or LIMIT. */
export function countOf(expression: Expression | undefined, what: string, context: Context) {
  if (!expression) return undefined;
  const value = compile(expression, context)({ names: {} });
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) {
    throw badRequest(`${what} must be a non-negative integer, not ${JSON.stringify(value)}.`);
  }
  return value;
}

function projection(query: Query, context: Context): Evaluate {
  const { select } = query;
  if (select.kind === 'value') return compile(select.value, context);
  if (select.kind === 'list') {
    const members = select.members.map(
      ({ name, value }) => [name, compile(value, context)] as const,
    );
    const names = new Set(members.map(([name]) => name));
    if (names.size < members.length) throw badRequest('The select list names a property twice.');
    return (scope) => objectOf(members.map(([name, value]) => [name, value(scope)]));
  }
  if (query.joins.length > 0 || !query.from) {
    throw badRequest("'SELECT *' is only valid with a single input set.");
  }
  const { name } = query.from;
  return (scope) => scope.names[name];
}

/** Compiles SELECT; `bound` are the names FROM has bound already. */
export function compileSelect(query: Query, outer: Context, bound: readonly string[]): Selection {
  const names = new Set([...outer.names, ...bound]);
  const joins = query.joins.map((join) => {
    if (names.has(join.name)) throw badRequest(`The name '${join.name}' is bound twice.`);
    const source = join.each ?? join.one;
    if (!source || !join.each) throw badRequest('JOIN needs the form `JOIN name IN path`.');
    const each = compile(source, { ...outer, names: new Set(names) });
    names.add(join.name);
    return { name: join.name, each };
  });
  const context = { ...outer, names };
  const where = query.where && compile(query.where, context);
  if (query.where && aggregatesIn(query.where).length > 0) {
    throw badRequest('An aggregate may not stand in WHERE.');
  }
  const nodes = selected(query).flatMap(aggregatesIn);
  const isGrouped = nodes.length > 0 || query.group !== undefined;
  if (isGrouped) assertGrouped(query);
  if (query.group && query.order) throw badRequest('ORDER BY with GROUP BY is not supported.');
  if (query.top && query.offset) throw badRequest('TOP cannot be used with OFFSET LIMIT.');
  return {
    expand: (scope) => expand(scope, joins, where),
    project: projection(query, context),
    grouping: isGrouped
      ? {
          keys: query.group?.map((key) => compile(key, context)),
          aggregates: nodes.map((node) => ({ node, operand: compile(node.operand, context) })),
        }
      : undefined,
    order: query.order?.map(({ by, isDescending }) => ({ by: compile(by, context), isDescending })),
    top: countOf(query.top, 'TOP', context),
    offset: countOf(query.offset, 'OFFSET', context) ?? 0,
    limit: countOf(query.limit, 'LIMIT', context),
  };
}

interface Join {
  name: string;
  each: Evaluate;
}

function* expand(
  scope: Scope,
  joins: readonly Join[],
  where: Evaluate | undefined,
): Generator<Scope> {
  const [join, ...rest] = joins;
  if (!join) {
    if (!where || where(scope) === true) yield scope;
    return;
  }
  const elements = join.each(scope);
  if (!Array.isArray(elements)) return;
  for (const element of elements) {
    const names = { ...scope.names, [join.name]: element };
    yield* expand({ names }, rest, where);
  }
}

/** Compares two lists of ORDER BY values. */
export function compareKeys(
  one: readonly Value[],
  other: readonly Value[],
  order: readonly { isDescending: boolean }[],
): number {
  for (let at = 0; at < order.length; at++) {
    const step = compareValues(one[at], other[at]);
    if (step !== 0) return order[at]!.isDescending ? -step : step;
  }
  return 0;
}

/** Drops repeated values. */
export function distinctValues(values: Iterable<Json>): Json[] {
  const seen = new Set<string>();
  const kept: Json[] = [];
  for (const value of values) {
    const text = canonical(value);
    if (seen.has(text)) continue;
    seen.add(text);
    kept.push(value);
  }
  return kept;
}

// Objects are equal whatever the order of their members.
function canonical(value: Json): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

// Without an order each scope is let go once it is projected: results may be few where inputs are
// many.
function* valuesOf(selection: Selection, scopes: Iterable<Scope>): Generator<Json> {
  const { order, grouping, project } = selection;
  let results: Iterable<Scope> = scopes;
  if (grouping) {
    const groups = new Grouping(grouping, { names: {} });
    for (const scope of scopes) groups.add(scope);
    results = groups.results();
  } else if (order) {
    const keyed = [...scopes].map((scope) => ({ scope, keys: order.map(({ by }) => by(scope)) }));
    keyed.sort((one, other) => compareKeys(one.keys, other.keys, order));
    results = keyed.map(({ scope }) => scope);
  }
  for (const scope of results) {
    const value = project(scope);
    if (value !== undefined) yield value;
  }
}

/** Everything after the filter, for inputs that are all at hand. */
export function finish(query: Query, selection: Selection, scopes: Iterable<Scope>): Json[] {
  const values = valuesOf(selection, scopes);
  const kept = query.isDistinct ? distinctValues(values) : [...values];
  const most = Math.min(selection.top ?? Infinity, selection.limit ?? Infinity);
  return kept.slice(selection.offset, selection.offset + most);
}

/** A query inside an expression: runs over values in scope, not over the container. */
export function runInner(query: Query, context: Context): (scope: Scope) => Json[] {
  const { from } = query;
  const source = from?.each ?? from?.one;
  const each = source && compile(source, context);
  const selection = compileSelect(query, context, from ? [from.name] : []);
  return (scope) => {
    const value = each?.(scope);
    let elements: Json[] = [];
    if (from?.each) elements = Array.isArray(value) ? value : [];
    else if (value !== undefined) elements = [value];
    const scopes = from
      ? elements.map((element) => ({ ...scope, names: { ...scope.names, [from.name]: element } }))
      : [scope];
    const passed = scopes.flatMap((one) => [...selection.expand(one)]);
    return finish(query, selection, passed);
  };
}

/** Runs a query over values at hand (databases, containers, patch conditions). */
export function runOver(query: Query, context: Context, items: readonly Json[]): Json[] {
  const { from } = query;
  const rooted = from?.each || (from?.one && from.one.kind !== 'variable');
  if (rooted) throw badRequest('FROM must name the container here.');
  const selection = compileSelect(query, context, from ? [from.name] : []);
  const scopes = (from ? items : [null]).map((item): Scope => ({
    names: from ? { [from.name]: item } : {},
  }));
  return finish(
    query,
    selection,
    scopes.flatMap((scope) => [...selection.expand(scope)]),
  );
}

/** The context of a whole query. */
export function contextOf(parameters: ReadonlyMap<string, Value>, nowMs: number): Context {
  return { parameters, nowMs, names: new Set(), inner: runInner };
}

/** Whether an expression names a variable (so that items need not be read when none does). */
export function usesName(expression: Expression, name: string): boolean {
  if (expression.kind === 'variable') return expression.name === name;
  if ('query' in expression) return true;
  return innerExpressions(expression).some((one) => usesName(one, name));
}
