// One hostile history of one key: the real admit, the real orchestrator, the real drain and sweeper
// over the memory store, with a crash or a lost answer possible at every call. The oracles know
// nothing of the engine: they compare what was sent with what was published and stored.
import { type Incoming, admitMessage } from '../../shared/engine/admit.ts';
import { drain } from '../../shared/engine/drain.ts';
import { type Engine, defaultSettings } from '../../shared/engine/ports.ts';
import { sweep } from '../../shared/engine/sweep.ts';
import type { ConvoyDefinition } from '../../shared/convoy/definition.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import type { Output } from '../../shared/convoy/state.ts';
import { createLog } from '../../shared/log.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import { rememberingStore } from '../../shared/store/remembering.ts';
import type { ConvoyStore } from '../../shared/store/store.ts';
import { StoreUnavailable } from '../../shared/store/store.ts';
import { prng } from '../support/prng.ts';
import { createHub } from './hub.ts';
import { createScheduler, death } from './scheduler.ts';

export interface HistoryOptions {
  seed: number;
  messages: number;
  definition: ConvoyDefinition;
  /** Probability of a fault at each call. */
  faultRate: number;
  /** Lets a test break a rule and see it found. */
  sabotage?: (store: ConvoyStore) => ConvoyStore;
  /** What the i-th message (from 1) holds beside the usual; a repeat holds the same. */
  messageOf?: (i: number) => Partial<Incoming>;
  /** What an operator does between two rounds; `isCalm`: nothing fails any more. */
  operate?: (engine: Engine, isCalm: boolean) => Promise<void>;
}

export interface History {
  sent: string[];
  /** Those of them that emit an output; the others leave nothing but their effect. */
  emitting: string[];
  /** In the order the broker took them, repeats of a message id left out. */
  published: { id: string; output: Output }[];
  store: ConvoyStore;
  /** Writes that took a counter of gate or progress back: there must be none. */
  backward: string[];
  epochs: number;
  faults: number;
  /** Calls of the store in all: a loop that spins shows here. */
  calls: number;
}

export const place = { convoy: 'summing', key: 'k' };

export async function runHistory(options: HistoryOptions): Promise<History> {
  const random = prng(options.seed);
  const scheduler = createScheduler(random);
  let calm = false;
  let over = false; // the observer reads without waiting for a turn
  let faults = 0;
  /** Sometimes the caller dies here, sometimes the store does not answer. */
  const fault = async (): Promise<void> => {
    if (over) return;
    history.calls += 0.5; // asked before and after each call
    await scheduler.turn();
    if (calm || !random.chance(options.faultRate)) return;
    faults += 1;
    if (random.chance(0.5)) await death();
    throw new StoreUnavailable('no answer');
  };
  const backward: string[] = [];
  const watched = watch(createMemoryStore({ clock: scheduler.clock }), backward);
  const faulty = withFaults(watched, fault);
  const store = options.sabotage ? options.sabotage(faulty) : faulty;
  const history: History = {
    sent: [],
    emitting: [],
    published: [],
    store,
    backward,
    epochs: 0,
    faults: 0,
    calls: 0,
  };
  const seen = new Set<string>();
  const publish = async (_: string, __: string, outputs: readonly Output[]): Promise<void> => {
    await fault();
    for (const output of outputs) {
      const id = `${output.position}:${output.n}`;
      if (!seen.has(id)) history.published.push({ id, output });
      seen.add(id);
    }
    await fault();
  };
  // One process without memory, one with, or two that each remember what they wrote.
  const remembers = options.seed % 3;
  const intakeStore = remembers > 0 ? rememberingStore(store) : store;
  const drainStore = remembers === 2 ? rememberingStore(store) : intakeStore;
  const base = {
    store,
    publisher: { publish },
    clock: scheduler.clock,
    log: createLog('warn', () => undefined),
    definitions: new Map([[place.convoy, options.definition]]),
    limits: defaultLimits,
    settings: { ...defaultSettings, messagesPerCommit: 3 },
    started: new Set<string>(),
    startedAt: 0,
  };
  const hub = createHub({
    scheduler,
    random,
    faults: { lostWake: 0.3, doubledWake: 0.2, zombieAttempt: 0.2 },
    drain: (request) => {
      const noHub = () => Promise.reject(new Error('a drain needs no hub'));
      return drain(
        { ...base, store: drainStore, instances: { start: noHub, wake: noHub } },
        request,
      );
    },
  });
  const engine: Engine = { ...base, instances: hub };

  void feed({ ...engine, store: intakeStore }, { options, random, scheduler, history });
  for (let round = 0; round < 12; round += 1) {
    await scheduler.run(scheduler.clock.now() + 20_000);
    if (random.chance(0.3)) hub.terminateOne();
    void sweep(engine, scheduler.clock.now() + 25_000).catch(() => undefined);
    void options.operate?.(engine, false).catch(() => undefined);
  }
  calm = true; // finitely many faults: from here on everything must come out
  for (let round = 0; round < 8; round += 1) {
    await scheduler.run(scheduler.clock.now() + 800_000);
    void sweep(engine, scheduler.clock.now() + 25_000).catch(() => undefined);
    void options.operate?.(engine, true).catch(() => undefined);
  }
  await scheduler.run(scheduler.clock.now() + 800_000);
  over = true;
  history.epochs = hub.started.size;
  history.faults = faults;
  return history;
}

/** A fault before a call takes effect, or after: then it was applied, but the answer got lost. */
export function withFaults(store: ConvoyStore, fault: () => Promise<void>): ConvoyStore {
  return new Proxy(store, {
    get(target, name, receiver) {
      const method: unknown = Reflect.get(target, name, receiver);
      if (typeof method !== 'function') return method;
      return async (...args: unknown[]): Promise<unknown> => {
        await fault();
        const answer: unknown = await Reflect.apply(method, target, args);
        await fault();
        return answer;
      };
    },
  });
}

/** Tail, cursor, settlements and both epochs only rise, whoever writes. */
function watch(store: ConvoyStore, backward: string[]): ConvoyStore {
  const last = new Map<string, number>();
  const rises = (name: string, value: number): void => {
    const before = last.get(name) ?? 0;
    if (value < before) backward.push(`${name} went from ${before} back to ${value}`);
    last.set(name, value);
  };
  return {
    ...store,
    async batch(convoyId, operations) {
      const result = await store.batch(convoyId, operations);
      for (const operation of result.applied ? operations : []) {
        if (!('item' in operation)) continue;
        const { item } = operation;
        if (item.kind === 'gate') {
          rises('gate.epoch', item.epoch);
          rises('gate.tail', item.tail);
        } else if (item.kind === 'progress') {
          rises('progress.epoch', item.epoch);
          rises('progress.cursor', item.cursor);
          rises('progress.settled', item.settled);
        }
      }
      return result;
    },
  };
}

/** A session: the next message is delivered only after this one was settled. A crash or a lost lock
 *  delivers it again, sometimes while the first holder still works. */
async function feed(
  engine: Engine,
  world: {
    options: HistoryOptions;
    random: ReturnType<typeof prng>;
    scheduler: ReturnType<typeof createScheduler>;
    history: History;
  },
): Promise<void> {
  const { options, random, scheduler, history } = world;
  for (let i = 1; i <= options.messages; i += 1) {
    // Some ids are sent twice by the sender: a duplicate must have no effect.
    const repeat = history.sent.length > 0 && random.chance(0.1);
    const messageId = repeat ? (history.sent[random.below(history.sent.length)] ?? '') : `m${i}`;
    const emit = i % 2;
    if (repeat) i -= 1;
    if (!repeat) history.sent.push(messageId);
    if (!repeat && emit > 0) history.emitting.push(messageId);
    const message = {
      messageId,
      type: 'added',
      bodyText: JSON.stringify({ n: 1, emit }),
      schemaVersion: 1,
      occurredAt: i * 10_000,
      enqueuedAt: i * 10_000,
      ...options.messageOf?.(Number(messageId.slice(1))),
    };
    const request = { ...place, message, sequence: i };
    const deliver = (): Promise<boolean> =>
      admitMessage(engine, request).then(
        () => true,
        () => false,
      );
    for (let settled = false; !settled;) {
      const lockLost = new Promise<boolean>((go) => scheduler.clock.after(30_000, () => go(false)));
      const holders = [deliver(), lockLost];
      if (random.chance(0.1)) holders.push(deliver());
      settled = await Promise.race(holders);
      if (!settled) await new Promise<void>((go) => scheduler.clock.after(50, go));
    }
    if (random.chance(0.4)) {
      await new Promise<void>((go) => scheduler.clock.after(random.below(12_000), go));
    }
  }
}
