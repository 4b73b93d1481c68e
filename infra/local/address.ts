// Where the parts of a local stack are found: ports, keys, connection strings, app settings.
//
// Owns:   every name and number by which one process of the stack reaches another.
// Leaves: starting anything to cloud.ts and launcher.ts. Loads no server: a command line that
//         only needs an address stays quick.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ConvoyError } from '../../shared/errors.ts';

/** Ports of a stack; 0 = any free. */
export interface StackPorts {
  http: number;
  amqp: number;
  management: number;
  cosmos: number;
}

export const defaultPorts: StackPorts = { http: 7071, amqp: 5672, management: 5300, cosmos: 8081 };

/** How each port is named to a person, and the flag that changes it. */
export const portNames: Readonly<Record<keyof StackPorts, { what: string; flag: string }>> = {
  http: { what: 'HTTP', flag: '--port' },
  amqp: { what: 'AMQP', flag: '--amqp-port' },
  management: { what: 'Service Bus management', flag: '--management-port' },
  cosmos: { what: 'Cosmos', flag: '--cosmos-port' },
};

// Both keys are public knowledge, taken from Microsoft's emulators: they keep a client from talking
// to the wrong server, not an attacker out. The servers bind to loopback only.
export const localKeys = {
  serviceBus: 'SAS_KEY_VALUE',
  cosmos:
    'C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==',
};

/** Connection strings by which anything reaches a local cloud. */
export interface CloudAddress {
  serviceBus: string;
  serviceBusManagement: string;
  cosmos: string;
}

/** The address of a cloud on known ports, for a host or a sender that is started apart from it. */
export function cloudAddressOn(ports: Omit<StackPorts, 'http'>): CloudAddress {
  const serviceBusOn = (port: number): string =>
    `Endpoint=sb://localhost:${port};SharedAccessKeyName=RootManageSharedAccessKey;` +
    `SharedAccessKey=${localKeys.serviceBus};UseDevelopmentEmulator=true;`;
  return {
    serviceBus: serviceBusOn(ports.amqp),
    serviceBusManagement: serviceBusOn(ports.management),
    cosmos: `AccountEndpoint=http://localhost:${ports.cosmos}/;AccountKey=${localKeys.cosmos};`,
  };
}

/** What Azure would have billed so far. */
export interface CloudUsage {
  serviceBusOperations: number;
  cosmosRequestUnits: number;
}

export interface StackUsage extends CloudUsage {
  storageTransactions: number;
  /** How often a process came back: what it had counted before is gone. */
  restarts: number;
}

/** The app settings by which an app finds the local cloud. */
export function hostSettings(address: CloudAddress): Record<string, string> {
  return {
    ServiceBusConnection: address.serviceBus,
    ServiceBusAdministration: address.serviceBusManagement,
    CosmosConnection: address.cosmos,
    FUNCTIONS_WORKER_RUNTIME: 'node',
  };
}

/** A busy port in the words of the command line; anything else as it is. */
export function portFault(error: unknown, ports: Partial<StackPorts>): unknown {
  if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) return error;
  const busy = 'port' in error ? Number(error.port) : Number.NaN;
  const names = Object.keys(portNames).filter(
    (name): name is keyof StackPorts => name in portNames,
  );
  const name = names.find((one) => ports[one] === busy);
  const { what, flag } = name ? portNames[name] : { what: 'a', flag: 'its flag' };
  return new ConvoyError(
    'CVY_PORT_BUSY',
    `${what} port ${busy} is in use, ${flag} chooses another`,
    { cause: error },
  );
}

/** The folder of our package.json: sources and build stand at different depths below it. */
export function packageRoot(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'package.json')) && folder !== dirname(folder)) {
    folder = dirname(folder);
  }
  return folder;
}
