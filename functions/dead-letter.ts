// [H10] The dead-letter queues have a trigger of their own: this timer. What the broker gave up on
// is recorded under its key, where operators see it and replay it by H1, never through the queue.
// Why it is a timer and no Service Bus trigger: shared/dead-letters.ts.
//
// Every 10 seconds, bounded to 8, all queues side by side: none waits for another, and what cannot
// be recorded now is looked at again with the next tick, never in a hot loop.
import { type InvocationContext, app } from '@azure/functions';
import type { DeadLetter } from '../shared/dead-letters.ts';
import { quarantine, recordDead } from '../shared/engine/intake.ts';
import { parseEnvelope } from '../shared/envelope.ts';
import { reasonOf } from '../shared/errors.ts';
import { convoys } from './convoys/registry.ts';
import { type Deps, deps } from './wiring/deps.ts';

const lookMs = 8_000;

app.timer('dead-letter', {
  schedule: '*/10 * * * * *',
  handler: async (_timer: unknown, context: InvocationContext) => {
    const open = await deps();
    const untilAt = open.engine.clock.now() + lookMs;
    const looks = convoys.map(async ({ name, queue }) => {
      try {
        await open.deadLetters.take(queue, (letter) => record(open, name, letter), untilAt);
      } catch (error) {
        context.warn(`dead letters of '${name}', again in 10 s: ${reasonOf(error)}`);
      }
    });
    await Promise.all(looks);
  },
});

async function record({ engine }: Deps, convoy: string, letter: DeadLetter): Promise<void> {
  const { received, reason } = letter;
  const parsed = parseEnvelope(received);
  if (parsed.kind === 'quarantine') return quarantine(engine, { convoy, parsed, received });
  await recordDead(engine, { convoy, parsed, reason });
}
