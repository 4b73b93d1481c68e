// The real orchestrator generator as an automaton: what it asks the hub for after what it was told.
import type { OrchestrationContext } from 'durable-functions';
import type { DrainRequest } from '../../shared/engine/drain-context.ts';
import { now } from './automaton.ts';
import type { Code } from './code.ts';

type Task =
  | { kind: 'drain'; request: DrainRequest }
  | { kind: 'timer' }
  | { kind: 'event' }
  | { kind: 'race'; timer: object; event: object };

export interface Generation {
  id: number;
  input: object;
  told: readonly unknown[];
  /** What it waits for; `again`: continue-as-new; `end`: it completes. */
  waitsFor: Task | { kind: 'again'; input: object } | { kind: 'end' };
}

/** What the hub tells it: the result of a drain, or who won the race. */
export type News = { kind: 'result'; value: unknown } | { kind: 'timer' } | { kind: 'event' };

export class Orchestrators {
  readonly all: Generation[] = [];
  readonly #code: Code;
  readonly #byText = new Map<string, Generation>();
  readonly #next = new Map<string, Generation>();
  /** Whether a drain that is asked for begins the generation anew: true of the real code, where
   *  nothing but the number of drains is carried from turn to turn beside the input. */
  readonly #forgets: boolean;

  constructor(code: Code, options: { forgets: boolean }) {
    this.#code = code;
    this.#forgets = options.forgets;
  }

  get(id: number): Generation {
    const generation = this.all[id];
    if (generation === undefined) throw new RangeError(`no generation ${id}`);
    return generation;
  }

  begin(input: object): Generation {
    return this.#generation(input, []);
  }

  after({ id, input, told }: Generation, news: News): Generation {
    const name = `${id} ${JSON.stringify(news)}`;
    const known = this.#next.get(name);
    if (known) return known;
    const next = this.#generation(input, [...told, news]);
    this.#next.set(name, next);
    return next;
  }

  #generation(input: object, told: readonly unknown[]): Generation {
    const waitsFor = this.#run(input, told);
    if (waitsFor.kind === 'drain' && this.#forgets) {
      const isAnew =
        told.length === 0 && JSON.stringify(input) === JSON.stringify(waitsFor.request);
      if (!isAnew) return this.#generation(waitsFor.request, []);
    }
    // Failures only make the next timer longer.
    if (waitsFor.kind === 'again') waitsFor.input = { ...waitsFor.input, failures: 0 };
    const text = JSON.stringify([input, told]);
    const known = this.#byText.get(text);
    if (known) return known;
    const generation = { id: this.all.length, input, told, waitsFor };
    this.all.push(generation);
    this.#byText.set(text, generation);
    return generation;
  }

  #run(input: object, told: readonly unknown[]): Generation['waitsFor'] {
    let next: object | undefined;
    const timer = () => ({ kind: 'timer', isCompleted: false, cancel: () => undefined });
    const context = {
      df: {
        getInput: () => input,
        currentUtcDateTime: new Date(now),
        callActivity: (_: string, request: DrainRequest) => ({ kind: 'drain', request }),
        createTimer: timer,
        waitForExternalEvent: () => ({ kind: 'event' }),
        setCustomStatus: () => undefined,
        continueAsNew: (again: object) => void (next = again),
        Task: { any: raceOf },
      },
    };
    const generator = this.#code.convoy(context as unknown as OrchestrationContext);
    let step = generator.next();
    for (const news of told as readonly News[]) {
      const task = step.value as unknown as Task;
      step = generator.next(answerTo(task, news));
    }
    if (!step.done) return step.value as unknown as Task;
    return next === undefined ? { kind: 'end' } : { kind: 'again', input: next };
  }
}

function raceOf(tasks: readonly { kind: string }[]): Task {
  const of = (kind: string): object => tasks.find((task) => task.kind === kind) ?? {};
  return { kind: 'race', timer: of('timer'), event: of('event') };
}

function answerTo(task: Task, news: News): unknown {
  if (news.kind === 'result') return news.value;
  if (task.kind !== 'race') return undefined;
  if (news.kind === 'event') return task.event;
  Object.assign(task.timer, { isCompleted: true });
  return task.timer;
}
