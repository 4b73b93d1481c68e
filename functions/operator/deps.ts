// What the routes need, handed in: tests give a memory store, the entry file gives the real thing.
import type { Clock } from '../../shared/clock.ts';
import type { ConvoyDefinition } from '../../shared/convoy/definition.ts';
import type { OperatorRequest } from '../../shared/engine/operate.ts';
import type {
  QuarantineReplay,
  QuarantineReplayed,
  ReplayReport,
  ReplayRequest,
} from '../../shared/engine/replay.ts';
import type { Sender } from '../../shared/sender.ts';
import type { LayoutItem } from '../../shared/store/items.ts';
import type { ConvoyStore } from '../../shared/store/store.ts';

export interface OperatorDeps {
  store: ConvoyStore;
  clock: Clock;
  /** The registered convoys: only to these a message can be sent. */
  convoys: readonly {
    name: string;
    queue: string;
    retentionSeconds?: number;
    /** State of a split key from its lanes. */
    merge?: ConvoyDefinition['merge'];
  }[];
  sender: Pick<Sender, 'send'>;
  /** The lanes that senders may use, announced first where the definition is longer; CVY_LANES. */
  currentLanes(convoy: string): Promise<LayoutItem>;
  /** Changes the hold of a key; CVY_CONFLICT, CVY_NOT_FOUND, CVY_BAD_REQUEST. */
  operate(request: OperatorRequest): Promise<void>;
  /** Admits dead-lettered messages of a key, as many as one call may; the same errors. */
  replayDead(request: ReplayRequest): Promise<ReplayReport>;
  /** The custom status of an instance of the hub; rejects when the hub does not answer. */
  customStatusOf(instanceId: string): Promise<unknown>;
  /** What this instance has met of services that limit its rate (shared/throttling.ts). */
  throttling(): object;
  replayQuarantined(request: QuarantineReplay): Promise<QuarantineReplayed>;
}

/** Apart from the rest: health answers even where the store cannot be opened at all. */
export interface HealthDeps {
  clock: Clock;
  /** One round trip to each; rejects when it does not answer. */
  checkStore(): Promise<void>;
  pingServiceBus(): Promise<void>;
  /** That definitions and announced lanes agree; absent where no convoy has lanes. */
  checkLanes?(): Promise<void>;
  throttling(): object;
}

export interface Surroundings {
  deps(): Promise<OperatorDeps>;
  health: HealthDeps;
  onError(error: unknown): void;
}
