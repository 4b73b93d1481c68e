// One hostile history of one hot key that is split from generation to generation: real senders'
// books, sessions that deliver late, the real intake, orchestrator, drain, sweeper and operator
// over the memory store, on two hosts whose deployments do not happen at the same time. A crash or
// a lost answer is possible at every call. The oracle (judgeLanes) sees only what was sent and
// committed.
import { z } from 'zod';
import { type ConvoyDefinition, defineConvoy } from '../../shared/convoy/definition.ts';
import type { Lanes } from '../../shared/convoy/lane-plan.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import { drain } from '../../shared/engine/drain.ts';
import { receiveMessage } from '../../shared/engine/intake.ts';
import { currentLayout } from '../../shared/engine/layout.ts';
import { operate } from '../../shared/engine/operate.ts';
import { type Engine, type Fence, defaultSettings } from '../../shared/engine/ports.ts';
import { sweep } from '../../shared/engine/sweep.ts';
import type { MessageToAdmit } from '../../shared/envelope.ts';
import { laneSessionOf, newestPlace, olderPlaces } from '../../shared/lanes.ts';
import { createLog } from '../../shared/log.ts';
import { createLayoutBook } from '../../shared/sender-lanes.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import { rememberingStore } from '../../shared/store/remembering.ts';
import {
  type ConvoyStore,
  type StoreOperation,
  StoreUnavailable,
} from '../../shared/store/store.ts';
import { type Prng, prng } from '../support/prng.ts';
import { createHub } from './hub.ts';
import { type Scheduler, createScheduler, death, withFaults } from './scheduler.ts';

export const convoy = 'hot';
export const key = 'k~1'; // a key with a tilde, so that the doubling is under test too

/** What the definition says after each deployment. */
const deployments: (Lanes | undefined)[] = [undefined, [2], [2, { count: 3, queue: 'hot-fast' }]];

const definitionWith = (lanes: Lanes | undefined): ConvoyDefinition =>
  defineConvoy({
    name: convoy,
    schema: z.object({}),
    initialState: { ids: [] as string[] },
    ...(lanes !== undefined && { lanes }),
    apply: (state, message) => ({ ids: [...state.ids, message.id] }),
  });

/** The generations in the end. */
const lastPlan = definitionWith(deployments.at(-1)).lanes.all;

export interface LaneHistoryOptions {
  seed: number;
  faultRate: number;
  /** Some senders go by a layout that they must not use any more. */
  staleSenders: boolean;
  /** An operator replays what came too late, also before the end. */
  replays: boolean;
  /** Break a rule in what intake and sweeper, or the drain, get from the store. */
  sabotage?: (store: ConvoyStore) => ConvoyStore;
  sabotageDrain?: (store: ConvoyStore) => ConvoyStore;
}

/** One settlement as it was committed, in the order of the commits. */
export interface Commit {
  convoyId: string;
  position: number;
  outcome: string;
  code: string | null;
}

export interface LaneHistory {
  /** Per lane key, in the order in which the sender got its messages off. */
  sent: Map<string, string[]>;
  /** Lane keys whose sender broke the rules. */
  stale: Set<string>;
  commits: Commit[];
  /** Of every position that was admitted. */
  ids: Map<string, string>;
  /** Of every lane there can be. */
  sessions: Set<string>;
  /** Lanes that never opened. */
  fenced: string[];
  quarantined: number;
}

interface World {
  options: LaneHistoryOptions;
  random: Prng;
  scheduler: Scheduler;
  hosts: Engine[];
  history: LaneHistory;
  sessions: Sessions;
  /** Without faults, and without waiting for a turn. */
  memory: ConvoyStore;
  isCalm: () => boolean;
}

const pause = ({ clock }: Scheduler, ms: number): Promise<void> =>
  new Promise((go) => void clock.after(ms, go));

export async function runLanes(options: LaneHistoryOptions): Promise<LaneHistory> {
  const random = prng(options.seed);
  const scheduler = createScheduler(random);
  let calm = false;
  let over = false;
  const fault = async (): Promise<void> => {
    if (over) return;
    await scheduler.turn();
    if (calm || !random.chance(options.faultRate)) return;
    if (random.chance(0.5)) await death();
    throw new StoreUnavailable('no answer');
  };
  const history: LaneHistory = {
    sent: new Map(),
    stale: new Set(),
    commits: [],
    ids: new Map(),
    sessions: new Set(olderPlaces(lastPlan, { key, generation: 3, lane: 0 }).map(laneSessionOf)),
    fenced: [],
    quarantined: 0,
  };
  const memory = createMemoryStore({ clock: scheduler.clock });
  const slow: ConvoyStore = {
    ...memory,
    async batch(convoyId, operations) {
      // Sometimes a retirement is long under way, while late messages come in.
      if (operations.some(isRetirement) && random.chance(0.5))
        await pause(scheduler, random.below(60_000));
      return memory.batch(convoyId, operations);
    },
  };
  const store = withFaults(watched(slow, history), fault);
  const sessions = new Sessions();
  const world: World = {
    ...{ options, random, scheduler, history, sessions, memory, hosts: [] },
    isCalm: () => calm,
  };
  world.hosts = openHosts(world, store, fault);
  for (let i = 0; i < 4; i += 1) void feed(world, `lane-key-${i}`);
  void deliverAll(world);
  void deploy(world);
  for (let round = 0; round < 60; round += 1) {
    calm = round >= 36; // finitely many faults: from here on everything must come out
    await scheduler.run(scheduler.clock.now() + 30_000);
    const host = world.hosts[random.below(2)]!;
    void sweep(host, scheduler.clock.now() + 25_000).catch(() => undefined);
    const isReplayed = options.replays && (round > 40 || random.chance(0.2));
    if (isReplayed) void replayAll(host, history).catch(() => undefined);
  }
  await scheduler.run(scheduler.clock.now() + 800_000);
  over = true;
  await observe(memory, history);
  return history;
}

/** Two processes that each remember what they wrote, and their drains. */
function openHosts(world: World, store: ConvoyStore, fault: () => Promise<void>): Engine[] {
  const { options, random, scheduler, sessions } = world;
  const { sabotage, sabotageDrain } = options;
  const bases = [0, 1].map(() => ({
    store: rememberingStore(sabotage?.(store) ?? store),
    publisher: { publish: fault },
    clock: scheduler.clock,
    log: createLog('warn', () => undefined),
    definitions: new Map([[convoy, definitionWith(undefined)]]),
    limits: defaultLimits,
    settings: { ...defaultSettings, messagesPerCommit: 3 },
    started: new Set<string>(),
    layouts: new Map(),
    startedAt: 0,
    async sendFence(fence: Fence) {
      await fault();
      sessions.put({ ...fence, at: scheduler.clock.now() });
      await fault();
    },
  }));
  const hub = createHub({
    scheduler,
    random,
    faults: { lostWake: 0.2, doubledWake: 0.2, zombieAttempt: 0.1 },
    drain: (request) => {
      const base = bases[random.below(2)]!;
      const noHub = () => Promise.reject(new Error('a drain needs no hub'));
      const broken = sabotageDrain?.(store) ?? (sabotage && store);
      const drainStore = broken ? rememberingStore(broken) : base.store;
      return drain(
        { ...base, store: drainStore, instances: { start: noHub, wake: noHub } },
        request,
      );
    },
  });
  return bases.map((base) => ({ ...base, instances: hub }));
}

/** Each deployment reaches one host some time before the other. */
async function deploy({ hosts, random, scheduler }: World): Promise<void> {
  const order = random.chance(0.5) ? hosts : hosts.toReversed();
  for (const lanes of deployments.slice(1)) {
    await pause(scheduler, 60_000 + random.below(120_000));
    for (const host of order) {
      await pause(scheduler, random.below(60_000));
      (host.definitions as Map<string, ConvoyDefinition>).set(convoy, definitionWith(lanes));
    }
  }
}

interface Waiting {
  queue: string;
  session: string;
  at: number;
  /** A fence of this generation; else a message. */
  generation?: number;
  message?: MessageToAdmit['message'];
}

/** The broker: per queue and session first in, first out. */
class Sessions {
  readonly #waiting = new Map<string, Waiting[]>();
  #opened: ((list: Waiting[]) => void) | undefined;

  put(waiting: Waiting): void {
    const id = `${waiting.queue}/${waiting.session}`;
    const list = this.#waiting.get(id) ?? [];
    list.push(waiting);
    if (this.#waiting.has(id)) return;
    this.#waiting.set(id, list);
    this.#opened?.(list);
  }

  onOpened(serve: (list: Waiting[]) => void): void {
    this.#opened = serve;
    for (const list of this.#waiting.values()) serve(list);
  }
}

async function deliverAll(world: World): Promise<void> {
  world.sessions.onOpened((list) => void deliver(world, list));
}

/** A session: the next message only after this one was settled; a lost lock delivers it again. Now
 *  and then intake comes to a session only after a long time. */
async function deliver(world: World, list: Waiting[]): Promise<void> {
  const { random, scheduler, hosts, history, isCalm } = world;
  for (;;) {
    const [head] = list;
    if (head === undefined) {
      await pause(scheduler, 500);
      continue;
    }
    if (!isCalm() && random.chance(0.03)) await pause(scheduler, random.below(400_000));
    for (let settled = false; !settled;) {
      const engine = hosts[random.below(2)]!;
      const attempt = (): Promise<boolean> =>
        receive(engine, head, history).then(
          () => true,
          () => false,
        );
      const lockLost = pause(scheduler, 30_000).then(() => false);
      const holders = [attempt(), lockLost];
      if (random.chance(0.1)) holders.push(attempt());
      settled = await Promise.race(holders);
      if (!settled) await pause(scheduler, 50);
    }
    list.shift();
  }
}

async function receive(engine: Engine, head: Waiting, history: LaneHistory): Promise<void> {
  const { queue, session, generation, message } = head;
  const plain = { type: 'Put', schemaVersion: 1, occurredAt: head.at, enqueuedAt: head.at };
  const parsed: MessageToAdmit = {
    kind: 'message',
    key: session,
    message: message ?? { messageId: 'fence', ...plain },
    sequence: null,
    ...(generation !== undefined && { fence: generation }),
    warnings: [],
  };
  const received = { body: Buffer.from(parsed.message.messageId), metadata: {} };
  const log = { ...engine.log, warn: (fact: string) => void (fact === 'quarantined' && count()) };
  const count = (): void => void (history.quarantined += 1);
  await receiveMessage({ ...engine, log }, { convoy, queue, parsed, received });
}

/** One lane key's sender: in its order, each message until it is certain that it was accepted. */
async function feed(world: World, laneKey: string): Promise<void> {
  const { options, random, scheduler, hosts, sessions, history } = world;
  const source = async () => {
    const host = hosts[random.below(2)]!;
    await pause(scheduler, random.below(3_000));
    if (!world.isCalm() && random.chance(0.1)) throw new StoreUnavailable('no answer');
    const asked = { ...host, store: world.memory };
    return currentLayout(asked, host.definitions.get(convoy)!);
  };
  const book = createLayoutBook(source, scheduler.clock);
  const isStale = options.staleSenders && random.chance(0.5);
  if (isStale) history.stale.add(laneKey);
  const sent: string[] = [];
  history.sent.set(laneKey, sent);
  let kept: { pin: Awaited<ReturnType<typeof book.pin>>; until: number } | undefined;
  for (let i = 1; i <= 12; i += 1) {
    const messageId = `${laneKey}:${String(i).padStart(2, '0')}`;
    for (let isAccepted = false; !isAccepted;) {
      // A stale sender does not ask again in time; it never goes back to an older layout.
      const isKept = isStale && kept !== undefined && kept.until > scheduler.clock.now();
      const fresh = isKept ? kept?.pin : await book.pin(convoy).catch(() => undefined);
      if (fresh && !isKept)
        kept = { pin: fresh, until: scheduler.clock.now() + random.below(500_000) };
      const pinned = fresh;
      if (!pinned) {
        await pause(scheduler, 1_000);
        continue;
      }
      // A slow send may arrive as late as its layout allows.
      if (random.chance(0.3)) await pause(scheduler, random.below(59_000));
      const { queue = convoy, ...place } = newestPlace(pinned.layout, key, laneKey);
      const at = scheduler.clock.now();
      const message = { messageId, laneKey, type: 'Put', bodyText: '{}', schemaVersion: 1 };
      const session = laneSessionOf(place);
      if (sent.at(-1) !== messageId) sent.push(messageId);
      sessions.put({ queue, session, at, message: { ...message, occurredAt: at, enqueuedAt: at } });
      // Accepted, and the answer lost: the sender sends it again, perhaps by another layout.
      isAccepted = world.isCalm() || !random.chance(0.15);
      if (!isAccepted) await pause(scheduler, random.below(200_000));
    }
    await pause(scheduler, random.below(90_000));
  }
}

async function replayAll(engine: Engine, history: LaneHistory): Promise<void> {
  for (const session of history.sessions) {
    const read = await engine.store.readProgress(`${convoy}:${session}`);
    if (!read || read.item.parked.length === 0) continue;
    const request = { convoy, key: session, action: 'replay', reason: 'by test' } as const;
    await operate(engine, request).catch(() => undefined);
  }
}

/** The write by which a lane retires. */
export function isRetirement(operation: StoreOperation): boolean {
  if (!('item' in operation) || operation.item.kind !== 'progress') return false;
  const { retired, writtenAt } = operation.item;
  return retired !== null && retired.at === writtenAt;
}

/** Writes down every settlement that was committed. */
function watched(store: ConvoyStore, { commits }: LaneHistory): ConvoyStore {
  return {
    ...store,
    async batch(convoyId, operations) {
      const result = await store.batch(convoyId, operations);
      for (const operation of result.applied ? operations : []) {
        if (operation.kind !== 'set' || !operation.id.startsWith('inbox:')) continue;
        const { outcome, code } = operation.fields as { outcome: string; code?: string | null };
        const position = Number(operation.id.slice('inbox:'.length));
        commits.push({ convoyId, position, outcome, code: code ?? null });
      }
      return result;
    },
  };
}

async function observe(store: ConvoyStore, history: LaneHistory): Promise<void> {
  for (const session of history.sessions) {
    const convoyId = `${convoy}:${session}`;
    const { items } = await store.listMessages(convoyId, { from: 1, limit: 1_000 });
    for (const item of items) history.ids.set(`${convoyId}/${item.position}`, item.messageId);
    const gate = await store.readGate(convoyId);
    if (gate?.item.phase === 'held') history.fenced.push(session);
  }
}

/** What is wrong with a history; empty = nothing. */
export function judgeLanes(history: LaneHistory, options: { replayed: boolean }): string[] {
  const wrong: string[] = [];
  const idOf = ({ convoyId, position }: Commit) =>
    history.ids.get(`${convoyId}/${position}`) ?? '?';
  const applied = history.commits.filter(({ outcome }) => outcome === 'applied').map(idOf);
  const late = history.commits.filter(({ code }) => code === 'CVY_LANE_RETIRED').map(idOf);
  const aside = new Set(late);
  for (const [laneKey, sent] of history.sent) {
    const mine = applied.filter((id) => id.startsWith(`${laneKey}:`));
    const twice = mine.filter((id, i) => mine.indexOf(id) !== i);
    if (twice.length > 0) wrong.push(`twice: ${twice.join()}`);
    const inOrder = mine.filter((id) => !aside.has(id));
    if (inOrder.join() !== inOrder.toSorted().join()) wrong.push(`overtaken: ${inOrder.join()}`);
    const never = sent.filter((id) => !mine.includes(id) && (options.replayed || !aside.has(id)));
    if (never.length > 0) wrong.push(`lost: ${never.join()}`);
    const early = late.filter((id) => id.startsWith(`${laneKey}:`) && !history.stale.has(laneKey));
    if (early.length > 0) wrong.push(`parked although sent in time: ${early.join()}`);
  }
  if (history.fenced.length > 0) wrong.push(`still held: ${history.fenced.join()}`);
  if (history.quarantined > 0) wrong.push(`${history.quarantined} quarantined`);
  return wrong;
}
