// The durable hub of a history: instances of the real orchestrator, at least once and out of order
// wherever Azure may be. Wakes get lost, doubled and late, activities run twice, also at a time, an
// execution is replayed from its history, a finished id can be started again.
import type { InstanceInput, Instances } from '../../shared/engine/ports.ts';
import type { CallFault, Fault } from './faults.ts';
import { type Ending, Execution, type Orchestrator, type Task } from './orchestration.ts';
import type { Owner } from './scheduler.ts';
import { delayMsOf } from './store-port.ts';
import type { World } from './world.ts';

export class HubUnavailable extends Error {}

interface Instance {
  id: string;
  input: InstanceInput;
  status: 'running' | 'finished' | 'terminated';
  execution: Execution;
  /** Counts what the execution has waited for: an answer to an older wait is dropped. */
  waits: number;
  /** Buffered wakes. */
  wakes: number;
  timer: { cancel(): void } | undefined;
}

export interface HubOptions {
  world: Pick<World, 'scheduler' | 'faults' | 'coverage'>;
  orchestrator: Orchestrator;
  /** The hub itself, which never dies. */
  owner: Owner;
  /** Runs an activity in some host; rejects when it could not run. Never settles if that dies. */
  runActivity(request: unknown): { host: Owner; done: Promise<unknown> };
  /** An episode went wrong: the orchestrator threw, or a replay diverged. */
  onFailure(instance: InstanceInput, error: unknown): void;
}

const startFaults: readonly CallFault[] = ['hub.startFails', 'hub.startAmbiguous', 'hub.startSlow'];
const wakeFaults: readonly CallFault[] = [
  'hub.wakeLost',
  'hub.wakeDoubled',
  'hub.wakeLate',
  'hub.wakeFails',
];
const episodeFaults: readonly CallFault[] = ['hub.replay', 'hub.episodeLate'];
const activityFaults: readonly CallFault[] = [
  'hub.activityFails',
  'hub.activityDoubled',
  'hub.activityRepeated',
];
const resultFaults: readonly CallFault[] = ['hub.resultLost'];
const newGenerationFaults: readonly CallFault[] = ['hub.eventsDropped'];

/** An attempt that has not answered by then is run again. */
const attemptMsMax = 90_000;

export class Hub {
  readonly #options: HubOptions;
  readonly #instances = new Map<string, Instance>();
  /** Executions begun, wakes raised; what an efficient history has few of. */
  readonly counts = { starts: 0, wakes: 0 };

  constructor(options: HubOptions) {
    this.#options = options;
  }

  /** The client of one host. */
  client(owner: Owner): Instances {
    const { scheduler, faults } = this.#options.world;
    return {
      start: (id, input) =>
        new Promise((resolve, reject) => {
          const go = (): void => {
            const fault = faults.at(startFaults);
            if (fault?.kind === 'hub.startFails') return reject(new HubUnavailable('start'));
            if (fault?.kind === 'hub.startSlow') {
              return void scheduler.after(owner, delayMsOf(fault), () => {
                this.start(id, input);
                resolve();
              });
            }
            this.start(id, input);
            if (fault) reject(new HubUnavailable('start, no answer'));
            else resolve();
          };
          scheduler.park({ owner, label: 'hub.start', go });
        }),
      wake: (id) =>
        new Promise((resolve, reject) => {
          const go = (): void => {
            const fault = faults.at(wakeFaults);
            if (fault?.kind === 'hub.wakeFails') return reject(new HubUnavailable('wake'));
            const isKnown = this.#instances.has(id);
            if (isKnown) this.#raise(id, fault);
            resolve(isKnown ? 'raised' : 'missing');
          };
          scheduler.park({ owner, label: 'hub.wake', go });
        }),
    };
  }

  get running(): number {
    let n = 0;
    for (const { status } of this.#instances.values()) if (status === 'running') n += 1;
    return n;
  }

  /** Starts an id; one that runs is left alone, one that has ended begins again, as in Azure. */
  start(id: string, input: InstanceInput): void {
    if (this.#instances.get(id)?.status === 'running') return;
    this.counts.starts += 1;
    const { scheduler } = this.#options.world;
    const execution = new Execution(this.#options.orchestrator, input, scheduler.now);
    const instance: Instance = {
      id,
      input,
      status: 'running',
      execution,
      waits: 0,
      wakes: 0,
      timer: undefined,
    };
    this.#instances.set(id, instance);
    this.#await(instance);
  }

  /** What an operator may do to an instance; false when there is none to do it to. */
  terminate(value: number): boolean {
    const victim = this.#chosen('running', value);
    if (!victim) return false;
    victim.status = 'terminated';
    victim.timer?.cancel();
    return true;
  }

  purge(value: number): boolean {
    const victim = this.#chosen('ended', value);
    return victim !== undefined && this.#instances.delete(victim.id);
  }

  rerun(value: number): boolean {
    const victim = this.#chosen('ended', value);
    if (victim) this.start(victim.id, victim.input);
    return victim !== undefined;
  }

  #chosen(which: 'running' | 'ended', value: number): Instance | undefined {
    const fitting = [...this.#instances.values()].filter(
      ({ status }) => (status === 'running') === (which === 'running'),
    );
    return fitting[Math.floor(value * fitting.length)];
  }

  #raise(id: string, fault: Fault | undefined): void {
    const { scheduler } = this.#options.world;
    this.counts.wakes += 1;
    if (fault?.kind === 'hub.wakeLost') return;
    const times = fault?.kind === 'hub.wakeDoubled' ? 2 : 1;
    const lateMs = fault?.kind === 'hub.wakeLate' ? delayMsOf(fault) : 0;
    for (let n = 0; n < times; n += 1) {
      scheduler.after(this.#options.owner, lateMs, () => this.#deliverWake(id));
    }
  }

  /** Finished, terminated, purged meanwhile: the event is gone [durable 11.2]. */
  #deliverWake(id: string): void {
    const instance = this.#instances.get(id);
    if (instance?.status !== 'running') return;
    instance.wakes += 1;
    this.#consumeWake(instance);
  }

  #consumeWake(instance: Instance): void {
    const { task } = instance.execution;
    if (instance.wakes === 0 || task === undefined) return;
    if (task.kind === 'event') {
      instance.wakes -= 1;
      this.#end(instance, { kind: 'value', value: null });
    } else if (task.kind === 'any') {
      const index = task.tasks.findIndex(({ kind }) => kind === 'event');
      if (index < 0) return;
      instance.wakes -= 1;
      this.#end(instance, { kind: 'winner', index });
    }
  }

  /** Arms what the execution waits for. */
  #await(instance: Instance): void {
    const { execution } = instance;
    instance.timer?.cancel();
    instance.timer = undefined;
    const { task } = execution;
    if (task === undefined) return this.#returned(instance);
    const wait = (instance.waits += 1);
    if (task.kind === 'activity') return this.#dispatch(instance, task.input, wait);
    if (task.kind === 'timer') this.#arm(instance, task.at, { kind: 'value', value: undefined });
    if (task.kind === 'any') {
      const index = task.tasks.findIndex(({ kind }) => kind === 'timer');
      const timer: Task | undefined = task.tasks[index];
      if (timer?.kind === 'timer') this.#arm(instance, timer.at, { kind: 'winner', index });
    }
    this.#consumeWake(instance);
  }

  #arm(instance: Instance, at: number, ending: Ending): void {
    const { scheduler } = this.#options.world;
    instance.timer = scheduler.after(this.#options.owner, at - scheduler.now, () =>
      this.#end(instance, ending),
    );
  }

  /** The next episode: it may come late, or in a host that has to replay first. */
  #end(instance: Instance, ending: Ending): void {
    const { scheduler, faults } = this.#options.world;
    const { owner } = this.#options;
    instance.timer?.cancel();
    const wait = (instance.waits += 1);
    const go = (): void => {
      if (instance.status !== 'running' || instance.waits !== wait) return;
      const fault = faults.at(episodeFaults);
      if (fault?.kind === 'hub.episodeLate') {
        return void scheduler.after(owner, delayMsOf(fault), go);
      }
      try {
        if (fault) instance.execution.replay();
        instance.execution.advance(ending, scheduler.now);
        this.#await(instance);
      } catch (error) {
        instance.status = 'finished';
        this.#options.onFailure(instance.input, error);
      }
    };
    scheduler.park({ owner, label: 'hub.episode', go });
  }

  #returned(instance: Instance): void {
    const { scheduler, faults } = this.#options.world;
    const { next } = instance.execution;
    if (next === undefined) {
      instance.status = 'finished';
      return;
    }
    this.#options.world.coverage.count('hub:continueAsNew');
    if (faults.at(newGenerationFaults)) instance.wakes = 0;
    instance.execution = new Execution(this.#options.orchestrator, next, scheduler.now);
    this.#await(instance);
  }

  /** At least once: an attempt that died, or got lost, is made again; a slow one goes on beside. */
  #dispatch(instance: Instance, input: unknown, wait: number): void {
    const { scheduler, faults } = this.#options.world;
    const { owner } = this.#options;
    const isWanted = (): boolean => instance.status === 'running' && instance.waits === wait;
    const answer = (ending: Ending): void => {
      if (isWanted()) this.#end(instance, ending);
    };
    const attempt = (): void => {
      if (!isWanted()) return;
      const { host, done } = this.#options.runActivity(input);
      const report = (ending: Ending): void => {
        const go = (): void => void (faults.at(resultFaults) ?? answer(ending));
        scheduler.park({ owner: host, label: 'hub.result', go });
      };
      done.then(
        (value) => report({ kind: 'value', value }),
        (error: unknown) => report({ kind: 'error', error: asError(error) }),
      );
      instance.timer?.cancel();
      instance.timer = scheduler.after(owner, attemptMsMax, attempt);
    };
    const go = (): void => {
      const fault = faults.at(activityFaults);
      if (fault?.kind === 'hub.activityFails') {
        return answer({ kind: 'error', error: new HubUnavailable('the activity did not run') });
      }
      attempt();
      if (fault?.kind === 'hub.activityDoubled') attempt();
      if (fault?.kind === 'hub.activityRepeated') {
        scheduler.after(owner, delayMsOf(fault), attempt);
      }
    };
    scheduler.park({ owner, label: 'hub.dispatch', go });
  }
}

const asError = (error: unknown): Error =>
  error instanceof Error ? error : new HubUnavailable(String(error));
