// The scenarios by name. The simulation runs one of them per history; `mixed` has a bit of all.
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import type { Rates } from './faults.ts';
import type { Scenario } from './scenario.ts';
import { usualFaults } from './scenarios/parts.ts';
import { deploymentsPlot, plainPlot } from './scenarios/plain.ts';
import { policiesPlot } from './scenarios/policies.ts';

const sessionIdleMs = 3_000;
const deployments: Rates = { 'host.deploy': 0.004, 'host.forgetDefinition': 0.002 };

export const scenarios: readonly Scenario[] = [
  {
    name: 'smooth',
    about: 'nothing fails, so every message settles at once, with the fewest calls',
    rates: {},
    isSmooth: true,
    sessionIdleMs,
    plot: (random) => plainPlot(random),
  },
  {
    name: 'plain',
    about: 'one simple convoy under every usual fault',
    rates: usualFaults,
    sessionIdleMs,
    plot: (random) => plainPlot(random),
  },
  {
    name: 'policies',
    about: 'every policy of a definition: order, poison, retries, effects, windows; people act',
    rates: { ...usualFaults, 'operator.act': 0.004 },
    maySkip: true,
    sessionIdleMs,
    plot: (random) => policiesPlot(random),
  },
  {
    name: 'people',
    about: 'people pause, resume, retry, skip, park, replay and cancel at every odd moment',
    rates: { ...usualFaults, 'operator.act': 0.03 },
    maySkip: true,
    mayCancel: true,
    sessionIdleMs,
    plot: (random) =>
      policiesPlot(random, { afterComplete: random.pick(['park', 'reject', 'reopen']) }),
  },
  {
    name: 'deployments',
    about: 'three versions of a definition, deployed while messages come; now and then none',
    rates: { ...usualFaults, ...deployments },
    sessionIdleMs,
    plot: deploymentsPlot,
  },
  {
    name: 'roll-up',
    about: 'the windows of three keys, joined into one batch per window',
    rates: usualFaults,
    sessionIdleMs,
    plot: (random) => ({
      ...plainPlot(random, {
        keys: 3,
        window: {
          seconds: 60,
          rollUp: { delaySeconds: random.pick([1, 5, 40]) },
          ...(random.chance(0.5) && { quietSeconds: 60 }),
        },
      }),
      // Two contributions fill a part.
      limits: { ...defaultLimits, outputBytesMax: 2_000 + 250 },
    }),
  },
  {
    name: 'dead-letters',
    about: 'locks get lost so often that the broker gives up on messages; some have no key',
    rates: {
      ...usualFaults,
      'broker.lockLost': 0.03,
      'broker.renewFails': 0.5,
      'store.throttled': 0.1,
      'store.slow': 0.1,
    },
    maxDeliveryCount: 1,
    sessionIdleMs,
    plot: (random) => plainPlot(random, { keylessShare: 0.05 }),
  },
  {
    name: 'forgetting',
    about: 'hours pass: what has settled expires, what must not is still there',
    rates: usualFaults,
    sessionIdleMs,
    plot: (random) => plainPlot(random, { keepSeconds: 3600, pauseMsMax: 3 * 3_600_000 }),
  },
  {
    name: 'lost-wakes',
    about: 'no wake ever arrives, instances are terminated and purged: the timers do it all',
    rates: {
      'hub.wakeLost': 1,
      'hub.terminate': 0.004,
      'hub.purge': 0.01,
      'hub.startFails': 0.2,
    },
    sessionIdleMs,
    plot: (random) => plainPlot(random),
  },
  {
    name: 'zombies',
    about: 'activities run twice at a time, hosts stand still and wake up late, ids start again',
    rates: {
      'hub.activityDoubled': 0.3,
      'hub.activityRepeated': 0.3,
      'hub.rerun': 0.02,
      'host.freeze': 0.005,
      'host.clockJump': 0.005,
      'broker.lockLost': 0.01,
      'store.slow': 0.03,
      'store.slowAnswer': 0.03,
      'publisher.slow': 0.1,
      'sweep.extra': 0.01,
    },
    sessionIdleMs,
    plot: (random) => plainPlot(random),
  },
  {
    name: 'stale',
    about: 'half of all reads are older than they could be, hosts come and go',
    rates: { 'store.stale': 0.5, 'host.crash': 0.004, 'hub.activityDoubled': 0.05 },
    sessionIdleMs,
    plot: (random) => plainPlot(random),
  },
  {
    name: 'crashes',
    about: 'hosts die at every step of the way',
    rates: { 'host.crash': 0.03, 'store.timeoutApplied': 0.02 },
    sessionIdleMs,
    plot: (random) => policiesPlot(random),
  },
  {
    name: 'storms',
    about: 'the store throttles and loses answers, the hub and the broker refuse',
    rates: {
      'store.throttled': 0.1,
      'store.timeout': 0.05,
      'store.timeoutApplied': 0.05,
      'hub.startFails': 0.3,
      'hub.startAmbiguous': 0.2,
      'hub.wakeFails': 0.3,
      'publisher.refused': 0.2,
      'publisher.partly': 0.1,
      'publisher.ambiguous': 0.1,
      'host.crash': 0.001,
    },
    sessionIdleMs,
    plot: (random) => plainPlot(random),
  },
  {
    name: 'steady',
    about: 'one key that never falls silent: its instance lives on from generation to generation',
    // Nothing ends the instance or lets it sleep, or it would not come to a next generation.
    rates: {
      ...usualFaults,
      'hub.terminate': 0,
      'hub.purge': 0,
      'hub.wakeLost': 0,
      'hub.eventsDropped': 0.9,
    },
    sessionIdleMs,
    plot: (random) =>
      plainPlot(random, { keys: 1, messages: 100, pauseMsMax: 2_000, isSteady: true }),
  },
  {
    name: 'outputs',
    about: 'every message emits fifty outputs, and the broker refuses most of them for a while',
    rates: {
      ...usualFaults,
      'publisher.refused': 0.5,
      'publisher.partly': 0.2,
      'hub.activityDoubled': 0.2,
    },
    sessionIdleMs,
    plot: (random) => ({
      ...plainPlot(random, { emits: 50 }),
      limits: { ...defaultLimits, outputsPerItem: random.pick([3, 20]) },
    }),
  },
  {
    name: 'mixed',
    about: 'a little of everything at once',
    rates: { ...usualFaults, ...deployments, 'operator.act': 0.004 },
    maxDeliveryCount: 4,
    maySkip: true,
    sessionIdleMs,
    plot: (random) => (random.chance(0.3) ? deploymentsPlot(random) : policiesPlot(random)),
  },
];

/** Throws RangeError for a name that is none. */
export function scenarioNamed(name: string): Scenario {
  const found = scenarios.find((scenario) => scenario.name === name);
  if (found) return found;
  const names = scenarios.map((scenario) => scenario.name).join(', ');
  throw new RangeError(`no scenario '${name}'; there are ${names}`);
}
