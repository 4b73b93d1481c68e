// PURE. The built-in functions of queries, except dates (query-dates.ts). A wrong type gives
// undefined, never an error; a wrong number of arguments is refused when the query is read.

import { equalJson, isObject, type Json, type Value } from './json.ts';
import { badRequest } from './errors.ts';
import { dateFunctions } from './query-dates.ts';

export type QueryFunction = (list: readonly Value[], nowMs: number) => Value;

interface Signature {
  least: number;
  most: number;
  apply: QueryFunction;
}

const textMax = 1_000_000;

const signature = (least: number, most: number, apply: QueryFunction): Signature => ({
  least,
  most,
  apply,
});

const test = (check: (value: Value) => boolean): Signature =>
  signature(1, 1, ([value]) => check(value));

const onText = (apply: (text: string) => Value): Signature =>
  signature(1, 1, ([text]) => (typeof text === 'string' ? apply(text) : undefined));

const finite = (value: number): Value => (Number.isFinite(value) ? value : undefined);

const onNumber = (apply: (value: number) => number): Signature =>
  signature(1, 1, ([value]) => (typeof value === 'number' ? finite(apply(value)) : undefined));

const onTwoTexts = (apply: (text: string, other: string) => Value): Signature =>
  signature(2, 3, ([text, other, isCaseBlind]) => {
    if (typeof text !== 'string' || typeof other !== 'string') return undefined;
    if (isCaseBlind === true) return apply(text.toLowerCase(), other.toLowerCase());
    return isCaseBlind === undefined || isCaseBlind === false ? apply(text, other) : undefined;
  });

const onTextAndNumber = (apply: (text: string, count: number) => Value): Signature =>
  signature(2, 2, ([text, count]) =>
    typeof text === 'string' && typeof count === 'number' ? apply(text, count) : undefined,
  );

function parseJson(text: string, isWanted: (value: Json) => boolean): Value {
  try {
    const value = JSON.parse(text) as Json;
    return isWanted(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isContained(list: readonly Json[], value: Value, isPartial: boolean): boolean {
  if (value === undefined) return false;
  return list.some((element) => {
    if (!isPartial || !isObject(value) || !isObject(element)) return equalJson(element, value);
    return Object.entries(value).every(
      ([name, wanted]) => Object.hasOwn(element, name) && equalJson(element[name]!, wanted),
    );
  });
}

const textOf = (value: Value): Value =>
  value === undefined || typeof value === 'string' ? value : JSON.stringify(value);

// Midpoints go away from zero, as in Azure; Math.round sends them up.
const roundAway = (value: number): number => Math.sign(value) * Math.round(Math.abs(value));

function replicate(text: string, count: number): Value {
  if (count < 0 || !Number.isInteger(count) || text.length * count > textMax) return undefined;
  return text.repeat(count);
}

function distinct(list: readonly Json[]): Json[] {
  const seen = new Map(list.map((value) => [JSON.stringify(value), value]));
  return [...seen.values()];
}

const onTwoArrays = (apply: (one: Json[], other: Json[]) => Json[]): Signature =>
  signature(2, 2, ([one, other]) =>
    Array.isArray(one) && Array.isArray(other) ? apply(one, other) : undefined,
  );

const types: Record<string, Signature> = {
  IS_DEFINED: test((value) => value !== undefined),
  IS_NULL: test((value) => value === null),
  IS_BOOL: test((value) => typeof value === 'boolean'),
  IS_NUMBER: test((value) => typeof value === 'number'),
  IS_STRING: test((value) => typeof value === 'string'),
  IS_ARRAY: test((value) => Array.isArray(value)),
  IS_OBJECT: test((value) => isObject(value)),
  IS_PRIMITIVE: test(
    (value) => value !== undefined && (value === null || typeof value !== 'object'),
  ),
  IS_INTEGER: test((value) => Number.isInteger(value)),
  IS_FINITE_NUMBER: test((value) => Number.isFinite(value)),
};

const texts: Record<string, Signature> = {
  STARTSWITH: onTwoTexts((text, other) => text.startsWith(other)),
  ENDSWITH: onTwoTexts((text, other) => text.endsWith(other)),
  CONTAINS: onTwoTexts((text, other) => text.includes(other)),
  STRINGEQUALS: onTwoTexts((text, other) => text === other),
  INDEX_OF: signature(2, 3, ([text, other, from]) =>
    typeof text === 'string' && typeof other === 'string'
      ? text.indexOf(other, typeof from === 'number' ? from : 0)
      : undefined,
  ),
  LOWER: onText((text) => text.toLowerCase()),
  UPPER: onText((text) => text.toUpperCase()),
  LENGTH: onText((text) => text.length),
  TRIM: onText((text) => text.trim()),
  LTRIM: onText((text) => text.trimStart()),
  RTRIM: onText((text) => text.trimEnd()),
  REVERSE: onText((text) => [...text].toReversed().join('')),
  LEFT: onTextAndNumber((text, count) => text.slice(0, Math.max(0, count))),
  RIGHT: onTextAndNumber((text, count) => (count > 0 ? text.slice(-count) : '')),
  REPLICATE: onTextAndNumber(replicate),
  SUBSTRING: signature(3, 3, ([text, start, count]) =>
    typeof text === 'string' && typeof start === 'number' && typeof count === 'number'
      ? text.slice(Math.max(0, start), Math.max(0, start) + Math.max(0, count))
      : undefined,
  ),
  REPLACE: signature(3, 3, ([text, from, to]) =>
    typeof text === 'string' && typeof from === 'string' && typeof to === 'string'
      ? from === ''
        ? text
        : text.split(from).join(to)
      : undefined,
  ),
  CONCAT: signature(2, 200, (list) =>
    list.every((value) => typeof value === 'string') ? list.join('') : undefined,
  ),
  STRINGJOIN: signature(2, 2, ([list, separator]) =>
    Array.isArray(list) && typeof separator === 'string' && list.every((v) => typeof v === 'string')
      ? list.join(separator)
      : undefined,
  ),
  STRINGSPLIT: signature(2, 2, ([text, separator]) =>
    typeof text === 'string' && typeof separator === 'string' && separator !== ''
      ? text.split(separator)
      : undefined,
  ),
  TOSTRING: signature(1, 1, ([value]) => textOf(value)),
  STRINGTONUMBER: onText((text) => parseJson(text, (value) => typeof value === 'number')),
  STRINGTOBOOLEAN: onText((text) => parseJson(text, (value) => typeof value === 'boolean')),
  STRINGTONULL: onText((text) => parseJson(text, (value) => value === null)),
  STRINGTOARRAY: onText((text) => parseJson(text, (value) => Array.isArray(value))),
  STRINGTOOBJECT: onText((text) => parseJson(text, isObject)),
};

const numbers: Record<string, Signature> = {
  ABS: onNumber(Math.abs),
  CEILING: onNumber(Math.ceil),
  FLOOR: onNumber(Math.floor),
  ROUND: onNumber(roundAway),
  TRUNC: onNumber(Math.trunc),
  SIGN: onNumber(Math.sign),
  SQRT: onNumber(Math.sqrt),
  SQUARE: onNumber((value) => value * value),
  EXP: onNumber(Math.exp),
  LOG10: onNumber(Math.log10),
  SIN: onNumber(Math.sin),
  COS: onNumber(Math.cos),
  TAN: onNumber(Math.tan),
  ASIN: onNumber(Math.asin),
  ACOS: onNumber(Math.acos),
  ATAN: onNumber(Math.atan),
  RADIANS: onNumber((value) => (value * Math.PI) / 180),
  DEGREES: onNumber((value) => (value * 180) / Math.PI),
  PI: signature(0, 0, () => Math.PI),
  LOG: signature(1, 2, ([value, base]) => {
    if (typeof value !== 'number' || (base !== undefined && typeof base !== 'number')) {
      return undefined;
    }
    return finite(base === undefined ? Math.log(value) : Math.log(value) / Math.log(base));
  }),
  POWER: signature(2, 2, ([value, by]) =>
    typeof value === 'number' && typeof by === 'number' ? finite(value ** by) : undefined,
  ),
  ATN2: signature(2, 2, ([y, x]) =>
    typeof y === 'number' && typeof x === 'number' ? finite(Math.atan2(y, x)) : undefined,
  ),
  NUMBERBIN: signature(1, 2, ([value, size = 1]) =>
    typeof value === 'number' && typeof size === 'number' && size !== 0
      ? finite(Math.floor(value / size) * size)
      : undefined,
  ),
};

const arrays: Record<string, Signature> = {
  ARRAY_CONTAINS: signature(2, 3, ([list, value, isPartial]) =>
    Array.isArray(list) && value !== undefined
      ? isContained(list, value, isPartial === true)
      : undefined,
  ),
  ARRAY_CONTAINS_ANY: signature(2, 200, ([list, ...wanted]) =>
    Array.isArray(list) ? wanted.some((value) => isContained(list, value, false)) : undefined,
  ),
  ARRAY_CONTAINS_ALL: signature(2, 200, ([list, ...wanted]) =>
    Array.isArray(list) ? wanted.every((value) => isContained(list, value, false)) : undefined,
  ),
  ARRAY_LENGTH: signature(1, 1, ([list]) => (Array.isArray(list) ? list.length : undefined)),
  ARRAY_CONCAT: signature(2, 200, (lists) =>
    lists.every((list) => Array.isArray(list)) ? lists.flat(1) : undefined,
  ),
  ARRAY_SLICE: signature(2, 3, ([list, start, count]) => {
    if (!Array.isArray(list) || typeof start !== 'number') return undefined;
    const from = start < 0 ? Math.max(0, list.length + start) : start;
    if (count === undefined) return list.slice(from);
    return typeof count === 'number' ? list.slice(from, from + Math.max(0, count)) : undefined;
  }),
  SETINTERSECT: onTwoArrays((one, other) =>
    distinct(one).filter((value) => isContained(other, value, false)),
  ),
  SETUNION: onTwoArrays((one, other) => distinct([...one, ...other])),
  OBJECTTOARRAY: signature(1, 1, ([value]) =>
    isObject(value) ? Object.entries(value).map(([k, v]) => ({ k, v })) : undefined,
  ),
};

const choices: Record<string, Signature> = {
  IIF: signature(3, 3, ([condition, yes, no]) => (condition === true ? yes : no)),
  CHOOSE: signature(2, 200, ([index, ...list]) =>
    typeof index === 'number' ? list[index - 1] : undefined,
  ),
};

const functions: Record<string, Signature> = {
  ...types,
  ...texts,
  ...numbers,
  ...arrays,
  ...choices,
  ...Object.fromEntries(
    Object.entries(dateFunctions).map(([name, { least, most, apply }]) => [
      name,
      signature(least, most, apply),
    ]),
  ),
};

// In Azure, but not here. RegexMatch: a pattern can take exponential time and would stop the
// server.
const refused =
  /^(REGEXMATCH|ST_\w+|VECTORDISTANCE|FULLTEXT\w+|RRF|RAND|INT\w+|COT|DOCUMENTID|TAGSMATCH)$/;

/**
 * Whether a built-in function of this (upper-case) name exists here; refuses by name what does
 * not.
 */
export function isFunction(name: string): boolean {
  if (Object.hasOwn(functions, name)) return true;
  if (refused.test(name)) {
    throw badRequest(`The function '${name}' is not supported by the local server.`);
  }
  return false;
}

/** The function of this name for a call with `count` arguments. */
export function functionFor(name: string, count: number): QueryFunction {
  const found = functions[name];
  if (!found) throw badRequest(`'${name}' is not a recognized built-in function name.`);
  if (count < found.least || count > found.most) {
    throw badRequest(
      `The function '${name}' takes ${found.least} to ${found.most} arguments, not ${count}.`,
    );
  }
  return found.apply;
}

/** `text LIKE pattern`: greedy with one way back, so its time is bounded by the two lengths. */
export function isLike(text: Value, pattern: Value, escape: string | undefined): Value {
  if (typeof text !== 'string' || typeof pattern !== 'string') return undefined;
  const parts = likeParts(pattern, escape);
  let at = 0;
  let part = 0;
  let star = -1;
  let resume = 0;
  while (at < text.length) {
    const wanted = parts[part];
    if (wanted?.kind === 'many') {
      star = part++;
      resume = at;
    } else if (wanted && (wanted.kind === 'one' || wanted.accepts(text[at]!))) {
      at++;
      part++;
    } else if (star >= 0) {
      part = star + 1;
      at = ++resume;
    } else return false;
  }
  while (parts[part]?.kind === 'many') part++;
  return part === parts.length;
}

type LikePart =
  { kind: 'many' } | { kind: 'one' } | { kind: 'set'; accepts: (character: string) => boolean };

function likeParts(pattern: string, escape: string | undefined): LikePart[] {
  const parts: LikePart[] = [];
  for (let at = 0; at < pattern.length; at++) {
    const character = pattern[at]!;
    const close = character === '[' ? pattern.indexOf(']', at + 1) : -1;
    if (escape !== undefined && character === escape && at + 1 < pattern.length) {
      const literal = pattern[++at]!;
      parts.push({ kind: 'set', accepts: (other) => other === literal });
    } else if (character === '%') parts.push({ kind: 'many' });
    else if (character === '_') parts.push({ kind: 'one' });
    else if (close > at) {
      parts.push({ kind: 'set', accepts: characterSet(pattern.slice(at + 1, close)) });
      at = close;
    } else parts.push({ kind: 'set', accepts: (other) => other === character });
  }
  return parts;
}

function characterSet(text: string): (character: string) => boolean {
  const isNegated = text.startsWith('^');
  const ranges: [string, string][] = [];
  for (let at = isNegated ? 1 : 0; at < text.length; at++) {
    const low = text[at]!;
    const high = text[at + 1] === '-' && at + 2 < text.length ? text[(at += 2)]! : low;
    ranges.push([low, high]);
  }
  return (character) =>
    isNegated !== ranges.some(([low, high]) => low <= character && character <= high);
}
