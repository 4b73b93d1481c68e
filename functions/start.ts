// [H14] Checked when the app starts: one Cosmos write region, unpartitioned session queues. What
// cannot keep the guarantees is refused here; what merely cannot be reached yet is left to the
// retries.
import { app } from '@azure/functions';
import { announceLanes } from '../shared/engine/layout.ts';
import { ConvoyError, reasonOf } from '../shared/errors.ts';
import { hasLanes } from '../shared/lanes.ts';
import { checkQueues } from '../shared/service-bus-check.ts';
import { convoys } from './convoys/registry.ts';
import { closeDeps, deps } from './wiring/deps.ts';
import { inputQueues } from './wiring/queues.ts';

app.hook.appStart(async () => {
  const queues = inputQueues().map(({ queue }) => queue);
  const checks = [async () => (await deps()).store.check(), () => checkQueues(process.env, queues)];
  for (const check of checks) {
    try {
      await check();
    } catch (error) {
      if (error instanceof ConvoyError && error.code === 'CVY_ENVIRONMENT') throw error;
      console.warn(`convoy warn: not checked at start: ${reasonOf(error)}`);
    }
  }
  await announceAll();
});

/** What contradicts the lanes that were announced stays held, and /health says so. */
async function announceAll(): Promise<void> {
  for (const definition of convoys.filter(({ lanes }) => hasLanes(lanes))) {
    try {
      await announceLanes((await deps()).engine, definition);
    } catch (error) {
      console.warn(`convoy warn: lanes not announced: ${reasonOf(error)}`);
    }
  }
}

app.hook.appTerminate(closeDeps);
