// PURE. What an adopter writes: defineConvoy({...}). No Azure word in it; testable with an array
// (shared/run-convoy.ts).
//
// Owns the vocabulary of a definition and its defaults; definition-check.ts lists every fault.
import { checked, registryFaultsOf } from './definition-check.ts';
import { shown } from './definition-shape.ts';
import {
  type LanePlan,
  type LaneState,
  type Lanes,
  lanePlanOf,
  laneRefreshSecondsDefault,
} from './lane-plan.ts';
import type { BodyOf, StandardSchema } from './schema.ts';
import type { LanePlace } from './state.ts';
import type { CheckedWindow, WindowDefinition } from './window-definition.ts';

/** One message as the handler sees it. Instants are epoch milliseconds. */
export interface Message<Body> {
  /** The sender's business id: the dedup key. */
  id: string;
  key: string;
  type: string;
  /** What the upcasters and the schema made of the body. */
  body: Body;
  /** Convoy's own number of the message in its key: 1, 2, 3 … */
  position: number;
  senderPosition?: number;
  laneKey?: string;
  /** In a lane of a split key: which one. `key` is the whole key then. */
  lane?: LanePlace;
  occurredAt: number;
  enqueuedAt: number;
}

/** What `apply` may do besides returning the next state. */
export interface ApplyContext<Effect = unknown> {
  /** What `effect` resolved with for this message; undefined in a convoy without effect. */
  readonly effect: Effect | undefined;
  /** Sends an output to the queue `<convoy>-out`, in order, with a deterministic message id. */
  emit(type: string, body: unknown): void;
  /** A business refusal: recorded, not retried; the state stays as it was before the message. */
  reject(reason: string): void;
  /** The convoy's business has ended: closes all open windows; `afterComplete` rules what comes. A
   *  message that is rejected completes nothing. */
  complete(): void;
}

/** What `effect` is told. */
export interface EffectContext<State = unknown> {
  /** The same for every attempt at this message, in every epoch and after a replay. */
  readonly idempotencyKey: string;
  /** Aborted when `effectSeconds` have passed. */
  readonly signal: AbortSignal;
  /** The state before the message. */
  readonly state: State;
  /** 1 at the first attempt. */
  readonly attempt: number;
}

export interface RetryDefinition {
  /** How often a throwing handler is tried in all, 1-100. Default 1. */
  attempts?: number;
  firstDelaySeconds?: number;
  factor?: number;
  maxDelaySeconds?: number;
}

export interface GapDefinition {
  /** How long a message waits for those before it, after the backlog is taken. Default 30. */
  waitSeconds?: number;
  /** What follows the wait: stop the key until an operator acts, or go on without. Default
   *  `block`. */
  onTimeout?: 'block' | 'continue';
  /** How many messages may wait at most, 1-5000; when more would, `onTimeout` happens at once.
   *  Default 1000. */
  messagesMax?: number;
}

export interface ConvoyOptions<Schema extends StandardSchema, State, Effect = undefined> {
  /** `[a-z][a-z0-9-]{0,29}`. */
  name: string;
  /** The input queue. Default: the name. */
  queue?: string;
  schema: Schema;
  initialState: State;
  /** Optional work with the outside world, before the message is applied: one message at a time,
   *  committed before the next; at least once, see `idempotencyKey`. A message that `apply`
   *  rejects without it has no effect. A rejection is a failure, see `retry`. */
  effect?(message: Message<BodyOf<Schema>>, context: EffectContext<State>): Promise<Effect>;
  /** Time limit of one attempt at `effect`, 1-300 s. Default 30. */
  effectSeconds?: number;
  /** Pure: the next state from the state and one message. A throw is a failure, see `retry`. In a
   *  convoy with `effect` it runs twice: first without its result, to see whether it rejects. */
  apply(state: State, message: Message<BodyOf<Schema>>, context: ApplyContext<Effect>): State;
  /** Durable timers; the key stays in order meanwhile. */
  retry?: RetryDefinition;
  /** After the last attempt: `block` (default) stops the key; `park` sets the message aside;
   *  `park-lane` sets it and all that follow aside, until they are replayed in order. */
  onPoison?: 'block' | 'park' | 'park-lane';
  /** `broker` (default): as they were enqueued. `sender`: by senderPosition 1, 2, 3 … */
  order?: 'broker' | 'sender';
  gap?: GapDefinition;
  /** What becomes of a message after `context.complete()`. Default `park`. */
  afterComplete?: 'reopen' | 'park' | 'reject';
  windows?: readonly WindowDefinition<State, BodyOf<Schema>>[];
  /** Version of message bodies and of the state, 1, 2, 3 … Default 1. */
  version?: number;
  /** From a body of version n to one of n + 1; each version below `version` has one. */
  upcast?: Readonly<Record<number, (body: unknown) => unknown>>;
  /** From a state of version n to one of n + 1; a version without one keeps the state as it is. */
  migrate?: Readonly<Record<number, (state: unknown) => unknown>>;
  /** Splits a hot key into lanes by the `laneKey` of its messages; order holds inside a lane. Each
   *  entry is a generation: append, never edit. A record splits only the keys it names. */
  lanes?: Lanes | Readonly<Record<string, Lanes>>;
  /** The state of a split key for reads, from the lanes of all its generations: what a drained
   *  generation has summed up stays where it is. */
  merge?(lanes: readonly LaneState<State>[]): unknown;
  /** How long senders may go by a layout they have read, 5-3600 s. Default 60. */
  laneRefreshSeconds?: number;
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
  readonly effect:
    ((message: Message<unknown>, context: EffectContext) => Promise<unknown>) | undefined;
  readonly effectSeconds: number;
  readonly retry: Required<RetryDefinition>;
  readonly onPoison: 'block' | 'park' | 'park-lane';
  readonly order: 'broker' | 'sender';
  readonly gap: Required<GapDefinition>;
  readonly afterComplete: 'reopen' | 'park' | 'reject';
  readonly windows: readonly CheckedWindow[];
  readonly version: number;
  readonly upcast: Readonly<Record<number, (body: unknown) => unknown>>;
  readonly migrate: Readonly<Record<number, (state: unknown) => unknown>>;
  readonly lanes: LanePlan;
  readonly merge: ((lanes: readonly LaneState[]) => unknown) | undefined;
  readonly laneRefreshSeconds: number;
  readonly lingerSeconds: number;
  readonly retentionSeconds: number;
  readonly dedupSeconds: number;
}

/** Lists every fault of a definition and what to change. */
export class DefinitionError extends Error {
  readonly code = 'CVY_DEFINITION';
  readonly faults: readonly string[];

  constructor(name: string, faults: readonly string[]) {
    super(`CVY_DEFINITION: ${name} is wrong:\n  - ${faults.join('\n  - ')}`);
    this.name = 'DefinitionError';
    this.faults = faults;
  }
}

/** Throws DefinitionError naming every convoy of a registry that is none, and every name or queue
 *  that two of them claim: two would take each other's messages. */
export function assertRegistry(convoys: unknown): asserts convoys is readonly ConvoyDefinition[] {
  const faults = registryFaultsOf(convoys);
  if (faults.length > 0) throw new DefinitionError('the registry', faults);
}

const daySeconds = 86_400;

/** Checks a definition and fills in its defaults. Throws DefinitionError with all faults. */
export function defineConvoy<Schema extends StandardSchema, State, Effect = undefined>(
  options: ConvoyOptions<Schema, State, Effect>,
): ConvoyDefinition {
  const { options: erased, faults } = checked(options);
  if (faults.length > 0) throw new DefinitionError(`convoy '${shown(erased.name)}'`, faults);
  return {
    name: erased.name,
    queue: erased.queue ?? erased.name,
    schema: erased.schema,
    initialState: erased.initialState,
    apply: erased.apply,
    effect: erased.effect,
    effectSeconds: erased.effectSeconds ?? 30,
    retry: { attempts: 1, firstDelaySeconds: 1, factor: 2, maxDelaySeconds: 300, ...erased.retry },
    onPoison: erased.onPoison ?? 'block',
    order: erased.order ?? 'broker',
    gap: { waitSeconds: 30, onTimeout: 'block', messagesMax: 1000, ...erased.gap },
    afterComplete: erased.afterComplete ?? 'park',
    windows: (erased.windows ?? []).map(checkedWindow),
    version: erased.version ?? 1,
    upcast: erased.upcast ?? {},
    migrate: erased.migrate ?? {},
    lanes: lanePlanOf(erased.lanes, erased.queue ?? erased.name),
    merge: erased.merge,
    laneRefreshSeconds: erased.laneRefreshSeconds ?? laneRefreshSecondsDefault,
    lingerSeconds: erased.lingerSeconds ?? 5,
    retentionSeconds: erased.retentionSeconds ?? 7 * daySeconds,
    dedupSeconds: erased.dedupSeconds ?? 7 * daySeconds,
  };
}

function checkedWindow(window: WindowDefinition<unknown, unknown>): CheckedWindow {
  const { kind } = window;
  const seconds = kind === 'session' ? window.gapSeconds : window.seconds;
  const { calendar, rollUp } = window;
  return {
    name: window.name,
    kind,
    seconds: seconds ?? 0,
    everySeconds: window.everySeconds ?? seconds ?? 0,
    calendar: calendar && { unit: 'day', startsAt: '00:00', ...calendar },
    value: window.value,
    reduce: window.reduce,
    graceSeconds: window.graceSeconds ?? 0,
    quietSeconds: window.quietSeconds,
    late: window.late ?? 'amend',
    earlyEvery: window.earlyEvery,
    rollUp: rollUp && { delaySeconds: rollUp.delaySeconds ?? 60 },
  };
}
