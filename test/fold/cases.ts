// Cases: a definition with its policies, and a script of what senders, operators and time do. Plain
// data, so that a failing one prints, shrinks and can be kept (regressions.ts).
import fc from 'fast-check';
import { z } from 'zod';
import {
  type ConvoyDefinition,
  type Message,
  defineConvoy,
} from '../../shared/convoy/definition.ts';
import type { WindowDefinition } from '../../shared/convoy/window-definition.ts';
import type { RefEffect, RefMessage } from './reference-types.ts';

export interface WindowSpec {
  kind: 'tumbling' | 'hopping' | 'session' | 'calendar';
  late: 'amend' | 'drop' | 'next' | 'park';
  grace: number;
  early: number;
  reduces: boolean;
  value: 'n' | 'bigint' | 'some' | 'before';
}

export interface DefinitionSpec {
  order: 'broker' | 'sender';
  gapContinues: boolean;
  gapMax: number;
  onPoison: 'block' | 'park' | 'park-lane';
  attempts: number;
  hasEffect: boolean;
  afterComplete: 'reopen' | 'park' | 'reject';
  windows: WindowSpec[];
  isQuiet: boolean;
  version: number;
  linger: number;
  keepsShort: boolean;
  parkedMax: number;
}

export const kinds = [
  ...(['plain', 'silent', 'many', 'reject', 'throw', 'broken', 'complete'] as const),
  ...(['rejectComplete', 'notJson', 'schema', 'badValue', 'badEmit', 'huge'] as const),
  ...(['effectFails', 'effectHangs', 'effectBroken', 'effectRejects'] as const),
];
export type Kind = (typeof kinds)[number];

export interface MessageSpec {
  key: number;
  kind: Kind;
  /** Event time in ticks. */
  at: number;
  /** The sender's position; 0 = none. */
  sp: number;
  version: number;
  /** Sends the id of an earlier message of the key again: so many back; 0 = a new one. */
  again: number;
}

export type Step =
  | { step: 'send'; messages: MessageSpec[] }
  /** The operator's n-th possible action, on each key that has one. */
  | { step: 'act'; choice: number }
  | { step: 'silence' }
  /** What was broken works from here on. */
  | { step: 'mend' }
  /** The next version of the definition is deployed. */
  | { step: 'deploy' };

export interface Case {
  spec: DefinitionSpec;
  /** Seconds of one tick of event time. */
  tick: number;
  steps: Step[];
}

export const startMs = Date.UTC(2026, 2, 27); // the clocks of Berlin change on the 29th
export const silenceMs = 10 * 86_400_000;
export const convoyName = 'folding';

export const plainSpec: DefinitionSpec = {
  ...{ order: 'broker', gapContinues: false, gapMax: 1_000, onPoison: 'block', attempts: 1 },
  ...{ hasEffect: false, afterComplete: 'park', windows: [], isQuiet: true, version: 1 },
  ...{ linger: 5, keepsShort: false, parkedMax: 1_000 },
};

export const plainWindow: WindowSpec = {
  ...{ kind: 'tumbling', late: 'amend', grace: 0, early: 0, reduces: false, value: 'n' },
};

const schema = z.object({ n: z.number(), kind: z.string(), step: z.string().optional() });
type Body = z.infer<typeof schema>;

interface State {
  sum: number;
  ids: string[];
  version: number;
}

/** What the code of a definition looks at besides its arguments. */
export interface Surroundings {
  isMended: boolean;
}

/** The definition of a version; `tick` scales its windows. */
export function definitionOf(
  { spec, tick }: Pick<Case, 'spec' | 'tick'>,
  version: number,
  world: Surroundings,
): ConvoyDefinition {
  const keep = spec.keepsShort ? 2 : 1_000;
  return defineConvoy<typeof schema, State, unknown>({
    name: convoyName,
    schema,
    initialState: { sum: 0, ids: [], version },
    order: spec.order,
    ...(spec.order === 'sender' && {
      gap: {
        waitSeconds: 36_000,
        onTimeout: spec.gapContinues ? 'continue' : 'block',
        messagesMax: spec.gapMax,
      },
    }),
    onPoison: spec.onPoison,
    retry: { attempts: spec.attempts, firstDelaySeconds: 1 },
    afterComplete: spec.afterComplete,
    lingerSeconds: spec.linger,
    retentionSeconds: keep * 86_400,
    dedupSeconds: 86_400,
    windows: spec.windows.map((window, i) => windowOf(window, { i, tick, isQuiet: spec.isQuiet })),
    version,
    upcast: { ...(version > 1 && { 1: upcast }), ...(version > 2 && { 2: upcast }) },
    migrate: { ...(version > 1 && { 1: migrate }), ...(version > 2 && { 2: migrate }) },
    ...(spec.hasEffect && {
      effectSeconds: 10,
      effect: (message: Message<Body>, { attempt }: { attempt: number }) =>
        runEffect(effectOf(message, attempt, world)),
    }),
    apply: (state, message, context) => applied({ state, message, version, world }, context),
  });
}

const upcast = (body: unknown): unknown => ({ ...(body as Body), step: 'upcast' });

function migrate(state: unknown): unknown {
  const { version, ...rest } = state as State;
  return { ...rest, version: version + 1, ids: [...rest.ids, `v${version + 1}`] };
}

function applied(
  call: { state: State; message: Message<Body>; version: number; world: Surroundings },
  context: Parameters<ConvoyDefinition['apply']>[2],
): State {
  const { state, message, version, world } = call;
  const { kind, n, step } = message.body;
  state.sum += n; // in place on purpose: a careless handler must not matter
  if (kind === 'throw' || (kind === 'broken' && !world.isMended)) throw new Error(`no ${kind}`);
  if (kind === 'badEmit') context.emit('window.closed', {});
  const emits = kind === 'silent' ? 0 : kind === 'many' ? 25 : kind === 'huge' ? 7 : 1;
  const fill = kind === 'huge' ? 'x'.repeat(230_000) : '';
  for (let i = 0; i < emits; i += 1) context.emit('noted', { i, sum: state.sum, n, fill });
  if (kind === 'complete' || kind === 'rejectComplete') context.complete();
  const isRefused = kind === 'effectRejects' && context.effect !== undefined;
  if (kind === 'reject' || kind === 'rejectComplete' || isRefused) context.reject(`refused ${n}`);
  if (state.version !== version) throw new Error(`a state of version ${state.version}`);
  const effect = context.effect === undefined ? '' : `=${JSON.stringify(context.effect)}`;
  return { ...state, ids: [...state.ids, `${message.id}${step ?? ''}${effect}`] };
}

/** What an effect comes to; `undefined` = it never answers. */
function effectOf(
  { body, id }: Message<Body>,
  attempt: number,
  world: Surroundings,
): RefEffect | 'silent' {
  const fails = { kind: 'failed', code: 'CVY_EFFECT' } as const;
  if (body.kind === 'effectFails' && attempt < 3) return fails;
  if (body.kind === 'effectBroken' && !world.isMended) return fails;
  if (body.kind === 'effectHangs' && attempt < 2) return 'silent';
  return { kind: 'done', result: { receipt: `${id}#${attempt}` } };
}

async function runEffect(effect: ReturnType<typeof effectOf>): Promise<unknown> {
  if (effect === 'silent') return new Promise(() => undefined);
  if (effect?.kind === 'failed') throw new Error('no answer');
  return effect?.result;
}

/** The same for the reference. */
export const refEffect =
  (world: Surroundings) =>
  (message: Message<unknown>, attempt: number): RefEffect => {
    const effect = effectOf(message as Message<Body>, attempt, world);
    return effect === 'silent' ? { kind: 'failed', code: 'CVY_EFFECT_TIMEOUT' } : effect;
  };

function windowOf(
  spec: WindowSpec,
  { i, tick, isQuiet }: { i: number; tick: number; isQuiet: boolean },
): WindowDefinition<State, Body> {
  const shape = {
    tumbling: { kind: 'tumbling', seconds: 30 * tick },
    hopping: { kind: 'hopping', seconds: 40 * tick, everySeconds: 15 * tick },
    session: { kind: 'session', gapSeconds: 10 * tick },
    calendar: {
      kind: 'tumbling',
      calendar: { timeZone: 'Europe/Berlin', startsAt: '14:00' },
    },
  } as const;
  return {
    name: `${spec.kind}-${i}`,
    ...shape[spec.kind],
    late: spec.late,
    graceSeconds: spec.grace * tick,
    ...(isQuiet && { quietSeconds: 3 * 86_400 }),
    ...(spec.early > 0 && { earlyEvery: spec.early }),
    ...(spec.reduces && {
      reduce: {
        initial: [],
        add: (list: unknown, message: Message<Body>) => [...(list as string[]), message.id],
        merge: (a: unknown, b: unknown) => [...(a as string[]), ...(b as string[])],
      },
    }),
    value(message, before) {
      const { n, kind } = message.body;
      if (kind === 'badValue') return Number.NaN;
      if (spec.value === 'bigint') return 10n ** 20n + BigInt(n);
      if (spec.value === 'some') return n % 3 === 0 ? undefined : n;
      return spec.value === 'before' ? before.ids.length : n;
    },
  };
}

/** The messages of a case as they arrive: per key numbered m1, m2 … */
export class Senders {
  readonly #sent = new Map<string, RefMessage[]>();
  readonly #case: Case;

  constructor(given: Case) {
    this.#case = given;
  }

  message(given: MessageSpec, now: number): { key: string; message: RefMessage } {
    const key = `k${given.key}`;
    const sent = this.#sent.get(key) ?? [];
    this.#sent.set(key, sent);
    const again = given.again > 0 ? sent.at(-given.again) : undefined;
    if (again !== undefined) return { key, message: again };
    const n = sent.length + 1;
    const { kind, at, sp, version } = given;
    const isBad = kind === 'notJson';
    const body = { n: kind === 'schema' ? 'none' : n, kind };
    const message: RefMessage = {
      messageId: `m${n}`,
      type: kind,
      ...(isBad
        ? { bodyBase64: 'eA==', fault: { code: 'CVY_BODY_NOT_JSON', reason: 'not JSON' } }
        : { bodyText: JSON.stringify(body) }),
      schemaVersion: Math.min(version, 3),
      ...(sp > 0 && { senderPosition: sp }),
      occurredAt: startMs + at * this.#case.tick * 1000,
      enqueuedAt: now,
    };
    sent.push(message);
    return { key, message };
  }
}

const windowSpec: fc.Arbitrary<WindowSpec> = fc.record({
  kind: fc.constantFrom('tumbling', 'hopping', 'session', 'session', 'calendar'),
  late: fc.constantFrom('amend', 'amend', 'drop', 'next', 'park'),
  grace: fc.constantFrom(0, 0, 20),
  early: fc.constantFrom(0, 0, 2),
  reduces: fc.boolean(),
  value: fc.constantFrom('n', 'n', 'bigint', 'some', 'before'),
});

const definitionSpec: fc.Arbitrary<DefinitionSpec> = fc.record({
  order: fc.constantFrom('broker', 'sender'),
  gapContinues: fc.boolean(),
  gapMax: fc.constantFrom(1_000, 1_000, 3),
  onPoison: fc.constantFrom('block', 'park', 'park-lane'),
  attempts: fc.constantFrom(1, 2, 3),
  hasEffect: fc.boolean(),
  afterComplete: fc.constantFrom('reopen', 'park', 'reject'),
  windows: fc.array(windowSpec, { maxLength: 2, size: 'max' }),
  isQuiet: fc.constantFrom(true, true, false),
  version: fc.constantFrom(1, 1, 2),
  linger: fc.constantFrom(5, 0),
  keepsShort: fc.constantFrom(false, true),
  parkedMax: fc.constantFrom(1_000, 1_000, 3),
});

const kind = fc.oneof(
  { weight: 14, arbitrary: fc.constantFrom<Kind[]>('plain', 'plain', 'plain', 'silent', 'many') },
  { weight: 4, arbitrary: fc.constantFrom(...kinds.filter((name) => name !== 'huge')) },
);

const messageSpec: fc.Arbitrary<MessageSpec> = fc.record({
  key: fc.constantFrom(0, 0, 1),
  kind,
  at: fc.nat({ max: 120 }),
  sp: fc.nat({ max: 12 }),
  version: fc.constantFrom(1, 1, 1, 1, 1, 1, 1, 1, 2, 3),
  again: fc.constantFrom(0, 0, 0, 0, 0, 0, 1, 2, 4),
});

/** Short arrays shrink well; as long as allowed they meet more. */
const many = { minLength: 1, maxLength: 10, size: 'max' } as const;

/** Ascending with a jitter: streams are mostly in order. */
const rising = fc
  .record({ list: fc.array(messageSpec, many), from: fc.nat(100) })
  .map(({ list, from }) => list.map((m, i) => ({ ...m, at: from + i * 4 + (m.at % 13) })));
const send = fc
  .oneof({ weight: 1, arbitrary: rising }, { weight: 1, arbitrary: fc.array(messageSpec, many) })
  .map((messages): Step => ({ step: 'send', messages }));

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: send },
  {
    weight: 4,
    arbitrary: fc
      .constantFrom(0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5)
      .map((choice): Step => ({ step: 'act', choice })),
  },
  { weight: 2, arbitrary: fc.constant<Step>({ step: 'silence' }) },
  { weight: 1, arbitrary: fc.constant<Step>({ step: 'mend' }) },
  { weight: 1, arbitrary: fc.constant<Step>({ step: 'deploy' }) },
);

/** Sender's positions that come to a whole: 1, 2, 3 … per key, a few places off, some left out. */
function withPositions(given: Case, seed: number): Case {
  if (given.spec.order === 'broker' || seed % 4 === 0) return given;
  const next = new Map<number, number>();
  const steps = given.steps.map((one): Step => {
    if (one.step !== 'send') return one;
    const messages = one.messages.map((message) => {
      if (message.again > 0) return message;
      const n = next.get(message.key) ?? 1;
      next.set(message.key, n + 1);
      // Neighbours change places; now and then one is missing.
      const swapped = n % 2 === 1 ? n + 1 : n - 1;
      const at = seed % 3 === 0 ? n : swapped;
      return { ...message, sp: (n + seed) % 11 === 0 ? 0 : at + (n > 6 && seed % 5 === 0 ? 1 : 0) };
    });
    return { step: 'send', messages };
  });
  return { ...given, steps };
}

export const caseArbitrary: fc.Arbitrary<Case> = fc
  .record({
    spec: definitionSpec,
    tick: fc.constantFrom(1, 1_200),
    first: send,
    steps: fc.array(step, { maxLength: 7, size: 'max' }),
    seed: fc.nat(1_000),
  })
  .map(({ seed, first, steps, ...given }) => {
    return withPositions({ ...given, steps: [first, ...steps] }, seed);
  });
