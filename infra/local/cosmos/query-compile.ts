// PURE. Expressions → closures over a scope (the names FROM and JOIN bind).
//
// Unknown is `undefined`: a comparison of an undefined side, of numbers with texts, or of
// anything by < > that has no order gives undefined, and WHERE keeps only `true`. Equality across
// types is false (so `!=` is true), as in Microsoft's own reference evaluator.

import { badRequest } from './errors.ts';
import { compareScalars, equalJson, isObject, member, type Json, type Value } from './json.ts';
import { functionFor, isLike } from './query-functions.ts';
import type { Expression, Query } from './query-tree.ts';

/** Bound names, and the values of aggregates of the group at hand. */
export interface Scope {
  names: Record<string, Value>;
  aggregates?: Map<Expression, Value>;
}

export type Evaluate = (scope: Scope) => Value;

export interface Context {
  parameters: ReadonlyMap<string, Value>;
  nowMs: number;
  /** The names in scope; any other is refused. */
  names: ReadonlySet<string>;
  /** Compiles an inner query; handed in, since SELECT is made of expressions in turn. */
  inner(query: Query, context: Context): (scope: Scope) => Json[];
}

const comparisons: Record<string, (order: number) => boolean> = {
  '<': (order) => order < 0,
  '<=': (order) => order <= 0,
  '>': (order) => order > 0,
  '>=': (order) => order >= 0,
};

const arithmetic: Record<string, (left: number, right: number) => number> = {
  '+': (left, right) => left + right,
  '-': (left, right) => left - right,
  '*': (left, right) => left * right,
  '/': (left, right) => left / right,
  '%': (left, right) => left % right,
  '&': (left, right) => left & right,
  '|': (left, right) => left | right,
  '^': (left, right) => left ^ right,
  '<<': (left, right) => left << right,
  '>>': (left, right) => left >> right,
  '>>>': (left, right) => left >>> right,
};

function compare(operator: string, left: Value, right: Value): Value {
  const order = compareScalars(left, right);
  return order === undefined ? undefined : comparisons[operator]?.(order);
}

function binary(operator: string, left: Evaluate, right: Evaluate): Evaluate {
  if (operator === '=' || operator === '!=' || operator === '<>') {
    const wanted = operator === '=';
    return (scope) => {
      const a = left(scope);
      const b = right(scope);
      return a === undefined || b === undefined ? undefined : equalJson(a, b) === wanted;
    };
  }
  if (operator === '||') {
    return (scope) => {
      const a = left(scope);
      const b = right(scope);
      return typeof a === 'string' && typeof b === 'string' ? a + b : undefined;
    };
  }
  if (Object.hasOwn(comparisons, operator)) {
    return (scope) => compare(operator, left(scope), right(scope));
  }
  const apply = arithmetic[operator]!;
  return (scope) => {
    const a = left(scope);
    const b = right(scope);
    if (typeof a !== 'number' || typeof b !== 'number') return undefined;
    const value = apply(a, b);
    return Number.isFinite(value) ? value : undefined;
  };
}

// `decisive` ends the matter whatever the other side is: false for AND, true for OR.
function logical(left: Evaluate, right: Evaluate, decisive: boolean): Evaluate {
  return (scope) => {
    const a = left(scope);
    if (a === decisive) return decisive;
    const b = right(scope);
    if (b === decisive) return decisive;
    return a === !decisive && b === !decisive ? !decisive : undefined;
  };
}

function unary(operator: 'NOT' | '-' | '+' | '~', operand: Evaluate): Evaluate {
  return (scope) => {
    const value = operand(scope);
    if (operator === 'NOT') return typeof value === 'boolean' ? !value : undefined;
    if (typeof value !== 'number') return undefined;
    return operator === '-' ? -value : operator === '~' ? ~value : value;
  };
}

function inList(operand: Evaluate, list: readonly Evaluate[]): Evaluate {
  return (scope) => {
    const value = operand(scope);
    if (value === undefined) return undefined;
    return list.some((one) => {
      const other = one(scope);
      return other !== undefined && equalJson(value, other);
    });
  };
}

/** An object literal; `__proto__` stays an ordinary name. */
export function objectOf(members: readonly (readonly [string, Value])[]): Json {
  const object = {};
  for (const [name, value] of members) {
    if (value === undefined) continue;
    Object.defineProperty(object, name, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return object;
}

/** Turns an expression into a function of the scope; parameters are bound here. */
export function compile(expression: Expression, context: Context): Evaluate {
  const inner = (one: Expression): Evaluate => compile(one, context);
  switch (expression.kind) {
    case 'literal': {
      const { value } = expression;
      return () => value;
    }
    case 'parameter': {
      if (!context.parameters.has(expression.name)) {
        throw badRequest(`The query parameter '${expression.name}' is not declared.`);
      }
      const value = context.parameters.get(expression.name);
      return () => value;
    }
    case 'variable': {
      const { name } = expression;
      if (!context.names.has(name)) {
        throw badRequest(`Identifier '${name}' could not be resolved.`);
      }
      return (scope) => scope.names[name];
    }
    case 'member': {
      const target = inner(expression.target);
      const key = inner(expression.key);
      return (scope) => member(target(scope), key(scope));
    }
    case 'unary':
      return unary(expression.operator, inner(expression.operand));
    case 'binary':
      return binary(expression.operator, inner(expression.left), inner(expression.right));
    case 'and':
    case 'or':
      return logical(inner(expression.left), inner(expression.right), expression.kind === 'or');
    case 'in':
      return inList(inner(expression.operand), expression.list.map(inner));
    default:
      return compileRest(expression, context);
  }
}

function compileRest(expression: Expression, context: Context): Evaluate {
  const inner = (one: Expression): Evaluate => compile(one, context);
  switch (expression.kind) {
    case 'coalesce': {
      const left = inner(expression.left);
      const right = inner(expression.right);
      return (scope) => {
        const value = left(scope);
        return value === undefined ? right(scope) : value;
      };
    }
    case 'choice': {
      const condition = inner(expression.condition);
      const yes = inner(expression.yes);
      const no = inner(expression.no);
      return (scope) => (condition(scope) === true ? yes(scope) : no(scope));
    }
    case 'between': {
      const operand = inner(expression.operand);
      const low = inner(expression.low);
      const high = inner(expression.high);
      const above: Evaluate = (scope) => compare('>=', operand(scope), low(scope));
      const below: Evaluate = (scope) => compare('<=', operand(scope), high(scope));
      return logical(above, below, false);
    }
    case 'like': {
      const operand = inner(expression.operand);
      const pattern = inner(expression.pattern);
      return (scope) => isLike(operand(scope), pattern(scope), expression.escape);
    }
    case 'array': {
      const elements = expression.elements.map(inner);
      return (scope) => elements.map((one) => one(scope)).filter((value) => value !== undefined);
    }
    case 'object': {
      const members = expression.members.map(({ name, value }) => [name, inner(value)] as const);
      return (scope) => objectOf(members.map(([name, value]) => [name, value(scope)]));
    }
    case 'call': {
      const apply = functionFor(expression.name, expression.list.length);
      const list = expression.list.map(inner);
      return (scope) =>
        apply(
          list.map((one) => one(scope)),
          context.nowMs,
        );
    }
    case 'aggregate':
      return (scope) => scope.aggregates?.get(expression);
    case 'exists':
    case 'scalarQuery':
    case 'arrayQuery':
      return innerQuery(expression, context);
    default:
      throw badRequest(`Unsupported expression: ${expression.kind}.`);
  }
}

function innerQuery(
  expression: Expression & { kind: 'exists' | 'scalarQuery' | 'arrayQuery' },
  context: Context,
): Evaluate {
  const run = context.inner(expression.query, context);
  return (scope) => {
    const values = run(scope);
    if (expression.kind === 'exists') return values.length > 0;
    if (expression.kind === 'arrayQuery') return values;
    if (values.length > 1) throw badRequest('The cardinality of a scalar subquery exceeds 1.');
    return values[0];
  };
}

/** Reads the parameters of a request: `[{name: '@a', value: …}]`. */
export function readParameters(list: unknown): Map<string, Value> {
  if (list === undefined || list === null) return new Map();
  if (!Array.isArray(list)) throw badRequest('The query parameters must be a list.');
  const entries = list.map((entry: unknown): [string, Value] => {
    const name = isObject(entry) ? entry['name'] : undefined;
    if (typeof name !== 'string' || !name.startsWith('@') || !isObject(entry)) {
      throw badRequest("A query parameter must have a name that begins with '@'.");
    }
    return [name, entry['value']];
  });
  return new Map(entries);
}
