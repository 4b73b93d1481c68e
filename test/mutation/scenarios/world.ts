// A small world for one scenario: hosts that crash, the real engine in each, a hub, a broker for
// the outputs, a store with faults, and one virtual clock. The seed decides everything.
import type { ConvoyDefinition } from '../../../shared/convoy/definition.ts';
import { type Limits, defaultLimits } from '../../../shared/convoy/outputs.ts';
import type { Output } from '../../../shared/convoy/state.ts';
import { drain } from '../../../shared/engine/drain.ts';
import type { DrainRequest } from '../../../shared/engine/drain-context.ts';
import { type Engine, type EngineSettings, defaultSettings } from '../../../shared/engine/ports.ts';
import { outputMessageId } from '../../../shared/keys.ts';
import { createLog } from '../../../shared/log.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { rememberingStore } from '../../../shared/store/remembering.ts';
import {
  type ConvoyStore,
  type StoreOperation,
  StoreUnavailable,
} from '../../../shared/store/store.ts';
import { type Prng, prng } from '../../support/prng.ts';
import { type Hub, type HubFaults, createHub, noHubFaults } from './hub.ts';
import type { Violation } from './scenario.ts';
import { type Scheduler, createScheduler, death } from './scheduler.ts';
import { staleReads } from './stale-reads.ts';
import { type Watch, watchStore } from './watch.ts';

export interface WorldOptions {
  seed: number;
  definition: ConvoyDefinition;
  hub?: Partial<HubFaults>;
  /** An activity's attempt that takes longer is taken for dead; default one minute. */
  attemptMsMax?: number;
  /** Probability of an unanswered call, before or after it took effect. */
  lost?: number;
  /** Probability that the host dies at a call. */
  crash?: number;
  /** Probability that a read is of an older state. */
  stale?: number;
  /** How often a timer passes what waits. */
  slow?: number;
  settings?: Partial<EngineSettings>;
  limits?: Partial<Limits>;
  /** Probability that the host of a drain does not know the convoy: a deployment in flight. */
  unknown?: number;
  /** Sees every write that was applied. */
  onWritten?: (operations: readonly StoreOperation[]) => void;
  /** No process remembers what it wrote. */
  isForgetful?: boolean;
}

export interface Published {
  id: string;
  output: Output;
  at: number;
}

/** One process: what it remembers dies with it. */
interface Host {
  isAlive: boolean;
  engine: Engine;
  store: ConvoyStore;
}

export interface World {
  random: Prng;
  scheduler: Scheduler;
  hub: Hub;
  /** The store as it is, for the observer: no fault, no staleness. */
  truth: ConvoyStore;
  watch: Watch;
  definitions: Map<string, ConvoyDefinition>;
  /** In the order the broker took them, repeats left out. */
  published: Published[];
  /** While true the broker takes no outputs. */
  broker: { isAway: boolean };
  /** While true the store answers nobody. */
  outage: { isOn: boolean };
  violations: Violation[];
  /** The engine of one of the hosts, for a task that dies with it. */
  engine(): Engine;
  /** The same with fresh reads, as operators and timers have it. */
  freshEngine(): Engine;
  /** Every host dies, now. */
  crash(): void;
  /** No fault any more. */
  calm(): void;
  pause(ms: number): Promise<void>;
  say(oracle: string, message: string): void;
}

const hostsCount = 2;

export function createWorld(options: WorldOptions): World {
  const random = prng(options.seed);
  const scheduler = createScheduler(random, options.slow ?? 0);
  const { clock } = scheduler;
  const violations: Violation[] = [];
  const published: Published[] = [];
  const contents = new Map<string, string>();
  const state = { isCalm: false };
  const broker = { isAway: false };
  const outage = { isOn: false };
  const definitions = new Map([[options.definition.name, options.definition]]);
  const truth = createMemoryStore({ clock });
  const watched = watchStore(truth, options.onWritten, (convoyId, { position, n }) =>
    contents.has(`${convoyId} ${position}:${n}`),
  );
  const stale = staleReads(watched.store, () => !state.isCalm && random.chance(options.stale ?? 0));
  const say = (oracle: string, message: string): void => void violations.push({ oracle, message });

  const faultOf = (host: () => Host) => async (): Promise<void> => {
    const mine = host();
    await scheduler.turn();
    if (!mine.isAlive) await death();
    if (outage.isOn) throw new StoreUnavailable('an outage');
    if (state.isCalm) return;
    if (random.chance(options.crash ?? 0)) {
      kill(mine);
      await death();
    }
    if (random.chance(options.lost ?? 0)) throw new StoreUnavailable('no answer');
  };

  const kill = (host: Host): void => {
    host.isAlive = false;
    hosts[hosts.indexOf(host)] = createHost();
  };

  /** A broker with duplicate detection: a repeat of an id is taken and dropped. */
  const take = (convoy: string, key: string, outputs: readonly Output[]): void => {
    for (const output of outputs) {
      const id = outputMessageId(convoy, key, output);
      const text = `${output.type} ${output.bodyText}`;
      const place = `${convoy}:${key} ${output.position}:${output.n}`;
      if ((contents.get(place) ?? text) !== text) say('outputs', `${place} has two contents`);
      const isNew = !contents.has(place);
      contents.set(place, text);
      if (published.some((other) => other.id === id)) continue;
      if (!isNew) say('outputs', `${place} was sent under two ids`);
      published.push({ id, output, at: clock.now() });
    }
  };

  function createHost(): Host {
    const fault = faultOf(() => host);
    const store = withFaults(stale, fault);
    const host: Host = {
      isAlive: true,
      store,
      engine: {
        store: options.isForgetful ? store : rememberingStore(store),
        publisher: {
          async publish(convoy, key, outputs) {
            await fault();
            if (broker.isAway) throw new StoreUnavailable('the broker is away');
            take(convoy, key, outputs);
            await fault();
          },
        },
        instances: {
          async start(id, input) {
            await fault();
            await hub.start(id, input);
          },
          async wake(id) {
            await fault();
            return hub.wake(id);
          },
        },
        clock,
        log: createLog('warn', () => undefined),
        definitions,
        limits: { ...defaultLimits, ...options.limits },
        settings: { ...defaultSettings, messagesPerCommit: 3, ...options.settings },
        started: new Set(),
        startedAt: 0,
      },
    };
    return host;
  }

  const hosts = Array.from({ length: hostsCount }, createHost);
  const anyHost = (): Host => {
    const host = hosts[random.below(hosts.length)];
    if (!host) throw new RangeError('no host');
    return host;
  };
  const known = knownAt(definitions, () => !state.isCalm && random.chance(options.unknown ?? 0));
  const hubFaults: HubFaults = { ...noHubFaults, ...options.hub };
  const hub = createHub({
    clock,
    random,
    faults: hubFaults,
    turn: () => scheduler.turn(),
    attemptMsMax: options.attemptMsMax ?? 60_000,
    drain: (request) => {
      const { engine } = anyHost();
      const store = fencedStore(engine.store, request, say);
      return drain({ ...engine, store, definitions: known }, request);
    },
  });
  return {
    ...{
      random,
      scheduler,
      hub,
      truth,
      watch: watched.watch,
      definitions,
      published,
      broker,
      outage,
    },
    violations,
    say,
    engine: () => anyHost().engine,
    freshEngine: () => {
      const { engine, store } = anyHost();
      return { ...engine, store };
    },
    crash: () => [...hosts].forEach(kill),
    calm() {
      state.isCalm = true;
      Object.assign(hubFaults, noHubFaults);
    },
    pause: (ms) => new Promise((go) => clock.after(ms, () => go())),
  };
}

/** Definitions as the host of a drain knows them; intake runs only where they are registered. */
function knownAt(
  definitions: Map<string, ConvoyDefinition>,
  isUnknown: () => boolean,
): ReadonlyMap<string, ConvoyDefinition> {
  const known = new Map(definitions);
  known.get = (name) => (isUnknown() ? undefined : definitions.get(name));
  return known;
}

/** [H3, H5] What a drain of one epoch may write: nothing of another epoch. */
function fencedStore(
  store: ConvoyStore,
  { epoch }: DrainRequest,
  say: (oracle: string, message: string) => void,
): ConvoyStore {
  return {
    ...store,
    async batch(convoyId, operations) {
      const result = await store.batch(convoyId, operations);
      for (const operation of result.applied ? operations : []) {
        if (!('item' in operation)) continue;
        const { item } = operation;
        const isStrange =
          (item.kind === 'gate' && item.epoch !== epoch) ||
          (item.kind === 'progress' && item.epoch !== epoch && item.epoch !== epoch + 1);
        if (isStrange) say('H3 writer', `epoch ${epoch} wrote ${item.kind} of epoch ${item.epoch}`);
      }
      return result;
    },
  };
}

/** A fault before a call takes effect, or after: then it was applied, but the answer got lost. */
function withFaults(store: ConvoyStore, fault: () => Promise<void>): ConvoyStore {
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
