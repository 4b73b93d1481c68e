// [H10] The dead-letter queues have a trigger of their own: this timer. What the broker gave up on
// is recorded under its key, where operators see it and replay it by H1, never through the queue.
// Why it is a timer and no Service Bus trigger: shared/dead-letters.ts.
//
// Every 10 seconds, bounded to 8, all queues side by side: none waits for another, and what cannot
// be recorded now is looked at again with the next tick, never in a hot loop.
import { type InvocationContext, app } from '@azure/functions';
import type { DeadLetter } from '../shared/dead-letters.ts';
import { takeDead } from '../shared/engine/intake.ts';
import { reasonOf } from '../shared/errors.ts';
import { deps } from './wiring/deps.ts';
import { inputQueues } from './wiring/queues.ts';

const lookMs = 8_000;

app.timer('dead-letter', {
  schedule: '*/10 * * * * *',
  handler: async (_timer: unknown, context: InvocationContext) => {
    const open = await deps();
    const untilAt = open.engine.clock.now() + lookMs;
    const looks = inputQueues().map(async ({ convoy, queue }) => {
      const record = (letter: DeadLetter): Promise<void> =>
        takeDead(open.engine, { convoy, ...letter });
      try {
        await open.deadLetters.take(queue, record, untilAt);
      } catch (error) {
        context.warn(`dead letters of '${queue}', again in 10 s: ${reasonOf(error)}`);
      }
    });
    await Promise.all(looks);
  },
});
