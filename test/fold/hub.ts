// A durable hub: drives the real orchestrator; what an instance awaits survives every process, an
// activity whose process dies is run again.
import type { OrchestrationContext } from 'durable-functions';
import { convoy } from '../../functions/convoy.ts';
import type { DrainResult } from '../../shared/engine/drain.ts';
import type { DrainRequest } from '../../shared/engine/drain-context.ts';
import type { InstanceInput, Instances } from '../../shared/engine/ports.ts';
import type { Turns } from './turns.ts';

interface Instance {
  isRunning: boolean;
  wakes: number;
  woken: (() => void) | undefined;
}

type Task =
  | { kind: 'activity'; request: DrainRequest }
  | { kind: 'timer'; at: number; isCompleted: boolean; cancel(): void }
  | { kind: 'event' }
  | { kind: 'any'; tasks: Task[] };

export interface Hub extends Instances {
  /** Nothing is taken up while it sleeps; what was started waits. */
  setAsleep(isAsleep: boolean): void;
}

export function createHub(
  turns: Turns,
  drain: (request: DrainRequest) => Promise<DrainResult>,
): Hub {
  const instances = new Map<string, Instance>();
  let isAsleep = false;
  let sleepers: (() => void)[] = [];

  async function execute(instance: Instance, first: InstanceInput): Promise<void> {
    let input: InstanceInput | undefined = first;
    while (input !== undefined) {
      const generation: { next?: InstanceInput } = {};
      const generator = convoy(contextOf(turns, input, generation));
      let step = generator.next();
      while (!step.done) {
        const value = await perform(instance, step.value as unknown as Task);
        step = generator.next(value);
      }
      input = generation.next;
    }
    instance.isRunning = false;
  }

  async function perform(instance: Instance, task: Task): Promise<unknown> {
    if (task.kind === 'activity') {
      if (isAsleep) await new Promise<void>((go) => void sleepers.push(go));
      return drain(task.request);
    }
    if (task.kind === 'timer') return void (await until(task.at));
    if (task.kind === 'event') return undefined;
    const timer = task.tasks.find((one) => one.kind === 'timer');
    const event = task.tasks.find((one) => one.kind === 'event');
    if (timer?.kind !== 'timer') return undefined;
    return new Promise((resolve) => {
      const fired = turns.clock.after(timer.at - turns.clock.now(), () => {
        instance.woken = undefined;
        timer.isCompleted = true;
        resolve(timer);
      });
      instance.woken = () => {
        fired.cancel();
        instance.wakes -= 1;
        instance.woken = undefined;
        resolve(event);
      };
      if (instance.wakes > 0) instance.woken();
    });
  }

  const until = (at: number) =>
    new Promise<void>((go) => turns.clock.after(at - turns.clock.now(), go));

  return {
    async start(instanceId, input) {
      if (instances.get(instanceId)?.isRunning) return;
      const instance: Instance = { isRunning: true, wakes: 0, woken: undefined };
      instances.set(instanceId, instance);
      void execute(instance, input);
    },
    async wake(instanceId) {
      const instance = instances.get(instanceId);
      if (!instance) return 'missing';
      if (!instance.isRunning) return 'raised';
      instance.wakes += 1;
      instance.woken?.();
      return 'raised';
    },
    setAsleep(asleep) {
      isAsleep = asleep;
      if (asleep) return;
      for (const go of sleepers) go();
      sleepers = [];
    },
  };
}

/** The part of the orchestration context that the generator uses. */
function contextOf(
  turns: Turns,
  input: InstanceInput,
  generation: { next?: InstanceInput },
): OrchestrationContext {
  const cancel = (): void => undefined;
  const context = {
    df: {
      getInput: () => input,
      callActivity: (_: string, request: DrainRequest): Task => ({ kind: 'activity', request }),
      createTimer: (at: Date): Task => {
        return { kind: 'timer', at: at.getTime(), isCompleted: false, cancel };
      },
      waitForExternalEvent: (): Task => ({ kind: 'event' }),
      Task: { any: (tasks: Task[]): Task => ({ kind: 'any', tasks }) },
      continueAsNew: (next: InstanceInput) => void (generation.next = next),
      get currentUtcDateTime() {
        return new Date(turns.clock.now());
      },
    },
  };
  return context as unknown as OrchestrationContext;
}
