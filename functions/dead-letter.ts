// [H10] The dead-letter queue of each convoy's input has its own trigger: what the broker gave up
// on is recorded under its key, where operators see it and replay it by H1, never through the
// queue.
import { type InvocationContext, app, trigger } from '@azure/functions';
import { realClock } from '../shared/clock.ts';
import { intakeDeadline, quarantine, recordDead } from '../shared/engine/intake.ts';
import { persist } from '../shared/engine/patience.ts';
import { parseEnvelope } from '../shared/envelope.ts';
import { reasonOf } from '../shared/errors.ts';
import { convoys } from './convoys/registry.ts';
import { deps } from './wiring/deps.ts';
import { receivedOf } from './wiring/received.ts';

for (const { name, queue } of convoys) {
  app.generic(`dead-letter-${name}`, {
    trigger: trigger.generic({
      type: 'serviceBusTrigger',
      queueName: `${queue}/$DeadLetterQueue`,
      connection: 'ServiceBusConnection',
      isSessionsEnabled: false,
      cardinality: 'one',
      dataType: 'binary',
    }),
    handler: (body: unknown, context: InvocationContext) => record(name, body, context),
  });
}

async function record(convoy: string, body: unknown, context: InvocationContext): Promise<void> {
  const received = receivedOf(body, context);
  const parsed = parseEnvelope(received);
  const onFailure = (error: unknown, failures: number): void =>
    context.warn(`dead-letter of '${convoy}', failure ${failures}: ${reasonOf(error)}`);
  await persist(realClock, { deadlineAt: intakeDeadline(realClock.now()), onFailure }, async () => {
    const { engine } = await deps();
    if (parsed.kind === 'quarantine') return quarantine(engine, { convoy, parsed, received });
    return recordDead(engine, { convoy, parsed, reason: reasonIn(received.metadata) });
  });
}

function reasonIn(metadata: Readonly<Record<string, unknown>>): string {
  const properties = metadata['applicationProperties'];
  const of = (name: string): string =>
    typeof properties === 'object' && properties !== null && name in properties
      ? String((properties as Record<string, unknown>)[name])
      : '';
  return [of('deadLetterReason'), of('deadLetterErrorDescription')].filter(Boolean).join(': ');
}
