// What the reference says, and what it is told.
import type { ConvoyDefinition, Message } from '../../shared/convoy/definition.ts';
import type { Admitted } from '../../shared/convoy/state.ts';

export type RefMessage = Omit<Admitted, 'position'>;
export type RefEffect =
  { kind: 'done'; result: unknown } | { kind: 'failed'; code: string } | undefined;
/** What an operator can do; a case chooses among those that are possible. */
export const actions = [
  ...(['replay', 'retry', 'park', 'skip', 'resume', 'pause', 'cancel'] as const),
];
export type RefAction = (typeof actions)[number];

export interface RefSettlement {
  position: number;
  id: string;
  outcome: 'applied' | 'rejected' | 'invalid' | 'skipped' | 'parked';
  code?: string;
  attempts: number;
  healed: boolean;
}

export interface RefOutput {
  position: number;
  n: number;
  type: string;
  body: unknown;
  cause: string;
}

export interface RefHold {
  kind: 'none' | 'blocked' | 'paused';
  code?: string;
  position?: number;
  attempts?: number;
}

/** In line, out of the broker's run; `taken`: it waited; `parked`: it is being replayed. */
export type Source = 'run' | 'taken' | 'parked';

export interface RefOptions {
  definition: ConvoyDefinition;
  key: string;
  now: number;
  /** What the effect of this definition does at an attempt. */
  effect?(message: Message<unknown>, attempt: number): RefEffect;
  /** Messages of one key set aside at most. */
  parkedMax?: number;
}

/** What an operator looks at before acting. */
interface Standing {
  hold: RefHold;
  parked: number[];
  lane: unknown;
  completedAt: number | null;
}

/** Whether an operator may do this now. */
export function may(fold: Standing, action: RefAction): boolean {
  const { kind, position, code } = fold.hold;
  switch (action) {
    case 'pause':
      return kind !== 'paused';
    case 'resume':
      return kind === 'paused';
    case 'retry':
      return kind === 'blocked';
    case 'skip':
      return kind === 'blocked' && position !== undefined;
    case 'park':
      return kind === 'blocked' && position !== undefined && code !== 'CVY_GAP';
    case 'replay':
      return fold.parked.length > 0 || fold.lane !== null;
    case 'cancel':
      return fold.completedAt === null;
  }
}
