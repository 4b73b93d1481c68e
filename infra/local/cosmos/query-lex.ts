// PURE. Query text → tokens, in one pass.

import { badRequest } from './errors.ts';

export interface Token {
  /** `number`, `text`, `parameter`, `name`, `end`, or the keyword (upper case) or sign itself. */
  kind: string;
  text: string;
  value: string | number;
  at: number;
}

/** Azure's limit on the length of a query [limits: 512 KB]. */
const queryCharactersMax = 512 * 1024;

const keywords = new Set(
  (
    'SELECT DISTINCT TOP VALUE FROM JOIN IN WHERE GROUP ORDER BY ASC DESC OFFSET LIMIT AND OR ' +
    'NOT BETWEEN LIKE ESCAPE AS EXISTS ARRAY TRUE FALSE NULL UNDEFINED'
  ).split(' '),
);

/** Keywords that may also be names (`c.value`, an alias `top`). */
export const isKeyword = (kind: string): boolean => keywords.has(kind);

const blank = /(?:\s|--[^\n]*)+/y;
const number = /0[xX][0-9a-fA-F]+|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?/y;
const word = /@?[A-Za-z_][A-Za-z0-9_]*/y;
const sign = />>>|\|\||\?\?|<=|>=|!=|<>|<<|>>|[-+*/%&|^~(),.[\]{}:?=<>]/y;

const escapes: Record<string, string> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f' };

export function syntaxError(near: string, at: number): Error {
  return badRequest(
    `Syntax error, incorrect syntax near '${near.slice(0, 40)}' at position ${at}.`,
  );
}

function readText(query: string, start: number): { value: string; end: number } {
  const quote = query[start];
  let value = '';
  for (let at = start + 1; at < query.length; at++) {
    const character = query[at]!;
    if (character === quote) return { value, end: at + 1 };
    if (character !== '\\') {
      value += character;
      continue;
    }
    const escaped = query[++at] ?? '';
    const hex = query.slice(at + 1, at + 5);
    if (escaped === 'u' && /^[0-9a-fA-F]{4}$/.test(hex)) {
      value += String.fromCharCode(parseInt(hex, 16));
      at += 4;
    } else value += escapes[escaped] ?? escaped;
  }
  throw badRequest(`Syntax error, unterminated text at position ${start}.`);
}

function matchAt(pattern: RegExp, query: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(query)?.[0];
}

/** Splits a query into tokens; the last one is `end`. */
export function tokens(query: string): Token[] {
  if (query.length > queryCharactersMax) {
    throw badRequest(`The query is longer than ${queryCharactersMax} characters.`);
  }
  const list: Token[] = [];
  let at = 0;
  while (at < query.length) {
    const space = matchAt(blank, query, at);
    if (space) {
      at += space.length;
      continue;
    }
    const first = query[at]!;
    if (first === '"' || first === "'") {
      const { value, end } = readText(query, at);
      list.push({ kind: 'text', text: query.slice(at, end), value, at });
      at = end;
      continue;
    }
    const text = matchAt(word, query, at) ?? matchAt(number, query, at) ?? matchAt(sign, query, at);
    if (text === undefined) throw syntaxError(query.slice(at, at + 12), at);
    list.push(tokenOf(text, at));
    at += text.length;
  }
  list.push({ kind: 'end', text: 'end of query', value: '', at: query.length });
  return list;
}

function tokenOf(text: string, at: number): Token {
  if (/^[0-9]|^\.[0-9]/.test(text)) return { kind: 'number', text, value: Number(text), at };
  if (text.startsWith('@')) return { kind: 'parameter', text, value: text, at };
  if (!/^[A-Za-z_]/.test(text)) return { kind: text, text, value: text, at };
  const upper = text.toUpperCase();
  return { kind: keywords.has(upper) ? upper : 'name', text, value: text, at };
}
