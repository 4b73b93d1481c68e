// ASP.NET route templates, as the real host matches them. PURE.
//
// R1 The first function in alphabetical order (case-insensitive) whose template and method match
//    wins; nothing ranks by specificity [FH 1.8].
// R2 The wrong method is no match: 404, never 405.
// R3 A template this host does not know (constraint, default) is refused, never guessed.

import { HostFault, unsupported } from './faults.ts';
export interface Route {
  template: string;
  methods: readonly string[];
  pattern: RegExp;
  parameters: readonly string[];
  checks: readonly { parameter: string; test: (value: string) => boolean }[];
}

const guid = /^\{?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\}?$/i;
const decimal = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$/i;
const whole = /^[+-]?\d+$/;
const between = (value: bigint, bits: bigint): boolean =>
  BigInt.asIntN(Number(bits), value) === value;

/** Compiles one template; `prefix` stands before it. Throws on what it does not know [R3]. */
export function compileRoute(template: string, prefix: string, methods: readonly string[]): Route {
  const path = [prefix, template].map(trimSlashes).filter(Boolean).join('/');
  const parameters: string[] = [];
  const checks: { parameter: string; test: (value: string) => boolean }[] = [];
  let pattern = '';
  for (const segment of path === '' ? [] : splitSegments(path)) {
    pattern += segmentPattern(segment, { template, parameters, checks });
  }
  return {
    template: path,
    methods: methods.map((method) => method.toUpperCase()),
    pattern: new RegExp(`^${pattern}/?$`, 'i'),
    parameters,
    checks,
  };
}

/** The route parameters when path and method match, else undefined. Absent optionals are absent. */
export function matchRoute(
  route: Route,
  method: string,
  path: string,
): Record<string, string> | undefined {
  if (!route.methods.includes(method)) return undefined;
  const match = route.pattern.exec(path);
  if (!match) return undefined;
  const values: Record<string, string> = {};
  route.parameters.forEach((name, at) => {
    const value = match[at + 1];
    if (value !== undefined && value !== '') values[name] = decodeSegment(value);
  });
  const fits = route.checks.every(({ parameter, test }) => {
    const value = values[parameter];
    return value === undefined || test(value);
  });
  return fits ? values : undefined;
}

/** Two routes that would answer the same requests: same shape, a method in common. */
export function isConflict(a: Route, b: Route): boolean {
  const shape = (route: Route): string => route.template.toLowerCase();
  return shape(a) === shape(b) && a.methods.some((method) => b.methods.includes(method));
}

/** [FH 1.8] Templates in the host's own space. */
export function isReserved(template: string): boolean {
  return /^(admin|runtime)/i.test(trimSlashes(template));
}

interface Building {
  template: string;
  parameters: string[];
  checks: { parameter: string; test: (value: string) => boolean }[];
}

function segmentPattern(segment: string, building: Building): string {
  const only = /^\{([^{}]+(?:\{[^{}]*\}[^{}]*)*)\}$/.exec(segment)?.[1];
  if (only === undefined) return `/${mixedPattern(segment, building)}`;
  const { isCatchAll, isOptional } = addParameter(only, building);
  if (isCatchAll) return '(?:/(.*))?';
  return isOptional ? '(?:/([^/]+))?' : '/([^/]+)';
}

/** `file.{ext}` and the like: literals around parameters. */
function mixedPattern(segment: string, building: Building): string {
  let pattern = '';
  let at = 0;
  for (const found of segment.matchAll(/\{([^{}]+)\}/g)) {
    const { isCatchAll, isOptional } = addParameter(found[1] ?? '', building);
    if (isCatchAll || isOptional) {
      throw new HostFault(
        `route '${building.template}': '${segment}' mixes text with an optional part`,
      );
    }
    pattern += `${escapeText(segment.slice(at, found.index))}([^/]+?)`;
    at = found.index + found[0].length;
  }
  return pattern + escapeText(segment.slice(at));
}

function addParameter(
  text: string,
  building: Building,
): { isCatchAll: boolean; isOptional: boolean } {
  const match = /^(\*{0,2})([A-Za-z_]\w*)((?::[^:?()]+(?:\([^)]*\))?)*)(\?)?$/.exec(text);
  const name = match?.[2];
  if (!match || name === undefined) {
    throw unsupported(`route '${building.template}': '{${text}}'`);
  }
  building.parameters.push(name);
  for (const found of (match[3] ?? '').matchAll(/:([^:?()]+)(?:\(([^)]*)\))?/g)) {
    const test = constraint(found[1] ?? '', found[2]);
    if (!test) {
      const name = `${found[1]}${found[2] === undefined ? '' : `(${found[2]})`}`;
      throw unsupported(`route '${building.template}': constraint '${name}'`);
    }
    building.checks.push({ parameter: name, test });
  }
  return { isCatchAll: match[1] !== '', isOptional: match[4] !== undefined };
}

type Test = (value: string) => boolean;

function constraint(name: string, argument: string | undefined): Test | undefined {
  const numbers = (argument ?? '').split(',').map((part) => Number(part.trim()));
  const [first = NaN, second = first] = numbers;
  switch (name.toLowerCase()) {
    case 'int':
      return (value) => whole.test(value) && between(BigInt(value), 32n);
    case 'long':
      return (value) => whole.test(value) && between(BigInt(value), 64n);
    case 'decimal':
    case 'double':
    case 'float':
      return (value) => decimal.test(value);
    case 'bool':
      return (value) => /^(true|false)$/i.test(value);
    case 'guid':
      return (value) => guid.test(value);
    case 'alpha':
      return (value) => /^[a-z]*$/i.test(value);
    case 'required':
      return (value) => value !== '';
    case 'length':
      return (value) => value.length >= first && value.length <= second;
    case 'minlength':
      return (value) => value.length >= first;
    case 'maxlength':
      return (value) => value.length <= first;
    case 'min':
      return (value) => whole.test(value) && Number(value) >= first;
    case 'max':
      return (value) => whole.test(value) && Number(value) <= first;
    case 'range':
      return (value) => whole.test(value) && Number(value) >= first && Number(value) <= second;
    case 'regex':
      return argument === undefined ? undefined : regexTest(argument);
    default:
      return undefined;
  }
}

function regexTest(source: string): Test {
  const pattern = new RegExp(source.replaceAll('{{', '{').replaceAll('}}', '}'), 'i');
  return (value) => pattern.test(value);
}

/** Splits at slashes outside braces. */
function splitSegments(path: string): string[] {
  const segments: string[] = [''];
  let depth = 0;
  for (const character of path) {
    if (character === '{') depth++;
    if (character === '}') depth--;
    if (character === '/' && depth === 0) segments.push('');
    else segments[segments.length - 1] += character;
  }
  return segments;
}

/** Kestrel decodes a path once, all but %2F. */
function decodeSegment(text: string): string {
  try {
    return decodeURIComponent(text.replace(/%2f/gi, '%252F'));
  } catch {
    return text;
  }
}

const escapeText = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
const trimSlashes = (text: string): string => text.replace(/^\/+|(?<!\/)\/+$/g, '');
