// The durable hub as the engine uses it, through the client that comes with an invocation.
import type { InvocationContext } from '@azure/functions';
import * as df from 'durable-functions';
import type { DurableClient } from 'durable-functions';
import type { Instances } from '../../shared/engine/ports.ts';

export const orchestratorName = 'convoy';
export const drainName = 'drain';
export const wakeName = 'wake';

/** What the orchestrator says of itself (functions/convoy.ts); undefined: no such instance. */
export async function customStatusOf(
  context: InvocationContext,
  instanceId: string,
): Promise<unknown> {
  const status = await df.getClient(context).getStatus(instanceId);
  return status?.customStatus;
}

/** The client is made when it is first needed: most messages of a burst need none. */
export function instancesOf(context: InvocationContext): Instances {
  let made: DurableClient | undefined;
  const client = (): DurableClient => (made ??= df.getClient(context));
  return {
    /** [H2] If start fails: get status; found → fine, else the failure stands. */
    async start(instanceId, input) {
      try {
        await client().startNew(orchestratorName, { instanceId, input });
      } catch (error) {
        const found = await client()
          .getStatus(instanceId)
          .catch(() => undefined);
        if (found === undefined) throw error;
      }
    },
    /** [H4] No payload. The client resolves for a finished instance (410) and rejects for none
     *  (404). */
    async wake(instanceId) {
      try {
        await client().raiseEvent(instanceId, wakeName, null);
        return 'raised';
      } catch (error) {
        const text = error instanceof Error ? error.message : '';
        if (text.includes('No instance with ID')) return 'missing';
        throw error;
      }
    },
  };
}
