// A scope: how many messages, which faults, and what the messages do.
import { z } from 'zod';
import type { ConvoyDefinition } from '../../shared/convoy/definition.ts';
import type { OperatorAction } from '../../shared/engine/operate.ts';
import { type Program, place } from './automaton.ts';
import type { Code } from './code.ts';
import type { Budget } from './world.ts';

export interface Scope {
  name: string;
  /** Message ids in the order of the queue; a repeat is a duplicate of the sender. */
  deliveries: readonly string[];
  /** Messages the handler always fails at: they block the key until an operator skips them. */
  poison?: readonly string[];
  budget: Budget;
  /** Without it, nothing may depend on it: no process or instance dies for good then. */
  hasSweeper: boolean;
  /** How many writes a stale read may lag behind, 1 to 3. Default 1. */
  staleWrites?: number;
  /** Reads may be older than what the same process has seen: eventual consistency. */
  isEventual?: boolean;
  /** The message is settled at the broker as soon as it is admitted, before H2. */
  settlesEarly?: boolean;
  /** The orchestrator carries more from turn to turn than its input (see Orchestrators). */
  carriesMore?: boolean;
  /** The passes of a drain begin otherwise: no histories are made one (see merge.ts). */
  hasOtherPasses?: boolean;
}

export function nameOf(program: Program): string {
  switch (program.role) {
    case 'intake':
      return `intake of ${program.messageId}`;
    case 'drain': {
      const { epoch, mayClose } = program.request;
      return `drain of epoch ${epoch}${mayClose ? ' that may close' : ''}`;
    }
    case 'sweep':
      return 'sweeper';
    case 'operate':
      return `operator (${program.action})`;
  }
}

export function actionFor(code: string | undefined): OperatorAction {
  if (code === 'CVY_PAUSED') return 'resume';
  return code === 'CVY_HANDLER' ? 'skip' : 'retry';
}

interface Ids {
  ids: string[];
}

/** Remembers every id, emits one output for each, fails where the body asks for it. */
export function definitionOf(code: Code): ConvoyDefinition {
  return code.defineConvoy({
    name: place.convoy,
    schema: z.object({ id: z.string(), fails: z.boolean() }),
    initialState: { ids: [] } as Ids,
    apply(state, { body }, context) {
      if (body.fails) throw new Error('poison');
      context.emit('done', { id: body.id });
      return { ids: [...state.ids, body.id] };
    },
  });
}
