// A Service Bus message as the host hands it to a trigger with `dataType: 'binary'`.
import type { InvocationContext } from '@azure/functions';
import type { Received } from '../../shared/envelope.ts';

export function receivedOf(body: unknown, context: InvocationContext): Received {
  return {
    body: Buffer.isBuffer(body) ? body : Buffer.from(String(body ?? ''), 'utf8'),
    metadata: context.triggerMetadata ?? {},
  };
}
