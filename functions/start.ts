// [H14] Checked when the app starts: one Cosmos write region, unpartitioned session queues. What
// cannot keep the guarantees is refused here; what merely cannot be reached yet is left to the
// retries.
import { app } from '@azure/functions';
import { ConvoyError, reasonOf } from '../shared/errors.ts';
import { checkQueues } from '../shared/service-bus-check.ts';
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
});

app.hook.appTerminate(closeDeps);
