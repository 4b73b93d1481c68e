// PURE. What an adopter writes: defineConvoy({...}). No Azure word in it; testable with an array.
//
// Owns the vocabulary of a definition, its defaults and the check at load that lists every fault.
import assert from 'node:assert/strict';
import type { BodyOf, StandardSchema } from './schema.ts';

/** One message as the handler sees it. Instants are epoch milliseconds. */
export interface Message<Body> {
  /** The sender's business id: the dedup key. */
  id: string;
  key: string;
  type: string;
  /** What the schema made of the body. */
  body: Body;
  /** Convoy's own number of the message in its key: 1, 2, 3 … */
  position: number;
  senderPosition?: number;
  occurredAt: number;
  enqueuedAt: number;
}

/** What `apply` may do besides returning the next state. */
export interface ApplyContext {
  /** Sends an output to the queue `<convoy>-out`, in order, with a deterministic message id. */
  emit(type: string, body: unknown): void;
  /** A business refusal: recorded, not retried; the state stays as it was before the message. */
  reject(reason: string): void;
}

export interface WindowDefinition<State = unknown, Body = unknown> {
  name: string;
  kind: 'tumbling';
  /** Length; windows are aligned to the Unix epoch, `[start, end)` by event time. */
  seconds: number;
  /** What the message adds; undefined = not counted. `before` is the state before this message. */
  value(message: Message<Body>, before: State): number | bigint | undefined;
  /** How long after its end, by event time, a window stays open for stragglers. Default 0. */
  graceSeconds?: number;
  /** Wall-clock silence of the key after which its open windows close. Default: never. */
  quietSeconds?: number;
  /** What becomes of a message for a closed window. `amend`: emitted again with revision + 1. */
  late?: 'amend';
}

export interface RetryDefinition {
  /** How often a throwing handler is tried in all, 1-100. Default 1. */
  attempts?: number;
  firstDelaySeconds?: number;
  factor?: number;
  maxDelaySeconds?: number;
}

export interface ConvoyOptions<Schema extends StandardSchema, State> {
  /** `[a-z][a-z0-9-]{0,29}`. */
  name: string;
  /** The input queue. Default: the name. */
  queue?: string;
  schema: Schema;
  initialState: State;
  /** Pure: the next state from the state and one message. A throw is a failure, see `retry`. */
  apply(state: State, message: Message<BodyOf<Schema>>, context: ApplyContext): State;
  retry?: RetryDefinition;
  /** `block` stops the line of this key until an operator acts. */
  onPoison?: 'block';
  order?: 'broker';
  windows?: readonly WindowDefinition<State, BodyOf<Schema>>[];
  /** How long an instance without backlog waits for the next message before it closes. Default
   *  5. */
  lingerSeconds?: number;
  /** How long settled messages and closed windows are kept. Default 7 days. */
  retentionSeconds?: number;
  /** How long a message id is remembered after settlement, at least one hour. Default 7 days. */
  dedupSeconds?: number;
}

/** A checked definition with every default filled in; the engine sees only this. */
export interface ConvoyDefinition {
  readonly name: string;
  readonly queue: string;
  readonly schema: StandardSchema;
  readonly initialState: unknown;
  readonly apply: (state: unknown, message: Message<unknown>, context: ApplyContext) => unknown;
  readonly retry: Required<RetryDefinition>;
  readonly windows: readonly Required<Omit<WindowDefinition, 'quietSeconds'>>[];
  /** Per window name; absent = windows of this name wait for the watermark only. */
  readonly quietSeconds: ReadonlyMap<string, number>;
  readonly lingerSeconds: number;
  readonly retentionSeconds: number;
  readonly dedupSeconds: number;
}

/** Lists every fault of a definition and what to change. */
export class DefinitionError extends Error {
  readonly code = 'CVY_DEFINITION';
  readonly faults: readonly string[];

  constructor(name: string, faults: readonly string[]) {
    super(`CVY_DEFINITION: convoy '${name}' is wrong:\n  - ${faults.join('\n  - ')}`);
    this.name = 'DefinitionError';
    this.faults = faults;
  }
}

const known = new Set(
  (
    'name queue schema initialState apply retry onPoison order windows lingerSeconds ' +
    'retentionSeconds dedupSeconds'
  ).split(' '),
);
const notYet = new Set('effect upcast migrate version lanes merge'.split(' '));
const daySeconds = 86_400;

/** Checks a definition and fills in its defaults. Throws DefinitionError with all faults. */
export function defineConvoy<Schema extends StandardSchema, State>(
  options: ConvoyOptions<Schema, State>,
): ConvoyDefinition {
  const erased = options as unknown as ConvoyOptions<StandardSchema, unknown>;
  const faults = faultsOf(erased);
  if (faults.length > 0) throw new DefinitionError(String(options.name), faults);
  return {
    name: erased.name,
    queue: erased.queue ?? erased.name,
    schema: erased.schema,
    initialState: erased.initialState,
    apply: (state, message, context) => erased.apply(state, message, context),
    retry: { attempts: 1, firstDelaySeconds: 1, factor: 2, maxDelaySeconds: 300, ...erased.retry },
    windows: (erased.windows ?? []).map((window) => ({
      name: window.name,
      kind: window.kind,
      seconds: window.seconds,
      value: (message, before) => window.value(message, before),
      graceSeconds: window.graceSeconds ?? 0,
      late: 'amend' as const,
    })),
    quietSeconds: new Map(
      (erased.windows ?? []).flatMap(({ name, quietSeconds }) =>
        quietSeconds === undefined ? [] : [[name, quietSeconds] as const],
      ),
    ),
    lingerSeconds: erased.lingerSeconds ?? 5,
    retentionSeconds: erased.retentionSeconds ?? 7 * daySeconds,
    dedupSeconds: erased.dedupSeconds ?? 7 * daySeconds,
  };
}

function faultsOf(options: ConvoyOptions<StandardSchema, unknown>): string[] {
  const faults: string[] = [];
  const fault = (holds: boolean, text: string): void => void (holds || faults.push(text));
  for (const field of Object.keys(options)) {
    if (notYet.has(field)) faults.push(`${field}: not built yet; leave it out`);
    else if (!known.has(field)) faults.push(`${field}: unknown; allowed: ${[...known].join(', ')}`);
  }
  fault(
    typeof options.name === 'string' && /^[a-z][a-z0-9-]{0,29}$/.test(options.name),
    `name: '${options.name}' must match [a-z][a-z0-9-]{0,29}`,
  );
  fault(
    options.queue === undefined || (typeof options.queue === 'string' && options.queue.length > 0),
    'queue: must be the name of a queue',
  );
  fault(
    typeof options.schema?.['~standard']?.validate === 'function',
    'schema: must be a Standard Schema (zod, valibot, arktype …)',
  );
  fault(typeof options.apply === 'function', 'apply: must be a function');
  fault(
    options.initialState !== undefined && isJson(options.initialState),
    'initialState: must be a JSON value',
  );
  fault(
    options.onPoison === undefined || options.onPoison === 'block',
    `onPoison: '${options.onPoison}' is not built yet; use 'block'`,
  );
  fault(
    options.order === undefined || options.order === 'broker',
    `order: '${options.order}' is not built yet; use 'broker'`,
  );
  fault(isWithin(options.retry?.attempts, 1, 100), 'retry.attempts: must be 1 to 100');
  fault(
    isWithin(options.retry?.firstDelaySeconds, 0, daySeconds),
    'retry.firstDelaySeconds: 0 to 86400',
  );
  fault(isWithin(options.retry?.factor, 1, 100), 'retry.factor: must be 1 to 100');
  fault(
    isWithin(options.retry?.maxDelaySeconds, 0, daySeconds),
    'retry.maxDelaySeconds: 0 to 86400',
  );
  fault(isWithin(options.lingerSeconds, 0, 3600), 'lingerSeconds: must be 0 to 3600');
  fault(isWithin(options.retentionSeconds, 60, Infinity), 'retentionSeconds: must be at least 60');
  fault(
    isWithin(options.dedupSeconds, 3600, Infinity),
    'dedupSeconds: must be at least 3600 (H12)',
  );
  faults.push(...windowFaultsOf(options.windows ?? []));
  return faults;
}

function windowFaultsOf(windows: readonly WindowDefinition<never, never>[]): string[] {
  const faults: string[] = [];
  const fault = (holds: boolean, text: string): void => void (holds || faults.push(text));
  const names = new Set<string>();
  for (const window of windows) {
    const at = `windows '${window.name}'`;
    fault(
      /^[a-z][a-z0-9-]{0,29}$/.test(window.name),
      `${at}: name must match [a-z][a-z0-9-]{0,29}`,
    );
    fault(!names.has(window.name), `${at}: the name is used twice`);
    names.add(window.name);
    fault(
      window.kind === 'tumbling',
      `${at}: kind '${window.kind}' is not built yet; use 'tumbling'`,
    );
    fault(
      window.seconds > 0 && isWithin(window.seconds, 1, 366 * daySeconds),
      `${at}: seconds 1 to a year`,
    );
    fault(typeof window.value === 'function', `${at}: value must be a function`);
    fault(isWithin(window.graceSeconds, 0, 366 * daySeconds), `${at}: graceSeconds 0 to a year`);
    fault(isWithin(window.quietSeconds, 1, 366 * daySeconds), `${at}: quietSeconds 1 to a year`);
    fault(
      window.late === undefined || window.late === 'amend',
      `${at}: late '${window.late}' is not built yet; use 'amend'`,
    );
  }
  return faults;
}

function isWithin(value: unknown, min: number, max: number): boolean {
  return value === undefined || (typeof value === 'number' && value >= min && value <= max);
}

/** A value that survives being stored as JSON unchanged: no Date, no undefined field, no NaN. */
function isJson(value: unknown): boolean {
  try {
    assert.deepStrictEqual(JSON.parse(JSON.stringify(value)), value);
    return true;
  } catch {
    return false;
  }
}
