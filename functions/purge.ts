// Purges finished instances once an hour: Completed, Failed and Terminated ones that were created
// more than CONVOY_HISTORY_DAYS (default 7) ago.
import { type InvocationContext, app } from '@azure/functions';
import * as df from 'durable-functions';
import { realClock } from '../shared/clock.ts';
import { historyDaysIn, purgeHistory } from '../shared/engine/purge.ts';
import { deps } from './wiring/deps.ts';

const finished = [
  df.OrchestrationRuntimeStatus.Completed,
  df.OrchestrationRuntimeStatus.Failed,
  df.OrchestrationRuntimeStatus.Terminated,
];
const purgeMsMax = 240_000;

app.timer('purge', {
  schedule: '0 23 * * * *', // off the full hour, when everybody's timers fire
  extraInputs: [df.input.durableClient()],
  handler: async (_timer: unknown, context: InvocationContext) => {
    const client = df.getClient(context);
    const { engine } = await deps();
    const purged = await purgeHistory(
      async ({ fromAt, toAt }) => {
        const { instancesDeleted } = await client.purgeInstanceHistoryBy({
          createdTimeFrom: new Date(fromAt),
          createdTimeTo: new Date(toAt),
          runtimeStatus: finished,
        });
        return instancesDeleted;
      },
      {
        clock: realClock,
        historyDays: historyDaysIn(process.env),
        untilAt: realClock.now() + purgeMsMax,
      },
    );
    if (purged > 0) engine.log.info('purged', { instances: purged });
  },
});
