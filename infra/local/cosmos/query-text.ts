// PURE. Syntax tree → query text that parses to the same tree. Everything is in parentheses, names
// that are not plain are in quotes.

import { badRequest } from './errors.ts';
import { isKeyword } from './query-lex.ts';
import type { Expression, Query, Source } from './query-tree.ts';

const isPlainName = (name: string): boolean =>
  /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !isKeyword(name.toUpperCase());

const listText = (list: readonly Expression[]): string => list.map(expressionText).join(', ');

function literalText(value: unknown): string {
  if (value === undefined) return 'undefined';
  if (value === Infinity) return '1e999';
  return JSON.stringify(value);
}

function memberText({ target, key }: Expression & { kind: 'member' }): string {
  const name = key.kind === 'literal' ? key.value : undefined;
  if (typeof name === 'string' && isPlainName(name)) return `${expressionText(target)}.${name}`;
  return `${expressionText(target)}[${expressionText(key)}]`;
}

const aggregateText = (name: string, operand: Expression): string =>
  `${name}(${expressionText(operand)})`;

/** The text of an expression. */
export function expressionText(expression: Expression): string {
  switch (expression.kind) {
    case 'literal':
      return literalText(expression.value);
    case 'parameter':
    case 'variable':
      return expression.name;
    case 'member':
      return memberText(expression);
    case 'unary':
      return `(${expression.operator} ${expressionText(expression.operand)})`;
    case 'binary':
      return infix(expression.left, expression.operator, expression.right);
    case 'and':
    case 'or':
      return infix(expression.left, expression.kind.toUpperCase(), expression.right);
    case 'coalesce':
      return infix(expression.left, '??', expression.right);
    case 'array':
      return `[${listText(expression.elements)}]`;
    case 'object':
      return objectText(expression.members);
    case 'call':
      return `${expression.name}(${listText(expression.list)})`;
    case 'aggregate':
      return aggregateText(expression.name, expression.operand);
    default:
      return restText(expression);
  }
}

const infix = (left: Expression, operator: string, right: Expression): string =>
  `(${expressionText(left)} ${operator} ${expressionText(right)})`;

function restText(expression: Expression): string {
  switch (expression.kind) {
    case 'choice': {
      const { condition, yes, no } = expression;
      return `(${expressionText(condition)} ? ${expressionText(yes)} : ${expressionText(no)})`;
    }
    case 'in':
      return `(${expressionText(expression.operand)} IN (${listText(expression.list)}))`;
    case 'between': {
      const { operand, low, high } = expression;
      const bounds = `${expressionText(low)} AND ${expressionText(high)}`;
      return `(${expressionText(operand)} BETWEEN ${bounds})`;
    }
    case 'like': {
      const { operand, pattern, escape } = expression;
      const end = escape === undefined ? '' : ` ESCAPE ${JSON.stringify(escape)}`;
      return `(${expressionText(operand)} LIKE ${expressionText(pattern)}${end})`;
    }
    case 'exists':
      return `EXISTS(${queryText(expression.query)})`;
    case 'arrayQuery':
      return `ARRAY(${queryText(expression.query)})`;
    case 'scalarQuery':
      return `(${queryText(expression.query)})`;
    default:
      throw badRequest(`Unsupported expression: ${expression.kind}.`);
  }
}

/** An object literal. */
export function objectText(members: readonly { name: string; value: Expression }[]): string {
  const texts = members.map(
    ({ name, value }) => `${JSON.stringify(name)}: ${expressionText(value)}`,
  );
  return `{${texts.join(', ')}}`;
}

function sourceText({ name, each, one }: Source): string {
  if (each?.kind === 'arrayQuery') return `(${queryText(each.query)}) AS ${name}`;
  if (each) return `${name} IN ${expressionText(each)}`;
  return one ? `${expressionText(one)} AS ${name}` : name;
}

/** FROM with its joins; empty without one. */
export function fromText({ from, joins }: Query): string {
  if (!from) return '';
  return [` FROM ${sourceText(from)}`, ...joins.map((join) => ` JOIN ${sourceText(join)}`)].join(
    '',
  );
}

/** ORDER BY with its directions; empty without one. */
export function orderText({ order }: Query): string {
  if (!order) return '';
  const terms = order.map(
    ({ by, isDescending }) => `${expressionText(by)} ${isDescending ? 'DESC' : 'ASC'}`,
  );
  return ` ORDER BY ${terms.join(', ')}`;
}

/** GROUP BY; empty without one. */
export const groupText = ({ group }: Query): string =>
  group ? ` GROUP BY ${listText(group)}` : '';

/** What SELECT gives, as one value: `*` is the item itself. */
export function selectedText({ select, from }: Query): string {
  if (select.kind === 'value') return expressionText(select.value);
  if (select.kind === 'list') return objectText(select.members);
  return from?.name ?? 'undefined';
}

/** A whole query; its select list becomes the object that it makes. */
export function queryText(query: Query): string {
  const { isDistinct, top, where, offset, limit } = query;
  const cut =
    offset && limit ? ` OFFSET ${expressionText(offset)} LIMIT ${expressionText(limit)}` : '';
  return [
    'SELECT ',
    isDistinct ? 'DISTINCT ' : '',
    top ? `TOP ${expressionText(top)} ` : '',
    `VALUE ${selectedText(query)}`,
    fromText(query),
    where ? ` WHERE ${expressionText(where)}` : '',
    groupText(query),
    orderText(query),
    cut,
  ].join('');
}
