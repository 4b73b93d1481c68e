// The local Durable Task hub: runs orchestrations of durable-functions 3.5.0 with Azure's rules.
//
// Owns:    the wiring of storage, episodes, activities, timers and the HTTP API; start and stop.
// Leaves:  loading and calling functions to a FunctionRunner (the host), sockets to the host.
//
// Invariants:
//   U1. Whatever was answered 2xx is in the file before the answer.
//   U2. `kill -9` at any point loses nothing of that: `start` arms timers, queued work and every
//       instance with messages again. Activities run at least once, episodes take effect once.
//   U3. The default is Azure's behaviour, losses included (events to an instance that ends, events
//       not consumed before continue-as-new).
import { realClock, type Clock } from '../../../shared/clock.ts';
import { Activities } from './activities.ts';
import { openApi } from './api.ts';
import { diceOf, type DeliveryFaults, type Dice } from './delivery.ts';
import { Entities } from './entities.ts';
import { clientBindingText, type BindingUrls } from './status.ts';
import { Episodes } from './episodes.ts';
import { HubStorage } from './storage.ts';
import { openTimers } from './timers.ts';
import type { VersionRules } from './versions.ts';

export interface RunnerResult {
  /** What the handler returned, identity kept. */
  result: unknown;
  /** The InvocationContext. */
  context: object;
}

export interface FunctionRunner {
  /** Case-insensitive; names as registered. */
  kindOf(name: string): 'orchestration' | 'activity' | 'entity' | undefined;
  /** Runs the function once with its trigger data. `onContext` sees the InvocationContext before
   *  the handler runs. Rejects with what the handler threw. */
  run(
    name: string,
    trigger: { string: string } | { json: string },
    onContext?: (context: object) => void,
  ): Promise<RunnerResult>;
}

/** Named points where a test may wait or throw. A throw = this process "dies" at that point for
 *  that work item: nothing more is committed for it, it is retried later. */
export interface HubStep {
  kind:
    | 'episode-start'
    | 'before-commit'
    | 'after-commit'
    | 'activity-start'
    /** The result is not committed yet. */
    | 'activity-finished'
    | 'entity-start'
    /** State and answers are not committed yet. */
    | 'entity-finished'
    /** Not written yet; a throw loses the event though it is answered 202. */
    | 'event-accepted'
    /** Both: committed, not yet answered. */
    | 'event-raised'
    | 'instance-started';
  instanceId: string;
  name: string;
  /** On before/after-commit: waiting, heldOpen, completed, failed, terminated, continuedAsNew. */
  detail?: string;
}

export type HubLog = (
  level: 'debug' | 'information' | 'warning' | 'error',
  message: string,
) => void;

/** What host.json may set under `extensions.durableTask`, and one knob of our own. */
export interface HubSettings {
  versions?: VersionRules;
  /** defaultAsyncRequestSleepTimeMilliseconds: between polls of callHttp without Retry-After. */
  httpSleepMs?: number;
  /** maxEntityOperationBatchSize */
  entityBatchMax?: number;
  /** overridableExistingInstanceStates: AnyState replaces a running instance at start. */
  mayReplaceRunning?: boolean;
  /** storeInputsInOrchestrationHistory */
  mayStoreInputs?: boolean;
  /** Histories up to so many events are replayed in every episode, as on Azure; longer ones only
   *  when they have doubled. Default 64. */
  replayedEventsMax?: number;
}

export interface HubOptions {
  file: string;
  settings?: HubSettings;
  taskHubName?: string;
  runner: FunctionRunner;
  clock?: Clock;
  log?: HubLog;
  maxConcurrentActivities?: number;
  maxConcurrentOrchestrators?: number;
  maxConcurrentEntities?: number;
  intercept?: (step: HubStep) => Promise<void> | void;
  /** Makes events and signals of clients as unreliable as Azure Storage may; for tests. */
  delivery?: DeliveryFaults;
}

export interface HubRequest {
  method: string;
  /** Relative to the API base, no leading slash, may hold %-escapes. */
  path: string;
  query: URLSearchParams;
  body: string;
  headers: Record<string, string>;
}

export interface HubResponse {
  status: number;
  headers: Record<string, string>;
  body: string;
}

export interface HubUsage {
  /** By the model of the Azure Storage back end [reference/durable.md 13], since the start. */
  storageTransactions: number;
  episodes: number;
  activities: number;
}

export interface Hub {
  /** Recovers (arms timers, runs unfinished work again) and goes. */
  start(): void;
  /** The durable HTTP API; RPC and webhook base share it. */
  handle(request: HubRequest): Promise<HubResponse>;
  /** JSON text of the durableClient input. */
  clientBinding(urls: BindingUrls): string;
  usage(): HubUsage;
  /** Resolves when nothing is ready, running or uncommitted; timers that wait do not count. */
  idle(): Promise<void>;
  /** Takes no new work and waits for running episodes and activities. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

/** What the parts of the hub share. */
export interface HubParts {
  storage: HubStorage;
  runner: FunctionRunner;
  clock: Clock;
  log: HubLog;
  intercept: (step: HubStep) => Promise<void> | void;
  usage: HubUsage;
  settings: HubSettings;
  dice: Dice;
  /** The instance has messages. */
  wake: (instanceId: string) => void;
  /** The entity may have something to do. */
  wakeEntity: (entityId: string) => void;
  /** There may be new activities. */
  wakeActivities: () => void;
  /** The earliest timer may have changed. */
  wakeTimers: () => void;
  /** Something finished: idle() may look again. */
  settled: () => void;
}

// Azure's defaults are 10 per core; episodes are cheap here and commit in groups.
const concurrentOrchestratorsDefault = 64;
const concurrentActivitiesDefault = 20;
const concurrentEntitiesDefault = 20;

export function openHub(options: HubOptions): Hub {
  const quietWaiters: (() => void)[] = [];
  const storage = new HubStorage(options.file, () => {
    if (quietWaiters.length > 0) setImmediate(parts.settled);
  });
  const parts: HubParts = {
    storage,
    runner: options.runner,
    clock: options.clock ?? realClock,
    log: options.log ?? (() => {}),
    intercept: options.intercept ?? (() => {}),
    usage: { storageTransactions: 0, episodes: 0, activities: 0 },
    wake: (instanceId) => episodes.wake(instanceId),
    settings: options.settings ?? {},
    dice: diceOf(options.delivery),
    wakeEntity: (entityId) => entities.wake(entityId),
    wakeActivities: () => activities.wake(),
    wakeTimers: () => timers.wake(),
    settled: () => {
      if (quietWaiters.length === 0 || !isQuiet()) return;
      for (const resolve of quietWaiters.splice(0)) resolve();
    },
  };
  const taskHubName = options.taskHubName ?? 'TestHubName';
  const episodes = new Episodes(
    parts,
    options.maxConcurrentOrchestrators ?? concurrentOrchestratorsDefault,
  );
  const activities = new Activities(
    parts,
    options.maxConcurrentActivities ?? concurrentActivitiesDefault,
  );
  const entities = new Entities(parts, options.maxConcurrentEntities ?? concurrentEntitiesDefault);
  const timers = openTimers(parts);
  const api = openApi(parts, taskHubName);
  const isQuiet = () =>
    [episodes, activities, entities, timers, storage].every(({ isBusy }) => !isBusy);
  const drain = async (): Promise<void> => {
    timers.stop();
    await Promise.all([episodes.drain(), activities.drain(), entities.drain()]);
  };

  return {
    start() {
      for (const instanceId of storage.instancesWithMessages()) episodes.wake(instanceId);
      for (const entityId of storage.entities.entitiesWithOperations()) entities.wake(entityId);
      episodes.start();
      activities.start();
      entities.start();
      timers.start();
    },
    handle: (request) => api.handle(request),
    clientBinding(urls) {
      api.publishAt(urls);
      return clientBindingText(taskHubName, urls);
    },
    usage: () => ({ ...parts.usage }),
    idle: () =>
      new Promise((resolve) => {
        quietWaiters.push(resolve);
        setImmediate(parts.settled);
      }),
    drain,
    async close() {
      api.close();
      await drain();
      storage.close();
    },
  };
}
