// What the parts of the hub share, and the words in which the hub and those around it talk.
import type { Clock } from '../../../shared/clock.ts';
import type { DeliveryFaults, Dice } from './dice.ts';
import type { BindingUrls } from './status.ts';
import type { HubStorage } from './storage.ts';
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
