// Breadth first through every state that can be reached. The first violation is one that needs the
// fewest steps; its trace is found again from the states on its way.
//
// Liveness: the states form a graph without cycles, and whoever can go no further without a fault
// is done. Then every history comes to its end, whoever is scheduled when.
import type { Step, System } from './steps.ts';
import { faultOfEnd } from './rules.ts';
import { describeWorld } from './trace.ts';
import { Visited, doubled } from './visited.ts';
import { type World, decode, encode } from './world.ts';

export interface Exploration {
  states: number;
  transitions: number;
  /** False when `statesMax` came first. */
  isComplete: boolean;
  /** How often each kind of step was taken. */
  coverage: ReadonlyMap<string, number>;
  /** Steps of the longest shortest way to a state. */
  depth: number;
  /** How often the real code ran. */
  runs: number;
  violation: { rule: string; trace: string[] } | undefined;
}

export interface ExploreOptions {
  statesMax?: number;
  onProgress?(states: number, waiting: number): void;
}

export async function explore(system: System, options: ExploreOptions = {}): Promise<Exploration> {
  const search = new Search(system);
  await search.run(options);
  return search.report();
}

class Search {
  readonly #system: System;
  readonly #visited = new Visited();
  readonly #graph = new Graph();
  readonly #coverage = new Map<string, number>();
  #parents = new Int32Array(1 << 16);
  #depths = new Int32Array(1 << 16);
  #violation: Exploration['violation'];
  #isComplete = true;
  readonly #scratch: number[] = [];

  constructor(system: System) {
    this.#system = system;
  }

  async run({ statesMax = Infinity, onProgress }: ExploreOptions): Promise<void> {
    encode(this.#system.initial(), this.#scratch);
    this.#visited.add(this.#scratch);
    this.#parents[0] = -1;
    for (let index = 0; index < this.#visited.size; index += 1) {
      if (index >= statesMax) {
        this.#isComplete = false;
        return;
      }
      const world = decode(this.#visited.get(index));
      const steps = await this.#next(world);
      for (const step of steps) if (await this.#take(index, step)) return;
      this.#graph.close();
      if (steps.every(({ isFault }) => isFault) && (await this.#stranded(index, world))) return;
      if (index % 20_000 === 0) onProgress?.(index, this.#visited.size - index);
    }
    const cycle = this.#graph.cycle();
    if (cycle) await this.#found(cycle[0] ?? 0, 'no progress: a cycle without a fault', cycle);
  }

  report(): Exploration {
    return {
      states: this.#visited.size,
      transitions: this.#graph.edges,
      isComplete: this.#isComplete,
      coverage: this.#coverage,
      depth: this.#depths[this.#visited.size - 1] ?? 0,
      runs: this.#system.automaton.runs,
      violation: this.#violation,
    };
  }

  async #next(world: World): Promise<Step[]> {
    for (;;) {
      const steps = this.#system.next(world);
      if (steps) return steps;
      await this.#system.automaton.learn();
    }
  }

  /** True when the step must not be possible. */
  async #take(from: number, step: Step): Promise<boolean> {
    const { kind, violation } = step;
    this.#coverage.set(kind, (this.#coverage.get(kind) ?? 0) + 1);
    encode(step.world, this.#scratch);
    const { index, isNew } = this.#visited.add(this.#scratch);
    this.#graph.add(index);
    if (isNew) {
      if (index >= this.#parents.length) {
        this.#parents = doubled(this.#parents);
        this.#depths = doubled(this.#depths);
      }
      this.#parents[index] = from;
      this.#depths[index] = (this.#depths[from] ?? 0) + 1;
    }
    if (violation === undefined) return false;
    await this.#found(from, violation, [from, index]);
    return true;
  }

  async #stranded(index: number, world: World): Promise<boolean> {
    const { scope, shelves, expected } = this.#system;
    const rule = faultOfEnd(expected, {
      shelf: shelves.get(world.shelf),
      settled: world.settled,
      deliveries: scope.deliveries.length,
      sent: world.sent,
    });
    if (rule !== undefined) await this.#found(index, rule, [index]);
    return rule !== undefined;
  }

  /** The way to `index`, then along `more` (which begins with `index`). */
  async #found(index: number, rule: string, more: readonly number[]): Promise<void> {
    const way: number[] = [];
    for (let at = index; at >= 0; at = this.#parents[at] ?? -1) way.unshift(at);
    const trace: string[] = [];
    const all = [...way, ...more.slice(1)];
    for (const [i, from] of all.slice(0, -1).entries()) {
      const steps = await this.#next(decode(this.#visited.get(from)));
      const step = steps.find(({ world }) => {
        encode(world, this.#scratch);
        return this.#visited.add(this.#scratch).index === all[i + 1];
      });
      if (step) trace.push(`${step.actor}: ${step.kind}${describeWorld(this.#system, step.world)}`);
    }
    this.#violation = { rule, trace };
  }
}

/** Successors of every state, in the order of the states. */
class Graph {
  #targets = new Int32Array(1 << 18);
  #ends = new Int32Array(1 << 16);
  #nodes = 0;
  edges = 0;

  add(target: number): void {
    if (this.edges === this.#targets.length) this.#targets = doubled(this.#targets);
    this.#targets[this.edges] = target;
    this.edges += 1;
  }

  /** The successors of the next state are complete. */
  close(): void {
    if (this.#nodes === this.#ends.length) this.#ends = doubled(this.#ends);
    this.#ends[this.#nodes] = this.edges;
    this.#nodes += 1;
  }

  /** The states of a cycle, the first one again at the end; undefined: there is none. */
  cycle(): number[] | undefined {
    const left = this.#unordered();
    const first = left.indexOf(1);
    if (first < 0) return undefined;
    // Whoever is left has a predecessor that is left: backwards one comes round.
    const before = new Map<number, number>();
    for (let node = 0; node < this.#nodes; node += 1)
      if (left[node] === 1)
        for (const target of this.#successors(node))
          if (left[target] === 1) before.set(target, node);
    const way: number[] = [];
    const places = new Map<number, number>();
    for (let at = first; ; at = before.get(at) ?? first) {
      const place = places.get(at);
      if (place !== undefined) return [at, ...way.slice(place + 1).reverse(), at];
      places.set(at, way.length);
      way.push(at);
    }
  }

  #successors(node: number): Int32Array {
    return this.#targets.subarray(node === 0 ? 0 : this.#ends[node - 1], this.#ends[node]);
  }

  /** 1 for whom no topological order reaches: cycles, and what lies behind them. */
  #unordered(): Uint8Array {
    const count = new Int32Array(this.#nodes);
    for (let edge = 0; edge < this.edges; edge += 1) {
      const target = this.#targets[edge] ?? 0;
      count[target] = (count[target] ?? 0) + 1;
    }
    const left = new Uint8Array(this.#nodes).fill(1);
    const ready: number[] = [];
    for (let node = 0; node < this.#nodes; node += 1) if (count[node] === 0) ready.push(node);
    for (let node = ready.pop(); node !== undefined; node = ready.pop()) {
      left[node] = 0;
      for (const target of this.#successors(node)) {
        const rest = (count[target] ?? 0) - 1;
        count[target] = rest;
        if (rest === 0) ready.push(target);
      }
    }
    return left;
  }
}
