// What every edge of the app shares: store, publisher, sender, definitions, made once per process
// from the app settings. The connection strings are the only switch between laptop and Azure.
import { hostname } from 'node:os';
import { realClock } from '../../shared/clock.ts';
import { type DeadLetters, createDeadLetters } from '../../shared/dead-letters.ts';
import { assertRegistry } from '../../shared/convoy/definition.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import { currentLayout } from '../../shared/engine/layout.ts';
import { type Engine, type Instances, defaultSettings } from '../../shared/engine/ports.ts';
import { ConvoyError } from '../../shared/errors.ts';
import type { LaneLayout } from '../../shared/lanes.ts';
import { createLog } from '../../shared/log.ts';
import { type OutputPublisher, createPublisher } from '../../shared/publisher.ts';
import { type Sender, createSender } from '../../shared/sender.ts';
import { openServiceBusClient, serviceBusAddress } from '../../shared/service-bus.ts';
import { type CosmosStore, createCosmosStore } from '../../shared/store/cosmos.ts';
import { rememberingStore } from '../../shared/store/remembering.ts';
import { cosmosSettings } from '../../shared/store/cosmos-settings.ts';
import { type Refused, createThrottling } from '../../shared/throttling.ts';
import { convoys } from '../convoys/registry.ts';

assertRegistry(convoys);

export interface Deps {
  /** Reads fresh: for operators and the sweeper. */
  store: CosmosStore;
  /** Everything but the hub, whose client comes with each invocation. */
  engine: Omit<Engine, 'instances'>;
  sender: Sender;
  publisher: OutputPublisher;
  deadLetters: DeadLetters;
}

const log = createLog(process.env['CONVOY_LOG'] === 'info' ? 'info' : 'warn');

/** Of this process, also while nothing can be opened. */
export const throttling = createThrottling({ clock: realClock, log });
export const instanceName = process.env['WEBSITE_INSTANCE_ID'] ?? `${hostname()}:${process.pid}`;

let opened: Promise<Deps> | undefined;

/** Rejects with CVY_SETTINGS when settings are missing; tried again at the next call. */
export function deps(): Promise<Deps> {
  opened ??= open().catch((error: unknown) => {
    opened = undefined;
    throw error;
  });
  return opened;
}

/** The engine of one invocation of intake or drain. */
export async function engineWith(instances: Instances): Promise<Engine> {
  return { ...(await deps()).engine, instances };
}

/** The same with fresh reads, for those who judge a key by what they read: sweeper and
 *  operators. */
export async function freshEngineWith(instances: Instances): Promise<Engine> {
  const { engine, store } = await deps();
  return { ...engine, store, instances };
}

export async function closeDeps(): Promise<void> {
  const open = await opened?.catch(() => undefined);
  opened = undefined;
  await Promise.all([open?.publisher.close(), open?.deadLetters.close(), open?.sender.close()]);
  open?.store.close();
}

async function open(): Promise<Deps> {
  const { env } = process;
  const address = serviceBusAddress(env);
  // The drain tries again, at once after a short fault; the client would wait for 30 s first.
  const retryOptions = { maxRetries: 0 };
  const busy = { onThrottled: (refused: Refused) => throttling.note('serviceBus', refused) };
  const publisher = createPublisher(() => openServiceBusClient(address, { retryOptions }), busy);
  const queues = Object.fromEntries(convoys.map(({ name, queue }) => [name, queue]));
  const store = await createCosmosStore(cosmosSettings(env), {
    onThrottled: (retryAfterMs) => throttling.note('cosmos', { code: '429', retryAfterMs }),
  });
  const engine: Deps['engine'] = {
    store: rememberingStore(store),
    publisher,
    clock: realClock,
    log,
    definitions: new Map(convoys.map((definition) => [definition.name, definition])),
    limits: defaultLimits,
    settings: defaultSettings,
    started: new Set(),
    startedAt: realClock.now(),
    sendFence: (fence) => publisher.sendFence(fence),
    layouts: new Map(),
  };
  const lanes = (convoy: string) => layoutFor(engine, convoy);
  return {
    store,
    engine,
    sender: createSender(address, { queues, lanes, ...busy }),
    publisher,
    deadLetters: createDeadLetters(() => openServiceBusClient(address), realClock),
  };
}

/** In process what `lanesFrom` asks the API for. Throws CVY_CONVOY_UNKNOWN and CVY_LANES. */
async function layoutFor(engine: Deps['engine'], convoy: string): Promise<LaneLayout> {
  const definition = engine.definitions.get(convoy);
  if (!definition) throw new ConvoyError('CVY_CONVOY_UNKNOWN', `no convoy '${convoy}'`);
  return currentLayout(engine, definition);
}
