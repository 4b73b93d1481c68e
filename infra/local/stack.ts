// The whole local stack in one process: for tests, and for whoever embeds it.
//
// Owns:   starting cloud and host in the order they need each other, ending them in the reverse.
// Leaves: processes, restarts and signals to launcher.ts.
//
// K1. The host knows the cloud by its connection strings only, as it would know Azure.
// K2. What was started is ended, also when a later start fails.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../shared/clock.ts';
import type { Broker, BrokerIntercept } from './broker/broker.ts';
import { hostSettings, portFault } from './address.ts';
import type { CloudAddress, StackPorts, StackUsage } from './address.ts';
import { startCloud } from './cloud.ts';
import type { CosmosIntercept, CosmosServer } from './cosmos/server.ts';
import { startHost } from './host/host.ts';
import type { FunctionsHost, HostOptions } from './host/host.ts';

export interface StackOptions {
  /** Folder of a built Functions app. */
  appDir: string;
  /** Keep nothing on disk; else `dataDir` is needed. */
  memory?: boolean;
  dataDir?: string;
  /** Default: any free port for each. */
  ports?: Partial<StackPorts>;
  /** Namespace in the shape of the emulator's Config.json. */
  configFile?: string;
  /** App settings beside those of the stack; they win over local.settings.json. */
  settings?: Readonly<Record<string, string>>;
  clock?: Clock;
  /** Named points where a test may wait or fail. */
  intercepts?: {
    broker?: BrokerIntercept;
    cosmos?: CosmosIntercept;
    hub?: NonNullable<HostOptions['hubIntercept']>;
  };
  log?: (line: string) => void;
  logLevel?: NonNullable<HostOptions['logLevel']>;
}

export interface LocalStack extends AsyncDisposable {
  url: string;
  /** Connection strings. */
  serviceBus: string;
  serviceBusManagement: string;
  cosmos: string;
  broker: Broker;
  cosmosServer: CosmosServer;
  /** The host that runs now; another one after `restartHost`. */
  readonly host: FunctionsHost;
  usage(): StackUsage;
  /** Ends the host in order and starts another on the same data and the same port. */
  restartHost(): Promise<void>;
}

export async function startLocalStack(options: StackOptions): Promise<LocalStack> {
  const folder = options.memory ? undefined : options.dataDir;
  if (!options.memory && !folder) throw new TypeError('startLocalStack: memory or dataDir');
  const partOf = (part: string): string => {
    if (!folder) return ':memory:';
    mkdirSync(join(folder, part), { recursive: true });
    return join(folder, part);
  };
  const ports: StackPorts = { http: 0, amqp: 0, management: 0, cosmos: 0, ...options.ports };
  await using started = new AsyncDisposableStack();
  const cloud = started.adopt(
    await startCloud({
      dataDir: partOf('cloud'),
      ports,
      configFile: options.configFile,
      clock: options.clock,
      intercepts: options.intercepts,
    }),
    (one) => one.close(),
  );
  const openHost = (port: number): Promise<FunctionsHost> =>
    startHost(hostOptions({ options, port, dataDir: partOf('host'), address: cloud })).catch(
      (error: unknown) => {
        throw portFault(error, ports);
      },
    );
  // The client libraries of the app read process.env; a storage account would change the hub.
  delete process.env['AzureWebJobsStorage'];
  let host = await openHost(ports.http);
  started.defer(() => host.close());
  const owned = started.move();
  return {
    url: host.url,
    serviceBus: cloud.serviceBus,
    serviceBusManagement: cloud.serviceBusManagement,
    cosmos: cloud.cosmos,
    broker: cloud.broker,
    cosmosServer: cloud.cosmosServer,
    get host() {
      return host;
    },
    usage: () => ({
      ...cloud.usage(),
      storageTransactions: host.usage().storageTransactions,
      restarts: 0,
    }),
    async restartHost() {
      const { port } = host;
      await host.close();
      host = await openHost(port);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

interface HostPart {
  options: StackOptions;
  port: number;
  dataDir: string;
  address: CloudAddress;
}

function hostOptions({ options, port, dataDir, address }: HostPart): HostOptions {
  const hubIntercept = options.intercepts?.hub;
  return {
    appDir: options.appDir,
    port,
    dataDir,
    settings: { ...hostSettings(address), ...options.settings },
    ...(options.clock && { clock: options.clock }),
    ...(options.log && { log: options.log }),
    ...(options.logLevel && { logLevel: options.logLevel }),
    ...(hubIntercept && { hubIntercept }),
  };
}
