// Messages for somebody's own definition: from a file, or made from its schema, as far as the
// schema can say what it takes (JSON Schema, which most schema libraries give). Whatever is made is
// checked against the schema itself before it is used.
import { type StandardSchema, checkBody } from '../../shared/convoy/schema.ts';
import type { SimulatedMessage } from './messages.ts';
import { Random } from './random.ts';

/** What a history is drawn from. */
export interface Sample {
  body: unknown;
  type?: string;
  key?: string;
}

type JsonSchema = Readonly<Record<string, unknown>>;

const anything: readonly unknown[] = [1, 'text', '2026-01-01T00:00:00Z'];
const samplesMade = 60;
const triesPerSample = 30;
const depthMax = 6;

/** Bodies that satisfy the schema; or why there are none. */
export function samplesFor(schema: StandardSchema): Sample[] | { fault: string } {
  const described = describe(schema);
  if (described === undefined) return { fault: 'the schema does not say what it takes' };
  const random = new Random(7);
  const samples: Sample[] = [];
  let fault = '';
  for (let n = 0; n < samplesMade; n += 1) {
    for (let tries = 0; tries < triesPerSample; tries += 1) {
      const body = make(random, described, { root: described, depth: 0 });
      const checked = body === undefined ? { fault: 'no body' } : checkBody(schema, body);
      if ('fault' in checked) fault = checked.fault;
      else {
        samples.push({ body });
        break;
      }
    }
    // What fails so often will fail again.
    if (n === 5 && samples.length === 0) return { fault };
  }
  return samples;
}

/** JSON Schema of the input; undefined: this library or schema has none. */
function describe(schema: StandardSchema): JsonSchema | undefined {
  const standard: object = schema['~standard'];
  const ways = [
    (): unknown => callOf(schema, 'toJSONSchema', { io: 'input', unrepresentable: 'any' }),
    (): unknown =>
      'jsonSchema' in standard
        ? callOf(standard.jsonSchema, 'input', { target: 'draft-2020-12' })
        : undefined,
  ];
  for (const way of ways) {
    try {
      const found = way();
      if (isRecord(found)) return found;
    } catch {
      // A type that JSON Schema has no word for: the next way, or a file.
    }
  }
  return undefined;
}

function callOf(owner: unknown, name: string, options: object): unknown {
  if (typeof owner !== 'object' || owner === null) return undefined;
  const method: unknown = Reflect.get(owner, name);
  return typeof method === 'function' ? Reflect.apply(method, owner, [options]) : undefined;
}

const isRecord = (value: unknown): value is JsonSchema =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function make(
  random: Random,
  schema: JsonSchema,
  at: { root: JsonSchema; depth: number },
): unknown {
  const { root, depth } = at;
  const deeper = { root, depth: depth + 1 };
  if ('const' in schema) return schema['const'];
  const choices = ['enum', 'examples'].map((name) => schema[name]).find(Array.isArray);
  if (choices) return choices[random.below(choices.length)];
  const variants = ['anyOf', 'oneOf'].map((name) => schema[name]).find(Array.isArray);
  if (variants) return make(random, recordOf(variants[random.below(variants.length)]), deeper);
  if (Array.isArray(schema['allOf'])) {
    const merged = Object.assign({}, schema, ...schema['allOf'].map(recordOf));
    return make(random, { ...merged, allOf: undefined }, deeper);
  }
  if (typeof schema['$ref'] === 'string')
    return depth < depthMax ? make(random, refOf(root, schema['$ref']), deeper) : undefined;
  const type = Array.isArray(schema['type']) ? schema['type'][0] : schema['type'];
  switch (type) {
    case 'object':
      return objectOf(random, schema, deeper);
    case 'array': {
      const least = Number(schema['minItems'] ?? 0);
      const length = least + random.below(3);
      return Array.from({ length }, () => make(random, recordOf(schema['items']), deeper));
    }
    case 'string':
      return textOf(random, schema);
    case 'integer':
    case 'number':
      return numberOf(random, schema, type === 'integer');
    case 'boolean':
      return random.chance(0.5);
    case 'null':
      return null;
    default:
      return anything[random.below(anything.length)];
  }
}

const recordOf = (value: unknown): JsonSchema => (isRecord(value) ? value : {});

function refOf(root: JsonSchema, path: string): JsonSchema {
  const names = path.split('/').slice(1);
  return names.reduce<JsonSchema>((found, name) => recordOf(found[name]), root);
}

function objectOf(
  random: Random,
  schema: JsonSchema,
  at: { root: JsonSchema; depth: number },
): unknown {
  const required = new Set(Array.isArray(schema['required']) ? schema['required'] : []);
  const body: Record<string, unknown> = {};
  for (const [name, property] of Object.entries(recordOf(schema['properties']))) {
    if (!required.has(name) && (at.depth > depthMax || random.chance(0.3))) continue;
    body[name] = make(random, recordOf(property), at);
  }
  return body;
}

function numberOf(random: Random, schema: JsonSchema, isWhole: boolean): number {
  const bound = (name: string, exclusive: string, otherwise: number): number => {
    const by = name === 'minimum' ? 1 : -1;
    const value = schema[name] ?? schema[exclusive];
    if (typeof value !== 'number' || Math.abs(value) > 1e9) return otherwise;
    return schema[name] === undefined ? value + by : value;
  };
  const least = bound('minimum', 'exclusiveMinimum', -20);
  const most = bound('maximum', 'exclusiveMaximum', Math.max(least, 0) + 100);
  // Small ones, zero and the bounds are where handlers go wrong.
  const drawn = random.chance(0.2) ? random.pick([least, most]) : random.between(least, most);
  const step = Number(schema['multipleOf'] ?? 0);
  if (step > 0) return Math.ceil(least / step) * step + step * random.below(10);
  return isWhole || random.chance(0.6) ? Math.trunc(drawn) : least + (most - least) * random.next();
}

function textOf(random: Random, schema: JsonSchema): string {
  const n = random.below(20);
  const hex = (length: number): string =>
    Array.from({ length }, () => random.below(16).toString(16)).join('');
  switch (schema['format']) {
    case 'date-time':
      return new Date(Date.UTC(2026, 0, 1) + n * 61_000).toISOString();
    case 'date':
      return new Date(Date.UTC(2026, 0, 1 + n)).toISOString().slice(0, 10);
    case 'time':
      return `12:${String(n).padStart(2, '0')}:00`;
    case 'email':
      return `person${n}@example.org`;
    case 'uri':
    case 'url':
      return `https://example.org/${n}`;
    case 'uuid':
      return `${hex(8)}-${hex(4)}-4${hex(3)}-8${hex(3)}-${hex(12)}`;
    case 'ipv4':
      return `192.0.2.${n}`;
    default:
  }
  const words = ['a', 'b', `text ${n}`, `A-${n}`, String(n), `${n}.50`, 'ÄÖ–😀'] as const;
  const text = random.pick(words);
  const least = Number(schema['minLength'] ?? 0);
  const most = Number(schema['maxLength'] ?? 1_000);
  return text.padEnd(least, 'x').slice(0, most);
}

export interface DrawOptions {
  samples: readonly Sample[];
  /** Names to draw from for samples without a type. */
  types: readonly string[];
  messages: number;
  bySender: boolean;
}

/** The messages of one history: bursts and pauses, spread over one to three keys. */
export function drawMessages(random: Random, options: DrawOptions): SimulatedMessage[] {
  const { samples, types, messages, bySender } = options;
  const keys = random.pick([1, 1, 2, 3]);
  const sent = new Map<string, { at: number; n: number }>();
  const first = random.below(samples.length);
  return Array.from({ length: messages }, (_, i) => {
    // Samples that name their key tell a story: they keep their order.
    const inOrder = samples[(first + i) % samples.length];
    const isStory = inOrder?.key !== undefined;
    const sample = isStory ? inOrder : samples[random.below(samples.length)];
    const key = sample?.key ?? `k${random.below(keys)}`;
    const line = sent.get(key) ?? { at: 0, n: 0 };
    const pauseMs = random.chance(0.6) ? random.below(20) : random.below(10_000);
    const next = { at: line.at + pauseMs, n: line.n + 1 };
    sent.set(key, next);
    return {
      key,
      id: `${key}-${next.n}`,
      type: sample?.type ?? types[random.below(types.length)] ?? 'sent',
      text: JSON.stringify(sample?.body ?? {}),
      sendAt: next.at,
      ...(bySender && { senderPosition: next.n }),
    };
  });
}
