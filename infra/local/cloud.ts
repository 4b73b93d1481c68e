// The local cloud: broker and Cosmos server of one namespace and one account, joined.
//
// Owns:   which files and ports the two get, their keys, and the names of ports in errors.
// Leaves: every behaviour of Service Bus and Cosmos DB to broker/ and cosmos/.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../shared/clock.ts';
import { ConvoyError, reasonOf } from '../../shared/errors.ts';
import { localKeys, packageRoot, portFault } from './address.ts';
import type { CloudAddress, CloudUsage, StackPorts } from './address.ts';
import { parseNamespaceConfig, startBroker } from './broker/broker.ts';
import type { Broker, BrokerIntercept } from './broker/broker.ts';
import { startCosmos } from './cosmos/server.ts';
import type { CosmosIntercept, CosmosServer } from './cosmos/server.ts';

export interface CloudOptions {
  /** The folder of the two files, or memory only. */
  dataDir: string | ':memory:';
  ports: Omit<StackPorts, 'http'>;
  /** Namespace in the shape of the emulator's Config.json; default: the samples' queues. */
  configFile?: string | undefined;
  clock?: Clock | undefined;
  /** Lets tests make the broker fail through `/faults` on its management port. */
  allowsBrokerFaults?: boolean | undefined;
  /** Opens a port by which tests make the Cosmos server fail. */
  cosmosFaultPort?: number | undefined;
  intercepts?: { broker?: BrokerIntercept; cosmos?: CosmosIntercept } | undefined;
}

export interface Cloud extends CloudAddress {
  broker: Broker;
  cosmosServer: CosmosServer;
  ports: Omit<StackPorts, 'http'>;
  usage(): CloudUsage;
  close(): Promise<void>;
}

export async function startCloud(options: CloudOptions): Promise<Cloud> {
  const fileOf = (name: string): string =>
    options.dataDir === ':memory:' ? ':memory:' : join(options.dataDir, name);
  const clock = options.clock ? { clock: options.clock } : {};
  const { broker: brokerIntercept, cosmos: cosmosIntercept } = options.intercepts ?? {};
  const broker = await startBroker({
    config: readConfig(options.configFile),
    file: fileOf('service-bus.sqlite'),
    port: options.ports.amqp,
    managementPort: options.ports.management,
    sharedAccessKey: localKeys.serviceBus,
    allowsFaults: options.allowsBrokerFaults ?? false,
    ...clock,
    ...(brokerIntercept && { intercept: brokerIntercept }),
  }).catch((error: unknown) => {
    throw portFault(error, options.ports);
  });
  const cosmosServer = await startCosmos({
    file: fileOf('cosmos.sqlite'),
    port: options.ports.cosmos,
    key: localKeys.cosmos,
    ...clock,
    ...(cosmosIntercept && { intercept: cosmosIntercept }),
    ...(options.cosmosFaultPort !== undefined && { faultPort: options.cosmosFaultPort }),
  }).catch(async (error: unknown) => {
    await broker.close();
    throw portFault(error, options.ports);
  });
  return {
    broker,
    cosmosServer,
    serviceBus: broker.connectionString,
    serviceBusManagement: broker.managementConnectionString,
    cosmos: cosmosServer.connectionString,
    ports: {
      amqp: broker.port,
      management: broker.managementPort,
      cosmos: cosmosServer.port,
    },
    usage: () => ({
      serviceBusOperations: broker.usage().operations,
      cosmosRequestUnits: cosmosServer.usage().requestUnits,
    }),
    async close() {
      await Promise.all([broker.close(), cosmosServer.close()]);
    },
  };
}

function readConfig(file: string | undefined): ReturnType<typeof parseNamespaceConfig> {
  const path = file ?? join(packageRoot(), 'infra', 'local', 'broker', 'Config.json');
  try {
    return parseNamespaceConfig(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    throw new ConvoyError('CVY_SETTINGS', `${path}: ${reasonOf(error)}`, { cause: error });
  }
}
