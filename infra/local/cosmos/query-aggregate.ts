// PURE. Aggregates and groups, computed as items pass by: memory follows the groups, not the items.

import { badRequest } from './errors.ts';
import { compareValues, type Json, type Value } from './json.ts';
import type { Evaluate, Scope } from './query-compile.ts';
import { innerExpressions, type AggregateName, type Expression, type Query } from './query-tree.ts';

/** One aggregate being computed. */
interface Accumulator {
  add(value: Value): void;
  result(): Value;
}

function sum(isAverage: boolean): Accumulator {
  let total = 0;
  let count = 0;
  let isNumeric = true;
  return {
    add(value) {
      if (value === undefined) return;
      if (typeof value !== 'number') isNumeric = false;
      else total += value;
      count++;
    },
    result: () => {
      if (!isNumeric || (isAverage && count === 0)) return undefined;
      return isAverage ? total / count : total;
    },
  };
}

function extreme(direction: 1 | -1): Accumulator {
  let best: Value;
  return {
    add(value) {
      if (value === undefined || (value !== null && typeof value === 'object')) return;
      if (best === undefined || compareValues(value, best) * direction > 0) best = value;
    },
    result: () => best,
  };
}

function count(isCounted: (value: Value) => boolean): Accumulator {
  let total = 0;
  return {
    add(value) {
      if (isCounted(value)) total++;
    },
    result: () => total,
  };
}

const accumulators: Record<AggregateName, () => Accumulator> = {
  COUNT: () => count((value) => value !== undefined),
  COUNTIF: () => count((value) => value === true),
  SUM: () => sum(false),
  AVG: () => sum(true),
  MIN: () => extreme(-1),
  MAX: () => extreme(1),
};

export type Aggregate = Expression & { kind: 'aggregate' };

/** The aggregates of an expression, inner queries apart. */
export function aggregatesIn(expression: Expression): Aggregate[] {
  if (expression.kind === 'aggregate') {
    if (innerExpressions(expression).some((one) => aggregatesIn(one).length > 0)) {
      throw badRequest('An aggregate may not stand inside another aggregate.');
    }
    return [expression];
  }
  return innerExpressions(expression).flatMap(aggregatesIn);
}

/** The expressions a query projects. */
export function selected(query: Query): Expression[] {
  if (query.select.kind === 'all') return [];
  if (query.select.kind === 'value') return [query.select.value];
  return query.select.members.map((member) => member.value);
}

/** Refuses a projection that is neither grouped by nor aggregated, as Azure does. */
export function assertGrouped(query: Query): void {
  const groups = new Set((query.group ?? []).map((one) => JSON.stringify(one)));
  const check = (expression: Expression): void => {
    if (expression.kind === 'aggregate' || groups.has(JSON.stringify(expression))) return;
    if (expression.kind === 'variable' || expression.kind === 'member') {
      throw badRequest(
        'A property reference in the select list is invalid because it is not contained in ' +
          'either an aggregate function or the GROUP BY clause.',
      );
    }
    innerExpressions(expression).forEach(check);
  };
  if (query.select.kind === 'all') throw badRequest("'SELECT *' cannot be used with GROUP BY.");
  selected(query).forEach(check);
}

interface Group {
  first: Scope;
  accumulators: Accumulator[];
}

export interface GroupingPlan {
  keys: Evaluate[] | undefined;
  aggregates: { node: Aggregate; operand: Evaluate }[];
}

const groupsMax = 200_000;

/** The groups of one run. */
export class Grouping {
  readonly #plan: GroupingPlan;
  readonly #groups = new Map<string, Group>();

  constructor(plan: GroupingPlan, empty: Scope) {
    this.#plan = plan;
    // Without GROUP BY there is always one result, also for no items: COUNT is then 0.
    if (!plan.keys) this.#groups.set('', this.#open(empty));
  }

  #open(first: Scope): Group {
    return {
      first,
      accumulators: this.#plan.aggregates.map(({ node }) => accumulators[node.name]()),
    };
  }

  add(scope: Scope): void {
    const keys = this.#plan.keys?.map((key): Json => {
      const value = key(scope);
      return value === undefined ? [] : [value];
    });
    const name = keys ? JSON.stringify(keys) : '';
    let group = this.#groups.get(name);
    if (!group) {
      if (this.#groups.size >= groupsMax) throw badRequest('The query has too many groups.');
      this.#groups.set(name, (group = this.#open(scope)));
    }
    this.#plan.aggregates.forEach(({ operand }, at) => {
      group.accumulators[at]?.add(operand(scope));
    });
  }

  /** One scope per group, with the values of its aggregates. */
  results(): Scope[] {
    return [...this.#groups.values()].map(({ first, accumulators: done }) => ({
      names: first.names,
      aggregates: new Map(
        this.#plan.aggregates.map(({ node }, at) => [node, done[at]?.result()] as const),
      ),
    }));
  }
}
