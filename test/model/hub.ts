// The durable hub: instances under their ids, wakes that may get lost, terminations, and ids that
// are run again. It drives the real generator through orchestrator.ts.
import type { DrainRequest } from '../../shared/engine/drain-context.ts';
import { place } from './automaton.ts';
import type { Code } from './code.ts';
import { Orchestrators } from './orchestrator.ts';
import {
  type Fault,
  type Instance,
  type World,
  finished,
  left,
  running,
  spend,
  terminated,
} from './world.ts';

interface HubStep {
  world: World;
  isFault: boolean;
  kind: string;
  actor: string;
}

const wakesMax = 2;

export class Hub {
  readonly orchestrators: Orchestrators;
  readonly #code: Code;
  readonly #names = new Map<string, number>();

  constructor(code: Code, options: { forgets: boolean }) {
    this.#code = code;
    this.orchestrators = new Orchestrators(code, options);
  }

  /** Number of an instance id. */
  nameOf(instanceId: string): number {
    const known = this.#names.get(instanceId);
    if (known !== undefined) return known;
    this.#names.set(instanceId, this.#names.size + 1);
    return this.#names.size;
  }

  isRunning({ instances }: World, epoch: number): boolean {
    const name = this.nameOf(this.#code.instanceIdOf(place.convoy, place.key, epoch));
    return instances.some((instance) => instance.name === name && instance.status === running);
  }

  /** Drains that running instances wait for. */
  asked({ instances }: World): { name: number; request: DrainRequest }[] {
    return instances.flatMap(({ name, status, generation }) => {
      const { waitsFor } = this.orchestrators.get(generation);
      if (status !== running || waitsFor.kind !== 'drain') return [];
      return [{ name, request: waitsFor.request }];
    });
  }

  /** The result of a drain; an instance that was terminated meanwhile does not hear of it. */
  tell(world: World, name: number, value: unknown): World {
    const instance = world.instances.find((one) => one.name === name);
    if (instance?.status !== running) return world;
    const { orchestrators } = this;
    const next = orchestrators.after(orchestrators.get(instance.generation), {
      kind: 'result',
      value,
    });
    return changed(world, name, { generation: next.id });
  }

  /** Timers fire, wakes are consumed, instances complete; operators terminate and purge. */
  steps(world: World): HubStep[] {
    return world.instances.flatMap((instance) => {
      const { name, status, wakes, generation } = instance;
      const about = { isFault: false, actor: `instance ${name}` };
      const steps: HubStep[] = this.#faults(world, instance);
      if (status !== running) return steps;
      const { orchestrators } = this;
      const at = orchestrators.get(generation);
      const go = (kind: 'timer' | 'event', change: Partial<Instance>): World =>
        changed(world, name, { generation: orchestrators.after(at, { kind }).id, ...change });
      switch (at.waitsFor.kind) {
        case 'end': {
          const ended = changed(world, name, { status: finished, wakes: 0 });
          steps.push({ ...about, world: ended, kind: 'an instance completes' });
          break;
        }
        case 'again': {
          // Continue-as-new drops the wakes that wait.
          const next = orchestrators.begin(at.waitsFor.input);
          const again = changed(world, name, { generation: next.id, wakes: 0 });
          steps.push({ ...about, world: again, kind: 'continue-as-new' });
          break;
        }
        case 'timer':
          steps.push({ ...about, world: go('timer', {}), kind: 'a timer fires' });
          break;
        case 'race':
          steps.push({ ...about, world: go('timer', {}), kind: 'the linger passes' });
          break;
        case 'event':
        case 'drain':
          break;
      }
      if ((at.waitsFor.kind === 'race' || at.waitsFor.kind === 'event') && wakes > 0) {
        const woken = go('event', { wakes: wakes - 1 });
        steps.push({ ...about, world: woken, kind: 'a wake is consumed' });
      }
      return steps;
    });
  }

  #faults(world: World, { name, status, wakes }: Instance): HubStep[] {
    const steps: HubStep[] = [];
    const add = (fault: Fault, kind: string, make: (at: World) => World): void => {
      if (left(world.budget, fault) === 0) return;
      const after = make({ ...world, budget: spend(world.budget, fault) });
      steps.push({ world: after, isFault: true, kind, actor: `instance ${name}` });
    };
    if (status !== running) {
      add('purge', 'PURGED', (at) => ({
        ...at,
        instances: at.instances.filter((instance) => instance.name !== name),
        processes: orphaned(at, name),
      }));
      return steps;
    }
    add('terminate', 'TERMINATED', (at) => ({
      ...changed(at, name, { status: terminated, wakes: 0 }),
      processes: orphaned(at, name),
    }));
    if (wakes < wakesMax)
      add('wake', 'STRAY WAKE', (at) => changed(at, name, { wakes: wakes + 1 }));
    return steps;
  }

  /** [H2] What a start may do. Azure may run a finished id again, or not. */
  start(
    world: World,
    instanceId: string,
    input: object,
  ): { world: World; kind: string; isRerun: boolean }[] {
    const name = this.nameOf(instanceId);
    const known = world.instances.find((instance) => instance.name === name);
    const generation = this.orchestrators.begin(input).id;
    if (!known) {
      const begun = { name, status: running, wakes: 0, generation };
      const instances = [...world.instances, begun].sort((a, b) => a.name - b.name);
      return [{ world: { ...world, instances }, kind: 'start', isRerun: false }];
    }
    const same = { world, kind: 'start finds it', isRerun: false };
    if (known.status === running) return [same];
    const rerun = changed(world, name, { status: running, wakes: 0, generation });
    return [same, { world: rerun, kind: 'RUN AGAIN: start of a finished id', isRerun: true }];
  }

  /** [H4] A wake may get lost, at any time, and nobody is told. */
  wake(world: World, instanceId: string): { world: World; value: string; kind: string }[] {
    const name = this.nameOf(instanceId);
    const known = world.instances.find((instance) => instance.name === name);
    if (!known) return [{ world, value: 'missing', kind: 'wake answered 404' }];
    const lost = { world, value: 'raised', kind: 'wake raised, lost' };
    if (known.status !== running || known.wakes === wakesMax) return [lost];
    const raised = changed(world, name, { wakes: known.wakes + 1 });
    return [lost, { world: raised, value: 'raised', kind: 'wake raised' }];
  }
}

function changed(world: World, name: number, change: Partial<Instance>): World {
  const instances = world.instances.map((instance) =>
    instance.name === name ? { ...instance, ...change } : instance,
  );
  return { ...world, instances };
}

/** Attempts run on when their instance is gone; nobody hears of their result. */
function orphaned(world: World, name: number): World['processes'] {
  return world.processes.map((p) => (p.instance === name ? { ...p, isHolder: false } : p));
}
