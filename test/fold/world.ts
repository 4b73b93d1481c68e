// The real engine (admit, orchestrator, drain, sweeper, operator) over the memory store, one
// process at a time, with something going wrong at chosen calls of a port. A process that dies
// takes its memory with it; the hub, the queue and the store survive.
import type { ConvoyDefinition } from '../../shared/convoy/definition.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import type { Output } from '../../shared/convoy/state.ts';
import { type Incoming, admitMessage } from '../../shared/engine/admit.ts';
import { type DrainResult, drain } from '../../shared/engine/drain.ts';
import type { DrainRequest } from '../../shared/engine/drain-context.ts';
import { type OperatorAction, operate } from '../../shared/engine/operate.ts';
import { type Engine, type Instances, defaultSettings } from '../../shared/engine/ports.ts';
import { sweep } from '../../shared/engine/sweep.ts';
import { ConvoyError } from '../../shared/errors.ts';
import { convoyIdOf } from '../../shared/keys.ts';
import { createLog } from '../../shared/log.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import { rememberingStore } from '../../shared/store/remembering.ts';
import { type ConvoyStore, StoreUnavailable } from '../../shared/store/store.ts';
import { convoyName, startMs } from './cases.ts';
import { type Hub, createHub } from './hub.ts';
import { Observer } from './observer.ts';
import { type Choices, createTurns } from './turns.ts';

/** Before or after the call took effect: the process dies, or only the answer is lost. `twice`: an
 *  activity runs two times at once. `half`: of several outputs only the first were accepted. */
export const faults = ['dies before', 'dies after', 'lost before', 'lost after', 'twice'] as const;
export type Fault = (typeof faults)[number] | 'half';

export interface Plan extends Choices {
  /** What goes wrong at the n-th call, from 1. */
  fault(n: number, label: string): Fault | undefined;
  messagesPerCommit: number;
  drainSecondsMax: number;
  remembers: boolean;
  /** Lets a test break a rule and see it found. */
  sabotage?(store: ConvoyStore): ConvoyStore;
}

export const calmPlan: Plan = {
  fault: () => undefined,
  choose: () => 0,
  hurries: () => false,
  messagesPerCommit: 42,
  drainSecondsMax: 20,
  remembers: true,
};

interface Process {
  engine: Engine;
  isAlive: boolean;
  die(): void;
  died: Promise<'died'>;
}

const roundsMax = 60;
const minuteMs = 60_000;
const forever = <T>(): Promise<T> => new Promise<T>(() => undefined);

export class World {
  calls = 0;
  /** What went wrong, and where. */
  readonly happened: string[] = [];
  readonly observer: Observer;
  readonly #plan: Plan;
  readonly #turns;
  readonly #store: ConvoyStore;
  readonly #hub: Hub;
  readonly #parkedMax: number;
  #definition: ConvoyDefinition;
  #process: Process;

  constructor(plan: Plan, definition: ConvoyDefinition, parkedMax: number) {
    this.#plan = plan;
    this.#definition = definition;
    this.#parkedMax = parkedMax;
    this.#turns = createTurns(startMs, plan);
    this.observer = new Observer(createMemoryStore({ clock: this.#turns.clock }));
    this.#store = plan.sabotage?.(this.observer.store) ?? this.observer.store;
    this.#hub = createHub(this.#turns, (request) => this.#activity(request));
    this.#process = this.#born();
  }

  get now(): number {
    return this.#turns.clock.now();
  }

  /** One session: a message is delivered again until it was admitted. */
  async deliver(key: string, message: Incoming, sequence: number): Promise<void> {
    const request = { convoy: convoyName, key, message, sequence };
    for (;;) {
      const { engine, died } = this.#process;
      const admitted = admitMessage(engine, request).then(
        () => true,
        () => false,
      );
      if ((await Promise.race([admitted, died])) === true) return;
      await new Promise<void>((go) => this.#turns.clock.after(50, go));
    }
  }

  /** Nothing is drained meanwhile. */
  async whileAsleep(work: () => Promise<void>): Promise<void> {
    this.#hub.setAsleep(true);
    const done = work();
    await this.#turns.run(this.now + 30 * minuteMs);
    await done;
    this.#hub.setAsleep(false);
  }

  /** Until nothing moves by itself and every key is idle or held. */
  async rest(): Promise<void> {
    for (let round = 0; round < roundsMax; round += 1) {
      await this.#turns.run(this.now + 10 * minuteMs);
      if (await this.#isAtRest()) return;
      this.#turns.jumpTo(this.now + 13 * minuteMs); // H9: the time limit + 2 min
      this.#sweep();
    }
    throw new Error(`the world does not come to rest; ${this.happened.join(', ')}`);
  }

  async #isAtRest(): Promise<boolean> {
    const { items } = await this.#store.listGates({ limit: 1000 });
    return items.every(({ phase }) => phase !== 'active');
  }

  #sweep(): void {
    void sweep(this.#process.engine, this.now + 25_000).catch(() => undefined);
  }

  /** Nothing comes for so long; the sweeper looks whenever something is due. */
  async silence(ms: number): Promise<void> {
    const until = this.now + ms;
    await this.rest();
    while (this.now < until) {
      const { items } = await this.#store.listGates({ limit: 1000 });
      const due = items.flatMap(({ phase, dueAt }) => (phase === 'idle' && dueAt ? [dueAt] : []));
      const next = Math.max(Math.min(until, ...due), this.now + minuteMs);
      this.#turns.jumpTo(next);
      this.#sweep();
      await this.rest();
    }
  }

  /** An operator who looks before repeating what may have been done. */
  async act(key: string, action: OperatorAction): Promise<void> {
    const convoyId = convoyIdOf(convoyName, key);
    const before = (await this.#store.readGate(convoyId))?.etag;
    for (;;) {
      const { engine, died } = this.#process;
      const request = { convoy: convoyName, key, action, reason: 'by hand' };
      let refusal: unknown;
      const acting = operate(engine, request).catch((error: unknown) => {
        if (error instanceof ConvoyError) refusal = error;
      });
      let isOver = false;
      void Promise.race([acting, died]).then(() => (isOver = true));
      await this.#turns.run(this.now);
      if (!isOver) throw new Error(`${action} does not end`);
      if (refusal) throw refusal;
      if ((await this.#store.readGate(convoyId))?.etag !== before) return;
    }
  }

  /** Every process ends and starts with this definition. */
  deploy(definition: ConvoyDefinition): void {
    this.#definition = definition;
    this.#process = this.#born();
  }

  #born(): Process {
    let die = (): void => undefined;
    const died = new Promise<'died'>((resolve) => void (die = () => resolve('died')));
    const process: Process = { isAlive: true, die, died, engine: {} as Engine };
    const { clock } = this.#turns;
    const faulty = this.#ported(process);
    process.engine = {
      store: this.#plan.remembers ? rememberingStore(faulty) : faulty,
      publisher: {
        publish: (_, key, outputs) => this.#publish(process, key, outputs),
      },
      instances: this.#instances(process),
      clock,
      log: createLog('warn', () => undefined),
      definitions: new Map([[convoyName, this.#definition]]),
      limits: { ...defaultLimits, parkedMax: this.#parkedMax },
      settings: {
        ...defaultSettings,
        messagesPerCommit: this.#plan.messagesPerCommit,
        drainSecondsMax: this.#plan.drainSecondsMax,
      },
      started: new Set(),
      startedAt: 0, // quiet time counts from the last admission alone
    };
    return process;
  }

  #ported(process: Process): ConvoyStore {
    return new Proxy(this.#store, {
      get: (target, name, receiver) => {
        const method: unknown = Reflect.get(target, name, receiver);
        if (typeof method !== 'function') return method;
        return (...args: unknown[]): Promise<unknown> =>
          this.#call(process, String(name), () => Reflect.apply(method, target, args));
      },
    });
  }

  #instances(process: Process): Instances {
    return {
      start: (id, input) => this.#call(process, 'start', () => this.#hub.start(id, input)),
      wake: (id) => this.#call(process, 'wake', () => this.#hub.wake(id)),
    };
  }

  async #publish(process: Process, key: string, outputs: readonly Output[]): Promise<void> {
    await this.#call(process, `publish ${outputs.length}`, async (fault) => {
      const accepted = fault === 'half' ? outputs.slice(0, outputs.length / 2) : outputs;
      this.observer.published(key, accepted);
    });
  }

  /** One call of a port: it may go wrong here. */
  async #call<Answer>(
    process: Process,
    label: string,
    work: (fault: Fault | undefined) => Promise<Answer>,
  ): Promise<Answer> {
    await this.#turns.wait();
    if (!process.isAlive) return forever();
    this.calls += 1;
    const fault = this.#plan.fault(this.calls, label);
    if (fault !== undefined) this.happened.push(`${fault} ${this.calls} ${label}`);
    if (fault === 'dies before') return this.#die(process);
    if (fault === 'lost before') throw new StoreUnavailable('no answer');
    const answer = await work(fault);
    if (fault === 'dies after' || fault === 'half') return this.#die(process);
    if (fault === 'lost after') throw new StoreUnavailable('the answer is lost');
    return answer;
  }

  #die(process: Process): Promise<never> {
    process.isAlive = false;
    if (process === this.#process) this.#process = this.#born();
    process.die();
    return forever();
  }

  /** At least once: run again when its process died, before or after its result was recorded. */
  async #activity(request: DrainRequest): Promise<DrainResult> {
    for (;;) {
      const process = this.#process;
      const { engine, died } = process;
      let isTwice = false;
      const attempt = async (): Promise<DrainResult> => {
        await this.#call(process, 'activity', async (fault) => void (isTwice = fault === 'twice'));
        if (isTwice) void drain(engine, request);
        const result = await drain(engine, request);
        await this.#call(process, 'result', async () => undefined);
        return result;
      };
      const answer = await Promise.race([attempt().catch(() => 'lost' as const), died]);
      if (typeof answer === 'object') return answer;
    }
  }
}
