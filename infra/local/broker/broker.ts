// The local Service Bus: one namespace, spoken to over AMQP 1.0 by the unmodified Azure clients.
// What it does not support it refuses by name; infra/local/DIFFERENCES.md lists it.
import { realClock } from '../../../shared/clock.ts';
import type { Clock } from '../../../shared/clock.ts';
import type { NamespaceConfig } from './config.ts';
import { deedsOf } from './deeds.ts';
import type { Deeds } from './deeds.ts';
import type { Faults } from './faults.ts';
import { listen } from './listener.ts';
import { listenManagement } from './management.ts';
import { Namespace } from './namespace.ts';
import type { BrokerIntercept } from './step.ts';

export { parseNamespaceConfig } from './config.ts';
export type { NamespaceConfig, QueueProperties } from './config.ts';
export type { FaultRule } from './faults.ts';
export type { BrokerIntercept, BrokerStep } from './step.ts';

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
  /** Opens `/faults` on the management port to other processes; off by default. */
  allowsFaults?: boolean;
}

export interface Broker extends Deeds {
  port: number;
  managementPort: number;
  connectionString: string;
  /** The same with the management port, for ServiceBusAdministrationClient. */
  managementConnectionString: string;
  usage(): { operations: number; perEntity: Record<string, number> };
  readonly faults: Faults;
  /** Stops; again is harmless. */
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
  let closing: Promise<void> | undefined;
  const closeAll = async (): Promise<void> => {
    for (const closer of closers.splice(0)) await closer();
    namespace.close();
  };
  const close = (): Promise<void> => (closing ??= closeAll());
  try {
    const amqp = await listen({ namespace, port: options.port, sharedAccessKey });
    closers.push(() => amqp.close());
    const port = options.managementPort ?? 0;
    const deeds = deedsOf(namespace, amqp);
    const faultPort = options.allowsFaults ? { faults: namespace.faults, deeds } : undefined;
    const management = await listenManagement({ namespace, port, sharedAccessKey, faultPort });
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
      faults: namespace.faults,
      ...deeds,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
