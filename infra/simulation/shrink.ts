// Makes a failing history small: fewer messages, fewer faults, simpler ones, one key – as long as
// the same rule breaks. Deterministic: the same failure shrinks to the same history.
import type { Fault, FaultKind, FaultPlan, Rates } from './faults.ts';
import type { SimulatedMessage } from './messages.ts';
import type { SimulateOptions, Simulation } from './simulate.ts';

export interface ShrinkOptions {
  /** Runs one history of the same definition or scenario. */
  run(history: Pick<SimulateOptions, 'seed' | 'messages' | 'plan' | 'rates'>): Promise<Simulation>;
  /** Histories that may be tried; each takes some milliseconds. Default 400. */
  runsMax?: number;
  onProgress?(runs: number, smallest: Shrunk): void;
}

export interface Shrunk {
  seed: number;
  messages: readonly SimulatedMessage[];
  plan: FaultPlan;
  /** The run of exactly these. */
  simulation: Simulation;
}

const sizes = [1, 2, 3, 5, 8, 13, 21];
const seedsPerSize = 8;

/** A failure that is no failure without its faults says so: `simulation` must have failed. */
export async function shrink(
  simulation: Simulation,
  options: ShrinkOptions & { rates: Rates },
): Promise<Shrunk> {
  const shrinker = new Shrinker(simulation, options);
  await shrinker.withoutFaults();
  await shrinker.fromShortHistories(options.rates);
  for (let before = -1; before !== shrinker.size;) {
    before = shrinker.size;
    await shrinker.fewerMessages();
    await shrinker.fewerFaults();
  }
  await shrinker.oneKey();
  await shrinker.simplerFaults();
  return shrinker.smallest;
}

class Shrinker {
  smallest: Shrunk;
  readonly #rule: string | undefined;
  readonly #options: ShrinkOptions;
  #runs = 0;

  constructor(simulation: Simulation, options: ShrinkOptions) {
    const { seed, messages, faults } = simulation;
    this.smallest = { seed, messages, plan: faults, simulation };
    this.#rule = simulation.violations[0]?.rule;
    this.#options = options;
  }

  get size(): number {
    return this.smallest.messages.length * 1_000 + this.smallest.plan.length;
  }

  /** Many failures are the definition's own and need no fault at all. */
  async withoutFaults(): Promise<void> {
    await this.#try({ plan: [] });
  }

  /** Other histories, of the first few messages: a fault hits them elsewhere, but hits. */
  async fromShortHistories(rates: Rates): Promise<void> {
    const { seed, messages, plan } = this.smallest;
    for (const size of sizes) {
      if (size >= messages.length) return;
      const some = messages.slice(0, size);
      if (await this.#try({ messages: some })) return;
      for (let n = 0; plan.length > 0 && n < seedsPerSize; n += 1) {
        const found = await this.#run({ seed: seed * seedsPerSize + n, messages: some, rates });
        if (found && (await this.#try({ ...found, plan: found.faults }))) return;
      }
    }
  }

  async fewerMessages(): Promise<void> {
    await dropped(this.smallest.messages, (messages) => this.#try({ messages }));
  }

  async fewerFaults(): Promise<void> {
    await dropped(this.smallest.plan, (plan) => this.#try({ plan }));
  }

  async oneKey(): Promise<void> {
    const { messages } = this.smallest;
    const key = messages.find((message) => message.key !== '')?.key ?? 'k';
    if (messages.every((message) => message.key === key || message.key === '')) return;
    await this.#try({ messages: messages.map((one) => (one.key === '' ? one : { ...one, key })) });
    const atOnce = this.smallest.messages.map((message) => ({ ...message, sendAt: 0 }));
    await this.#try({ messages: atOnce });
  }

  /** In place of each fault a milder one that can stand there. */
  async simplerFaults(): Promise<void> {
    for (const [i, fault] of this.smallest.plan.entries()) {
      for (const kind of milder[fault.kind] ?? []) {
        const plan = this.smallest.plan.map((one, j) => (j === i ? { ...one, kind } : one));
        if (await this.#try({ plan })) break;
      }
    }
  }

  /** Keeps a change when the same rule still breaks. */
  async #try(change: Partial<Pick<Shrunk, 'seed' | 'messages' | 'plan'>>): Promise<boolean> {
    const { seed, messages, plan } = { ...this.smallest, ...change };
    const simulation = await this.#run({ seed, messages, plan });
    if (!simulation) return false;
    // A fault of the plan that found no place did not happen.
    this.smallest = { seed, messages, plan: simulation.faults, simulation };
    return true;
  }

  /** The history when the rule breaks in it; undefined also when enough were tried. */
  async #run(
    history: Pick<SimulateOptions, 'seed' | 'messages' | 'plan' | 'rates'>,
  ): Promise<Simulation | undefined> {
    if (this.#runs >= (this.#options.runsMax ?? 400)) return undefined;
    this.#runs += 1;
    const simulation = await this.#options.run(history);
    this.#options.onProgress?.(this.#runs, this.smallest);
    return simulation.violations[0]?.rule === this.#rule ? simulation : undefined;
  }
}

/** Drops half, then quarters, then single ones, as long as what is left still fails. */
async function dropped<Item>(
  items: readonly Item[],
  fails: (left: readonly Item[]) => Promise<boolean>,
): Promise<void> {
  let left = items;
  for (
    let size = Math.ceil(left.length / 2);
    size >= 1;
    size = size === 1 ? 0 : Math.ceil(size / 2)
  ) {
    for (let from = 0; from < left.length;) {
      const without = [...left.slice(0, from), ...left.slice(from + size)];
      if (without.length < left.length && (await fails(without))) left = without;
      else from += size;
    }
  }
}

const milder: Partial<Record<FaultKind, readonly FaultKind[]>> = {
  'host.crash': ['host.freeze'],
  'store.timeoutApplied': ['store.slow', 'store.timeout'],
  'store.timeout': ['store.slow', 'store.throttled'],
  'store.slowAnswer': ['store.slow'],
  'publisher.partly': ['publisher.refused'],
  'publisher.ambiguous': ['publisher.slow', 'publisher.refused'],
  'hub.startAmbiguous': ['hub.startSlow', 'hub.startFails'],
  'hub.wakeDoubled': ['hub.wakeLate'],
  'hub.wakeLost': ['hub.wakeLate'],
};

/** A fault in a few words. */
export function nameOf({ kind, step }: Fault): string {
  return `${kind} at step ${step}`;
}
