// Builders for the tests of the pure core.
import { z } from 'zod';
import { type ConvoyDefinition, defineConvoy } from '../../shared/convoy/definition.ts';
import { type Limits, defaultLimits } from '../../shared/convoy/outputs.ts';
import {
  type Admitted,
  type ClosedWindow,
  type Progress,
  initialProgress,
} from '../../shared/convoy/state.ts';
import { type Settled, settle } from '../../shared/convoy/step.ts';
import { toolsAt } from '../../shared/engine/tools.ts';

export interface Sum {
  sum: number;
  ids: string[];
}

/** Sums `n`; rejects a negative n; throws when the body asks for it; emits every applied id. */
export const summing = (options: { attempts?: number } = {}): ConvoyDefinition =>
  defineConvoy({
    name: 'summing',
    schema: z.object({ n: z.number(), emit: z.number().optional(), fail: z.boolean().optional() }),
    initialState: { sum: 0, ids: [] } as Sum,
    retry: { attempts: options.attempts ?? 1 },
    windows: [
      { name: 'minute', kind: 'tumbling', seconds: 60, graceSeconds: 30, value: (m) => m.body.n },
    ],
    apply(state, message, context) {
      state.sum += message.body.n; // in place on purpose: S1 must hold for careless handlers too
      if (message.body.fail) throw new Error(`asked to fail at ${message.id}`);
      if (message.body.n < 0) {
        context.reject('negative');
        return state;
      }
      for (let i = 0; i < (message.body.emit ?? 1); i += 1)
        context.emit('summed', { i, n: state.sum });
      return { sum: state.sum, ids: [...state.ids, message.id] };
    },
  });

/** The n-th message of a key: body `{n}`, event time in seconds. */
export function admitted(position: number, body: unknown, seconds = position): Admitted {
  return {
    position,
    messageId: `m${position}`,
    type: 'added',
    bodyText: JSON.stringify(body),
    schemaVersion: 1,
    occurredAt: seconds * 1000,
    enqueuedAt: seconds * 1000,
  };
}

export const fresh = (): Progress => initialProgress({ sum: 0, ids: [] }, 0);

export interface Fold extends Pick<Settled, 'progress' | 'settlements' | 'outputs' | 'full'> {
  windows: Map<string, ClosedWindow>;
  /** Most operations that one commit needed. */
  operations: number;
}

/** Commits in turns of at most `perCommit` messages until nothing is left or the key is held. */
export function fold(
  messages: Admitted[],
  options: {
    definition?: ConvoyDefinition;
    perCommit?: number;
    limits?: Partial<Limits>;
    progress?: Progress;
  } = {},
): Fold {
  const definition = options.definition ?? summing();
  const limits = { ...defaultLimits, ...options.limits };
  const windows = new Map<string, ClosedWindow>();
  const all: Fold = {
    progress: options.progress ?? fresh(),
    settlements: [],
    outputs: [],
    full: false,
    windows,
    operations: 0,
  };
  for (let turns = 0; turns < 10_000; turns += 1) {
    const { cursor } = all.progress;
    const run = messages.filter((m) => m.position > cursor).slice(0, options.perCommit ?? 1_000);
    const turn = turnOf({ definition, limits, progress: all.progress, run, windows });
    const { settlements, closed, outputs } = turn;
    const outboxItems = Math.ceil(outputs.length / limits.outputsPerItem);
    const operations = 1 + 2 * settlements.length + closed.length + outboxItems;
    all.operations = Math.max(all.operations, operations);
    all.progress = turn.progress;
    all.settlements.push(...turn.settlements);
    all.outputs.push(...turn.outputs);
    all.full = turn.full;
    for (const window of turn.closed) windows.set(`${window.window}:${window.start}`, window);
    if (turn.progress.hold.kind !== 'none' || (run.length === 0 && !turn.full)) break;
  }
  return all;
}

function turnOf(entry: {
  definition: ConvoyDefinition;
  limits: Limits;
  progress: Progress;
  run: Admitted[];
  windows: Map<string, ClosedWindow>;
}): Settled {
  const { run, windows, ...rest } = entry;
  const closedWindows = new Map<string, ClosedWindow[]>();
  for (;;) {
    const turn = settle({
      ...rest,
      convoy: 'summing',
      key: 'k',
      messages: run,
      held: new Map(),
      atTail: true,
      closedWindows,
      tools: toolsAt(5_000),
    });
    if (turn.needs.length === 0) return turn;
    for (const { id } of turn.needs) {
      const known = windows.get(id);
      closedWindows.set(id, known === undefined ? [] : [known]);
    }
  }
}
