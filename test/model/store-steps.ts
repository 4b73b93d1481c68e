// The step that one call of the store is: what it does, what the process is answered and whether
// it was allowed. Found once per place in the code and content of the store, then looked up.
import type { StoreOperation } from '../../shared/store/store.ts';
import { type Automaton, type Node, landed } from './automaton.ts';
import { type Expected, faultOfWrite, removed } from './rules.ts';
import type { Answer, Call } from './script.ts';
import { type Good, type Outcome, type Shelf, type Shelves, execute } from './shelf.ts';
import type { Process } from './world.ts';

export interface StoreStep {
  shelf: number;
  next: Node;
  good: { goodGate: number; goodProgress: number };
  kind: string;
  wrote: boolean;
  wroteGate: boolean;
  wroteProgress: boolean;
  /** [H4] The write took `waiting` from the gate. */
  foundWaiting: boolean;
  /** [H11] So many outputs must be with the broker. */
  removed: number;
  violation: string | undefined;
}

/** One way the call may go; `step` undefined: the code behind it has not been run yet. */
export interface Variant {
  step: StoreStep | undefined;
  /** So many writes ago the answer was true; 0: it is true now. */
  staleBy: number;
  isSilent: boolean;
}

/** The port rejected: the call was done, or not. */
export const silence: Answer = { text: 'silence', failed: true };

type Way = 'fresh' | 'stale' | 'done, no answer' | 'not done';
const ways: readonly Way[] = ['fresh', 'stale', 'done, no answer', 'not done'];

const executedMax = 20_000;

export class StoreSteps {
  readonly #automaton: Automaton;
  readonly #shelves: Shelves;
  readonly #expected: Expected;
  readonly #known: Map<number, StoreStep>[] = [];
  /** The first calls that were executed, for conformance.test.ts. */
  readonly executed: { call: Call; before: Shelf; good: Good; outcome: Outcome }[] = [];

  constructor(automaton: Automaton, shelves: Shelves, expected: Expected) {
    this.#automaton = automaton;
    this.#shelves = shelves;
    this.#expected = expected;
  }

  variants(
    node: Node,
    entry: { shelf: Shelf; past: readonly number[]; process: Process },
  ): Variant[] {
    const { shelf, past, process } = entry;
    const fresh = this.#step(node, { shelf, process, way: 'fresh' });
    const found: Variant[] = [{ step: fresh, staleBy: 0, isSilent: false }];
    const isWrite = node.call?.method === 'batch';
    if (!isWrite) {
      for (const [i, id] of past.slice(0, process.lag).entries()) {
        const old = this.#step(node, { shelf: this.#shelves.get(id), process, way: 'stale' });
        const isSame = old?.next === fresh?.next && old !== undefined;
        const step = old && { ...old, shelf: shelf.id };
        if (!isSame) found.push({ step, staleBy: i + 1, isSilent: false });
      }
    } else if (fresh?.wrote) {
      const step = this.#step(node, { shelf, process, way: 'done, no answer' });
      found.push({ step, staleBy: 0, isSilent: true });
    }
    const undone = this.#step(node, { shelf, process, way: 'not done' });
    found.push({ step: undone, staleBy: 0, isSilent: true });
    return found;
  }

  #step(node: Node, entry: { shelf: Shelf; process: Process; way: Way }): StoreStep | undefined {
    const { shelf, process, way } = entry;
    const known = (this.#known[node.id] ??= new Map());
    const good = process.goodGate * 256 + process.goodProgress;
    const name = (shelf.id * 65_536 + good) * 4 + ways.indexOf(way);
    const step = known.get(name);
    if (step) return step;
    const made = this.#make(node, entry);
    if (made) known.set(name, made);
    return made;
  }

  #make(
    node: Node,
    { shelf, process, way }: { shelf: Shelf; process: Process; way: Way },
  ): StoreStep | undefined {
    const good = { gate: process.goodGate, progress: process.goodProgress };
    const { call, etags, program } = node;
    if (call === undefined) return undefined;
    const isOld = way === 'stale';
    const isSweep = program.role === 'sweep';
    const outcome: Outcome =
      way === 'not done'
        ? { ...nothing, shelf, good, etags }
        : execute(this.#shelves, call, { shelf, good, etags, isOld, isSweep });
    const { wrote, value } = outcome;
    if (way === 'fresh' && !isSweep && this.executed.length < executedMax)
      this.executed.push({ call, before: shelf, good, outcome });
    const isSilent = way === 'done, no answer' || way === 'not done';
    const text = `${call.method} ${JSON.stringify(value)}`;
    const answer = isSilent ? silence : { text, value };
    const landing = this.#automaton.child(node, answer, outcome.etags);
    if (landing === undefined) return undefined;
    // Without the answer the process has not got the new ETag.
    const isHeld = { gate: !(isSilent && wrote.gate), progress: !(isSilent && wrote.progress) };
    return {
      shelf: outcome.shelf.id,
      next: landing.node,
      good: landed(landing, {
        goodGate: isHeld.gate ? outcome.good.gate : 0,
        goodProgress: isHeld.progress ? outcome.good.progress : 0,
      }),
      kind: `${program.role}: ${kindOf(node, outcome)}`,
      wrote: outcome.applied,
      wroteGate: wrote.gate,
      wroteProgress: wrote.progress,
      foundWaiting: shelf.gate?.waiting === true && outcome.shelf.gate?.waiting === false,
      removed: removed(this.#expected, shelf, outcome.shelf),
      violation: outcome.applied
        ? faultOfWrite(this.#expected, { node, before: shelf, after: outcome.shelf })
        : undefined,
    };
  }
}

const nothing = { value: null, applied: false, wrote: { gate: false, progress: false } };

/** `batch: close → applied`: what coverage counts and a trace shows. */
function kindOf({ call }: Node, outcome: Outcome): string {
  if (call?.method !== 'batch') return call?.method ?? '';
  const operations = call.args[1] as StoreOperation[];
  const { applied, status } = (outcome.value ?? {}) as { applied?: boolean; status?: number };
  const end = applied === undefined ? 'not done' : applied ? 'applied' : String(status);
  return `${purposeOf(operations)} → ${end}`;
}

function purposeOf(operations: readonly StoreOperation[]): string {
  const items = operations.flatMap((o) => ('item' in o ? [o.item] : []));
  const gate = items.find((item) => item.kind === 'gate');
  const progress = items.find((item) => item.kind === 'progress');
  if (items.some((item) => item.kind === 'inbox'))
    return gate?.kind === 'gate' && gate.phase === 'held' ? 'admit to held' : 'admit';
  if (gate?.kind === 'gate' && progress?.kind === 'progress') {
    if (gate.phase === 'idle') return 'close';
    return gate.phase === 'held' ? 'rest' : 'reopen';
  }
  if (gate) return 'wait';
  if (progress?.kind !== 'progress') return 'other write';
  return operations.some((o) => o.kind === 'set') ? 'commit' : `hold ${progress.hold.kind}`;
}
