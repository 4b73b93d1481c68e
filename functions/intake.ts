// Intake: one session trigger per convoy. Parses the envelope, admits (H1), ensures the instance
// runs (H2), and only then returns, so only then the host completes the message.
//
// [H10] It never fails fast: a throw is redelivered at once, and ten of them dead-letter the
// message while its followers go on. While store or hub fail, it keeps trying inside the
// invocation.
import { type InvocationContext, app, trigger } from '@azure/functions';
import * as df from 'durable-functions';
import { realClock } from '../shared/clock.ts';
import type { ConvoyDefinition } from '../shared/convoy/definition.ts';
import { admitFitting, intakeDeadline, quarantine } from '../shared/engine/intake.ts';
import { persist } from '../shared/engine/patience.ts';
import { parseEnvelope } from '../shared/envelope.ts';
import { reasonOf } from '../shared/errors.ts';
import { convoys } from './convoys/registry.ts';
import { engineWith } from './wiring/deps.ts';
import { instancesOf } from './wiring/instances.ts';
import { receivedOf } from './wiring/received.ts';

for (const definition of convoys) {
  app.generic(`intake-${definition.name}`, {
    trigger: trigger.generic({
      type: 'serviceBusTrigger',
      queueName: definition.queue,
      connection: 'ServiceBusConnection',
      isSessionsEnabled: true,
      cardinality: 'one',
      dataType: 'binary', // no JSON guess of the body, no body fields over the metadata
    }),
    extraInputs: [df.input.durableClient()],
    handler: (body: unknown, context: InvocationContext) => intake(definition, body, context),
  });
}

async function intake(
  definition: ConvoyDefinition,
  body: unknown,
  context: InvocationContext,
): Promise<void> {
  const received = receivedOf(body, context);
  const parsed = parseEnvelope(received);
  const convoy = definition.name;
  const onFailure = (error: unknown, failures: number): void =>
    context.warn(`intake of '${convoy}' tries again after failure ${failures}: ${reasonOf(error)}`);
  await persist(realClock, { deadlineAt: intakeDeadline(realClock.now()), onFailure }, async () => {
    const engine = await engineWith(instancesOf(context));
    if (parsed.kind === 'quarantine') return quarantine(engine, { convoy, parsed, received });
    for (const { code, reason } of parsed.warnings) engine.log.warn(code, { convoy, reason });
    const { key, message, sequence } = parsed;
    return admitFitting(engine, { convoy, key, message, sequence });
  });
}
