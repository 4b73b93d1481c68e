// What can happen next: every process may make its next call, the hub and the broker may do their
// part, and as long as the budget lasts something may go wrong.
import type { Output } from '../../shared/convoy/state.ts';
import { type Arrival, type Surroundings, arrivals, certainArrival } from './arrivals.ts';
import { Automaton, type Landing, type Node, landed } from './automaton.ts';
import type { Code } from './code.ts';
import { Hub } from './hub.ts';
import { type Expected, accept, faultOfSettlement } from './rules.ts';
import type { Answer } from './script.ts';
import { type Scope, definitionOf, nameOf } from './scope.ts';
import { Shelves } from './shelf.ts';
import { StoreSteps, silence } from './store-steps.ts';
import { type Process, type World, left, packBudget, spend } from './world.ts';

export interface Step {
  world: World;
  /** It cost some of the budget. */
  isFault: boolean;
  /** What happened, without names: coverage counts these. */
  kind: string;
  /** Who did it; made only for a trace. */
  actor: string;
  violation?: string | undefined;
}

const absent = { goodGate: 0, goodProgress: 0, isHolder: false, host: 0, instance: 0 };
const newcomer = { ...absent, lag: 0, foundWaiting: false, woke: false };

export class System {
  readonly scope: Scope;
  readonly expected: Expected;
  readonly shelves = new Shelves();
  readonly automaton: Automaton;
  readonly hub: Hub;
  readonly store: StoreSteps;
  readonly #staleWrites: number;
  readonly #around: Surroundings;
  #steps: Step[] = [];

  constructor(code: Code, scope: Scope) {
    this.scope = scope;
    this.#staleWrites = scope.staleWrites ?? 1;
    const order = [...new Set(scope.deliveries)];
    const poison = new Set(scope.poison);
    this.expected = { order, effects: order.filter((id) => !poison.has(id)) };
    this.automaton = new Automaton(code, {
      definition: definitionOf(code),
      bodyOf: (id) => JSON.stringify({ id, fails: poison.has(id) }),
      merges: !scope.hasOtherPasses,
    });
    this.hub = new Hub(code, { forgets: !scope.carriesMore });
    const { shelves, hub, automaton } = this;
    const roleOf = ({ node }: Process) => automaton.node(node).program.role;
    this.#around = { scope, shelves, hub, roleOf };
    this.store = new StoreSteps(this.automaton, this.shelves, this.expected);
  }

  initial(): World {
    return {
      shelf: this.shelves.of(new Map()).id,
      past: [],
      settled: 0,
      sent: 0,
      budget: packBudget(this.scope.budget),
      started: 0,
      instances: [],
      processes: [],
    };
  }

  /** All next states; undefined: some code had to be run first (`automaton.learn`). */
  next(world: World): Step[] | undefined {
    this.#steps = [];
    const isKnown = this.#withoutChoice(world);
    if (!isKnown) return undefined;
    if (this.#steps.length > 0) return this.#steps;
    let isComplete = true;
    for (const arrival of arrivals(this.#around, world))
      if (!this.#launch(arrival)) isComplete = false;
    world.processes.forEach((process, i) => {
      const rest = world.processes.filter((_, j) => j !== i);
      if (!this.#advance({ ...world, processes: rest }, process)) isComplete = false;
    });
    for (const step of this.hub.steps(world)) this.#emit(step.world, step);
    return isComplete ? this.#steps : undefined;
  }

  /** One step that nothing else can hinder, and that hinders nothing: it may as well come first
   *  (an ample set of one). Leaves no steps when there is none; false when code has to be run. */
  #withoutChoice(world: World): boolean {
    const { budget } = world;
    const hasEnded = world.processes.findIndex((process) => {
      const { call, program } = this.automaton.node(process.node);
      if (call !== undefined || (program.role === 'drain' && process.isHolder)) return false;
      return !process.isHolder || (left(budget, 'lock') === 0 && left(budget, 'crash') === 0);
    });
    const ended = world.processes[hasEnded];
    if (ended) {
      const processes = world.processes.filter((_, i) => i !== hasEnded);
      return this.#return({ ...world, processes }, ended, this.automaton.node(ended.node));
    }
    const certain = certainArrival(this.#around, world);
    return certain === undefined || this.#launch(certain);
  }

  #emit(world: World, step: Omit<Step, 'world'>): void {
    // Past shelves count only while something may still read them.
    if (left(world.budget, 'stale') > 0) {
      this.#steps.push({ ...step, world });
      return;
    }
    const processes = world.processes.some((p) => p.lag > 0)
      ? world.processes.map((p) => ({ ...p, lag: 0 }))
      : world.processes;
    this.#steps.push({ ...step, world: { ...world, past: [], processes } });
  }

  /** Adds a process; false when its code has not been run yet. */
  #launch({ world, program, process, kind, isFault }: Arrival): boolean {
    const node = this.automaton.root(program);
    if (node === undefined) return false;
    const begun = { ...newcomer, lag: this.#staleWrites, ...process, node: node.id };
    const launched = { ...world, processes: [...world.processes, begun] };
    this.#emit(launched, { isFault, kind, actor: nameOf(program) });
    return true;
  }

  /** The next step of one process; `world` is without it. */
  #advance(world: World, process: Process): boolean {
    const node = this.automaton.node(process.node);
    const actor = nameOf(node.program);
    if (left(world.budget, 'crash') > 0) {
      const dead = { ...world, budget: spend(world.budget, 'crash') };
      this.#emit(dead, { isFault: true, kind: `CRASH: ${node.program.role} dies`, actor });
    }
    if (node.call === undefined) return this.#return(world, process, node);
    switch (node.call.method) {
      case 'start':
        return this.#start(world, process, node);
      case 'wake':
        return this.#wake(world, process, node);
      case 'publish':
        return this.#publish(world, process, node);
      default:
        return this.#call(world, process, node);
    }
  }

  #call(world: World, process: Process, node: Node): boolean {
    const shelf = this.shelves.get(world.shelf);
    let isComplete = true;
    const done = this.store.variants(node, { shelf, past: world.past, process });
    for (const { step, staleBy, isSilent } of done) {
      const isStale = staleBy > 0;
      const fault = isStale ? 'stale' : isSilent ? 'silence' : undefined;
      if (fault !== undefined && left(world.budget, fault) === 0) continue;
      if (step === undefined) {
        isComplete = false;
        continue;
      }
      const isMoved = step.shelf !== world.shelf;
      const past = [world.shelf, ...world.past].slice(0, this.#staleWrites);
      const after: World = {
        ...world,
        shelf: step.shelf,
        past: isMoved ? past : world.past,
        budget: fault === undefined ? world.budget : spend(world.budget, fault),
        processes: step.wrote
          ? world.processes.map((p) => this.#outrun(p, { ...step, isMoved }))
          : world.processes,
      };
      const unsent =
        step.removed > world.sent ? 'H11: removed before the broker had it' : undefined;
      const found = process.foundWaiting || step.foundWaiting;
      const seen = isSilent ? process.lag : staleBy;
      const lag = this.scope.isEventual === true ? this.#staleWrites : seen;
      const own = { ...process, foundWaiting: found, ...step.good, lag };
      const kind = `${isStale ? 'STALE ' : ''}${isSilent ? 'NO ANSWER ' : ''}${step.kind}`;
      const about = { isFault: fault !== undefined, kind, actor: nameOf(node.program) };
      const violation = step.violation ?? unsent;
      if (
        !this.#settle(after, own, {
          node,
          next: { node: step.next, ownEtag: step.good.goodProgress },
          ...about,
          violation,
        })
      )
        isComplete = false;
    }
    return isComplete;
  }

  /** Another process after somebody wrote: its ETags are void, what it has seen is older by one. */
  #outrun(
    process: Process,
    wrote: { wroteGate: boolean; wroteProgress: boolean; isMoved: boolean },
  ): Process {
    const goodGate = wrote.wroteGate ? 0 : process.goodGate;
    const goodProgress = wrote.wroteProgress ? 0 : process.goodProgress;
    const lag = Math.min(process.lag + Number(wrote.isMoved), this.#staleWrites);
    return { ...process, goodGate, goodProgress, lag };
  }

  /** Puts the process back where it stands now, and does what needs no further call. */
  #settle(
    world: World,
    process: Process,
    step: Omit<Step, 'world'> & { node: Node; next: Landing | undefined },
  ): boolean {
    let next = step.next?.node;
    let { started } = world;
    const good = step.next && landed(step.next, process);
    for (;;) {
      if (next === undefined) return false;
      for (const id of next.startedNow) started |= this.#startedBit(process, id);
      if (next.call?.method !== 'hasStarted') break;
      const value = (started & this.#startedBit(process, String(next.call.args[0]))) !== 0;
      next = this.automaton.child(next, { text: `hasStarted ${value}`, value })?.node;
    }
    const { isFault, kind, actor, violation } = step;
    const { role } = step.node.program;
    // Sweeper and operator have nothing to hand back.
    const isOver = next.call === undefined && (role === 'sweep' || role === 'operate');
    const hasAdmitted = /admit .*applied/.test(kind) && this.scope.settlesEarly === true;
    const isSettled = hasAdmitted && process.isHolder;
    const isHolder = process.isHolder && !isSettled;
    const own = { ...process, ...good, node: next.id, isHolder };
    const processes = isOver ? world.processes : [...world.processes, own];
    const settled = world.settled + Number(isSettled);
    this.#emit({ ...world, started, settled, processes }, { isFault, kind, actor, violation });
    return true;
  }

  #startedBit(process: Process, instanceId: string): number {
    return 1 << (this.hub.nameOf(instanceId) * 2 + process.host);
  }

  /** A call beside the store: what it did to the world, and what was answered. */
  #answered(
    world: World,
    process: Process,
    step: {
      node: Node;
      answer: Answer;
      kind: string;
      fault?: 'silence' | 'rerun';
      violation?: string;
    },
  ): boolean {
    const { node, answer, kind, fault, violation } = step;
    const budget = fault === undefined ? world.budget : spend(world.budget, fault);
    const next = this.automaton.child(node, answer);
    const actor = nameOf(node.program);
    const about = { isFault: fault !== undefined, kind, actor, violation };
    return this.#settle({ ...world, budget }, process, { node, next, ...about });
  }

  /** Its answer gets lost, whether the call was done or not. */
  #unanswered(world: World, process: Process, step: { node: Node; kind: string }): boolean {
    if (left(world.budget, 'silence') === 0) return true;
    const kind = `NO ANSWER ${step.kind}`;
    return this.#answered(world, process, { ...step, kind, answer: silence, fault: 'silence' });
  }

  #start(world: World, process: Process, node: Node): boolean {
    const [instanceId, input] = node.call?.args ?? [];
    const answer = { text: 'started' };
    const results = this.hub.start(world, String(instanceId), input as object).map((start) => {
      if (start.isRerun && left(world.budget, 'rerun') === 0) return true;
      const fault = start.isRerun ? { fault: 'rerun' as const } : {};
      const { kind } = start;
      const isDone = this.#answered(start.world, process, { node, answer, kind, ...fault });
      if (start.isRerun) return isDone;
      return this.#unanswered(start.world, process, { node, kind }) && isDone;
    });
    return (
      this.#unanswered(world, process, { node, kind: 'start not done' }) && !results.includes(false)
    );
  }

  #wake(world: World, process: Process, node: Node): boolean {
    const awake = { ...process, woke: true };
    const results = this.hub
      .wake(world, String(node.call?.args[0]))
      .map(({ world: after, value, kind }) =>
        this.#answered(after, awake, { node, kind, answer: { text: value, value } }),
      );
    return this.#unanswered(world, awake, { node, kind: 'wake' }) && !results.includes(false);
  }

  #publish(world: World, process: Process, node: Node): boolean {
    const outputs = (node.call?.args[0] ?? []) as readonly Output[];
    const accepted = accept(this.expected, world.sent, outputs);
    const kind = 'publish accepted';
    const answer = { text: 'published' };
    if ('fault' in accepted)
      return this.#answered(world, process, { node, answer, kind, violation: accepted.fault });
    const after = { ...world, sent: accepted.sent };
    const isDone = this.#answered(after, process, { node, answer, kind });
    const isLost = this.#unanswered(after, process, { node, kind });
    return this.#unanswered(world, process, { node, kind: 'publish refused' }) && isDone && isLost;
  }

  #return(world: World, process: Process, node: Node): boolean {
    const { program, result } = node;
    const actor = nameOf(program);
    if (program.role === 'drain') {
      if (!process.isHolder) {
        this.#emit(world, { isFault: false, kind: 'a late attempt ends', actor });
        return true;
      }
      const processes = world.processes.map((p) =>
        p.instance === process.instance ? { ...p, isHolder: false } : p,
      );
      const { kind } = result as { kind: string };
      const told = this.hub.tell({ ...world, processes }, process.instance, result);
      this.#emit(told, { isFault: false, kind: `a drain returns: ${kind}`, actor });
      return true;
    }
    if (program.role !== 'intake') return true;
    const { kind } = result as { kind: string };
    const settled = world.settled + Number(process.isHolder);
    const shelf = this.shelves.get(world.shelf);
    const isMissed = kind === 'admitted' && process.woke !== process.foundWaiting;
    const violation = isMissed
      ? 'H4: one wake per wait'
      : process.isHolder
        ? faultOfSettlement(program.messageId, shelf)
        : undefined;
    const about = process.isHolder ? 'the message is settled' : 'without the lock: not settled';
    this.#emit(
      { ...world, settled },
      { isFault: false, kind: `${kind}: ${about}`, actor, violation },
    );
    return true;
  }
}
