// PURE. One execution of the orchestrator generator: what it waits for, its history, and the replay
// of that history, which must lead to the same place.
//
// Owns:   tasks, the context that the generator is handed, replay.
// Leaves: when a task completes and what gets lost to hub.ts.

/** The orchestrator as the app registers it; its context is the durable SDK's. */
export type Orchestrator = (context: never) => Generator<unknown, void, unknown>;

export type Task =
  | { kind: 'activity'; name: string; input: unknown }
  | { kind: 'timer'; at: number; isCompleted: boolean; isCanceled: boolean; cancel(): void }
  | { kind: 'event'; name: string }
  | { kind: 'any'; tasks: Task[] };

/** How a task ended; of `any` the index of the winner. */
export type Ending =
  | { kind: 'value'; value: unknown }
  | { kind: 'error'; error: Error }
  | { kind: 'winner'; index: number };

interface Episode {
  ending: Ending;
  /** `currentUtcDateTime` from here on. */
  at: number;
}

/** A replay went elsewhere than the execution it repeats. */
export class Diverged extends Error {}

export class Execution {
  readonly input: unknown;
  /** What the generator waits for; undefined when it has returned. */
  task: Task | undefined;
  /** Set when it continued as new. */
  next: unknown = undefined;
  readonly #orchestrator: Orchestrator;
  readonly #startedAt: number;
  readonly #history: Episode[] = [];
  #now: number;
  #generator: Generator<unknown, void, unknown>;

  constructor(orchestrator: Orchestrator, input: unknown, at: number) {
    this.#orchestrator = orchestrator;
    this.input = input;
    this.#startedAt = at;
    this.#now = at;
    this.#generator = this.#begin();
    this.task = taskOf(this.#generator.next());
  }

  advance(ending: Ending, at: number): void {
    this.#history.push({ ending, at });
    this.#feed(ending, at);
  }

  /** From the history alone, as a host does that has lost its memory. Throws Diverged. */
  replay(): void {
    const before = this.task;
    this.next = undefined;
    this.#now = this.#startedAt;
    this.#generator = this.#begin();
    this.task = taskOf(this.#generator.next());
    for (const { ending, at } of this.#history) this.#feed(ending, at);
    if (nameOf(before) !== nameOf(this.task)) {
      throw new Diverged(`replay waits for ${nameOf(this.task)}, not for ${nameOf(before)}`);
    }
  }

  #feed(ending: Ending, at: number): void {
    this.#now = at;
    const { task } = this;
    if (ending.kind === 'error') {
      this.task = taskOf(this.#generator.throw(ending.error));
    } else if (ending.kind === 'winner') {
      const winner = task?.kind === 'any' ? task.tasks[ending.index] : undefined;
      if (winner?.kind === 'timer') winner.isCompleted = true;
      this.task = taskOf(this.#generator.next(winner));
    } else {
      if (task?.kind === 'timer') task.isCompleted = true;
      this.task = taskOf(this.#generator.next(ending.value));
    }
  }

  #begin(): Generator<unknown, void, unknown> {
    const now = (): Date => new Date(this.#now);
    const context = {
      df: {
        getInput: () => this.input,
        callActivity: (name: string, input: unknown): Task => ({ kind: 'activity', name, input }),
        createTimer: (at: Date): Task => timerAt(at.getTime()),
        waitForExternalEvent: (name: string): Task => ({ kind: 'event', name }),
        Task: { any: (tasks: Task[]): Task => ({ kind: 'any', tasks }) },
        continueAsNew: (next: unknown): void => void (this.next = next),
        get currentUtcDateTime() {
          return now();
        },
      },
    };
    return this.#orchestrator(context as never);
  }
}

function timerAt(at: number): Task {
  const timer = {
    kind: 'timer' as const,
    at,
    isCompleted: false,
    isCanceled: false,
    cancel: () => void (timer.isCanceled = true),
  };
  return timer;
}

// The edge where the durable SDK's tasks are ours.
const taskOf = (step: IteratorResult<unknown, void>): Task | undefined =>
  step.done ? undefined : (step.value as Task);

function nameOf(task: Task | undefined): string {
  switch (task?.kind) {
    case undefined:
      return 'nothing';
    case 'activity':
      return `activity ${JSON.stringify(task.input)}`;
    case 'timer':
      return `timer ${task.at}`;
    case 'event':
      return `event ${task.name}`;
    case 'any':
      return `any of ${task.tasks.map(nameOf).join(', ')}`;
  }
}
