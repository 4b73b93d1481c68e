// Faults of the world as they strike: processes, clocks, locks, instances, deployments, people.
import { sweep } from '../../shared/engine/sweep.ts';
import type { Fault } from './faults.ts';
import type { Host } from './host.ts';
import { act } from './people.ts';
import type { World } from './world.ts';

/** Where the world stands: the step that is about to go, and whose it is. */
interface Moment {
  label: string;
  host: Host | undefined;
}

export function happen(world: World, fault: Fault, moment: Moment): void {
  const { value, kind } = fault;
  const { hub, scheduler, coverage } = world;
  world.trace?.fault(fault);
  switch (kind) {
    case 'host.crash':
      return crash(world, moment.host ?? world.someHost(), { ...moment, value });
    case 'host.freeze': {
      const host = moment.host ?? world.someHost();
      if (host) host.frozenUntil = scheduler.now + Math.floor(2_000 + 200_000 * value ** 2);
      return;
    }
    case 'host.clockJump': {
      const host = world.someHost();
      if (host) host.clockOffsetMs = Math.floor((value - 0.5) * 90_000);
      return;
    }
    case 'host.deploy':
      world.deployed = Math.min(world.deployed + 1, world.plot.versions.length - 1);
      return restart(world, value, world.deployed);
    case 'host.forgetDefinition':
      return restart(world, value, undefined);
    case 'broker.lockLost': {
      const held = world.alive.flatMap(({ sessions }) => [...sessions.values()]);
      const lane = held[Math.floor(value * held.length)];
      if (lane) world.input.entity.expireSession(lane, scheduler.now);
      return;
    }
    case 'hub.terminate':
      return void (hub.terminate(value) && coverage.count('hub:terminated'));
    case 'hub.purge':
      return void (hub.purge(value) && coverage.count('hub:purged'));
    case 'hub.rerun':
      return void (hub.rerun(value) && coverage.count('hub:rerun'));
    case 'operator.act':
      return actOn(world, value);
    case 'sweep.extra': {
      const engine = world.someHost()?.freshEngine;
      if (engine) void sweep(engine, engine.clock.now() + 25_000).catch(() => undefined);
      return;
    }
    default:
  }
}

/** The process dies with all its tasks; another one starts in its place, with the definition of
 *  `version` (undefined: without any). */
export function crash(
  world: World,
  host: Host | undefined,
  fate: { label: string; value: number; version?: number | undefined },
): void {
  if (!host) return;
  const { scheduler, coverage, input, azure } = world;
  const { label, value } = fate;
  coverage.count(`crash:${label}`);
  host.isAlive = false;
  const place = world.hosts.indexOf(host);
  // Its connections break at once; or nobody notices until the locks run out.
  for (const waiter of host.waiters) input.entity.sessions.stopWaiting(waiter);
  if ((value * 7) % 1 < 0.7) {
    for (const [holder, lane] of host.sessions) {
      world.oracles.lost(lane, holder);
      input.entity.releaseSession(lane, holder, scheduler.now);
    }
  }
  const downMs = 1_000 + Math.floor(20_000 * value ** 2);
  const version = 'version' in fate ? fate.version : host.version;
  scheduler.after(azure, downMs, () => void world.boot(place, version));
}

function restart(world: World, value: number, version: number | undefined): void {
  const host = world.alive[Math.floor(value * world.alive.length)];
  crash(world, host, { label: 'deployment', value, version });
}

/** A person does something with some key. */
function actOn(world: World, value: number): void {
  const host = world.someHost();
  const keys = [...world.oracles.keys];
  const key = keys[Math.floor(((value * 31) % 1) * keys.length)];
  if (host && key !== undefined) void act(world, host, { key, value }).catch(() => undefined);
}
