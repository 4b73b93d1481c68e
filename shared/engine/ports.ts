// What the engine needs from the outside, as ports: the edges hand in the real ones, the simulation
// hands in its own. The engine itself knows no Azure.
import type { Clock } from '../clock.ts';
import type { ConvoyDefinition } from '../convoy/definition.ts';
import type { Limits } from '../convoy/outputs.ts';
import type { Log } from '../log.ts';
import type { Output } from '../convoy/state.ts';
import type { LayoutItem } from '../store/items.ts';
import type { ConvoyStore } from '../store/store.ts';

/** What an instance is started with; the key travels here because its id holds only a hash [H2]. */
export interface InstanceInput {
  convoy: string;
  key: string;
  epoch: number;
}

/** The durable hub as the engine uses it. Both methods reject when the hub cannot be reached. */
export interface Instances {
  /** [H2] Starts the instance, or finds that it has been started. */
  start(instanceId: string, input: InstanceInput): Promise<void>;
  /** [H4] Raises a wake without payload. `missing`: the hub knows no such instance. */
  wake(instanceId: string): Promise<'raised' | 'missing'>;
}

export interface Publisher {
  /** [H11] Sends the outputs of one key in order, one awaited batch at a time; resolves when the
   *  broker has accepted all. Rejects when it has not: some may have been accepted. */
  publish(convoy: string, key: string, outputs: readonly Output[]): Promise<void>;
}

/** A marker into the session of an older lane: it comes behind everything sent there before. */
export interface Fence {
  queue: string;
  /** The session of the older lane. */
  session: string;
  /** The generation that waits for it. */
  generation: number;
}

export interface EngineSettings {
  /** [H10] Function time-out of host.json. */
  functionTimeoutSeconds: number;
  /** A drain that has worked this long hands back, so that one hot key holds no slot for long. */
  drainSecondsMax: number;
  /** Messages read for one commit at most. */
  messagesPerCommit: number;
}

export const defaultSettings: EngineSettings = {
  functionTimeoutSeconds: 600,
  drainSecondsMax: 20,
  messagesPerCommit: 42,
};

export interface Engine {
  store: ConvoyStore;
  publisher: Publisher;
  instances: Instances;
  clock: Clock;
  log: Log;
  definitions: ReadonlyMap<string, ConvoyDefinition>;
  limits: Limits;
  settings: EngineSettings;
  /** [H2] Instance ids that this process has seen started; see ensure-started.ts. */
  started: Set<string>;
  /** When intake of this process started: quiet time begins anew here (DESIGN §5). */
  startedAt: number;
  /** Sends a fence; resolves when the broker has it. Only who opens lanes needs it. */
  sendFence?(fence: Fence): Promise<void>;
  /** What this process knows of the lanes of its convoys; see layout.ts. */
  layouts?: Map<string, LayoutItem>;
}
