// A durable hub that keeps its promises, and no more: it runs the real orchestrator generator, runs
// activities at least once, sometimes two attempts at a time, starts a finished id again, drops the
// wakes of a continue-as-new, and loses what an operator terminates or purges.
import type { OrchestrationContext, Task } from 'durable-functions';
import { convoy } from '../../../functions/convoy.ts';
import type { Clock } from '../../../shared/clock.ts';
import type { DrainResult } from '../../../shared/engine/drain.ts';
import type { DrainRequest } from '../../../shared/engine/drain-context.ts';
import type { InstanceInput, Instances } from '../../../shared/engine/ports.ts';
import type { Prng } from '../../support/prng.ts';

export interface HubFaults {
  lostWake: number;
  doubledWake: number;
  /** Two attempts of one activity at a time. */
  zombieAttempt: number;
  /** An activity that could not even run. */
  failedActivity: number;
}

export const noHubFaults: HubFaults = {
  lostWake: 0,
  doubledWake: 0,
  zombieAttempt: 0,
  failedActivity: 0,
};

type Waiting =
  | { kind: 'activity'; request: DrainRequest }
  | { kind: 'timer'; at: number; isCompleted: boolean; cancel(): void }
  | { kind: 'event' }
  | { kind: 'any'; tasks: Waiting[] };

interface Instance {
  id: string;
  input: InstanceInput;
  status: 'running' | 'finished' | 'terminated';
  wakes: number;
  wake: (() => void) | undefined;
}

export interface Hub extends Instances {
  /** Instance ids, one entry per start that began an execution. */
  readonly started: string[];
  /** Wakes that were raised, lost ones too. */
  readonly raised: number;
  /** Runs a finished id again, as Azure may. */
  rerun(index: number): void;
  /** Ends one running instance; `purge` forgets it as well. */
  remove(how: 'terminate' | 'purge', isChosen: (waits: boolean) => boolean): boolean;
}

export interface HubOptions {
  clock: Clock;
  random: Prng;
  faults: HubFaults;
  turn(): Promise<void>;
  /** An attempt that takes longer is taken for dead. */
  attemptMsMax: number;
  drain(request: DrainRequest): Promise<DrainResult>;
}

export function createHub(options: HubOptions): Hub {
  const { random, faults } = options;
  const instances = new Map<string, Instance>();
  const started: string[] = [];
  const inputs = new Map<string, InstanceInput>();
  let raised = 0;
  const begin = (id: string, input: InstanceInput): void => {
    const instance: Instance = { id, input, status: 'running', wakes: 0, wake: undefined };
    instances.set(id, instance);
    inputs.set(id, input);
    started.push(id);
    void execute(options, instance);
  };
  return {
    started,
    get raised() {
      return raised;
    },
    async start(id, input) {
      await options.turn();
      if (instances.get(id)?.status !== 'running') begin(id, input);
    },
    async wake(id) {
      await options.turn();
      raised += 1;
      const instance = instances.get(id);
      if (!instance) return 'missing';
      if (instance.status !== 'running' || random.chance(faults.lostWake)) return 'raised';
      instance.wakes += random.chance(faults.doubledWake) ? 2 : 1;
      instance.wake?.();
      return 'raised';
    },
    rerun(index) {
      const finished = [...instances.values()].filter(({ status }) => status === 'finished');
      const again = finished[index % Math.max(1, finished.length)];
      if (again) begin(again.id, again.input);
    },
    remove(how, isChosen) {
      const running = [...instances.values()].filter(({ status }) => status === 'running');
      const victim = running.find(({ wake }) => isChosen(wake !== undefined));
      if (!victim) return false;
      victim.status = 'terminated';
      if (how === 'purge') instances.delete(victim.id);
      return true;
    },
  };
}

async function execute(options: HubOptions, instance: Instance): Promise<void> {
  let input: InstanceInput | undefined = instance.input;
  const isRunning = (): boolean => instance.status === 'running';
  while (input !== undefined && isRunning()) {
    const generation: { next?: InstanceInput } = {};
    const generator = convoy(contextOf(options.clock, input, generation));
    let step = generator.next();
    while (!step.done && isRunning()) {
      const outcome = await perform(options, instance, waitingOf(step.value));
      if (!isRunning()) return;
      step = 'error' in outcome ? generator.throw(outcome.error) : generator.next(outcome.value);
    }
    input = generation.next;
    instance.wakes = 0; // continue-as-new drops what nobody has waited for
  }
  if (isRunning()) instance.status = 'finished';
}

type Outcome = { value: unknown } | { error: Error };

const waitingOf = (task: Task): Waiting => task as unknown as Waiting;

async function perform(options: HubOptions, instance: Instance, task: Waiting): Promise<Outcome> {
  if (task.kind === 'activity') return activity(options, task.request);
  const tasks = task.kind === 'any' ? task.tasks : [task];
  const timer = tasks.find((one) => one.kind === 'timer');
  const event = tasks.find((one) => one.kind === 'event');
  return new Promise((resolve) => {
    const fired =
      timer &&
      options.clock.after(timer.at - options.clock.now(), () => {
        instance.wake = undefined;
        timer.isCompleted = true;
        resolve({ value: timer });
      });
    if (!event) return;
    instance.wake = () => {
      fired?.cancel();
      instance.wakes -= 1;
      instance.wake = undefined;
      resolve({ value: event });
    };
    if (instance.wakes > 0) instance.wake();
  });
}

/** An attempt that died or is too slow is run again; the slow one goes on as a zombie. */
async function activity(options: HubOptions, request: DrainRequest): Promise<Outcome> {
  const { clock, random, faults, attemptMsMax } = options;
  if (random.chance(faults.failedActivity)) return { error: new Error('the activity did not run') };
  const attempt = async (): Promise<Outcome> => {
    await options.turn();
    return { value: await options.drain({ ...request }) };
  };
  for (;;) {
    const attempts = [attempt()];
    if (random.chance(faults.zombieAttempt)) attempts.push(attempt());
    const late = new Promise<undefined>((go) => clock.after(attemptMsMax, () => go(undefined)));
    const outcome = await Promise.race([...attempts, late]);
    if (outcome) return outcome;
  }
}

/** The part of the orchestration context that the generator uses. */
function contextOf(
  clock: Clock,
  input: InstanceInput,
  generation: { next?: InstanceInput },
): OrchestrationContext {
  const context = {
    df: {
      getInput: () => input,
      callActivity: (_: string, request: DrainRequest): Waiting => ({ kind: 'activity', request }),
      createTimer: (at: Date): Waiting => ({
        kind: 'timer',
        at: at.getTime(),
        isCompleted: false,
        cancel: () => undefined,
      }),
      waitForExternalEvent: (): Waiting => ({ kind: 'event' }),
      Task: { any: (tasks: Waiting[]): Waiting => ({ kind: 'any', tasks }) },
      setCustomStatus: () => undefined,
      continueAsNew: (next: InstanceInput) => void (generation.next = next),
      get currentUtcDateTime() {
        return new Date(clock.now());
      },
    },
  };
  return context as unknown as OrchestrationContext;
}
