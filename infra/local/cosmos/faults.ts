// Faults on demand: what Azure does to clients now and then, done to those of a test.
//
// Owns:    which request meets which fault: by kind, place, count, chance.
// Leaves:  how an answer is refused or lost to server.ts, remote control to fault-port.ts.
//
// Off unless rules are given. Chance comes from the seed: the same seed and the same sequence of
// requests give the same faults. Waiting is by the clock of the server.

import { sleep, type Clock } from '../../../shared/clock.ts';
import { CosmosFault, type CosmosIntercept, type CosmosRequestInfo } from './intercept.ts';

export const faultNames = [
  'throttled',
  'unavailable',
  'timedOut',
  'retryWith',
  'reset',
  'silent',
  'slow',
] as const;

/**
 * `throttled` 429, `unavailable` 503, `timedOut` 408, `retryWith` 449, `reset` = the connection is
 * cut, `silent` = no answer for `delayMs` (default 65 s: longer than clients wait) and then cut,
 * `slow` = `delayMs` (default 1 s) later, otherwise well.
 */
export type FaultName = (typeof faultNames)[number];

export interface FaultRule {
  fault: FaultName;
  /** The operation was done before its answer was lost; without it, it was not. */
  isApplied?: boolean;
  /** Which requests; what is left out is any. */
  kinds?: readonly CosmosRequestInfo['kind'][];
  database?: string;
  container?: string;
  /** The values of the partition key; a prefix is enough. */
  partitionKey?: readonly unknown[];
  id?: string;
  /** Of the requests that fit: the first one to meet the fault, 1 by default, … */
  from?: number;
  /** … how many do, all by default, … */
  times?: number;
  /** … and with which probability each, 1 by default. */
  probability?: number;
  /** Of `silent` and `slow`. */
  delayMs?: number;
  /** Of `throttled`, 10 by default. */
  retryAfterMs?: number;
}

export interface FaultState {
  number: number;
  rule: FaultRule;
  /** Requests that fitted, and those that met the fault. */
  seen: number;
  met: number;
}

const rulesMax = 100;
const statuses = { throttled: 429, unavailable: 503, timedOut: 408, retryWith: 449 } as const;
const silentMs = 65_000;
const slowMs = 1000;

/** Rules beyond the bound, or under a number that is not there. */
export class FaultRuleError extends Error {}

function isMeant(rule: FaultRule, request: CosmosRequestInfo): boolean {
  const { kinds, database, container, partitionKey, id } = rule;
  if (kinds && !kinds.includes(request.kind)) return false;
  if (database !== undefined && database !== request.database) return false;
  if (container !== undefined && container !== request.container) return false;
  if (id !== undefined && id !== request.id) return false;
  return (partitionKey ?? []).every((value, at) => value === request.partitionKey?.[at]);
}

/** A number in 0..1 from the seed (mulberry32). */
function chances(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export class Faults {
  readonly #states: FaultState[] = [];
  readonly #chance: () => number;
  readonly #clock: Clock;
  #numbers = 0;

  constructor(options: { clock: Clock; seed?: number }) {
    this.#chance = chances(options.seed ?? 1);
    this.#clock = options.clock;
  }

  /** Adds a rule, returns its number; of several that fit a request the oldest one counts. */
  add(rule: FaultRule): number {
    if (this.#states.length >= rulesMax) {
      throw new FaultRuleError(`There are ${rulesMax} rules already.`);
    }
    this.#states.push({ number: ++this.#numbers, rule, seen: 0, met: 0 });
    return this.#numbers;
  }

  remove(number: number): void {
    const at = this.#states.findIndex((state) => state.number === number);
    if (at === -1) throw new FaultRuleError(`There is no rule ${number}.`);
    this.#states.splice(at, 1);
  }

  clear(): void {
    this.#states.length = 0;
  }

  list(): FaultState[] {
    return this.#states.map((state) => ({ ...state }));
  }

  #ruleFor(request: CosmosRequestInfo): FaultRule | undefined {
    let met: FaultRule | undefined;
    for (const state of this.#states) {
      const { rule } = state;
      if (!isMeant(rule, request)) continue;
      state.seen++;
      const { from = 1, times = Infinity, probability = 1 } = rule;
      if (met || state.seen < from || state.met >= times) continue;
      if (probability < 1 && this.#chance() >= probability) continue;
      state.met++;
      met = rule;
    }
    return met;
  }

  async #do({ fault, delayMs, retryAfterMs = 10 }: FaultRule): Promise<void> {
    if (fault === 'slow') return sleep(this.#clock, delayMs ?? slowMs);
    if (fault === 'silent') await sleep(this.#clock, delayMs ?? silentMs);
    if (fault === 'silent' || fault === 'reset') throw new CosmosFault(0, { reset: true });
    const isThrottled = fault === 'throttled';
    throw new CosmosFault(statuses[fault], isThrottled ? { retryAfterMs, substatus: 3200 } : {});
  }

  /** What the server asks; `inner` is the test's own intercept and comes first. */
  intercept(inner: CosmosIntercept = {}): CosmosIntercept {
    const afterwards = new WeakMap<CosmosRequestInfo, FaultRule>();
    return {
      before: async (request) => {
        await inner.before?.(request);
        const rule = this.#ruleFor(request);
        if (rule?.isApplied) afterwards.set(request, rule);
        else if (rule) await this.#do(rule);
      },
      after: async (request, status) => {
        await inner.after?.(request, status);
        const rule = afterwards.get(request);
        if (rule) await this.#do(rule);
      },
    };
  }
}
