// The deterministic simulation: real engine, real orchestrator, real session logic of the broker,
// under one seeded scheduler and a virtual clock, with faults at every step; and oracles that know
// nothing of the engine.
//
// Same options, same history, step by step: a failing seed is repeated by its number alone.
import type { ConvoyDefinition } from '../../shared/convoy/definition.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import { Coverage } from './coverage.ts';
import type { Fault, FaultPlan, Rates } from './faults.ts';
import type { SimulatedMessage } from './messages.ts';
import type { Orchestrator } from './orchestration.ts';
import { play } from './play.ts';
import { Random } from './random.ts';
import type { Plot, Scenario } from './scenario.ts';
import { scenarioNamed } from './scenarios.ts';
import { usualFaults } from './scenarios/parts.ts';
import { Trace, type TraceEntry } from './trace.ts';
import type { Violation } from './violations.ts';
import { World } from './world.ts';

export interface SimulateOptions {
  seed: number;
  /** One of scenarios.ts, or one of the caller's own. Default `plain`. */
  scenario?: string | Scenario;
  /** Instead of a scenario: this definition, with these messages, under the usual faults. */
  definition?: ConvoyDefinition;
  /** The generator of functions/convoy.ts. */
  orchestrator: Orchestrator;
  /** Instead of those that scenario and seed choose. */
  messages?: readonly SimulatedMessage[];
  /** Instead of the scenario's. */
  rates?: Rates;
  /** Exactly these faults and no others, as an earlier run of this seed reported them. */
  plan?: FaultPlan;
  /** Notes every step; a few times slower. */
  trace?: boolean;
}

export interface Simulation {
  seed: number;
  scenario: string;
  violations: Violation[];
  /** The faults that happened: hand them back in as `plan`, all or fewer. */
  faults: Fault[];
  messages: readonly SimulatedMessage[];
  coverage: ReadonlyMap<string, number>;
  steps: number;
  /** Equal digests: the same steps in the same order at the same instants. */
  digest: number;
  /** Virtual milliseconds. */
  tookMs: number;
  trace?: TraceEntry[];
}

/** Runs one history. Rejects only for wrong options. */
export async function simulate(options: SimulateOptions): Promise<Simulation> {
  const { seed, orchestrator, plan } = options;
  const scenario = scenarioOf(options);
  const chosen = scenario.plot(new Random(seed));
  const plot = options.messages ? { ...chosen, messages: options.messages } : chosen;
  const rates = options.rates ?? scenario.rates;
  const place = { now: (): { step: number; at: number } => ({ step: 0, at: 0 }) };
  const trace = options.trace ? new Trace(() => place.now()) : undefined;
  const world = new World({ seed, scenario, plot, orchestrator, rates, plan, trace });
  const { scheduler, faults, violations, coverage } = world;
  const startedAt = scheduler.now;
  plot.watch?.((violation) => world.report(violation));
  place.now = () => ({ step: scheduler.steps, at: scheduler.now });
  await play(world);
  return {
    seed,
    scenario: scenario.name,
    violations,
    faults: faults.happened,
    messages: plot.messages,
    coverage: coverage.counts,
    steps: scheduler.steps,
    digest: scheduler.digest,
    tookMs: scheduler.now - startedAt,
    ...(trace && { trace: trace.entries }),
  };
}

function scenarioOf({ scenario = 'plain', definition, messages }: SimulateOptions): Scenario {
  if (definition) return scenarioFor(definition, messages ?? []);
  return typeof scenario === 'string' ? scenarioNamed(scenario) : scenario;
}

/** A scenario of somebody's own definition: messages are theirs, and so is what they come to. */
function scenarioFor(
  definition: ConvoyDefinition,
  messages: readonly SimulatedMessage[],
): Scenario {
  const plot = (random: Random): Plot => ({
    versions: [definition],
    messages,
    order: definition.order,
    windows: [],
    limits: defaultLimits,
    messagesPerCommit: random.pick([1, 3, 7, 42]),
    mend: () => {},
  });
  const about = `the convoy '${definition.name}' under the usual faults`;
  return { name: definition.name, about, rates: usualFaults, sessionIdleMs: 3_000, plot };
}

export interface SeedsOptions extends Omit<SimulateOptions, 'seed'> {
  from: number;
  count: number;
  /** After every history. */
  onProgress?(done: number, last: Simulation): void;
  stopAtFirst?: boolean;
}

export interface SeedsReport {
  histories: number;
  steps: number;
  /** Histories with violations. */
  failed: Simulation[];
  coverage: ReadonlyMap<string, number>;
}

const failedKept = 100;

/** Runs a range of seeds, one after the other. Errors carry no stacks meanwhile: taking them costs
 *  more than everything else of a fault. */
export async function runSeeds(options: SeedsOptions): Promise<SeedsReport> {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return await runAll(options);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

async function runAll(options: SeedsOptions): Promise<SeedsReport> {
  const { from, count, onProgress, stopAtFirst, ...rest } = options;
  const coverage = new Coverage();
  const failed: Simulation[] = [];
  let [histories, steps] = [0, 0];
  for (let seed = from; seed < from + count; seed += 1) {
    const simulation = await simulate({ ...rest, seed });
    histories += 1;
    steps += simulation.steps;
    coverage.add(simulation.coverage);
    if (simulation.violations.length > 0 && failed.length < failedKept) failed.push(simulation);
    onProgress?.(histories, simulation);
    if (stopAtFirst && failed.length > 0) break;
  }
  return { histories, steps, failed, coverage: coverage.counts };
}
