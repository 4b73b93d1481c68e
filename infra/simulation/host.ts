// One host process: the app as it is deployed there, with its memory, its clock and its sessions.
// When it dies everything of it dies at once; what comes after is another process.
import type { Clock } from '../../shared/clock.ts';
import type { ConvoyDefinition } from '../../shared/convoy/definition.ts';
import type { Limits } from '../../shared/convoy/outputs.ts';
import { type Engine, defaultSettings } from '../../shared/engine/ports.ts';
import type { Log } from '../../shared/log.ts';
import { rememberingStore } from '../../shared/store/remembering.ts';
import type { Lane } from '../local/broker/lane.ts';
import type { Waiter } from '../local/broker/session.ts';
import { createPublisherPort, type PublisherPort } from './publisher-port.ts';
import type { Owner } from './scheduler.ts';
import { type Session, createStorePort } from './store-port.ts';
import type { World } from './world.ts';

/** Who holds a session; the broker compares by identity. */
export interface SessionHolder {
  host: Host;
  isLost: boolean;
  /** Set while it waits for a message. */
  woken: (() => void) | undefined;
}

export interface HostOptions {
  name: string;
  world: World;
  /** The definition as this deployment has it; undefined: it has none. */
  definition: ConvoyDefinition | undefined;
  /** Index of the deployment; undefined: one without the definition. */
  version: number | undefined;
  clockOffsetMs: number;
  limits: Limits;
  messagesPerCommit: number;
  /** Keys that the process remembers. */
  convoysMax: number;
}

export type HostEngine = Engine & { publisher: PublisherPort };

const silent: Log = { info: () => {}, warn: () => {} };

export class Host implements Owner {
  readonly name: string;
  isAlive = true;
  frozenUntil = 0;
  clockOffsetMs: number;
  readonly version: number | undefined;
  readonly sessions = new Map<SessionHolder, Lane>();
  readonly waiters = new Set<Waiter>();
  /** Of intake and drain: remembers what it wrote. */
  readonly engine: HostEngine;
  /** Of sweeper and operators: reads fresh. */
  readonly freshEngine: HostEngine;

  constructor(options: HostOptions) {
    const { world, definition, limits } = options;
    this.name = options.name;
    this.version = options.version;
    this.clockOffsetMs = options.clockOffsetMs;
    const clock = this.#clockOf(world);
    const session: Session = new Map();
    const { clouds } = world;
    const fresh = createStorePort({ world, clouds, owner: this, session });
    const memory = { convoysMax: options.convoysMax, messageBytesMax: 64_000_000 };
    const base = {
      publisher: createPublisherPort(world, this),
      instances: world.hub.client(this),
      clock,
      log: silent,
      definitions: new Map(definition ? [[definition.name, definition]] : []),
      limits,
      settings: { ...defaultSettings, messagesPerCommit: options.messagesPerCommit },
      started: new Set<string>(),
      startedAt: clock.now(),
    };
    this.engine = { ...base, store: rememberingStore(fresh, memory) };
    this.freshEngine = { ...base, store: fresh };
  }

  #clockOf({ scheduler }: World): Clock {
    return {
      now: () => scheduler.now + this.clockOffsetMs,
      after: (delayMs, callback) => scheduler.after(this, delayMs, callback),
    };
  }
}
