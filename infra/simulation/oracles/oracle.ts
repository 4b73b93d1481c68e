// What an oracle gets to see. Oracles know nothing of the engine: they watch what reaches the
// broker and the store, and compare it with what was sent.
import type { OperatorAction } from '../../../shared/engine/operate.ts';
import type { Entry, Holder, Lane, Locked } from '../../local/broker/lane.ts';
import type { Cosmos, ItemOf, Written } from '../cosmos.ts';
import type { Coverage } from '../coverage.ts';
import type { SentMessage } from '../messages.ts';
import type { Published } from '../publisher-port.ts';
import type { Plot, Scenario } from '../scenario.ts';
import type { Site } from '../sites.ts';
import type { Report } from '../violations.ts';

/** An applied batch, taken apart. */
export interface Applied extends Written {
  site: Site;
  key: string;
  at: number;
  /** What the batch wrote of gate and progress. */
  gateAfter: ItemOf<'gate'> | undefined;
  progressAfter: ItemOf<'progress'> | undefined;
}

/** What every oracle is handed. */
export interface Scene {
  report: Report;
  coverage: Coverage;
  cosmos: Cosmos;
  scenario: Scenario;
  plot: Plot;
  convoyIdOf(key: string): string;
  /** Instances started, wakes raised. */
  hub: { starts: number; wakes: number };
}

export interface Oracle {
  /** The queue took a copy of a message under this number. */
  sent?(sent: SentMessage, sequence: number): void;
  accepted?(lane: Lane, holder: Holder): void;
  lost?(lane: Lane, holder: Holder): void;
  delivered?(sent: SentMessage, entry: Entry): void;
  /** The broker takes this settlement. */
  settled?(locked: Locked, holder: Holder): void;
  /** Somebody acts on a key that stands at this position. */
  decided?(key: string, action: OperatorAction, position: number | undefined): void;
  rescued?(messageId: string, key: string): void;
  applied?(batch: Applied): void;
  /** An output queue has it; false: its duplicate detection dropped it. */
  published?(message: Published, isNew: boolean): void;
  /** Everything has come to rest. */
  atEnd?(): void;
}
