// PURE. SQL filters and actions as trees: recursive descent, one token of look-ahead, bounded in
// length and depth [SB: SQL filter syntax, SQL action syntax].
//
// Grammar (weakest first): or, and, not, comparison, sum, product, sign, primary. Conditions and
// expressions share it; where one of them is required, the tree is checked for being that one.
import { refusals } from './conditions.ts';
import { syntaxFault, tokensOf } from './sql-lex.ts';
import type { Token } from './sql-lex.ts';

/** A value of a property or constant: integers are bigint, floating-point numbers number. */
export type FilterValue = null | boolean | bigint | number | string | Date | Buffer;

export interface PropertyNode {
  kind: 'property';
  scope: 'sys' | 'user';
  name: string;
}

export type Operator = '=' | '<>' | '>' | '>=' | '<' | '<=' | '+' | '-' | '*' | '/' | '%';

export type Node =
  | { kind: 'constant'; value: FilterValue }
  | PropertyNode
  /** property(name): the name comes out of an expression. */
  | { kind: 'lookup'; name: Node }
  | { kind: 'negate'; operand: Node }
  | { kind: 'arithmetic'; operator: Operator; left: Node; right: Node }
  | { kind: 'compare'; operator: Operator; left: Node; right: Node }
  | { kind: 'and' | 'or'; left: Node; right: Node }
  | { kind: 'not'; operand: Node }
  | { kind: 'isNull'; operand: PropertyNode }
  | { kind: 'in'; operand: Node; choices: Node[] }
  | { kind: 'like'; operand: Node; pattern: Node; escape: Node | undefined }
  | { kind: 'exists'; operand: PropertyNode };

/** One statement of an action; without a value the property is removed. */
export interface Change {
  property: PropertyNode;
  value: Node | undefined;
}

export type Parameters = ReadonlyMap<string, FilterValue>;

/** Nesting of parentheses, signs and NOTs; far above what the length limit leaves room for. */
const depthMax = 32;
/** [SB: quotas] "Number of expressions per rule action". */
const changesMax = 32;

const keywords = new Set(
  'and or not is null in like escape exists true false set remove'.split(' '),
);
const conditions = new Set(['compare', 'and', 'or', 'not', 'isNull', 'in', 'like', 'exists']);

/** What filters may read, in the spelling of the service. */
export const systemNames: ReadonlyMap<string, string> = new Map(
  [
    ...['ContentType', 'CorrelationId', 'Label', 'MessageId', 'ReplyTo', 'ReplyToSessionId'],
    ...['SessionId', 'To'],
  ].map((name) => [name.toLowerCase(), name]),
);
/** What the service has besides and we do not evaluate. */
const otherSystemNames = new Set([
  ...['deliverycount', 'enqueuedsequencenumber', 'enqueuedtimeutc', 'expiresatutc', 'size'],
  ...['forcepersistence', 'lockeduntilutc', 'locktoken', 'partitionkey', 'state', 'timetolive'],
  ...['scheduledenqueuetimeutc', 'sequencenumber', 'viapartitionkey'],
]);

class Parser {
  private readonly tokens: Token[];
  private readonly parameters: Parameters;
  private next = 0;
  private depth = 0;

  constructor(expression: string, parameters: Parameters) {
    this.tokens = tokensOf(expression);
    this.parameters = new Map([...parameters].map(([name, value]) => [name.toLowerCase(), value]));
  }

  condition(): Node {
    const tree = this.or();
    if (this.token.kind !== 'end') throw this.unexpected('the end');
    return this.asCondition(tree, 0);
  }

  changes(): Change[] {
    const changes: Change[] = [];
    while (this.token.kind !== 'end') {
      if (changes.length === changesMax) {
        throw refusals.badRequest(`A rule action has at most ${changesMax} statements.`);
      }
      changes.push(this.change());
      if (!this.takeSymbol(';')) this.takeSymbol(',');
    }
    if (changes.length === 0) throw syntaxFault('SET or REMOVE is expected', 0);
    return changes;
  }

  private change(): Change {
    if (this.takeWord('remove')) return { property: this.property(), value: undefined };
    if (!this.takeWord('set')) throw this.unexpected('SET or REMOVE');
    const property = this.property();
    this.expectSymbol('=');
    return { property, value: this.asExpression(this.sum()) };
  }

  private get token(): Token {
    return this.tokens[this.next] ?? { kind: 'end', text: 'the end', at: 0 };
  }

  private unexpected(wanted: string) {
    return syntaxFault(`${wanted} is expected, '${this.token.text}' found`, this.token.at);
  }

  private isWord(text: string): boolean {
    return this.token.kind === 'word' && this.token.text.toLowerCase() === text;
  }

  private takeWord(text: string): boolean {
    const isThere = this.isWord(text);
    if (isThere) this.next++;
    return isThere;
  }

  private takeSymbol(text: string): boolean {
    const isThere = this.token.kind === 'symbol' && this.token.text === text;
    if (isThere) this.next++;
    return isThere;
  }

  private expectSymbol(text: string): void {
    if (!this.takeSymbol(text)) throw this.unexpected(`'${text}'`);
  }

  private expectWord(text: string): void {
    if (!this.takeWord(text)) throw this.unexpected(text.toUpperCase());
  }

  private asCondition(node: Node, at: number): Node {
    if (!conditions.has(node.kind)) throw syntaxFault('a condition is expected', at);
    return node;
  }

  private asExpression(node: Node): Node {
    if (conditions.has(node.kind)) throw syntaxFault('an expression is expected', this.token.at);
    return node;
  }

  /** Runs a nested rule one level deeper. */
  private nested<T>(rule: () => T): T {
    if (++this.depth > depthMax) {
      throw refusals.badRequest(`The expression is nested deeper than ${depthMax} levels.`);
    }
    const result = rule();
    this.depth--;
    return result;
  }

  private or(): Node {
    return this.chain('or', () => this.chain('and', () => this.not()));
  }

  private chain(word: 'and' | 'or', operand: () => Node): Node {
    const start = this.token.at;
    let left = operand();
    while (this.takeWord(word)) {
      const { at } = this.token;
      const right = this.asCondition(operand(), at);
      left = { kind: word, left: this.asCondition(left, start), right };
    }
    return left;
  }

  private not(): Node {
    if (!this.takeWord('not')) return this.comparison();
    const { at } = this.token;
    return {
      kind: 'not',
      operand: this.asCondition(
        this.nested(() => this.not()),
        at,
      ),
    };
  }

  private comparison(): Node {
    if (this.takeWord('exists')) {
      this.expectSymbol('(');
      const operand = this.property();
      this.expectSymbol(')');
      return { kind: 'exists', operand };
    }
    const left = this.sum();
    const { kind, text } = this.token;
    if (kind === 'symbol' && ['=', '<>', '!=', '>', '>=', '<', '<='].includes(text)) {
      this.next++;
      const operator = (text === '!=' ? '<>' : text) as Operator;
      return {
        kind: 'compare',
        operator,
        left: this.asExpression(left),
        right: this.asExpression(this.sum()),
      };
    }
    if (this.takeWord('is')) return this.isNull(left);
    const isNegated = this.takeWord('not');
    const membership = this.membership(left);
    if (membership) return isNegated ? { kind: 'not', operand: membership } : membership;
    if (isNegated) throw this.unexpected('IN or LIKE');
    return left;
  }

  private isNull(operand: Node): Node {
    if (operand.kind !== 'property') throw this.unexpected('a property before IS');
    const isNegated = this.takeWord('not');
    this.expectWord('null');
    const node: Node = { kind: 'isNull', operand };
    return isNegated ? { kind: 'not', operand: node } : node;
  }

  private membership(operand: Node): Node | undefined {
    if (this.takeWord('in')) {
      this.expectSymbol('(');
      const choices = [this.asExpression(this.sum())];
      while (this.takeSymbol(',')) choices.push(this.asExpression(this.sum()));
      this.expectSymbol(')');
      return { kind: 'in', operand: this.asExpression(operand), choices };
    }
    if (!this.takeWord('like')) return undefined;
    const pattern = this.asExpression(this.sum());
    const escape = this.takeWord('escape') ? this.asExpression(this.sum()) : undefined;
    return { kind: 'like', operand: this.asExpression(operand), pattern, escape };
  }

  private sum(): Node {
    return this.arithmetic(['+', '-'], () => this.product());
  }

  private product(): Node {
    return this.arithmetic(['*', '/', '%'], () => this.sign());
  }

  private arithmetic(operators: readonly string[], operand: () => Node): Node {
    let left = operand();
    while (this.token.kind === 'symbol' && operators.includes(this.token.text)) {
      const operator = this.token.text as Operator;
      this.next++;
      const right = this.asExpression(operand());
      left = { kind: 'arithmetic', operator, left: this.asExpression(left), right };
    }
    return left;
  }

  private sign(): Node {
    if (this.takeSymbol('+')) return this.asExpression(this.nested(() => this.sign()));
    if (!this.takeSymbol('-')) return this.primary();
    return { kind: 'negate', operand: this.asExpression(this.nested(() => this.sign())) };
  }

  private primary(): Node {
    const { kind, text, at } = this.token;
    if (this.takeSymbol('(')) {
      const inner = this.nested(() => this.or());
      this.expectSymbol(')');
      return inner;
    }
    if (kind === 'word' && keywords.has(text.toLowerCase())) return this.keywordConstant();
    if (kind === 'word' || kind === 'name') return this.propertyOrFunction();
    this.next++;
    switch (kind) {
      case 'text':
        return { kind: 'constant', value: text };
      case 'integer':
        return { kind: 'constant', value: int64(text, at) };
      case 'decimal':
        return { kind: 'constant', value: Number(text) };
      case 'parameter':
        return { kind: 'constant', value: this.parameter(text, at) };
      default:
        this.next--;
        throw this.unexpected('a value');
    }
  }

  private keywordConstant(): Node {
    if (this.takeWord('true')) return { kind: 'constant', value: true };
    if (this.takeWord('false')) return { kind: 'constant', value: false };
    if (this.takeWord('null')) return { kind: 'constant', value: null };
    throw this.unexpected('a value');
  }

  private parameter(text: string, at: number): FilterValue {
    const value = this.parameters.get(text.toLowerCase());
    if (value === undefined) throw syntaxFault(`the parameter ${text} has no value`, at);
    return value;
  }

  private propertyOrFunction(): Node {
    const { kind, text, at } = this.token;
    const after = this.tokens[this.next + 1];
    if (kind !== 'word' || after?.kind !== 'symbol' || after.text !== '(') return this.property();
    this.next += 2;
    const name = text.toLowerCase();
    if (name === 'newid') throw refusals.notSupported('the SQL function newid()');
    if (name !== 'property' && name !== 'p') {
      throw syntaxFault(`the function ${text} does not exist`, at);
    }
    const argument = this.nested(() => this.asExpression(this.sum()));
    this.expectSymbol(')');
    return { kind: 'lookup', name: argument };
  }

  private property(): PropertyNode {
    const first = this.identifier();
    if (!this.takeSymbol('.')) return { kind: 'property', scope: 'user', name: first.text };
    const name = this.identifier();
    const scope = first.text.toLowerCase();
    if (scope === 'user') return { kind: 'property', scope, name: name.text };
    if (scope !== 'sys') throw syntaxFault(`the scope '${first.text}' does not exist`, first.at);
    const system = systemNames.get(name.text.toLowerCase());
    if (system) return { kind: 'property', scope, name: system };
    if (otherSystemNames.has(name.text.toLowerCase())) {
      throw refusals.notSupported(`sys.${name.text} in rules`);
    }
    throw syntaxFault(`the system property '${name.text}' does not exist`, name.at);
  }

  private identifier(): Token {
    const { token } = this;
    const isKeyword = token.kind === 'word' && keywords.has(token.text.toLowerCase());
    if ((token.kind !== 'word' && token.kind !== 'name') || isKeyword) {
      throw this.unexpected('a property name');
    }
    this.next++;
    return token;
  }
}

function int64(text: string, at: number): bigint {
  const value = BigInt(text);
  if (value !== BigInt.asIntN(64, value)) throw syntaxFault(`${text} exceeds 64 bits`, at);
  return value;
}

/** The tree of a filter condition. Throws a Refusal that names the fault. */
export function parseCondition(expression: string, parameters: Parameters): Node {
  return new Parser(expression, parameters).condition();
}

/** The statements of an action, in order. Throws a Refusal that names the fault. */
export function parseAction(expression: string, parameters: Parameters): Change[] {
  return new Parser(expression, parameters).changes();
}
