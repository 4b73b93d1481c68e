// The words that filters accept, in the order in which they are offered.
import type { HoldKind, Phase } from '../../shared/convoy/state.ts';
import type { InboxOutcome } from '../../shared/store/items.ts';

export const phases = ['active', 'idle', 'held'] as const satisfies Phase[];

export const holds = ['retrying', 'blocked', 'paused', 'publishing'] as const satisfies HoldKind[];

export const outcomes = [
  'waiting',
  'applied',
  'rejected',
  'invalid',
  'parked',
  'skipped',
  'deadLettered',
] as const satisfies InboxOutcome[];
