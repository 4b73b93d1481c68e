// PURE. What a client needs to run a query over several partition key ranges by itself: which parts
// of the query it does after the ranges have answered (merge in order, group, aggregate, drop
// repeats, cut), and the query to send to each range instead.
//
// The shapes are those that the client library reads. [CO 12.2]
//   ORDER BY:    each result is {_rid, orderByItems: [{item}], payload}
//   GROUP BY:    {groupByItems: [{item}], payload}; an aggregate in the payload is {item} or, of
//                what cannot be merged from its result alone, {item, item2}
//   SELECT VALUE aggregate: [{item}]
// `{documentdb-formattableorderbyquery-filter}` is where the client puts what resumes an order.

import { badRequest } from './errors.ts';
import type { Json, JsonObject } from './json.ts';
import { aggregatesIn, selected, type Aggregate } from './query-aggregate.ts';
import type { Context } from './query-compile.ts';
import { countOf } from './query-select.ts';
import {
  expressionText,
  fromText,
  groupText,
  objectText,
  orderText,
  selectedText,
} from './query-text.ts';
import type { Expression, Query } from './query-tree.ts';

const resumeFilter = '{documentdb-formattableorderbyquery-filter}';

const typeOfAggregate: Record<Aggregate['name'], string> = {
  COUNT: 'Count',
  COUNTIF: 'CountIf',
  SUM: 'Sum',
  AVG: 'Average',
  MIN: 'Min',
  MAX: 'Max',
};

/** Whether parts of the query need all ranges: a gateway cannot answer those from one page. */
export function needsClient(query: Query): boolean {
  const { top, offset, order, group, isDistinct } = query;
  const isCut = top !== undefined || offset !== undefined;
  const isWhole = isDistinct || group !== undefined || order !== undefined;
  return isCut || isWhole || selected(query).some((one) => aggregatesIn(one).length > 0);
}

// An average is merged from sum and count, a least value with the count it comes from.
function itemOf({ name, operand }: Aggregate): string {
  const of = expressionText(operand);
  if (name === 'AVG') return `{"item": {"sum": SUM(${of}), "count": COUNT(${of})}}`;
  if (name !== 'MIN' && name !== 'MAX') return `{"item": ${name}(${of})}`;
  const best = `{"${name.toLowerCase()}": ${name}(${of}), "count": COUNT(${of})}`;
  return `{"item": ${name}(${of}), "item2": ${best}}`;
}

const isOrdered = (query: Query): boolean => {
  const wanted = new Set(selected(query).map(expressionText));
  const order = new Set((query.order ?? []).map(({ by }) => expressionText(by)));
  return (
    wanted.size > 0 && wanted.size === order.size && [...wanted].every((one) => order.has(one))
  );
};

function distinctType(query: Query): string {
  if (!query.isDistinct) return 'None';
  return query.order && isOrdered(query) ? 'Ordered' : 'Unordered';
}

interface Grouped {
  select: string;
  aliases: string[];
  /** Aggregates of SELECT VALUE. */
  aggregates: string[];
  aliasTypes: Record<string, string | null>;
}

function onlyAggregate(value: Expression): Aggregate | undefined {
  if (value.kind === 'aggregate') return value;
  if (aggregatesIn(value).length === 0) return undefined;
  throw badRequest(
    'Cross partition query only supports aggregates that stand alone. Compositions of aggregates ' +
      'and other expressions are not supported.',
  );
}

function groupedOf(query: Query): Grouped {
  const { select, group } = query;
  const keys = group?.map((key) => objectText([{ name: 'item', value: key }]));
  const groupItems = keys ? `[${keys.join(', ')}] AS groupByItems, ` : '';
  if (select.kind === 'value') {
    const aggregate = onlyAggregate(select.value);
    const aggregates = aggregate ? [typeOfAggregate[aggregate.name]] : [];
    const payload = aggregate ? `[${itemOf(aggregate)}]` : expressionText(select.value);
    const text = group ? `${groupItems}${payload} AS payload` : `VALUE ${payload}`;
    return { select: text, aliases: [], aggregates, aliasTypes: {} };
  }
  const members = select.kind === 'list' ? select.members : [];
  const aliasTypes: Record<string, string | null> = {};
  const payload = members.map(({ name, value }) => {
    const aggregate = onlyAggregate(value);
    aliasTypes[name] = aggregate ? typeOfAggregate[aggregate.name] : null;
    return `${JSON.stringify(name)}: ${aggregate ? itemOf(aggregate) : expressionText(value)}`;
  });
  const text = `${groupItems}{${payload.join(', ')}} AS payload`;
  return { select: text, aliases: members.map(({ name }) => name), aggregates: [], aliasTypes };
}

/** The query for one range, and the parts of the plan that follow from its shape. */
function rewritten(whole: Query, grouped: Grouped | undefined): string {
  const query = grouped ? { ...whole, order: undefined } : whole;
  const { order, where, isDistinct, top } = query;
  const filters = [...(where ? [expressionText(where)] : []), ...(order ? [resumeFilter] : [])];
  const filter = filters.length > 0 ? ` WHERE (${filters.join(' AND ')})` : '';
  const head = `SELECT ${isDistinct ? 'DISTINCT ' : ''}${top ? `TOP ${expressionText(top)} ` : ''}`;
  const tail = `${filter}${groupText(query)}${orderText(query)}`;
  if (grouped) return `${head}${grouped.select}${fromText(query)}${tail}`;
  if (!order) return `${head}VALUE ${selectedText(query)}${fromText(query)}${tail}`;
  const items = order.map(({ by }) => objectText([{ name: 'item', value: by }])).join(', ');
  // A _rid would make every result distinct.
  const rid = isDistinct ? '' : `${query.from?.name ?? 'c'}._rid, `;
  const select = `${rid}[${items}] AS orderByItems, ${selectedText(query)} AS payload`;
  return `${head}${select}${fromText(query)}${tail}`;
}

/** The effective keys a query can concern: one key, or from `min` up to `max`. */
export interface PlanRange {
  min: string;
  max: string;
  isOneKey: boolean;
}

interface Shape {
  info: JsonObject;
  /** The rewritten query up to OFFSET; undefined = the query as it is. */
  text: string | undefined;
}

// Clients ask for the plan of every query, most of them for nothing: its shape is kept.
const shapes = new WeakMap<Query, Shape>();

function shapeOf(query: Query): Shape {
  const known = shapes.get(query);
  if (known) return known;
  const aggregates = selected(query).flatMap(aggregatesIn);
  const grouped = query.group || aggregates.length > 0 ? groupedOf(query) : undefined;
  const groups: Json[] = (query.group ?? []).map(expressionText);
  const order = grouped ? [] : (query.order ?? []);
  const info: JsonObject = {
    distinctType: distinctType(query),
    orderBy: order.map(({ isDescending }) => (isDescending ? 'Descending' : 'Ascending')),
    orderByExpressions: order.map(({ by }) => expressionText(by)),
    groupByExpressions: groups,
    groupByAliases: grouped?.aliases ?? [],
    aggregates: grouped?.aggregates ?? [],
    groupByAliasToAggregateType: grouped?.aliasTypes ?? {},
    hasSelectValue: query.select.kind === 'value',
    hasNonStreamingOrderBy: false,
    dCountInfo: null,
  };
  const shape = { info, text: needsClient(query) ? rewritten(query, grouped) : undefined };
  shapes.set(query, shape);
  return shape;
}

/** The plan of a query, as the service answers it. */
export function planOf(query: Query, context: Context, range: PlanRange): JsonObject {
  const { info, text } = shapeOf(query);
  const offset = countOf(query.offset, 'OFFSET', context);
  const limit = countOf(query.limit, 'LIMIT', context);
  const cut = limit === undefined ? '' : ` OFFSET 0 LIMIT ${(offset ?? 0) + limit}`;
  return {
    partitionedQueryExecutionInfoVersion: 2,
    queryInfo: {
      ...info,
      top: countOf(query.top, 'TOP', context) ?? null,
      offset: offset ?? null,
      limit: limit ?? null,
      rewrittenQuery: text === undefined ? '' : text + cut,
    },
    queryRanges: [
      {
        min: range.min,
        max: range.max,
        isMinInclusive: true,
        isMaxInclusive: range.min === range.max,
      },
    ],
  };
}
