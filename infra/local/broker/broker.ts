// The local Service Bus: one namespace, spoken to over AMQP 1.0 by the unmodified Azure clients.
// What it does not support it refuses by name; infra/local/DIFFERENCES.md lists it.
import { realClock } from '../../../shared/clock.ts';
import type { Clock } from '../../../shared/clock.ts';
import type { NamespaceConfig } from './config.ts';
import { listen } from './listener.ts';
import { listenManagement } from './management.ts';
import { Namespace } from './namespace.ts';
import type { BrokerIntercept } from './namespace.ts';

export { parseNamespaceConfig } from './config.ts';
export type { NamespaceConfig, QueueProperties } from './config.ts';
export type { BrokerIntercept, BrokerStep } from './namespace.ts';

export interface BrokerOptions {
  config: NamespaceConfig;
  /** A path, or ':memory:'. */
  file: string;
  /** 0 = any free port. */
  port: number;
  /** 0 (default) = any free port. */
  managementPort?: number;
  clock?: Clock;
  sharedAccessKey?: string;
  intercept?: BrokerIntercept;
}

export interface Broker {
  port: number;
  managementPort: number;
  connectionString: string;
  /** The same with the management port, for ServiceBusAdministrationClient. */
  managementConnectionString: string;
  usage(): { operations: number; perEntity: Record<string, number> };
  /** Expires the lock now, as if time had passed; false when nobody holds the session. */
  loseSessionLock(queue: string, sessionId: string): boolean;
  /** Cuts every connection, as a network failure would. */
  dropConnections(): void;
  close(): Promise<void>;
}

/** The key of the official emulator's documentation. */
const defaultKey = 'SAS_KEY_VALUE';

/** Starts the broker. A busy port rejects with `code` EADDRINUSE and the `port`. */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const sharedAccessKey = options.sharedAccessKey ?? defaultKey;
  const { config, file, intercept } = options;
  const namespace = new Namespace({ config, file, intercept, clock: options.clock ?? realClock });
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0)) await closer();
    namespace.close();
  };
  try {
    const amqp = await listen({ namespace, port: options.port, sharedAccessKey });
    closers.push(() => amqp.close());
    const port = options.managementPort ?? 0;
    const management = await listenManagement({ namespace, port, sharedAccessKey });
    closers.push(() => management.close());
    const connectionString = (at: number): string =>
      `Endpoint=sb://localhost:${at};SharedAccessKeyName=RootManageSharedAccessKey;` +
      `SharedAccessKey=${sharedAccessKey};UseDevelopmentEmulator=true;`;
    return {
      port: amqp.port,
      managementPort: management.port,
      connectionString: connectionString(amqp.port),
      managementConnectionString: connectionString(management.port),
      usage: () => namespace.usage.report(),
      loseSessionLock: (queue, sessionId) => loseSessionLock(namespace, queue, sessionId),
      dropConnections: () => amqp.dropConnections(),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function loseSessionLock(namespace: Namespace, queue: string, sessionId: string): boolean {
  const entity = namespace.entities.get(queue.toLowerCase());
  const lane = entity?.sessions.find(sessionId);
  if (!entity || !lane?.holder) return false;
  entity.expireSession(lane, namespace.clock.now());
  return true;
}
