// What a history is about: a definition with its versions, what is sent, which faults, how the
// platform is set. The seed fills it in.
import type { ConvoyDefinition } from '../../shared/convoy/definition.ts';
import type { Limits } from '../../shared/convoy/outputs.ts';
import type { CheckedWindow } from '../../shared/convoy/window-definition.ts';
import type { Rates } from './faults.ts';
import type { SimulatedMessage } from './messages.ts';
import type { Random } from './random.ts';
import type { Report } from './violations.ts';

export interface Scenario {
  name: string;
  about: string;
  rates: Rates;
  /** Nothing fails, so nothing may be slow either: more is asked of it. */
  isSmooth?: true;
  maySkip?: true;
  mayCancel?: true;
  /** Of the input queue. Default 10. */
  maxDeliveryCount?: number;
  /** How long a silent session is kept. */
  sessionIdleMs: number;
  /** What this seed makes of it. */
  plot(random: Random): Plot;
}

export interface Plot {
  /** In the order of deployment; all of one convoy. */
  versions: readonly [ConvoyDefinition, ...ConvoyDefinition[]];
  messages: readonly SimulatedMessage[];
  order: 'broker' | 'sender';
  /** Those that an oracle recomputes: their value is the field `n` of the body. */
  windows: readonly CheckedWindow[];
  /** Pauses are long enough for dedup markers and settled messages to expire. */
  mayForget?: true;
  limits: Limits;
  messagesPerCommit: number;
  /** What a state says that all applied numbers come to. */
  totalOf?(state: unknown): number;
  /** Handed the way to report what the scenario itself finds wrong. */
  watch?(report: Report): void;
  /** From now on nothing that was broken fails any more. */
  mend(): void;
}
