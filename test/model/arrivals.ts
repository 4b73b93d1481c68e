// Who may come in next: the broker delivers, the hub runs an activity, the sweeper looks, an
// operator acts.
import type { Program } from './automaton.ts';
import type { Hub } from './hub.ts';
import { type Scope, actionFor } from './scope.ts';
import type { Shelves } from './shelf.ts';
import { type Fault, type Process, type World, left, spend } from './world.ts';

/** A process that begins; `world` is without it. */
export interface Arrival {
  world: World;
  program: Program;
  process: Partial<Process>;
  kind: string;
  isFault: boolean;
}

export interface Surroundings {
  scope: Scope;
  shelves: Shelves;
  hub: Hub;
  roleOf(process: Process): Program['role'];
}

export function arrivals(around: Surroundings, world: World): Arrival[] {
  return [
    ...deliveries(around, world),
    ...sweeps(around, world),
    ...operators(around, world),
    ...attempts(around, world),
  ];
}

/** One that nothing else can hinder and that hinders nothing. */
export function certainArrival(around: Surroundings, world: World): Arrival | undefined {
  const { budget } = world;
  if (left(budget, 'terminate') === 0 && left(budget, 'unknown') === 0) {
    const first = attempts(around, world).find(({ isFault }) => !isFault);
    if (first) return first;
  }
  // The sweeper must not take a key for silent whose next message is on its way.
  const isCertain = !around.scope.hasSweeper && left(budget, 'lock') === 0;
  return isCertain ? deliveries(around, world)[0] : undefined;
}

/** Undefined when there is none left. */
function after(world: World, fault: Fault): World | undefined {
  const { budget } = world;
  return left(budget, fault) > 0 ? { ...world, budget: spend(budget, fault) } : undefined;
}

function deliveries({ scope, roleOf }: Surroundings, world: World): Arrival[] {
  const messageId = scope.deliveries[world.settled];
  if (messageId === undefined) return [];
  const intakes = world.processes.filter((p) => roleOf(p) === 'intake');
  const host = intakes.some((p) => p.host === 0) ? 1 : 0;
  const program: Program = { role: 'intake', messageId };
  const process = { isHolder: true, host };
  if (!intakes.some((p) => p.isHolder))
    return [{ world, program, process, kind: 'the broker delivers', isFault: false }];
  const lost = after(world, 'lock');
  if (!lost) return [];
  const processes = lost.processes.map((p) =>
    roleOf(p) === 'intake' ? { ...p, isHolder: false } : p,
  );
  const kind = 'LOCK LOST: delivered again';
  return [{ world: { ...lost, processes }, program, process, kind, isFault: true }];
}

function sweeps({ scope, shelves, hub, roleOf }: Surroundings, world: World): Arrival[] {
  const { gate } = shelves.get(world.shelf);
  const roles = world.processes.map(roleOf);
  if (!scope.hasSweeper || gate?.phase !== 'active' || roles.includes('sweep')) return [];
  const sweep = { program: { role: 'sweep' } as const, process: {} };
  if (hub.isRunning(world, gate.epoch)) {
    const alarmed = after(world, 'alarm');
    const kind = 'WRONG ALARM: the sweeper looks';
    return alarmed ? [{ ...sweep, world: alarmed, kind, isFault: true }] : [];
  }
  // Nobody works at this key, so nobody will start what does not run: it stays silent.
  const isSilent = roles.every((role) => role === 'drain');
  return isSilent ? [{ ...sweep, world, kind: 'the sweeper looks', isFault: false }] : [];
}

function operators({ shelves, roleOf }: Surroundings, world: World): Arrival[] {
  const { gate } = shelves.get(world.shelf);
  if (!gate || world.processes.some((p) => roleOf(p) === 'operate')) return [];
  const found: Arrival[] = [];
  if (gate.phase === 'held') {
    const program = { role: 'operate', action: actionFor(gate.hold.code) } as const;
    const kind = `an operator answers a hold: ${program.action}`;
    found.push({ world, program, process: {}, kind, isFault: false });
  }
  const paused = after(world, 'pause');
  const program = { role: 'operate', action: 'pause' } as const;
  if (paused)
    found.push({ world: paused, program, process: {}, kind: 'OPERATOR pauses', isFault: true });
  return found;
}

/** Attempts of the activities that instances wait for: one at least, more as zombies. */
function attempts({ hub }: Surroundings, world: World): Arrival[] {
  return hub.asked(world).flatMap(({ name, request }) => {
    const process = { instance: name, isHolder: true };
    const found: Arrival[] = [];
    const add = (at: World | undefined, isUnknown: boolean, kind: string, isFault = true): void => {
      const program: Program = { role: 'drain', request, isUnknown };
      if (at) found.push({ world: at, program, process, kind, isFault });
    };
    const old = after(world, 'unknown');
    if (world.processes.some((p) => p.instance === name && p.isHolder)) {
      add(after(world, 'zombie'), false, 'ZOMBIE attempt');
      add(old && after(old, 'zombie'), true, 'ZOMBIE of an OLD DEPLOYMENT');
    } else {
      add(world, false, 'the hub runs a drain', false);
      add(old, true, 'OLD DEPLOYMENT drains');
    }
    return found;
  });
}
