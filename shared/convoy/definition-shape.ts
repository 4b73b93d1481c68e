// PURE. A definition as plain fields, read once: what a user wrote may be anything, with getters
// that throw or answer differently each time, proxies and fields of the wrong kind.
//
// Leaves what the fields may say to definition-check.ts, which then reads nothing but plain fields.
import { reasonOf } from './json.ts';
import type { ConvoyOptions } from './definition.ts';
import type { StandardSchema } from './schema.ts';

type Fields = Record<string, unknown>;

export interface Shape {
  options: ConvoyOptions<StandardSchema, unknown, unknown>;
  /** What is of the wrong kind or cannot be read; `options` is without it. */
  faults: string[];
}

const ofRetry = ['attempts', 'firstDelaySeconds', 'factor', 'maxDelaySeconds'];
const ofGap = ['waitSeconds', 'onTimeout', 'messagesMax'];
const ofGeneration = ['count', 'queue'];
const ofWindow = {
  calendar: ['timeZone', 'unit', 'startsAt'],
  reduce: ['initial', 'add', 'merge'],
  rollUp: ['delaySeconds'],
};

export interface KnownFields {
  options: Iterable<string>;
  window: Iterable<string>;
}

/** The fields of a definition and of its parts; methods stay bound to what they were written in. */
export function shapeOf(given: unknown, known: KnownFields): Shape {
  const faults: string[] = [];
  const fields = fieldsOf(given, { path: 'the definition', known: known.options, faults }) ?? {};
  const part = (name: string, known?: readonly string[]): void =>
    setPart(fields, name, { known, path: name, faults });
  part('retry', ofRetry);
  part('gap', ofGap);
  part('upcast');
  part('migrate');
  if (isPlain(fields['lanes'])) part('lanes');
  if (fields['lanes'] !== undefined) fields['lanes'] = lanesOf(fields['lanes'], faults);
  if (Array.isArray(fields['windows'])) {
    fields['windows'] = fields['windows'].map((window, at) => {
      const path = `windows[${at}]`;
      return windowOf(window, { path, known: known.window, faults });
    });
  }
  return { options: fields as unknown as Shape['options'], faults };
}

const isPlain = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Generations of every key, or of each named one. */
function lanesOf(lanes: unknown, faults: string[]): unknown {
  const plain = (list: unknown, path: string): unknown => {
    if (!Array.isArray(list)) return list;
    return list.map((one: unknown, at) => {
      const place = { path: `${path}[${at}]`, known: ofGeneration, faults };
      return isPlain(one) ? (fieldsOf(one, place) ?? {}) : one;
    });
  };
  if (!isPlain(lanes)) return plain(lanes, 'lanes');
  const named = Object.entries(lanes).map(([key, list]) => [key, plain(list, `lanes['${key}']`)]);
  return Object.fromEntries(named);
}

function windowOf(given: unknown, place: Part): Fields {
  const fields = fieldsOf(given, place) ?? {};
  for (const [name, known] of Object.entries(ofWindow)) {
    setPart(fields, name, { ...place, known, path: `${place.path}.${name}` });
  }
  return fields;
}

interface Part {
  /** Undefined: any name. */
  known: Iterable<string> | undefined;
  path: string;
  faults: string[];
}

/** Replaces an object among the fields by its own plain fields. */
function setPart(fields: Fields, name: string, place: Part): void {
  if (fields[name] === undefined) return;
  const part = fieldsOf(fields[name], place);
  const known = place.known && [...place.known];
  if (part === undefined) delete fields[name];
  else fields[name] = part;
  for (const field of Object.keys(part ?? {})) {
    if (known === undefined || known.includes(field)) continue;
    place.faults.push(`${place.path}.${field}: unknown; allowed: ${known.join(', ')}`);
  }
}

/** Undefined when it is no object, or one whose fields cannot be listed. */
function fieldsOf(given: unknown, { path, known = [], faults }: Part): Fields | undefined {
  try {
    if (typeof given !== 'object' || given === null || Array.isArray(given)) {
      faults.push(`${path}: must be an object, not ${shown(given)}`);
      return undefined;
    }
    // An instance of a class has its methods in its prototype.
    const inherited = [...known].filter((name) => Reflect.has(given, name));
    const names = new Set([...Object.keys(given), ...inherited]);
    const read = [...names].map((name) => [name, fieldOf(given, name, { path, faults })]);
    return Object.fromEntries(read) as Fields;
  } catch (error) {
    faults.push(`${path}: cannot be read: ${reasonOf(error)}`);
    return undefined;
  }
}

function fieldOf(
  owner: object,
  name: string,
  { path, faults }: { path: string; faults: string[] },
): unknown {
  try {
    const value: unknown = Reflect.get(owner, name);
    // A schema is an object of its library, which may be callable.
    return typeof value === 'function' && name !== 'schema' ? value.bind(owner) : value;
  } catch (error) {
    faults.push(`${path}: ${name} cannot be read: ${reasonOf(error)}`);
    return undefined;
  }
}

/** Any value as short text for a fault. Never throws. */
export function shown(value: unknown): string {
  const text = typeof value === 'object' && value !== null ? 'an object' : reasonOf(value);
  return text.length <= 80 ? text : `${text.slice(0, 80)}…`;
}
