// PURE. The words of a SQL filter or action, in one pass over the text [SB: SQL filter syntax].
import { refusals } from './conditions.ts';

export interface Token {
  kind: 'word' | 'name' | 'text' | 'integer' | 'decimal' | 'parameter' | 'symbol' | 'end';
  text: string;
  at: number;
}

/** The service's own limit of a filter condition and of an action, in characters [SB: quotas]. */
const expressionLengthMax = 1_024;

const letter = /\p{L}/u;
const wordPart = /[\p{L}\p{Nd}_]/u;
const digit = /[0-9]/;
const space = /\s/;
const symbols = ['<>', '!=', '>=', '<=', ...'=<>+-*/%(),.;'];
/** What encloses a text or a name; the closing character is doubled inside. */
const enclosures: Record<string, { close: string; kind: 'text' | 'name' }> = {
  "'": { close: "'", kind: 'text' },
  '"': { close: '"', kind: 'name' },
  '[': { close: ']', kind: 'name' },
};

/** Splits an expression into tokens, `end` last. Throws a Refusal that says where and why. */
export function tokensOf(expression: string): Token[] {
  if (expression.length > expressionLengthMax) {
    throw refusals.badRequest(
      `The expression has ${expression.length} characters, ${expressionLengthMax} are allowed.`,
    );
  }
  const tokens: Token[] = [];
  for (let at = 0; at < expression.length;) {
    if (space.test(expression[at] ?? '')) {
      at++;
      continue;
    }
    const [token, end] = tokenAt(expression, at);
    tokens.push(token);
    at = end;
  }
  tokens.push({ kind: 'end', text: 'the end', at: expression.length });
  return tokens;
}

/** A refusal that shows the place. */
export function syntaxFault(detail: string, at: number) {
  return refusals.badRequest(`SQL syntax error at position ${at + 1}: ${detail}.`);
}

function tokenAt(text: string, at: number): [Token, number] {
  const first = text[at] ?? '';
  const enclosure = enclosures[first];
  if (enclosure) return enclosedAt(text, at, enclosure);
  if (letter.test(first)) {
    const end = endOfRun(text, at, wordPart);
    return [{ kind: 'word', text: text.slice(at, end), at }, end];
  }
  if (first === '@') {
    const end = endOfRun(text, at + 1, wordPart);
    if (end === at + 1) throw syntaxFault("a name is expected behind '@'", at);
    return [{ kind: 'parameter', text: text.slice(at, end), at }, end];
  }
  const isNumber =
    digit.test(first) ||
    (first === '.' && digit.test(text[at + 1] ?? '') && !followsName(text, at));
  if (isNumber) return numberAt(text, at);
  const symbol = symbols.find((candidate) => text.startsWith(candidate, at));
  if (!symbol) throw syntaxFault(`unexpected '${first}'`, at);
  return [{ kind: 'symbol', text: symbol, at }, at + symbol.length];
}

const followsName = (text: string, at: number): boolean => wordPart.test(text[at - 1] ?? '');

function endOfRun(text: string, from: number, part: RegExp): number {
  let end = from;
  while (end < text.length && part.test(text[end] ?? '')) end++;
  return end;
}

function enclosedAt(
  text: string,
  at: number,
  { close, kind }: { close: string; kind: 'text' | 'name' },
): [Token, number] {
  let content = '';
  for (let next = at + 1; next < text.length; next++) {
    if (text[next] !== close) content += text[next];
    else if (text[next + 1] === close) {
      content += close;
      next++;
    } else return [{ kind, text: content, at }, next + 1];
  }
  throw syntaxFault(`the closing ${close} is missing`, at);
}

function numberAt(text: string, at: number): [Token, number] {
  let end = endOfRun(text, at, digit);
  let kind: Token['kind'] = 'integer';
  if (text[end] === '.' && digit.test(text[end + 1] ?? '')) {
    kind = 'decimal';
    end = endOfRun(text, end + 1, digit);
  }
  const exponent = /^[eE][+-]?[0-9]+/.exec(text.slice(end, end + 8))?.[0];
  if (exponent) {
    kind = 'decimal';
    end += exponent.length;
  }
  return [{ kind, text: text.slice(at, end), at }, end];
}
