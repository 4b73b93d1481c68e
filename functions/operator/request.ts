// Reads what a caller sent, or refuses it naming what was received.
//
// Owns:   path keys, query parameters, JSON bodies.
// Leaves: what the values mean to reads.ts and actions.ts; turning the refusal into HTTP to
//         problem.ts.
import type { HttpRequest } from '@azure/functions';
import { instantMs } from '../../shared/clock.ts';
import { ConvoyError } from '../../shared/errors.ts';
import { convoyNamePattern, fromPathKey, keyFault, toPathKey } from '../../shared/keys.ts';

/** The part of a request that the routes use; tests make one without a host. */
export type Call = Pick<HttpRequest, 'params' | 'query' | 'headers' | 'text'>;

/** The name of a convoy in a path; a name that no convoy can have is simply not found. */
export function convoyIn(call: Call): string {
  const convoy = call.params['convoy'] ?? '';
  if (!convoyNamePattern.test(convoy)) {
    throw new ConvoyError('CVY_NOT_FOUND', `there is no convoy '${convoy}'`);
  }
  return convoy;
}

/** The name of a window in a path; one that no definition can have is not found. */
export function windowIn(call: Call): string {
  const window = call.params['window'] ?? '';
  if (convoyNamePattern.test(window)) return window;
  throw new ConvoyError('CVY_NOT_FOUND', `there is no window '${window}'`);
}

/**
 * The key in a path. The path form (`~hh`) is exact; anything else is taken as it arrives, and only
 * where it is unequivocal: a text with `~` or `%` could be two keys, because some front ends decode
 * `%2F` and some do not (CONTRACT §5).
 */
export function keyIn(call: Call): string {
  const text = call.params['key'] ?? '';
  const key = fromPathKey(text);
  if (key !== undefined && toPathKey(key) === text) return legal(key);
  if (/[~%]/.test(text)) {
    throw new ConvoyError(
      'CVY_BAD_REQUEST',
      `the key '${text}' is neither a path key nor plain; write every byte outside ` +
        `[A-Za-z0-9_-] as ~hh, for instance '${toPathKey(text)}' if that is the key`,
    );
  }
  return legal(text);
}

function legal(key: string): string {
  const fault = keyFault(key);
  if (fault !== undefined) throw new ConvoyError('CVY_KEY_INVALID', fault);
  return key;
}

/** Every parameter is one that the route knows; `code` is the host's own. */
export function assertParameters(call: Call, known: readonly string[]): void {
  for (const name of call.query.keys()) {
    if (name === 'code' || name === 'clientId' || known.includes(name)) continue;
    throw new ConvoyError(
      'CVY_BAD_REQUEST',
      `parameter '${name}' is not known here; known are ${known.join(', ') || 'none'}`,
    );
  }
}

/** An integer parameter, undefined when it is not given. */
export function integerIn(
  call: Call,
  name: string,
  range: { min: number; max: number },
): number | undefined {
  const text = call.query.get(name);
  if (text === null) return undefined;
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= range.min && value <= range.max) return value;
  throw new ConvoyError(
    'CVY_BAD_REQUEST',
    `${name}=${text}; an integer from ${range.min} to ${range.max} is expected`,
  );
}

/** One of several words, undefined when it is not given. */
export function wordIn<Word extends string>(
  call: Call,
  name: string,
  words: readonly Word[],
): Word | undefined {
  const text = call.query.get(name);
  if (text === null) return undefined;
  const word = words.find((candidate) => candidate === text);
  if (word !== undefined) return word;
  throw new ConvoyError('CVY_BAD_REQUEST', `${name}=${text}; expected is ${words.join(' | ')}`);
}

/** A flag: only `true` sets it, `false` and absent do not, anything else is refused. */
export function flagIn(call: Call, name: string): boolean {
  return wordIn(call, name, ['true', 'false'] as const) === 'true';
}

/** An ISO-8601 instant with zone as epoch milliseconds. */
export function instantIn(call: Call, name: string): number | undefined {
  const text = call.query.get(name);
  if (text === null) return undefined;
  const ms = instantMs(text);
  if (ms !== undefined) return ms;
  throw new ConvoyError('CVY_BAD_REQUEST', `${name}=${text}; expected is ISO-8601 with a zone`);
}

export const limitMax = 500;

export function limitIn(call: Call): number {
  return integerIn(call, 'limit', { min: 1, max: limitMax }) ?? 100;
}

/**
 * The JSON object in the body. The real host hands over an empty body when a request is chunked and
 * has no Content-Length (functions-host.md 1.8), so an empty one is refused with that hint.
 */
export async function objectIn(call: Call): Promise<Record<string, unknown>> {
  const text = await call.text();
  if (text.trim() === '') {
    throw new ConvoyError(
      'CVY_BAD_REQUEST',
      'the request body is empty; send a JSON object with a Content-Length (not chunked)',
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ConvoyError('CVY_BAD_REQUEST', 'the request body is not JSON');
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new ConvoyError('CVY_BAD_REQUEST', 'the request body is JSON, but not an object');
}
