// A durable hub for the simulation: drives the real orchestrator generator, checkpoints at every
// yield, runs activities at least once and sometimes twice at a time, loses and doubles wakes, and
// lets an operator terminate an instance. Like Azure's, it starts a finished id again.
import type { OrchestrationContext } from 'durable-functions';
import { convoy } from '../../functions/convoy.ts';
import type { DrainResult } from '../../shared/engine/drain.ts';
import type { DrainRequest } from '../../shared/engine/drain-context.ts';
import type { InstanceInput, Instances } from '../../shared/engine/ports.ts';
import type { Prng } from '../support/prng.ts';
import type { Scheduler } from './scheduler.ts';

const attemptMsMax = 60_000;

interface Instance {
  status: 'running' | 'finished' | 'terminated';
  wakes: number;
  woken?: (() => void) | undefined;
}

type Awaited =
  | { kind: 'activity'; request: DrainRequest }
  | { kind: 'timer'; at: number; isCompleted: boolean; cancel(): void }
  | { kind: 'event' }
  | { kind: 'any'; tasks: Awaited[] };

export interface SimulatedHub extends Instances {
  terminateOne(): boolean;
  running(): number;
  /** Ids that were started and how often a start found them running. */
  started: Set<string>;
}

export interface HubFaults {
  lostWake: number;
  doubledWake: number;
  /** Two attempts of one activity at a time. */
  zombieAttempt: number;
}

export function createHub(options: {
  scheduler: Scheduler;
  random: Prng;
  faults: HubFaults;
  drain(request: DrainRequest): Promise<DrainResult>;
}): SimulatedHub {
  const { scheduler, random, faults } = options;
  const instances = new Map<string, Instance>();
  const started = new Set<string>();

  /** At least once: an attempt that died or is too slow is run again; the slow one is a zombie. */
  async function activity(request: DrainRequest): Promise<DrainResult> {
    for (;;) {
      const attempts = [attempt(request)];
      if (random.chance(faults.zombieAttempt)) attempts.push(attempt(request));
      const late = new Promise<undefined>((go) =>
        scheduler.clock.after(attemptMsMax, () => go(undefined)),
      );
      const answer = await Promise.race([...attempts, late]);
      if (answer) return answer;
    }
  }

  async function attempt(request: DrainRequest): Promise<DrainResult> {
    await scheduler.turn();
    return options.drain(request);
  }

  async function execute(instance: Instance, first: InstanceInput): Promise<void> {
    let input: InstanceInput | undefined = first;
    while (input !== undefined && instance.status === 'running') {
      const generation: { next?: InstanceInput } = {};
      const context = contextOf(scheduler, input, generation);
      const generator = convoy(context);
      let step = generator.next();
      while (!step.done && instance.status === 'running') {
        const value = await perform(instance, step.value as unknown as Awaited);
        if (instance.status === 'running') step = generator.next(value);
      }
      input = generation.next;
    }
    if (instance.status === 'running') instance.status = 'finished';
  }

  async function perform(instance: Instance, task: Awaited): Promise<unknown> {
    if (task.kind === 'activity') return activity(task.request);
    if (task.kind === 'timer') {
      await new Promise<void>((go) => scheduler.clock.after(task.at - scheduler.clock.now(), go));
      return undefined;
    }
    if (task.kind === 'event') return undefined;
    const timer = task.tasks.find((t) => t.kind === 'timer');
    const event = task.tasks.find((t) => t.kind === 'event');
    if (timer?.kind !== 'timer') return undefined;
    return new Promise((resolve) => {
      const fired = scheduler.clock.after(timer.at - scheduler.clock.now(), () => {
        instance.woken = undefined;
        timer.isCompleted = true;
        resolve(timer);
      });
      const wake = (): void => {
        fired.cancel();
        instance.wakes -= 1;
        instance.woken = undefined;
        resolve(event);
      };
      if (instance.wakes > 0) wake();
      else instance.woken = wake;
    });
  }

  return {
    started,
    async start(instanceId, input) {
      await scheduler.turn();
      if (instances.get(instanceId)?.status === 'running') return;
      const instance: Instance = { status: 'running', wakes: 0 };
      instances.set(instanceId, instance);
      started.add(instanceId);
      void execute(instance, input);
    },
    async wake(instanceId) {
      await scheduler.turn();
      const instance = instances.get(instanceId);
      if (!instance) return 'missing';
      if (instance.status !== 'running' || random.chance(faults.lostWake)) return 'raised';
      instance.wakes += random.chance(faults.doubledWake) ? 2 : 1;
      instance.woken?.();
      return 'raised';
    },
    terminateOne() {
      const victim = [...instances.values()].find((i) => i.status === 'running');
      if (victim) victim.status = 'terminated';
      return victim !== undefined;
    },
    running: () => [...instances.values()].filter((i) => i.status === 'running').length,
  };
}

/** The part of the orchestration context that the generator uses. */
function contextOf(
  scheduler: Scheduler,
  input: InstanceInput,
  generation: { next?: InstanceInput },
): OrchestrationContext {
  const timer = (at: Date): Awaited => ({
    kind: 'timer',
    at: at.getTime(),
    isCompleted: false,
    cancel: () => undefined,
  });
  const context = {
    df: {
      getInput: () => input,
      callActivity: (_: string, request: DrainRequest): Awaited => ({ kind: 'activity', request }),
      createTimer: timer,
      waitForExternalEvent: (): Awaited => ({ kind: 'event' }),
      Task: { any: (tasks: Awaited[]): Awaited => ({ kind: 'any', tasks }) },
      setCustomStatus: () => undefined,
      continueAsNew: (next: InstanceInput) => void (generation.next = next),
      get currentUtcDateTime() {
        return new Date(scheduler.clock.now());
      },
    },
  };
  return context as unknown as OrchestrationContext;
}
