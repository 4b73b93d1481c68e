// PURE. Query text → syntax tree. A recursive-descent parser with precedence climbing: time is
// linear in the text, nesting is bounded, and what it does not know it refuses by name.

import { badRequest } from './errors.ts';
import { isFunction } from './query-functions.ts';
import { isKeyword, syntaxError, tokens, type Token } from './query-lex.ts';
import type { AggregateName, Expression, Query, Source } from './query-tree.ts';

const nestingMax = 100;
/** Operators in a chain (`a OR b OR c …`) become depth of the tree, which later walks descend. */
const operatorsMax = 3000;
const joinsMax = 10;
const cachedMax = 300;

const aggregates = new Set(['COUNT', 'SUM', 'MIN', 'MAX', 'AVG', 'COUNTIF']);
const isAggregate = (name: string): name is AggregateName => aggregates.has(name);

// Higher binds tighter. `?:` and `??` bind loosest, as in Microsoft's grammar.
const precedence: Record<string, number> = {
  '??': 1,
  OR: 2,
  AND: 3,
  IN: 5,
  BETWEEN: 5,
  LIKE: 5,
  '=': 5,
  '!=': 5,
  '<>': 5,
  '<': 5,
  '<=': 5,
  '>': 5,
  '>=': 5,
  '|': 6,
  '^': 7,
  '&': 8,
  '<<': 9,
  '>>': 9,
  '>>>': 9,
  '||': 10,
  '+': 10,
  '-': 10,
  '*': 11,
  '/': 11,
  '%': 11,
};
const comparison = 5;

class Parser {
  readonly #tokens: Token[];
  #at = 0;
  #depth = 0;
  #operators = 0;

  constructor(text: string) {
    this.#tokens = tokens(text);
  }

  get #next(): Token {
    return this.#tokens[this.#at]!;
  }

  #is(kind: string): boolean {
    return this.#next.kind === kind;
  }

  #eat(kind: string): boolean {
    if (!this.#is(kind)) return false;
    this.#at++;
    return true;
  }

  #take(): Token {
    return this.#tokens[this.#at++]!;
  }

  #need(kind: string): Token {
    if (!this.#is(kind)) throw this.#unexpected();
    return this.#take();
  }

  #unexpected(): Error {
    return syntaxError(this.#next.text, this.#next.at);
  }

  #name(): string {
    if (!this.#is('name') && !isKeyword(this.#next.kind)) throw this.#unexpected();
    return this.#take().text;
  }

  #countOperator(): void {
    if (++this.#operators > operatorsMax) {
      throw badRequest(`The query has more than ${operatorsMax} operators.`);
    }
  }

  #list<T>(one: () => T): T[] {
    const list = [one()];
    while (this.#eat(',')) list.push(one());
    return list;
  }

  whole(): Query {
    const query = this.query();
    if (!this.#is('end')) throw this.#unexpected();
    return query;
  }

  expression(above = 0): Expression {
    if (++this.#depth > nestingMax) throw badRequest('The query is nested too deeply.');
    let left = this.#unary();
    for (;;) {
      if (this.#is('?') && above === 0) {
        this.#take();
        const yes = this.expression();
        this.#need(':');
        left = { kind: 'choice', condition: left, yes, no: this.expression() };
        continue;
      }
      const isNegated = this.#is('NOT') && this.#isNegatable(this.#tokens[this.#at + 1]);
      const operator = isNegated ? this.#tokens[this.#at + 1]!.kind : this.#next.kind;
      const level = Object.hasOwn(precedence, operator) ? precedence[operator]! : 0;
      if (level === 0 || level <= above) break;
      this.#countOperator();
      this.#at += isNegated ? 2 : 1;
      const whole = this.#right(left, operator, level);
      left = isNegated ? { kind: 'unary', operator: 'NOT', operand: whole } : whole;
    }
    this.#depth--;
    return left;
  }

  #isNegatable(token: Token | undefined): boolean {
    return token !== undefined && ['IN', 'BETWEEN', 'LIKE'].includes(token.kind);
  }

  #right(left: Expression, operator: string, level: number): Expression {
    switch (operator) {
      case 'IN': {
        this.#need('(');
        const list = this.#list(() => this.expression());
        this.#need(')');
        return { kind: 'in', operand: left, list };
      }
      case 'BETWEEN': {
        const low = this.expression(comparison);
        this.#need('AND');
        return { kind: 'between', operand: left, low, high: this.expression(comparison) };
      }
      case 'LIKE': {
        const pattern = this.expression(comparison);
        const escape = this.#eat('ESCAPE') ? String(this.#need('text').value) : undefined;
        return { kind: 'like', operand: left, pattern, escape };
      }
      case 'AND':
        return { kind: 'and', left, right: this.expression(level) };
      case 'OR':
        return { kind: 'or', left, right: this.expression(level) };
      case '??':
        return { kind: 'coalesce', left, right: this.expression(level) };
      default:
        return { kind: 'binary', operator, left, right: this.expression(level) };
    }
  }

  #unary(): Expression {
    if (this.#eat('NOT')) {
      return { kind: 'unary', operator: 'NOT', operand: this.expression(comparison - 1) };
    }
    for (const operator of ['-', '+', '~'] as const) {
      if (this.#eat(operator)) {
        return { kind: 'unary', operator, operand: this.expression(precedence['*']!) };
      }
    }
    return this.#postfix(this.#primary());
  }

  #postfix(start: Expression): Expression {
    let target = start;
    for (;;) {
      this.#countOperator();
      if (this.#eat('.')) {
        target = { kind: 'member', target, key: { kind: 'literal', value: this.#name() } };
      } else if (this.#eat('[')) {
        target = { kind: 'member', target, key: this.expression() };
        this.#need(']');
      } else return target;
    }
  }

  #primary(): Expression {
    const token = this.#take();
    switch (token.kind) {
      case 'number':
      case 'text':
        return { kind: 'literal', value: token.value };
      case 'TRUE':
      case 'FALSE':
        return { kind: 'literal', value: token.kind === 'TRUE' };
      case 'NULL':
        return { kind: 'literal', value: null };
      case 'UNDEFINED':
        return { kind: 'literal', value: undefined };
      case 'parameter':
        return { kind: 'parameter', name: token.text };
      case '(':
        return this.#parenthesis();
      case '[':
        return { kind: 'array', elements: this.#until(']', () => this.expression()) };
      case '{':
        return { kind: 'object', members: this.#until('}', () => this.#member()) };
      case 'EXISTS':
      case 'ARRAY': {
        this.#need('(');
        const query = this.query();
        this.#need(')');
        return { kind: token.kind === 'EXISTS' ? 'exists' : 'arrayQuery', query };
      }
      case 'name':
        return this.#is('(') ? this.#call(token) : this.#variable(token);
      case 'VALUE':
        return { kind: 'variable', name: token.text };
      default:
        this.#at--;
        throw this.#unexpected();
    }
  }

  #variable(token: Token): Expression {
    if (token.text.toLowerCase() === 'udf' && this.#is('.')) {
      throw badRequest('User-defined functions (udf.…) are not supported by the local server.');
    }
    return { kind: 'variable', name: token.text };
  }

  #parenthesis(): Expression {
    const inner: Expression = this.#is('SELECT')
      ? { kind: 'scalarQuery', query: this.query() }
      : this.expression();
    this.#need(')');
    return inner;
  }

  #until<T>(end: string, one: () => T): T[] {
    const list = this.#is(end) ? [] : this.#list(one);
    this.#need(end);
    return list;
  }

  #member(): { name: string; value: Expression } {
    const name = this.#is('text') ? String(this.#take().value) : this.#name();
    this.#need(':');
    return { name, value: this.expression() };
  }

  #call(token: Token): Expression {
    this.#need('(');
    const list = this.#until(')', () => this.expression());
    const name = token.text.toUpperCase();
    if (isAggregate(name)) {
      const operand = list[0];
      if (list.length !== 1 || !operand)
        throw badRequest(`The function '${name}' takes 1 argument.`);
      return { kind: 'aggregate', name, operand };
    }
    if (!isFunction(name)) {
      throw badRequest(`'${token.text}' is not a recognized built-in function name.`);
    }
    return { kind: 'call', name, list };
  }

  query(): Query {
    if (++this.#depth > nestingMax) throw badRequest('The query is nested too deeply.');
    this.#need('SELECT');
    const isDistinct = this.#eat('DISTINCT');
    const top = this.#eat('TOP') ? this.#primary() : undefined;
    const select = this.#select();
    const from = this.#eat('FROM') ? this.#source() : undefined;
    const joins: Source[] = [];
    while (this.#eat('JOIN')) joins.push(this.#source());
    if (joins.length > joinsMax) throw badRequest(`A query may have at most ${joinsMax} JOINs.`);
    const where = this.#eat('WHERE') ? this.expression() : undefined;
    const group = this.#by('GROUP') ? this.#list(() => this.expression()) : undefined;
    const order = this.#by('ORDER') ? this.#list(() => this.#orderItem()) : undefined;
    const offset = this.#eat('OFFSET') ? this.#primary() : undefined;
    if (offset) this.#need('LIMIT');
    const limit = offset ? this.#primary() : undefined;
    this.#depth--;
    return { isDistinct, top, select, from, joins, where, group, order, offset, limit };
  }

  #by(keyword: string): boolean {
    if (!this.#eat(keyword)) return false;
    this.#need('BY');
    return true;
  }

  #orderItem(): { by: Expression; isDescending: boolean } {
    if (this.#is('name') && this.#next.text.toUpperCase() === 'RANK') {
      throw badRequest('ORDER BY RANK is not supported by the local server.');
    }
    const by = this.expression();
    const isDescending = this.#eat('DESC');
    if (!isDescending) this.#eat('ASC');
    return { by, isDescending };
  }

  #select(): Query['select'] {
    if (this.#eat('*')) return { kind: 'all' };
    if (this.#eat('VALUE')) return { kind: 'value', value: this.expression() };
    let unnamed = 0;
    const members = this.#list(() => {
      const value = this.expression();
      const name = this.#alias() ?? nameOf(value) ?? `$${++unnamed}`;
      return { name, value };
    });
    return { kind: 'list', members };
  }

  #alias(): string | undefined {
    if (this.#eat('AS')) return this.#name();
    return this.#is('name') ? this.#take().text : undefined;
  }

  #source(): Source {
    if (this.#eat('(')) {
      const query = this.query();
      this.#need(')');
      this.#eat('AS');
      return { name: this.#name(), each: { kind: 'arrayQuery', query } };
    }
    const name = this.#name();
    if (this.#eat('IN')) {
      const start: Expression = this.#is('(')
        ? this.#primary()
        : { kind: 'variable', name: this.#name() };
      return { name, each: this.#postfix(start) };
    }
    const one = this.#postfix({ kind: 'variable', name });
    return { name: this.#alias() ?? nameOf(one) ?? name, one };
  }
}

function nameOf(expression: Expression): string | undefined {
  if (expression.kind === 'variable') return expression.name;
  const key = expression.kind === 'member' ? expression.key : undefined;
  return key?.kind === 'literal' && typeof key.value === 'string' ? key.value : undefined;
}

const cache = new Map<string, Query>();

/** Parses a query; trees of short texts are kept and shared: never change one. */
export function parseQuery(text: string): Query {
  const known = cache.get(text);
  if (known) return known;
  const query = new Parser(text).whole();
  if (text.length <= 8192) {
    if (cache.size >= cachedMax) cache.delete(cache.keys().next().value ?? '');
    cache.set(text, query);
  }
  return query;
}
