// PURE. How a definition splits its keys: generation 1, 2, 3 … of lanes, each with a count and a
// queue. Generation 0 is the unsplit key. Append, never edit: what was announced stays true.
import type { ConvoyOptions } from './definition.ts';
import type { StandardSchema } from './schema.ts';

/** One generation: a number of lanes, or with a queue of its own; `{ count: 1, queue }` moves the
 *  key without splitting it. */
export type LaneGeneration = number | { readonly count: number; readonly queue?: string };

/** The generations of a key, oldest first; a number is a list of one. */
export type Lanes = number | readonly LaneGeneration[];

/** A generation with its default filled in. */
export interface PlannedGeneration {
  readonly count: number;
  readonly queue: string;
}

/** Either for every key (`all`) or for the named ones only (`keys`). */
export interface LanePlan {
  readonly all: readonly PlannedGeneration[];
  readonly keys: Readonly<Record<string, readonly PlannedGeneration[]>>;
}

/** A lane as `merge` sees it. */
export interface LaneState<State = unknown> {
  /** 0 = the key before it was split. */
  readonly generation: number;
  readonly lane: number;
  readonly state: State;
}

const lanesMax = 64;
const generationsMax = 16;
const namedKeysMax = 200;
export const laneRefreshSecondsDefault = 60;

type Options = Pick<
  ConvoyOptions<StandardSchema, unknown, unknown>,
  'lanes' | 'merge' | 'laneRefreshSeconds'
>;

/** Every fault of the lanes of a definition, each with what to change. */
export function laneFaultsOf({ lanes, merge, laneRefreshSeconds: seconds }: Options): string[] {
  const faults = listsOf(lanes).flatMap(([field, list]) => listFaultsOf(field, list));
  const named = isRecord(lanes) ? Object.keys(lanes) : [];
  if (named.length > namedKeysMax) faults.push(`lanes: at most ${namedKeysMax} named keys`);
  if (named.includes('')) faults.push('lanes: a key has at least one character');
  if (merge !== undefined && typeof merge !== 'function')
    faults.push('merge: must be a function of the lanes');
  for (const [field, given] of Object.entries({ merge, laneRefreshSeconds: seconds })) {
    if (given !== undefined && lanes === undefined)
      faults.push(`${field}: there are no lanes; leave it out`);
  }
  if (seconds !== undefined && !isWhole(seconds, 5, 3600))
    faults.push('laneRefreshSeconds: must be a whole number from 5 to 3600');
  return faults;
}

/** Generations of every key, and of the named ones. Call it for lanes without faults. */
export function lanePlanOf(lanes: Options['lanes'], queue: string): LanePlan {
  const planned = (list: Lanes): PlannedGeneration[] =>
    (typeof list === 'number' ? [list] : list).map((one) =>
      typeof one === 'number'
        ? { count: one, queue }
        : { count: one.count, queue: one.queue ?? queue },
    );
  if (lanes === undefined) return { all: [], keys: {} };
  if (!isRecord(lanes)) return { all: planned(lanes), keys: {} };
  const keys = Object.entries(lanes).map(([key, list]) => [key, planned(list)] as const);
  return { all: [], keys: Object.fromEntries(keys) };
}

/** Every queue that a definition receives from, its own first. */
export function queuesOf(definition: { queue: string; lanes: LanePlan }): string[] {
  const { queue, lanes } = definition;
  const generations = [...lanes.all, ...Object.values(lanes.keys).flat()];
  return [...new Set([queue, ...generations.map((generation) => generation.queue)])];
}

function isRecord(lanes: Options['lanes']): lanes is Readonly<Record<string, Lanes>> {
  return typeof lanes === 'object' && lanes !== null && !Array.isArray(lanes);
}

function listsOf(lanes: Options['lanes']): [field: string, list: unknown][] {
  if (lanes === undefined) return [];
  if (!isRecord(lanes)) return [['lanes', lanes]];
  return Object.entries(lanes).map(([key, list]) => [`lanes['${key}']`, list]);
}

function listFaultsOf(field: string, given: unknown): string[] {
  const list: unknown = typeof given === 'number' ? [given] : given;
  if (!Array.isArray(list)) return [`${field}: must be a number of lanes or a list of generations`];
  const faults: string[] = [];
  if (list.length === 0 || list.length > generationsMax)
    faults.push(`${field}: must have 1 to ${generationsMax} generations`);
  list.forEach((one: unknown, i) => {
    const place = typeof given === 'number' ? field : `${field}[${i}]`;
    const generation = typeof one === 'object' && one !== null ? one : { count: one };
    for (const name of Object.keys(generation)) {
      if (name !== 'count' && name !== 'queue')
        faults.push(`${place}.${name}: unknown; allowed: count, queue`);
    }
    if (!isWhole(Reflect.get(generation, 'count'), 1, lanesMax))
      faults.push(`${place}: must be 1 to ${lanesMax} lanes`);
    const queue: unknown = Reflect.get(generation, 'queue');
    if (queue !== undefined && (typeof queue !== 'string' || queue.length === 0))
      faults.push(`${place}.queue: must be the name of a queue`);
  });
  return faults;
}

function isWhole(value: unknown, min: number, max: number): boolean {
  return Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max;
}
