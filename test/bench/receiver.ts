// The ceiling, in a process of its own: plain session receivers that receive, complete and keep no
// state. As many sessions at a time, as long an idle time as the host of the convoy arm has.
//
// It speaks over its channel: told {kind: count | collect}, it answers in kind. It ends with the
// channel. Its address comes in the environment.
import { ServiceBusClient } from '@azure/service-bus';
import type { ServiceBusSessionReceiver } from '@azure/service-bus';
import { realClock } from '../../shared/clock.ts';
import type { Delivery } from './count.ts';

export type ToReceiver = { kind: 'count' } | { kind: 'collect' };

export type FromReceiver =
  | { kind: 'ready' }
  | { kind: 'count'; received: number }
  | { kind: 'collect'; deliveries: Delivery[] };

export interface ReceiverSettings {
  serviceBus: string;
  queue: string;
  sessions: number;
  idleMs: number;
}

/** The client walks all sessions of a connection at every tick. */
const sessionsPerConnection = 32;
const pauseMs = 100;

const deliveries: Delivery[] = [];

async function holdSessions(client: ServiceBusClient, settings: ReceiverSettings): Promise<never> {
  for (;;) {
    try {
      const receiver = await client.acceptNextSession(settings.queue, { receiveMode: 'peekLock' });
      await drainSession(receiver, settings.idleMs);
    } catch {
      // No session was free for a minute, or the connection was lost.
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}

/** One message at a time, each completed before the next, until the session is idle. */
async function drainSession(receiver: ServiceBusSessionReceiver, idleMs: number): Promise<void> {
  const over = Promise.withResolvers<void>();
  const idle = setTimeout(over.resolve, idleMs);
  receiver.subscribe(
    {
      async processMessage(message) {
        await receiver.completeMessage(message);
        const { convoyKey, convoyMessageId } = message.applicationProperties ?? {};
        deliveries.push({
          key: String(convoyKey),
          id: String(convoyMessageId),
          outputId: `${String(message.sequenceNumber)}.${message.deliveryCount ?? 0}`,
          atMs: realClock.now(),
        });
        idle.refresh();
      },
      processError: async () => over.resolve(),
    },
    { autoCompleteMessages: false, maxConcurrentCalls: 1 },
  );
  await over.promise;
  clearTimeout(idle);
  await receiver.close();
}

function say(message: FromReceiver): void {
  process.send?.(message);
}

const settings = JSON.parse(process.env['BENCH_RECEIVER'] ?? '{}') as ReceiverSettings;
let client: ServiceBusClient | undefined;
for (let session = 0; session < settings.sessions; session += 1) {
  if (session % sessionsPerConnection === 0) client = new ServiceBusClient(settings.serviceBus);
  if (client) void holdSessions(client, settings);
}
process.on('message', ({ kind }: ToReceiver) => {
  if (kind === 'count') say({ kind, received: deliveries.length });
  else say({ kind, deliveries: deliveries.splice(0) });
});
process.on('disconnect', () => process.exit(0));
say({ kind: 'ready' });
