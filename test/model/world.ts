// One state of the whole system, and its short form: a list of small integers. Everything large
// stands in tables (shelves, nodes, generations) and is a number here.

/** What can go wrong; each so many times in one history. Wakes may be lost without limit. */
export const faults = [
  /** A process dies: intake, a drain attempt, sweeper, operator. */
  'crash',
  /** The session lock is lost: the message is delivered again while the first holder works. */
  'lock',
  /** A second attempt of the same activity. */
  'zombie',
  /** An operator terminates an instance; its attempts run on. */
  'terminate',
  /** A finished or terminated instance leaves the hub: nobody knows it any more. */
  'purge',
  /** The sweeper looks although the instance lives. */
  'alarm',
  /** A read answers what was true before the last writes. */
  'stale',
  /** A finished instance id is run again. */
  'rerun',
  /** An operator pauses the key. */
  'pause',
  /** Store, hub or broker do not answer: the call was done, or not. */
  'silence',
  /** A wake nobody raised now: late, or doubled. */
  'wake',
  /** An attempt runs where the definition is not deployed. */
  'unknown',
] as const;
export type Fault = (typeof faults)[number];
export type Budget = Readonly<Partial<Record<Fault, number>>>;

const bitsOf = (fault: Fault): number => faults.indexOf(fault) * 2;

export function packBudget(budget: Budget): number {
  return faults.reduce((packed, fault) => packed | ((budget[fault] ?? 0) << bitsOf(fault)), 0);
}

export function left(packed: number, fault: Fault): number {
  return (packed >> bitsOf(fault)) & 3;
}

export function spend(packed: number, fault: Fault): number {
  return packed - (1 << bitsOf(fault));
}

export const running = 0;
export const finished = 1;
export const terminated = 2;

/** An instance of the durable hub. */
export interface Instance {
  /** Number of its id. */
  name: number;
  status: number;
  /** Wakes raised and not consumed, at most two: more are as good as lost. */
  wakes: number;
  generation: number;
}

/** A running invocation: of intake, of a drain attempt, of sweeper or operator. */
export interface Process {
  node: number;
  goodGate: number;
  goodProgress: number;
  /** Intake: it holds the session lock. Drain: its result counts. */
  isHolder: boolean;
  host: number;
  /** [H4] Its admission found the gate waiting; it has raised a wake. */
  foundWaiting: boolean;
  woke: boolean;
  /** How many of the past shelves it may still read: none that is older than what it has seen. */
  lag: number;
  /** Number of the instance id a drain attempt belongs to. */
  instance: number;
}

export interface World {
  shelf: number;
  /** Shelves of before, the latest first; empty when nothing reads stale any more. */
  past: readonly number[];
  /** Deliveries that the broker counts as settled. */
  settled: number;
  /** Outputs that the broker has accepted, in order. */
  sent: number;
  budget: number;
  /** Bit per host and instance: what `started` of that host holds. */
  started: number;
  instances: readonly Instance[];
  processes: readonly Process[];
}

export function encode(world: World, into: number[]): void {
  into.length = 0;
  into.push(world.shelf, world.settled * 64 + world.sent, world.budget, world.started);
  into.push(world.past.length * 64 + world.instances.length, ...world.past);
  for (const { name, status, wakes, generation } of world.instances)
    into.push(name * 64 + status * 8 + wakes, generation);
  const processes = world.processes.map((p) => ({
    node: p.node,
    good: p.goodGate * 1024 + p.goodProgress,
    flags:
      Number(p.isHolder) +
      p.host * 2 +
      Number(p.foundWaiting) * 4 +
      Number(p.woke) * 8 +
      p.lag * 16 +
      p.instance * 64,
  }));
  // Which of two equal processes comes first makes no difference.
  processes.sort((a, b) => a.node - b.node || a.flags - b.flags || a.good - b.good);
  for (const { node, good, flags } of processes) into.push(node, good, flags);
}

export function decode(state: Int32Array): World {
  const at = (index: number): number => state[index] ?? 0;
  const pastCount = at(4) >> 6;
  const instanceCount = at(4) & 63;
  let next = 5;
  const past = Array.from({ length: pastCount }, () => at(next++));
  const instances = Array.from({ length: instanceCount }, () => {
    const packed = at(next);
    const generation = at(next + 1);
    next += 2;
    return { name: packed >> 6, status: (packed >> 3) & 7, wakes: packed & 7, generation };
  });
  const processes: Process[] = [];
  for (; next < state.length; next += 3) {
    const flags = at(next + 2);
    processes.push({
      node: at(next),
      goodGate: at(next + 1) >> 10,
      goodProgress: at(next + 1) & 1023,
      isHolder: (flags & 1) > 0,
      host: (flags >> 1) & 1,
      foundWaiting: (flags & 4) > 0,
      woke: (flags & 8) > 0,
      lag: (flags >> 4) & 3,
      instance: flags >> 6,
    });
  }
  return {
    shelf: at(0),
    past,
    settled: at(1) >> 6,
    sent: at(1) & 63,
    budget: at(2),
    started: at(3),
    instances,
    processes,
  };
}
