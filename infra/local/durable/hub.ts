// The local Durable Task hub: runs orchestrations of durable-functions 3.5.0 with Azure's rules.
//
// Owns:    the wiring of storage, episodes, activities, timers and the HTTP API; start and stop.
// Leaves:  loading and calling functions to a FunctionRunner (the host), sockets to the host.
//
// Invariants:
//   U1. Whatever was answered 2xx is in the file before the answer.
//   U2. `kill -9` at any point loses nothing of that: `start` arms timers, queued work and every
//       instance with messages again. Activities run at least once, episodes take effect once.
//   U3. The default is Azure's behaviour, losses included (events to an instance that ends, events
//       not consumed before continue-as-new).
import { realClock } from '../../../shared/clock.ts';
import { Activities } from './activities.ts';
import { openApi } from './api.ts';
import { diceOf } from './dice.ts';
import { Entities } from './entities.ts';
import { Episodes } from './episodes.ts';
import type { Hub, HubOptions, HubParts } from './parts.ts';
import { clientBindingText } from './status.ts';
import { HubStorage } from './storage.ts';
import { openTimers } from './timers.ts';

// Azure's defaults are 10 per core; episodes are cheap here and commit in groups.
const concurrentOrchestratorsDefault = 64;
const concurrentActivitiesDefault = 20;
const concurrentEntitiesDefault = 20;

export function openHub(options: HubOptions): Hub {
  const quietWaiters: (() => void)[] = [];
  const storage = new HubStorage(options.file, () => {
    if (quietWaiters.length > 0) setImmediate(parts.settled);
  });
  const parts: HubParts = {
    storage,
    runner: options.runner,
    clock: options.clock ?? realClock,
    log: options.log ?? (() => {}),
    intercept: options.intercept ?? (() => {}),
    usage: { storageTransactions: 0, episodes: 0, activities: 0 },
    wake: (instanceId) => episodes.wake(instanceId),
    settings: options.settings ?? {},
    dice: diceOf(options.delivery),
    wakeEntity: (entityId) => entities.wake(entityId),
    wakeActivities: () => activities.wake(),
    wakeTimers: () => timers.wake(),
    settled: () => {
      if (quietWaiters.length === 0 || !isQuiet()) return;
      for (const resolve of quietWaiters.splice(0)) resolve();
    },
  };
  const taskHubName = options.taskHubName ?? 'TestHubName';
  const episodes = new Episodes(
    parts,
    options.maxConcurrentOrchestrators ?? concurrentOrchestratorsDefault,
  );
  const activities = new Activities(
    parts,
    options.maxConcurrentActivities ?? concurrentActivitiesDefault,
  );
  const entities = new Entities(parts, options.maxConcurrentEntities ?? concurrentEntitiesDefault);
  const timers = openTimers(parts);
  const api = openApi(parts, taskHubName);
  const isQuiet = () =>
    [episodes, activities, entities, timers, storage].every(({ isBusy }) => !isBusy);
  const drain = async (): Promise<void> => {
    timers.stop();
    await Promise.all([episodes.drain(), activities.drain(), entities.drain()]);
  };

  return {
    start() {
      for (const instanceId of storage.instancesWithMessages()) episodes.wake(instanceId);
      for (const entityId of storage.entities.entitiesWithOperations()) entities.wake(entityId);
      episodes.start();
      activities.start();
      entities.start();
      timers.start();
    },
    handle: (request) => api.handle(request),
    clientBinding(urls) {
      api.publishAt(urls);
      return clientBindingText(taskHubName, urls);
    },
    usage: () => ({ ...parts.usage }),
    idle: () =>
      new Promise((resolve) => {
        quietWaiters.push(resolve);
        setImmediate(parts.settled);
      }),
    drain,
    async close() {
      api.close();
      await drain();
      storage.close();
    },
  };
}
