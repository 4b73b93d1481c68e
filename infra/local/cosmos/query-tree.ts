// PURE. The syntax tree of a query.

import type { Value } from './json.ts';

export type Expression =
  | { kind: 'literal'; value: Value }
  | { kind: 'parameter'; name: string }
  | { kind: 'variable'; name: string }
  | { kind: 'member'; target: Expression; key: Expression }
  | { kind: 'unary'; operator: 'NOT' | '-' | '+' | '~'; operand: Expression }
  | { kind: 'binary'; operator: string; left: Expression; right: Expression }
  | { kind: 'and' | 'or' | 'coalesce'; left: Expression; right: Expression }
  | { kind: 'choice'; condition: Expression; yes: Expression; no: Expression }
  | { kind: 'in'; operand: Expression; list: Expression[] }
  | { kind: 'between'; operand: Expression; low: Expression; high: Expression }
  | { kind: 'like'; operand: Expression; pattern: Expression; escape: string | undefined }
  | { kind: 'array'; elements: Expression[] }
  | { kind: 'object'; members: { name: string; value: Expression }[] }
  | { kind: 'call'; name: string; list: Expression[] }
  | { kind: 'aggregate'; name: AggregateName; operand: Expression }
  | { kind: 'exists' | 'scalarQuery' | 'arrayQuery'; query: Query };

export type AggregateName = 'COUNT' | 'SUM' | 'MIN' | 'MAX' | 'AVG' | 'COUNTIF';

/** What FROM and JOIN bind to a name. */
export interface Source {
  name: string;
  /** Set for `name IN expression` and for `(SELECT …) AS name`: each element in turn. */
  each?: Expression;
  /** Set for `FROM expression AS name`: one value. */
  one?: Expression;
}

export interface Query {
  isDistinct: boolean;
  top: Expression | undefined;
  select:
    | { kind: 'all' }
    | { kind: 'value'; value: Expression }
    | { kind: 'list'; members: { name: string; value: Expression }[] };
  from: Source | undefined;
  joins: Source[];
  where: Expression | undefined;
  group: Expression[] | undefined;
  order: { by: Expression; isDescending: boolean }[] | undefined;
  offset: Expression | undefined;
  limit: Expression | undefined;
}

/** The property path `root.a.b` as its root and names; undefined for anything else. */
export function propertyPath(expression: Expression): { root: string; path: string[] } | undefined {
  const path: string[] = [];
  let at = expression;
  while (at.kind === 'member') {
    if (at.key.kind !== 'literal' || typeof at.key.value !== 'string') return undefined;
    path.unshift(at.key.value);
    at = at.target;
  }
  return at.kind === 'variable' ? { root: at.name, path } : undefined;
}

/** Every expression directly inside another one, not those of inner queries. */
export function innerExpressions(expression: Expression): Expression[] {
  switch (expression.kind) {
    case 'member':
      return [expression.target, expression.key];
    case 'unary':
    case 'aggregate':
      return [expression.operand];
    case 'binary':
    case 'and':
    case 'or':
    case 'coalesce':
      return [expression.left, expression.right];
    case 'choice':
      return [expression.condition, expression.yes, expression.no];
    case 'in':
      return [expression.operand, ...expression.list];
    case 'between':
      return [expression.operand, expression.low, expression.high];
    case 'like':
      return [expression.operand, expression.pattern];
    case 'array':
      return expression.elements;
    case 'object':
      return expression.members.map((one) => one.value);
    case 'call':
      return expression.list;
    case 'literal':
    case 'parameter':
    case 'variable':
    case 'exists':
    case 'scalarQuery':
    case 'arrayQuery':
      return [];
  }
}
