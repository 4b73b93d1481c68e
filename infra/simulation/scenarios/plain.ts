// One simple convoy: it sums numbers and emits one output each. What the platform does to it is the
// scenario's; here are the variants that need something of their own from the definition.
import { defineConvoy } from '../../../shared/convoy/definition.ts';
import type { WindowDefinition } from '../../../shared/convoy/window-definition.ts';
import type { Random } from '../random.ts';
import type { Plot } from '../scenario.ts';
import {
  type Numbered,
  type SendOptions,
  limitsFor,
  messagesFor,
  messagesPerHistory,
  numbered,
} from './parts.ts';

interface Sum {
  sum: number;
}

interface PlainOptions extends Partial<SendOptions> {
  window?: Partial<WindowDefinition<Sum, Numbered>>;
  /** Outputs per message. */
  emits?: number;
  /** How long settled messages and dedup markers are kept. */
  keepSeconds?: number;
}

/** Sums numbers, one output each, a window per half a minute. */
export function plainPlot(random: Random, options: PlainOptions = {}): Plot {
  const { window, keepSeconds, emits = 1, ...send } = options;
  const definition = defineConvoy({
    name: 'simulated',
    schema: numbered,
    initialState: { sum: 0 } as Sum,
    lingerSeconds: random.pick([2, 5]),
    ...(keepSeconds !== undefined && {
      retentionSeconds: keepSeconds,
      dedupSeconds: Math.max(3600, keepSeconds),
    }),
    windows: [{ name: 'w', kind: 'tumbling', seconds: 30, value: ({ body }) => body.n, ...window }],
    apply(state, { body: { n } }, context) {
      for (let i = 0; i < emits; i += 1) context.emit('summed', { i, sum: state.sum + n });
      return { sum: state.sum + n };
    },
  });
  const keys = random.pick([1, 1, 2, 3]);
  return {
    versions: [definition],
    messages: messagesFor(random, { messages: messagesPerHistory, keys, ...send }),
    order: 'broker',
    windows: definition.windows,
    ...limitsFor(random),
    totalOf: (state) => (state as Sum).sum,
    mend: () => {},
    ...(keepSeconds !== undefined && { mayForget: true }),
  };
}

/** Of a state of any version. */
function totalOf(state: unknown): number {
  const { sum, total, all } = state as Partial<Sum & { total: number; all: number[] }>;
  return sum ?? total ?? all?.[0] ?? Number.NaN;
}

/** Three versions of one convoy: the body and the state change their form with each. */
export function deploymentsPlot(random: Random): Plot {
  const base = { name: 'simulated', schema: numbered, lingerSeconds: random.pick([2, 5]) };
  const first = defineConvoy({
    ...base,
    initialState: { sum: 0 },
    apply: ({ sum }, { body: { n } }) => ({ sum: sum + n }),
  });
  const second = defineConvoy({
    ...base,
    version: 2,
    upcast: { 1: (body) => body },
    migrate: { 1: (state) => ({ total: (state as Sum).sum }) },
    initialState: { total: 0 },
    apply: ({ total }, { body: { n } }) => ({ total: total + n }),
  });
  const third = defineConvoy({
    ...base,
    version: 3,
    upcast: { 1: (body) => body, 2: (body) => body },
    migrate: {
      1: (state) => ({ total: (state as Sum).sum }),
      2: (state) => ({ all: [(state as { total: number }).total] }),
    },
    initialState: { all: [0] },
    apply: ({ all: [total = 0] }, { body: { n } }) => ({ all: [total + n] }),
  });
  const keys = random.pick([1, 2, 3]);
  // The senders' own deployment runs ahead of ours now and then.
  const schemaVersion = (dice: Random): number => (dice.chance(0.9) ? 1 : dice.between(2, 3));
  return {
    versions: [first, second, third],
    messages: messagesFor(random, { messages: messagesPerHistory, keys, schemaVersion }),
    order: 'broker',
    windows: [],
    ...limitsFor(random),
    totalOf,
    mend: () => {},
  };
}
