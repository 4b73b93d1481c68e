// [H13] The timer that publishes due roll-ups: every 30 seconds, no new one is begun after 25.
import { app } from '@azure/functions';
import { publishRollUps } from '../shared/engine/roll-up-publish.ts';
import { deps } from './wiring/deps.ts';

app.timer('roll-up', {
  schedule: '*/30 * * * * *',
  handler: async () => {
    const { engine, store, publisher } = await deps();
    const fresh = { ...engine, store, publisher };
    const report = await publishRollUps(fresh, engine.clock.now() + 25_000);
    if (report.published > 0) engine.log.info('roll-ups', { ...report });
  },
});
