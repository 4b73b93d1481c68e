// The real code as an automaton: a node is what one process has been answered so far, and its next
// call. Nothing of the engine is written down a second time: each node is found by running the code
// up to it, once, and is then remembered.
import type { ConvoyDefinition } from '../../shared/convoy/definition.ts';
import type { DrainRequest } from '../../shared/engine/drain-context.ts';
import type { Engine } from '../../shared/engine/ports.ts';
import { defaultSettings } from '../../shared/engine/ports.ts';
import type { OperatorAction } from '../../shared/engine/operate.ts';
import { type Code, defaultLimits } from './code.ts';
import { type Carried, carriedAfter, carriesNothing, nameOfPass } from './merge.ts';
import { type Answer, type Call, type Position, follow } from './script.ts';

export const place = { convoy: 'model', key: 'k' };

/** What a process runs. */
export type Program =
  | { role: 'intake'; messageId: string }
  | { role: 'drain'; request: DrainRequest; isUnknown: boolean }
  | { role: 'sweep' }
  | { role: 'operate'; action: OperatorAction };

export interface Node {
  id: number;
  program: Program;
  history: readonly Answer[];
  call: Call | undefined;
  result: unknown;
  startedNow: readonly string[];
  /** How many ETags of gate and progress the process was handed: the next gets the next number. */
  etags: { gate: number; progress: number };
  /** What a drain carries from pass to pass. */
  carried: Carried;
  /** A pass begins here, and this is the first history that came to it. */
  isPass: boolean;
  children: Map<string, Landing>;
  /** What led to the children. */
  answers: Map<string, Answer>;
}

/** Where an answer leads. A pass that others came to before has their ETags: the process's own
 *  one of progress gets the number it has there; those of its past are good for nothing. */
export interface Landing {
  node: Node;
  ownEtag: number;
}

/** What is still good of the ETags that a process holds when it comes to its next node. */
export function landed(
  { node, ownEtag }: Landing,
  good: { goodGate: number; goodProgress: number },
): { goodGate: number; goodProgress: number } {
  if (!node.isPass) return good;
  const isGood = ownEtag > 0 && good.goodProgress === ownEtag;
  return { goodGate: 0, goodProgress: isGood ? (node.carried.progress?.etag ?? 0) : 0 };
}

/** Time stands still; only the sweeper sees what was written as written long ago. */
export const now = 1_000_000_000;

const clock = {
  now: () => now,
  after: (_: number, callback: () => void) => {
    queueMicrotask(callback);
    return { cancel: () => undefined };
  },
};
const mergedMax = 5_000;

const quiet = () => undefined;
const log = { info: quiet, warn: quiet, error: quiet } as unknown as Engine['log'];

interface AutomatonOptions {
  definition: ConvoyDefinition;
  bodyOf(messageId: string): string;
  /** Whether histories that go on alike become one (see merge.ts). */
  merges: boolean;
}

export class Automaton {
  readonly nodes: Node[] = [];
  /** How often the code ran. */
  runs = 0;
  readonly #roots = new Map<string, Node>();
  readonly #code: Code;
  readonly #options: AutomatonOptions;
  readonly #passes = new Map<string, Node>();
  /** Histories that were made one with another, the first of them. */
  readonly merged: { history: readonly Answer[]; node: Node }[] = [];
  #missing: (() => Promise<void>)[] = [];

  constructor(code: Code, options: AutomatonOptions) {
    this.#code = code;
    this.#options = options;
  }

  node(id: number): Node {
    const node = this.nodes[id];
    if (node === undefined) throw new RangeError(`no node ${id}`);
    return node;
  }

  /** Where a process begins; undefined: not known yet, see `learn`. */
  root(program: Program): Node | undefined {
    const name = JSON.stringify(program);
    const known = this.#roots.get(name);
    if (known) return known;
    this.#missing.push(async () => {
      if (this.#roots.has(name)) return;
      const etags = { gate: 0, progress: 0 };
      const position = await this.follow(program, []);
      const carried = carriesNothing;
      const pass = this.#passOf(program, { call: position.call, carried });
      const isPass = pass !== undefined;
      const root = this.#keep({ program, history: [], etags, carried, isPass, ...position });
      this.#roots.set(name, root);
      if (isPass) this.#passes.set(pass, root);
    });
    return undefined;
  }

  /** Where a process stands after this answer; undefined: not known yet, see `learn`. */
  child(node: Node, answer: Answer, etags = node.etags): Landing | undefined {
    const known = node.children.get(answer.text);
    if (known) return known;
    this.#missing.push(async () => {
      if (node.children.has(answer.text)) return;
      node.answers.set(answer.text, answer);
      node.children.set(answer.text, await this.#land(node, answer, etags));
    });
    return undefined;
  }

  async #land(node: Node, answer: Answer, etags: Node['etags']): Promise<Landing> {
    const { program, call } = node;
    const history = [...node.history, answer];
    const position = await this.follow(program, history);
    const carried = call ? carriedAfter(node.carried, call, answer) : node.carried;
    const ownEtag = carried.progress?.etag ?? 0;
    const made = { program, history, etags, carried, ...position };
    const last = call && { call, answer };
    const name = this.#passOf(program, { call: position.call, carried, last });
    if (name === undefined) return { node: this.#keep(made), ownEtag };
    const known = this.#passes.get(name);
    if (known) {
      if (this.merged.length < mergedMax) this.merged.push({ history, node: known });
      return { node: known, ownEtag };
    }
    const pass = this.#keep({ ...made, isPass: true });
    this.#passes.set(name, pass);
    return { node: pass, ownEtag };
  }

  /** Runs the code for everything that was not known; false when there was nothing. */
  async learn(): Promise<boolean> {
    const missing = this.#missing;
    this.#missing = [];
    for (const run of missing) await run();
    return missing.length > 0;
  }

  #passOf(...about: Parameters<typeof nameOfPass>): string | undefined {
    return this.#options.merges ? nameOfPass(...about) : undefined;
  }

  /** Runs the code of a process along what it is answered. */
  follow(program: Program, history: readonly Answer[]): Promise<Position> {
    this.runs += 1;
    return follow(history, {
      unavailable: () => new this.#code.StoreUnavailable('no answer'),
      run: (ports) => this.#start(program, ports),
    });
  }

  #keep(made: Omit<Node, 'id' | 'children' | 'answers' | 'isPass'> & { isPass?: boolean }): Node {
    const tables = { children: new Map<string, Landing>(), answers: new Map<string, Answer>() };
    const node = { isPass: false, ...made, id: this.nodes.length, ...tables };
    this.nodes.push(node);
    return node;
  }

  #start(
    program: Program,
    ports: Pick<Engine, 'store' | 'instances' | 'publisher' | 'started'>,
  ): Promise<unknown> {
    const code = this.#code;
    const isKnown = program.role !== 'drain' || !program.isUnknown;
    const definitions = new Map(isKnown ? [[place.convoy, this.#options.definition]] : []);
    const settings = { ...defaultSettings, messagesPerCommit: 2 };
    const engine: Engine = {
      ...ports,
      ...{ clock, log, definitions, settings, limits: defaultLimits, startedAt: 0 },
    };
    switch (program.role) {
      case 'intake': {
        // As functions/intake.ts does it.
        const deadlineAt = Number.POSITIVE_INFINITY;
        const request = { ...place, message: this.#message(program.messageId), sequence: null };
        return code.persist(clock, { deadlineAt }, () => code.admitFitting(engine, request));
      }
      case 'drain':
        return code.drain(engine, program.request);
      case 'sweep':
        return code.sweep(engine, Number.POSITIVE_INFINITY);
      case 'operate':
        return code.operate(engine, { ...place, action: program.action, reason: 'the model' });
    }
  }

  #message(messageId: string) {
    return {
      messageId,
      type: 'sent',
      bodyText: this.#options.bodyOf(messageId),
      schemaVersion: 1,
      occurredAt: 0,
      enqueuedAt: 0,
    };
  }
}
