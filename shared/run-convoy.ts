// runConvoy: a definition run over an array of messages, with the very code that settles them in
// Azure and nothing else: no broker, no store, no clock. For the tests of a convoy.
import { isoInstant } from './clock.ts';
import { messageOf } from './convoy/apply.ts';
import type { ConvoyDefinition, Message } from './convoy/definition.ts';
import type { EffectOutcome, SettleInput } from './convoy/draft.ts';
import { type Limits, defaultLimits } from './convoy/outputs.ts';
import {
  type Admitted,
  type ClosedWindow,
  type Hold,
  type OpenWindow,
  type Output,
  type Progress,
  type Settlement,
  initialProgress,
} from './convoy/state.ts';
import { type Settled, settle } from './convoy/step.ts';
import { hasHeldWork, positionsToLoad } from './convoy/take.ts';
import { toolsAt } from './engine/tools.ts';
import { ConvoyError, reasonOf } from './errors.ts';

/** What a sender would send; what is left out gets a sensible value. */
export interface TestMessage {
  /** Default `m<position>`. A repeated id is a duplicate: admitted once. */
  id?: string;
  type?: string;
  body?: unknown;
  /** ISO-8601 or epoch milliseconds. Default: one second after the message before. */
  occurredAt?: string | number;
  senderPosition?: number;
  laneKey?: string;
  /** Default: the definition's version. */
  schemaVersion?: number;
}

export interface RunOptions {
  key?: string;
  /** Stands for the effect: its result, or a throw = a failed attempt. Default: no result. */
  effect?(message: Message<unknown>): unknown;
  /** Now, in epoch milliseconds; gaps are judged by it. Default: 2026-01-01. */
  now?: number;
  /** Go on from here instead of from the initial state. */
  progress?: Progress;
  /** Messages per commit at most. The result does not depend on it. */
  perCommit?: number;
  limits?: Partial<Limits>;
}

export interface RunResult {
  state: unknown;
  /** In the order of settlement. */
  settlements: (Settlement & { type: string })[];
  outputs: { type: string; body: unknown; position: number; n: number }[];
  /** As they were last emitted. */
  closedWindows: ClosedWindow[];
  openWindows: OpenWindow[];
  /** `kind: 'none'` unless the key stopped. */
  hold: Hold;
  /** Positions set aside, and positions that wait for a gap or in a parked lane. */
  parked: number[];
  waiting: number[];
  progress: Progress;
  /** Most operations that one commit needed, and how many commits there were. */
  operationsMax: number;
  commits: number;
}

const startMs = Date.UTC(2026, 0, 1);
const turnsMax = 1_000_000;
/** A turn that settles nothing has still moved when one of these is another. */
const moving = ['cursor', 'nextSender', 'taken', 'healing', 'laneParked'] as const;

/** Throws ConvoyError CVY_ENVELOPE for a message that no sender could send. */
export function runConvoy(
  definition: ConvoyDefinition,
  messages: readonly TestMessage[],
  options: RunOptions = {},
): RunResult {
  const run = new Run(definition, messages, options);
  run.toTheEnd();
  return run.result();
}

class Run {
  readonly #definition: ConvoyDefinition;
  readonly #options: RunOptions;
  readonly #admitted: Admitted[];
  readonly #limits: Limits;
  readonly #windows = new Map<string, ClosedWindow>();
  readonly #settlements: Settlement[] = [];
  readonly #outputs: Output[] = [];
  #progress: Progress;
  #operationsMax = 0;
  #commits = 0;

  constructor(definition: ConvoyDefinition, messages: readonly TestMessage[], options: RunOptions) {
    this.#definition = definition;
    this.#options = options;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#admitted = admittedOf(definition, messages);
    const { initialState, version } = definition;
    const fresh = initialProgress(initialState, 0, version);
    this.#progress = options.progress ?? fresh;
  }

  toTheEnd(): void {
    for (let turns = 0; turns < turnsMax; turns += 1) {
      const before = this.#progress;
      const turn = this.#turn();
      this.#take(turn);
      const { hold } = turn.progress;
      const hasMoved =
        turn.settlements.length > 0 ||
        turn.closed.length > 0 ||
        moving.some((field) => turn.progress[field] !== before[field]);
      if (hold.kind !== 'retrying' && (hold.kind !== 'none' || !hasMoved)) return;
    }
    throw new ConvoyError('CVY_INVARIANT', 'the run does not end');
  }

  /** One commit, with everything that it asks for. */
  #turn(): Settled {
    const definition = this.#definition;
    const progress = this.#progress;
    const { cursor } = progress;
    const perCommit = this.#options.perCommit ?? 42;
    const messages = hasHeldWork(definition, progress)
      ? []
      : this.#admitted.slice(cursor, cursor + perCommit);
    const run = { run: messages, limit: perCommit };
    const held = new Map(
      positionsToLoad(definition, progress, run).flatMap((position) => {
        const admitted = this.#admitted[position - 1];
        return admitted === undefined ? [] : [[position, admitted] as const];
      }),
    );
    const atTail = cursor + messages.length === this.#admitted.length;
    return this.#settled({ messages, held, atTail });
  }

  #settled(load: Pick<SettleInput, 'messages' | 'held' | 'atTail'>): Settled {
    const key = this.#options.key ?? 'key';
    const closedWindows = new Map<string, ClosedWindow[]>();
    let effect: EffectOutcome | undefined;
    for (;;) {
      const settled = settle({
        convoy: this.#definition.name,
        key,
        definition: this.#definition,
        progress: this.#progress,
        ...load,
        closedWindows,
        effect,
        limits: this.#limits,
        tools: toolsAt(this.#options.now ?? startMs),
      });
      const { needs, effectFor } = settled;
      for (const need of needs) closedWindows.set(need.id, this.#closedWindowsOf(need));
      if (effectFor !== undefined) {
        effect = this.#effect(
          messageOf({ key, progress: this.#progress }, effectFor.admitted, effectFor.body),
        );
      } else if (needs.length === 0) return settled;
    }
  }

  #closedWindowsOf(need: Settled['needs'][number]): ClosedWindow[] {
    const touches = (w: ClosedWindow) =>
      need.isSession ? w.start <= need.end && w.end >= need.start : w.start === need.start;
    const found = [...this.#windows.values()].filter((w) => w.window === need.window && touches(w));
    return found.sort((a, b) => a.start - b.start);
  }

  #effect(message: Message<unknown>): EffectOutcome {
    const { position } = message;
    try {
      return { position, kind: 'done', result: this.#options.effect?.(message) };
    } catch (error) {
      return { position, kind: 'failed', code: 'CVY_EFFECT', reason: reasonOf(error) };
    }
  }

  #take(turn: Settled): void {
    this.#progress = turn.progress;
    this.#settlements.push(...turn.settlements);
    this.#outputs.push(...turn.outputs);
    for (const { window, start } of turn.gone) this.#windows.delete(`${window}:${start}`);
    for (const window of turn.closed) this.#windows.set(`${window.window}:${window.start}`, window);
    const perMessage = turn.settlements.reduce((n, { healed }) => n + (healed ? 3 : 2), 0);
    const outboxItems = Math.ceil(turn.outputs.length / this.#limits.outputsPerItem);
    const windows = turn.closed.length + turn.gone.length;
    const operations = 1 + perMessage + turn.stayedParked.length + windows + outboxItems;
    this.#operationsMax = Math.max(this.#operationsMax, operations);
    if (operations > 1) this.#commits += 1;
  }

  result(): RunResult {
    const progress = this.#progress;
    const typeOf = (position: number): string => this.#admitted[position - 1]?.type ?? '';
    return {
      state: progress.state,
      settlements: this.#settlements.map((s) => ({ ...s, type: typeOf(s.position) })),
      outputs: this.#outputs.map(({ type, bodyText, position, n }) => {
        return { type, body: JSON.parse(bodyText) as unknown, position, n };
      }),
      closedWindows: [...this.#windows.values()],
      openWindows: progress.openWindows,
      hold: progress.hold,
      parked: progress.parked,
      waiting: progress.taken.map(({ position }) => position),
      progress,
      operationsMax: this.#operationsMax,
      commits: this.#commits,
    };
  }
}

/** Repeats are left out, as admission does; positions count what is admitted. */
function admittedOf(definition: ConvoyDefinition, messages: readonly TestMessage[]): Admitted[] {
  const seen = new Set<string>();
  const admitted: Admitted[] = [];
  let occurredAt = startMs;
  for (const message of messages) {
    const position = admitted.length + 1;
    const id = message.id ?? `m${position}`;
    if (seen.has(id)) continue;
    seen.add(id);
    occurredAt = instantOf(message.occurredAt) ?? occurredAt + 1000;
    const { senderPosition, laneKey } = message;
    admitted.push({
      position,
      messageId: id,
      type: message.type ?? 'message',
      bodyText: JSON.stringify(message.body ?? {}),
      schemaVersion: message.schemaVersion ?? definition.version,
      ...(senderPosition !== undefined && { senderPosition }),
      ...(laneKey !== undefined && { laneKey }),
      occurredAt,
      enqueuedAt: occurredAt,
    });
  }
  return admitted;
}

function instantOf(given: string | number | undefined): number | undefined {
  if (given === undefined || typeof given === 'number') return given;
  const at = Date.parse(given);
  if (!Number.isNaN(at)) return at;
  const example = isoInstant(startMs);
  throw new ConvoyError('CVY_ENVELOPE', `occurredAt '${given}' is no instant such as ${example}`);
}
