// [H9] The sweeper's timer: every 30 seconds, bounded to 25.
import { type InvocationContext, app } from '@azure/functions';
import * as df from 'durable-functions';
import { sweep } from '../shared/engine/sweep.ts';
import { freshEngineWith } from './wiring/deps.ts';
import { instancesOf } from './wiring/instances.ts';

app.timer('sweep', {
  schedule: '*/30 * * * * *',
  extraInputs: [df.input.durableClient()],
  handler: async (_timer: unknown, context: InvocationContext) => {
    const engine = await freshEngineWith(instancesOf(context));
    const report = await sweep(engine, engine.clock.now() + 25_000);
    if (report.reopened > 0) engine.log.info('sweep', { ...report });
  },
});
