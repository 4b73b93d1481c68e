// The scenarios by name. The simulation runs one of them per history; `mixed` has a bit of all.
import { defineConvoy } from '../../shared/convoy/definition.ts';
import type { Random } from './random.ts';
import type { Plot, Scenario } from './scenario.ts';
import { limitsFor, messagesFor, numbered, usualFaults } from './scenarios/parts.ts';
import { messagesPerHistory, policiesPlot } from './scenarios/policies.ts';

const sessionIdleMs = 3_000;

/** Sums numbers, one output each, a window per half a minute; nothing is wrong with any message. */
function plainPlot(random: Random): Plot {
  const definition = defineConvoy({
    name: 'simulated',
    schema: numbered,
    initialState: { sum: 0 },
    lingerSeconds: random.pick([2, 5]),
    windows: [{ name: 'w', kind: 'tumbling', seconds: 30, value: ({ body }) => body.n }],
    apply(state, { body: { n } }, context) {
      context.emit('summed', { sum: state.sum + n });
      return { sum: state.sum + n };
    },
  });
  return {
    versions: [definition],
    messages: messagesFor(random, {
      messages: messagesPerHistory,
      keys: random.pick([1, 1, 2, 3]),
    }),
    order: 'broker',
    windows: definition.windows,
    ...limitsFor(random),
    mend: () => {},
  };
}

export const scenarios: readonly Scenario[] = [
  {
    name: 'smooth',
    about: 'nothing fails, so every message settles at once, with the fewest calls',
    rates: {},
    isSmooth: true,
    sessionIdleMs,
    plot: plainPlot,
  },
  {
    name: 'plain',
    about: 'one simple convoy under every usual fault',
    rates: usualFaults,
    sessionIdleMs,
    plot: plainPlot,
  },
  {
    name: 'policies',
    about: 'every policy of a definition: order, poison, retries, effects, windows; people act',
    rates: { ...usualFaults, 'operator.act': 0.004 },
    maySkip: true,
    sessionIdleMs,
    plot: (random) => policiesPlot(random),
  },
];

/** Throws RangeError for a name that is none. */
export function scenarioNamed(name: string): Scenario {
  const found = scenarios.find((scenario) => scenario.name === name);
  if (found) return found;
  const names = scenarios.map((scenario) => scenario.name).join(', ');
  throw new RangeError(`no scenario '${name}'; there are ${names}`);
}
