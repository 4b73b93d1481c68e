// The GET routes: what is read from the store, and in which order.
//
// Owns:   which items an answer needs, and how many reads it costs.
// Leaves: the shape of answers to answers.ts, paging to paging.ts.
//
// R1. Reads may be stale [H14]: gate and progress are of different moments; answers.ts clamps.
// R2. The head of the inbox is read only where there is a backlog, `readsAtOnce` at a time.
// R3. An idle key has a backlog only where messages are taken and not settled (H6 closes only at
//     cursor = tail), so `backlog=true` asks the active and held ones and those with something
//     aside, and never walks the idle ones.
import { hotAfterMs } from '../../shared/convoy/busy.ts';
import { ConvoyError } from '../../shared/errors.ts';
import { convoyIdOf, convoyNamePattern, instanceIdOf } from '../../shared/keys.ts';
import type { GateItem, ProgressItem } from '../../shared/store/items.ts';
import type { ConvoyStore, GateFilter, Page } from '../../shared/store/store.ts';
import {
  backlogOf,
  closedWindowAnswer,
  cursorOf,
  deadAnswer,
  detailAnswer,
  messageAnswer,
  openWindowAnswer,
  quarantineAnswer,
  rollUpAnswer,
  statsAnswer,
  summaryAnswer,
  throttledIn,
} from './answers.ts';
import type { KeyFacts, Summary, Throttled } from './answers.ts';
import type { OperatorDeps } from './deps.ts';
import { storedKey } from './lane-keys.ts';
import { pageOf } from './paging.ts';
import type { PageRequest, Source } from './paging.ts';
import {
  assertParameters,
  convoyIn,
  flagIn,
  instantIn,
  integerIn,
  keyIn,
  limitIn,
  limitMax,
  windowIn,
  wordIn,
} from './request.ts';
import type { Call } from './request.ts';
import { holds, outcomes, phases } from './words.ts';

const readsAtOnce = 8;

/** Like Promise.all over a map, with at most `readsAtOnce` in flight; results in order. */
export async function mapBounded<In, Out>(items: readonly In[], map: (item: In) => Promise<Out>) {
  const results: Out[] = [];
  for (let at = 0; at < items.length; at += readsAtOnce) {
    results.push(...(await Promise.all(items.slice(at, at + readsAtOnce).map(map))));
  }
  return results;
}

function pageRequest(call: Call, route: string): PageRequest {
  // The host copies the query among the parameters of the route [reference/durable.md 15.3].
  const places = Object.entries(call.params).filter(([name]) => !call.query.has(name));
  const filters = [...call.query]
    .filter(([name]) => !['limit', 'continuation', 'code', 'clientId'].includes(name))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    limit: limitIn(call),
    continuation: call.query.get('continuation'),
    filters: JSON.stringify([route, places, filters]),
  };
}

/** `GET /convoys` */
export async function listConvoys({ store, clock }: OperatorDeps, call: Call) {
  assertParameters(call, ['convoy', 'status', 'parked', 'backlog', 'hot', 'limit', 'continuation']);
  const convoy = call.query.get('convoy') ?? undefined;
  if (convoy !== undefined && !convoyNamePattern.test(convoy)) {
    throw new ConvoyError('CVY_BAD_REQUEST', `convoy=${convoy}; a convoy's name is expected`);
  }
  const status = wordIn(call, 'status', [...phases, ...holds, 'none'] as const);
  const withBacklog = flagIn(call, 'backlog');
  const request = pageRequest(call, 'convoys');
  const isParked = flagIn(call, 'parked');
  const isHot = flagIn(call, 'hot');
  const hotUpTo = isHot ? clock.now() - hotAfterMs : undefined;
  const narrow: Narrow = convoy === undefined ? {} : { convoy };
  const passes = (summary: Summary): boolean =>
    (!withBacklog || summary.backlog > 0) &&
    (!isParked || summary.parked > 0) &&
    (!isHot || summary.hot !== null) &&
    matches(summary, status);
  const sources = gateSources({ store, narrow, status, withBacklog, isParked, hotUpTo }).map(
    (source): Source<Summary> =>
      async (limit, continuation) => {
        const page = await source(limit, continuation);
        const summaries = await summariesOf(store, page.items, clock.now());
        return { ...page, items: summaries.filter(passes) };
      },
  );
  return pageOf(sources, request);
}

type Status = (typeof phases | typeof holds)[number] | 'none' | undefined;

/** A status filters by phase or by hold. */
function matches({ phase, hold }: Summary, status: Status): boolean {
  return status === undefined || phase === status || hold.kind === status;
}

type Narrow = Pick<GateFilter, 'convoy'>;

/** Which lists of the store hold the gates that a status can match [R3]. */
function gateSources(ask: {
  store: ConvoyStore;
  narrow: Narrow;
  status: Status;
  withBacklog: boolean;
  isParked: boolean;
  hotUpTo: number | undefined;
}): Source<GateItem>[] {
  const { store, narrow, status, withBacklog, hotUpTo } = ask;
  const ofPhase =
    (phase?: GateItem['phase']): Source<GateItem> =>
    (limit, continuation) =>
      store.listGates({ ...narrow, ...(phase && { phase }), limit, ...pick(continuation) });
  const aside = (phase?: GateItem['phase']): Source<GateItem> => {
    const source = gatesOf(store, (filter) => store.listAside({ ...narrow, ...filter }));
    if (phase === undefined) return source;
    return async (limit, continuation) => {
      const page = await source(limit, continuation);
      return { ...page, items: page.items.filter((gate) => gate.phase === phase) };
    };
  };
  if (hotUpTo !== undefined) {
    const hot: Source<GateItem> = (limit, continuation) =>
      store.listBusy(hotUpTo, { ...narrow, limit, ...pick(continuation) });
    return [hot];
  }
  if (ask.isParked) return [aside()];
  const hold = holds.find((kind) => kind === status);
  if (hold) return [gatesOf(store, (filter) => store.listHeld(hold, { ...narrow, ...filter }))];
  const phase = phases.find((name) => name === status);
  if (phase) return [ofPhase(phase)];
  return withBacklog ? [ofPhase('active'), ofPhase('held'), aside('idle')] : [ofPhase()];
}

const pick = (continuation: string | undefined) =>
  continuation === undefined ? {} : { continuation };

function gatesOf(
  store: ConvoyStore,
  list: (filter: GateFilter) => Promise<Page<ProgressItem>>,
): Source<GateItem> {
  return async (limit, continuation) => {
    const page = await list({ limit, ...pick(continuation) });
    const gates = await mapBounded(page.items, ({ convoyId }) => store.readGate(convoyId));
    return { ...page, items: gates.flatMap((gate) => (gate ? [gate.item] : [])) };
  };
}

async function summariesOf(
  store: ConvoyStore,
  gates: readonly GateItem[],
  nowMs: number,
): Promise<Summary[]> {
  if (gates.length === 0) return [];
  const found = await store.progressOf(gates.map((gate) => gate.convoyId));
  const progress = new Map(found.map((item) => [item.convoyId, item]));
  return mapBounded(gates, async (gate) => {
    const facts = await factsOf(store, gate, progress.get(gate.convoyId));
    return summaryAnswer(facts, nowMs);
  });
}

/** [R2] */
export async function factsOf(
  store: ConvoyStore,
  gate: GateItem,
  progress: ProgressItem | undefined,
): Promise<KeyFacts> {
  if (backlogOf(gate, progress) === 0) return { gate, progress, headAdmittedAt: undefined };
  // What is taken and not settled came before everything behind the cursor.
  const taken = (progress?.taken ?? []).map(({ position }) => position);
  const head = Math.min(cursorOf(gate, progress) + 1, ...taken);
  const [first] = await store.readInbox(gate.convoyId, { from: head, to: head, limit: 1 });
  return { gate, progress, headAdmittedAt: first?.admittedAt };
}

export function unknownKey(convoy: string, key: string): ConvoyError {
  return new ConvoyError('CVY_NOT_FOUND', `nothing was ever admitted for ${convoy}/${key}`);
}

/** The detail of a key; CVY_NOT_FOUND when the key is unknown. */
export async function detailOf(deps: OperatorDeps, convoy: string, key: string) {
  const { store, clock } = deps;
  const convoyId = convoyIdOf(convoy, key);
  const [gate, progress] = await Promise.all([
    store.readGate(convoyId),
    store.readProgress(convoyId),
  ]);
  if (!gate) throw unknownKey(convoy, key);
  const [facts, repeats, dead, throttled] = await Promise.all([
    factsOf(store, gate.item, progress?.item),
    store.countRepeats(convoyId),
    store.listDead(convoyId, { limit: limitMax }),
    throttledOf(deps, gate.item),
  ]);
  const deadLettered = dead.items.filter((item) => item.replayedAt === undefined).length;
  return detailAnswer({ ...facts, repeats, deadLettered, throttled }, clock.now());
}

/** The hub knows without a write of ours; where it does not answer, nothing is said. */
async function throttledOf(deps: OperatorDeps, gate: GateItem): Promise<Throttled | null> {
  if (gate.phase !== 'active') return null;
  const instanceId = instanceIdOf(gate.convoy, gate.key, gate.epoch);
  const status = await deps.customStatusOf(instanceId).catch(() => null);
  return throttledIn(status);
}

/** `GET …/messages`. Dead-lettered ones have no position: only their own outcome lists them. */
export async function listMessages(deps: OperatorDeps, call: Call) {
  assertParameters(call, ['from', 'outcome', 'limit', 'continuation']);
  const convoy = convoyIn(call);
  const { store } = deps;
  const key = await storedKey(deps, convoy, keyIn(call));
  const convoyId = convoyIdOf(convoy, key);
  const from = integerIn(call, 'from', { min: 1, max: 1e12 }) ?? 1;
  const outcome = wordIn(call, 'outcome', outcomes);
  const request = pageRequest(call, 'messages');
  const isKnown = (await store.readGate(convoyId)) !== undefined;
  if (outcome === 'deadLettered') {
    const dead = await pageOf(
      [(limit, continuation) => store.listDead(convoyId, { limit, ...pick(continuation) })],
      request,
    );
    if (!isKnown && dead.items.length === 0) throw unknownKey(convoy, key);
    return { ...dead, items: dead.items.map(deadAnswer) };
  }
  if (!isKnown) throw unknownKey(convoy, key);
  const source: Source<ReturnType<typeof messageAnswer>> = async (limit, continuation) => {
    const filter = { from, limit, ...(outcome && { outcome }), ...pick(continuation) };
    const page = await store.listMessages(convoyId, filter);
    return { ...page, items: page.items.map(messageAnswer) };
  };
  return pageOf([source], request);
}

type WindowAnswer = ReturnType<typeof openWindowAnswer | typeof closedWindowAnswer>;

/** `GET …/windows`: the closed ones, then the open ones. */
export async function listWindows(deps: OperatorDeps, call: Call) {
  assertParameters(call, ['window', 'limit', 'continuation']);
  const convoy = convoyIn(call);
  const { store } = deps;
  const key = await storedKey(deps, convoy, keyIn(call));
  const convoyId = convoyIdOf(convoy, key);
  const window = call.query.get('window') ?? undefined;
  const request = pageRequest(call, 'windows');
  const progress = await store.readProgress(convoyId);
  if (!progress) throw unknownKey(convoy, key);
  const open = progress.item.openWindows
    .filter((candidate) => window === undefined || candidate.window === window)
    .sort((a, b) => (a.window === b.window ? a.start - b.start : a.window < b.window ? -1 : 1));

  // Progress was read first: what closed since then is listed as closed, and once.
  const closedNow = new Set<string>();
  const closed: Source<WindowAnswer> = async (limit, continuation) => {
    const filter = { limit, ...(window !== undefined && { window }), ...pick(continuation) };
    const page = await store.listWindows(convoyId, filter);
    for (const item of page.items) closedNow.add(windowName(item));
    return { ...page, items: page.items.map(closedWindowAnswer) };
  };
  const stillOpen: Source<WindowAnswer> = async (limit, continuation) => {
    const page = sliceOf(open, limit, Number(continuation ?? 0));
    const items = page.items.filter((window) => !closedNow.has(windowName(window)));
    return { ...page, items: items.map(openWindowAnswer) };
  };
  return pageOf([closed, stillOpen], request);
}

const windowName = ({ window, start }: { window: string; start: number }): string =>
  `${window}:${start}`;

function sliceOf<Item>(items: readonly Item[], limit: number, from: number): Page<Item> {
  const end = from + limit;
  const page = { items: items.slice(from, end) };
  return end < items.length ? { ...page, continuation: String(end) } : page;
}

/** `GET /windows/{convoy}/{window}`: roll-ups across keys (H13) by the start of the window. */
export async function listRollUps({ store }: OperatorDeps, call: Call) {
  assertParameters(call, ['from', 'to', 'limit', 'continuation']);
  const series = `${convoyIn(call)}:${windowIn(call)}`;
  const from = instantIn(call, 'from') ?? -instantMsMax;
  const to = instantIn(call, 'to') ?? instantMsMax;
  const source: Source<ReturnType<typeof rollUpAnswer>> = async (limit, continuation) => {
    const page = await store.listRollUps({ series, from, to, limit, ...pick(continuation) });
    return { ...page, items: page.items.map(rollUpAnswer) };
  };
  return pageOf([source], pageRequest(call, 'rollUps'));
}

/** The largest instant that JavaScript knows. */
const instantMsMax = 8.64e15;

/** `GET /quarantine/{convoy}`: messages that came without a usable key. */
export async function listQuarantine({ store }: OperatorDeps, call: Call) {
  assertParameters(call, ['limit', 'continuation']);
  const convoy = convoyIn(call);
  const page = await pageOf(
    [(limit, continuation) => store.listQuarantine(convoy, { limit, ...pick(continuation) })],
    pageRequest(call, 'quarantine'),
  );
  return { ...page, items: page.items.map(quarantineAnswer) };
}

/** `GET /stats` */
export async function showStats({ store, clock, throttling }: OperatorDeps, call: Call) {
  assertParameters(call, []);
  return statsAnswer(await store.totals(), throttling(), clock.now());
}
