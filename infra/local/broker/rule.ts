// PURE. A subscription's rule: which messages it selects, and what its action makes of them
// [SB: topic filters].
import { refusals } from './conditions.ts';
import { assign, holds } from './sql-evaluate.ts';
import type { Assignment, FilterMessage } from './sql-evaluate.ts';
import { parseAction, parseCondition, systemNames } from './sql-parse.ts';
import type { FilterValue, Parameters } from './sql-parse.ts';

/** A SQL text with the values of its parameters, by name with its `@`; case does not matter. */
export interface SqlExpression {
  expression: string;
  parameters: Parameters;
}

export type Filter =
  | { kind: 'true' }
  | { kind: 'false' }
  | ({ kind: 'sql' } & SqlExpression)
  | {
      kind: 'correlation';
      /** By the names of the service: CorrelationId, Label … */
      system: ReadonlyMap<string, string>;
      user: ReadonlyMap<string, FilterValue>;
    };

export interface RuleDefinition {
  name: string;
  filter: Filter;
  action?: SqlExpression;
}

export interface Rule {
  readonly definition: RuleDefinition;
  /** In milliseconds. */
  readonly createdAt: number;
  /** Throws FilterFault when the filter cannot be evaluated. */
  matches(message: FilterMessage): boolean;
  /** Undefined when the rule has no action. Throws FilterFault. */
  assign(message: FilterMessage): Assignment[] | undefined;
}

/** The rule of a subscription for which nobody said anything else. */
export const defaultRule: RuleDefinition = { name: '$Default', filter: { kind: 'true' } };

const namePattern = /^(?:\$Default|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,48}[A-Za-z0-9])?)$/i;

/** Checks and compiles a definition. Throws a Refusal that names the fault. */
export function makeRule(definition: RuleDefinition, createdAt: number): Rule {
  const { name, filter, action } = definition;
  if (!namePattern.test(name)) {
    throw refusals.badRequest(
      `The rule name '${name}' is invalid: 1-50 letters, digits, '.', '-' or '_'.`,
    );
  }
  const changes = action && parseAction(action.expression, action.parameters);
  for (const { property, value } of changes ?? []) {
    if (property.scope === 'sys' && value === undefined) {
      throw refusals.notSupported(`REMOVE sys.${property.name} in rules`);
    }
  }
  return {
    definition,
    createdAt,
    matches: matcherOf(filter),
    assign: (message) => changes && assign(changes, message),
  };
}

function matcherOf(filter: Filter): (message: FilterMessage) => boolean {
  switch (filter.kind) {
    case 'true':
      return () => true;
    case 'false':
      return () => false;
    case 'sql': {
      const condition = parseCondition(filter.expression, filter.parameters);
      return (message) => holds(condition, message) === true;
    }
    case 'correlation':
      return correlation(filter);
  }
}

/** All of its conditions must hold; texts compare with case, numbers by their value. */
function correlation({ system, user }: Extract<Filter, { kind: 'correlation' }>) {
  if (system.size + user.size === 0) {
    throw refusals.badRequest('A correlation filter needs at least one property.');
  }
  for (const name of system.keys()) {
    if (!systemNames.has(name.toLowerCase())) {
      throw refusals.badRequest(`A correlation filter has no property '${name}'.`);
    }
  }
  return (message: FilterMessage): boolean =>
    [...system].every(([name, wanted]) => message.system(name) === wanted) &&
    [...user].every(([name, wanted]) => isSame(message.user(name), wanted));
}

function isSame(value: FilterValue | undefined, wanted: FilterValue): boolean {
  if (value instanceof Date && wanted instanceof Date) return value.getTime() === wanted.getTime();
  if (Buffer.isBuffer(value) && Buffer.isBuffer(wanted)) return value.equals(wanted);
  const numbers = ['bigint', 'number'];
  if (numbers.includes(typeof value) && numbers.includes(typeof wanted)) {
    return Number(value) === Number(wanted);
  }
  return value === wanted;
}
