// What the routes need, handed in: tests give a memory store, the entry file gives the real thing.
import type { Clock } from '../../shared/clock.ts';
import type { Sender } from '../../shared/sender.ts';
import type { ConvoyStore } from '../../shared/store/store.ts';

export type OperatorAction = 'pause' | 'resume' | 'retry' | 'skip';

export interface OperateRequest {
  convoy: string;
  key: string;
  action: OperatorAction;
  reason: string;
  by?: string;
  expectedCursor?: number;
}

export interface OperatorDeps {
  store: ConvoyStore;
  clock: Clock;
  /** The registered convoys: only to these a message can be sent. */
  convoys: readonly { name: string; queue: string }[];
  sender: Pick<Sender, 'send'>;
  /** Changes the hold of a key; CVY_CONFLICT, CVY_NOT_FOUND, CVY_BAD_REQUEST. */
  operate(request: OperateRequest): Promise<void>;
  /** One round trip to the broker; rejects when it does not answer. */
  pingServiceBus(): Promise<void>;
}
