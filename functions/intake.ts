// Intake: one session trigger per input queue. Parses the envelope, admits (H1), ensures the
// instance runs (H2), and only then returns, so only then the host completes the message.
//
// [H10] It never fails fast: a throw is redelivered at once, and ten of them dead-letter the
// message while its followers go on. While store or hub fail, it keeps trying inside the
// invocation.
import { type InvocationContext, app, trigger } from '@azure/functions';
import * as df from 'durable-functions';
import { realClock } from '../shared/clock.ts';
import { takeIn } from '../shared/engine/intake.ts';
import { throttleOf } from '../shared/engine/patience.ts';
import { reasonOf } from '../shared/errors.ts';
import { engineWith } from './wiring/deps.ts';
import { instancesOf } from './wiring/instances.ts';
import { type InputQueue, inputQueues } from './wiring/queues.ts';
import { receivedOf } from './wiring/received.ts';

for (const input of inputQueues()) {
  app.generic(input.functionName, {
    trigger: trigger.generic({
      type: 'serviceBusTrigger',
      queueName: input.queue,
      connection: 'ServiceBusConnection',
      isSessionsEnabled: true,
      cardinality: 'one',
      dataType: 'binary', // no JSON guess of the body, no body fields over the metadata
    }),
    extraInputs: [df.input.durableClient()],
    handler: (body: unknown, context: InvocationContext) => intake(input, body, context),
  });
}

async function intake(
  { convoy, queue }: InputQueue,
  body: unknown,
  context: InvocationContext,
): Promise<void> {
  await takeIn({
    convoy,
    queue,
    received: receivedOf(body, context),
    clock: realClock,
    open: () => engineWith(instancesOf(context)),
    onFailure(error, failures) {
      if (throttleOf(error) !== undefined) return; // told once for all keys
      context.warn(
        `intake of '${convoy}' tries again after failure ${failures}: ${reasonOf(error)}`,
      );
    },
  });
}
