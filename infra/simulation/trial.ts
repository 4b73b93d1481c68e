// Somebody's own definition on trial: it runs under the usual faults, and beside the rules of the
// engine it has to keep its own: pure, the same after JSON, one idempotency key per effect.
import { isDeepStrictEqual } from 'node:util';
import type {
  ApplyContext,
  ConvoyDefinition,
  EffectContext,
  Message,
} from '../../shared/convoy/definition.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import type { SimulatedMessage } from './messages.ts';
import type { Random } from './random.ts';
import type { Plot, Scenario } from './scenario.ts';
import { usualFaults } from './scenarios/parts.ts';
import type { Report } from './violations.ts';

export interface TrialOptions {
  definition: ConvoyDefinition;
  /** Messages of one history. */
  messagesOf(random: Random): SimulatedMessage[];
}

/** The scenario of one definition, for `simulate` and for shrinking. */
export function trialOf({ definition, messagesOf }: TrialOptions): Scenario {
  return {
    name: definition.name,
    about: `the convoy '${definition.name}' under the usual faults`,
    rates: usualFaults,
    maySkip: true,
    sessionIdleMs: 3_000,
    plot: (random): Plot => {
      const judge = new Judge(definition);
      return {
        versions: [judge.definition],
        messages: messagesOf(random),
        order: definition.order,
        windows: [],
        limits: defaultLimits,
        messagesPerCommit: random.pick([1, 3, 7, 42]),
        mend: () => void (judge.isMended = true),
        watch: (report) => void (judge.report = report),
      };
    },
  };
}

class Judge {
  readonly definition: ConvoyDefinition;
  report: Report = () => undefined;
  /** What fails for good is rejected from now on: every history has to come to its end. */
  isMended = false;
  readonly #inner: ConvoyDefinition;
  readonly #keys = new Map<string, string>();

  constructor(inner: ConvoyDefinition) {
    this.#inner = inner;
    this.definition = {
      ...inner,
      apply: (state, message, context) => this.#apply(state, message, context),
      effect: inner.effect && ((message, context) => this.#effect(message, context)),
    };
  }

  #apply(state: unknown, message: Message<unknown>, context: ApplyContext): unknown {
    const first = this.#attempt(state, message, context);
    const second = elsewhere(() => this.#attempt(state, message, context));
    if (!isDeepStrictEqual(first.seen, second.seen)) {
      const [one, other] = [first, second].map(({ seen }) => shortened(seen));
      this.#say('purity', message, `apply came to ${one}, and again to ${other}`);
    }
    const place = 'error' in first ? undefined : unsaved(first.state, 'state');
    if (place !== undefined) this.#say('json', message, `${place}, which JSON does not keep`);
    if ('error' in first || place !== undefined) {
      if (!this.isMended) throw 'error' in first ? first.error : new TypeError(place);
      context.reject('it failed for good');
      return state;
    }
    for (const call of first.calls) call(context);
    return first.state;
  }

  /** One run on copies; what it asked of its context is done once, when it counts. */
  #attempt(state: unknown, message: Message<unknown>, context: ApplyContext) {
    const calls: ((context: ApplyContext) => void)[] = [];
    const asked: unknown[] = [];
    const note = (name: string, args: unknown[], call: (context: ApplyContext) => void): void => {
      asked.push([name, ...structuredClone(args)]);
      calls.push(call);
    };
    const recorder: ApplyContext = {
      ...context,
      emit: (type, body) => note('emit', [type, body], (to) => to.emit(type, body)),
      reject: (reason) => note('reject', [reason], (to) => to.reject(reason)),
      complete: () => note('complete', [], (to) => to.complete()),
    };
    try {
      const next = this.#inner.apply(structuredClone(state), structuredClone(message), recorder);
      return { state: next, calls, seen: { state: next, asked } };
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return { error, calls: [], seen: { failed: reason } };
    }
  }

  /** In place of the definition's own, which reaches the outside world: comes to undefined. */
  async #effect(message: Message<unknown>, context: EffectContext): Promise<undefined> {
    const name = `${message.key}\n${message.id}`;
    const before = this.#keys.get(name) ?? context.idempotencyKey;
    this.#keys.set(name, before);
    if (before !== context.idempotencyKey)
      this.#say('idempotency', message, `the key was ${before}, and is ${context.idempotencyKey}`);
  }

  #say(rule: string, { id, key, position }: Message<unknown>, fact: string): void {
    this.report({ oracle: 'trial', rule, message: `message '${id}': ${fact}`, key, position });
  }
}

/** As if it ran at another time and on another machine: the clock is an hour and more ahead. */
function elsewhere<Result>(work: () => Result): Result {
  const RealDate = globalThis.Date;
  const realRandom = Math.random;
  const ahead = (): number => RealDate.now() + 3_723_004;
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, args: [] | [number]) =>
      args.length === 0 ? new target(ahead()) : new target(...args),
    get: (target, name): unknown => (name === 'now' ? ahead : Reflect.get(target, name)),
  });
  Math.random = () => 0.123_456_789;
  try {
    return work();
  } finally {
    globalThis.Date = RealDate;
    Math.random = realRandom;
  }
}

/** Where a value is something that JSON has no word for; undefined: nowhere. */
function unsaved(value: unknown, path: string): string | undefined {
  switch (typeof value) {
    case 'number':
      return Number.isFinite(value) ? undefined : `${path} is ${value}`;
    case 'bigint':
    case 'function':
    case 'symbol':
      return `${path} is a ${typeof value}`;
    case 'undefined':
      return path.endsWith(']') || path === 'state' ? `${path} is undefined` : undefined;
    case 'object':
      return value === null ? undefined : unsavedIn(value, path);
    default:
      return undefined;
  }
}

function unsavedIn(value: object, path: string): string | undefined {
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) {
      const place = unsaved(item, `${path}[${i}]`);
      if (place !== undefined) return place;
    }
    return undefined;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null)
    return `${path} is a ${value.constructor.name}`;
  for (const [name, item] of Object.entries(value)) {
    const place = unsaved(item, `${path}.${name}`);
    if (place !== undefined) return place;
  }
  return undefined;
}

function shortened(value: unknown): string {
  const text = JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'bigint' ? `${part}n` : part,
  );
  return text.length > 160 ? `${text.slice(0, 160)}…` : text;
}
