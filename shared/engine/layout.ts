// The layout of a convoy's lanes: what senders may know of them, one item in the partition
// `<convoy>:`. Written by any instance that finds its definition longer; only ever appended to.
//
//   A1. A generation is dated by a second write, after the first is acknowledged: from that instant
//       on every reader gets it, and the fence counts from there.
//   A2. Stored and definition are prefixes of one another, key by key, or nobody goes on
//       (CVY_LANES). An instance with an older definition uses the longer, stored one.
//   A3. What is remembered is never too new: a generation, once dated, does not change. Where not
//       knowing a generation would be dangerous, `confirmLayout` asks for certain.
import { sleep } from '../clock.ts';
import type { ConvoyDefinition } from '../convoy/definition.ts';
import {
  type LanePlan,
  type PlannedGeneration,
  laneRefreshSecondsDefault,
} from '../convoy/lane-plan.ts';
import { ConvoyError } from '../errors.ts';
import { convoyIdOf } from '../keys.ts';
import { type Generation, hasLanes } from '../lanes.ts';
import { type LayoutItem, itemIds } from '../store/items.ts';
import { type StoreOperation, StoreUnavailable, type Versioned } from '../store/store.ts';
import type { Engine } from './ports.ts';

export type LayoutEngine = Pick<Engine, 'store' | 'clock' | 'layouts'>;

type Definition = Pick<ConvoyDefinition, 'name' | 'lanes' | 'laneRefreshSeconds'>;

const attemptsMax = 20;

/** What the store knows, read now; undefined = no lanes were ever announced. */
export async function readLayout(
  engine: LayoutEngine,
  convoy: string,
): Promise<LayoutItem | undefined> {
  const read = await engine.store.readLayout(convoy);
  if (read) engine.layouts?.set(convoy, read.item);
  return read?.item;
}

/** [A3] What this process has read before, else read now. */
export async function knownLayout(
  engine: LayoutEngine,
  convoy: string,
): Promise<LayoutItem | undefined> {
  return engine.layouts?.get(convoy) ?? readLayout(engine, convoy);
}

/** The layout for senders: announced as far as the definition goes. Throws CVY_LANES. */
export async function currentLayout(
  engine: LayoutEngine,
  definition: Definition,
): Promise<LayoutItem> {
  if (hasLanes(definition.lanes)) return announceLanes(engine, definition);
  return (await readLayout(engine, definition.name)) ?? emptyLayout(definition.name);
}

/** [A1, A2] Writes what the definition has and the store has not. Throws CVY_LANES. */
export async function announceLanes(
  engine: LayoutEngine,
  definition: Definition,
): Promise<LayoutItem> {
  const { name } = definition;
  for (let attempts = 0; attempts < attemptsMax; attempts += 1) {
    const read = await engine.store.readLayout(name);
    const fault = layoutFault(definition, read?.item);
    if (fault !== undefined) throw new ConvoyError('CVY_LANES', fault);
    const before = read?.item ?? emptyLayout(name);
    const after = appended(definition, before) ?? dated(before, engine.clock.now());
    if (after === undefined) {
      engine.layouts?.set(name, before);
      return before;
    }
    if (!(await written(engine, read, after)))
      await sleep(engine.clock, Math.min(5 * attempts, 250));
  }
  throw new StoreUnavailable(`lanes of '${name}': ${attemptsMax} conflicts in a row`);
}

/** [A3] The newest layout there is, proved by a write that only the newest lets pass: a read may
 *  come from a replica that has not heard of it. */
export async function confirmLayout(engine: LayoutEngine, convoy: string): Promise<LayoutItem> {
  for (let attempts = 0; attempts < attemptsMax; attempts += 1) {
    const read = await engine.store.readLayout(convoy);
    const item = read?.item ?? emptyLayout(convoy);
    if (await written(engine, read, item)) {
      engine.layouts?.set(convoy, item);
      return item;
    }
    await sleep(engine.clock, Math.min(5 * attempts, 250));
  }
  throw new StoreUnavailable(`lanes of '${convoy}': ${attemptsMax} conflicts in a row`);
}

/** [A2] Why definition and store contradict each other, or undefined. */
export function layoutFault(
  { name, lanes }: Definition,
  stored: LayoutItem | undefined,
): string | undefined {
  if (stored === undefined || !hasLanes(lanes) || !hasLanes(stored)) return undefined;
  const isSplitByName = (plan: LanePlan): boolean => plan.all.length === 0;
  if (isSplitByName(lanes) !== isSplitByName(stored)) {
    const form = (plan: LanePlan): string =>
      isSplitByName(plan) ? `the keys ${Object.keys(plan.keys).join(', ')}` : 'every key';
    return `convoy '${name}' splits ${form(lanes)}; announced is ${form(stored)}`;
  }
  const lists: [key: string, mine: readonly PlannedGeneration[], known: Generation[]][] = [
    ['every key', lanes.all, stored.all],
    ...Object.entries(lanes.keys).map(
      ([key, mine]) => [`key '${key}'`, mine, ownOf(stored.keys, key)] as (typeof lists)[number],
    ),
  ];
  const wrong = lists.find(([, mine, known]) => !isPrefix(mine, known));
  if (wrong === undefined) return undefined;
  const [key, mine, known] = wrong;
  return `convoy '${name}', ${key}: lanes ${shown(mine)}; announced is ${shown(known)}`;
}

function ownOf(keys: LayoutItem['keys'], key: string): Generation[] {
  return Object.hasOwn(keys, key) ? (keys[key] ?? []) : [];
}

function isPrefix(a: readonly PlannedGeneration[], b: readonly PlannedGeneration[]): boolean {
  const common = Math.min(a.length, b.length);
  return a
    .slice(0, common)
    .every(({ count, queue }, i) => b[i]?.count === count && b[i].queue === queue);
}

function shown(generations: readonly PlannedGeneration[]): string {
  return `[${generations.map(({ count, queue }) => `${count} in ${queue}`).join(', ')}]`;
}

/** The layout of a convoy that has no lanes yet. */
export function emptyLayout(convoy: string): LayoutItem {
  return {
    id: itemIds.lanes,
    convoyId: convoyIdOf(convoy, ''),
    kind: 'lanes',
    convoy,
    refreshSeconds: laneRefreshSecondsDefault,
    fenceSeconds: laneRefreshSecondsDefault,
    all: [],
    keys: {},
  };
}

/** With the generations that only the definition has, not dated yet; undefined = it has none. */
function appended(definition: Definition, before: LayoutItem): LayoutItem | undefined {
  let isLonger = false;
  const longer = (mine: readonly PlannedGeneration[], known: Generation[]): Generation[] => {
    const more = mine.slice(known.length).map((one) => ({ ...one, announcedAt: null }));
    isLonger ||= more.length > 0;
    return [...known, ...more];
  };
  const { lanes, laneRefreshSeconds } = definition;
  const all = longer(lanes.all, before.all);
  const keys = Object.entries(lanes.keys).map(([key, mine]) => [
    key,
    longer(mine, ownOf(before.keys, key)),
  ]);
  if (!isLonger) return undefined;
  return {
    ...before,
    refreshSeconds: laneRefreshSeconds,
    fenceSeconds: Math.max(before.fenceSeconds, laneRefreshSeconds),
    all,
    keys: { ...before.keys, ...Object.fromEntries(keys) },
  };
}

/** [A1] Everything that is stored is visible: it gets its date. Undefined = all have theirs. */
function dated(before: LayoutItem, now: number): LayoutItem | undefined {
  const lists = [before.all, ...Object.values(before.keys)];
  if (lists.flat().every(({ announcedAt }) => announcedAt !== null)) return undefined;
  const date = (list: Generation[]): Generation[] =>
    list.map((one) => ({ ...one, announcedAt: one.announcedAt ?? now }));
  const keys = Object.entries(before.keys).map(([key, list]) => [key, date(list)]);
  return { ...before, all: date(before.all), keys: Object.fromEntries(keys) };
}

/** False when somebody else was faster. */
async function written(
  engine: LayoutEngine,
  read: Versioned<LayoutItem> | undefined,
  item: LayoutItem,
): Promise<boolean> {
  const operation: StoreOperation = read
    ? { kind: 'replace', item, ifMatch: read.etag }
    : { kind: 'create', item };
  return (await engine.store.batch(item.convoyId, [operation])).applied;
}
