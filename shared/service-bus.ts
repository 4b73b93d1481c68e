// The one seam that makes a ServiceBusClient, and the one place that reads what its errors mean.
//
// Owns:   how an address becomes a client (connection string, or namespace + identity), and the
//         sorting of client errors into what a caller can do about them.
// Leaves: what is sent or received, and how often it is tried again, to the caller.
//
// S1. The connection string is the only switch between laptop and Azure: nothing here asks where it
//     runs.
// S2. No secret is put into an error or a log.
import { ServiceBusClient } from '@azure/service-bus';
import type { RetryOptions } from '@azure/service-bus';
import type { TokenCredential } from '@azure/identity';
import { ConvoyError } from './errors.ts';
import { BrokerBusy } from './throttling.ts';

/** Where a namespace is and who asks. `clientId` names a user-assigned identity. */
export type ServiceBusAddress =
  | { connectionString: string }
  | { fullyQualifiedNamespace: string; credential?: TokenCredential; clientId?: string };

/**
 * Reads an address from app settings as the Functions host does: `<name>` is a connection string,
 * else `<name>__fullyQualifiedNamespace` with an identity (functions-host.md 2.12).
 */
export function serviceBusAddress(
  settings: Readonly<Record<string, string | undefined>>,
  name = 'ServiceBusConnection',
): ServiceBusAddress {
  const connectionString = settings[name];
  if (connectionString) return { connectionString };
  const fullyQualifiedNamespace = settings[`${name}__fullyQualifiedNamespace`];
  if (fullyQualifiedNamespace) {
    const clientId = settings[`${name}__clientId`];
    return clientId ? { fullyQualifiedNamespace, clientId } : { fullyQualifiedNamespace };
  }
  throw new ConvoyError(
    'CVY_SETTINGS',
    `neither ${name} nor ${name}__fullyQualifiedNamespace is set`,
  );
}

/** Opens a client; the identity library is loaded only when an identity is asked for (300 ms). */
export async function openServiceBusClient(
  address: ServiceBusAddress,
  options: { retryOptions?: RetryOptions } = {},
): Promise<ServiceBusClient> {
  try {
    if ('connectionString' in address) {
      return new ServiceBusClient(address.connectionString, options);
    }
    const credential = address.credential ?? (await identityOf(address.clientId));
    return new ServiceBusClient(address.fullyQualifiedNamespace, credential, options);
  } catch (error) {
    // The client quotes no key in these messages; still only the kind of fault is repeated [S2].
    throw new ConvoyError('CVY_SETTINGS', 'the Service Bus address is malformed', { cause: error });
  }
}

/** The identity library is loaded only when it is needed. */
export async function identityOf(clientId: string | undefined): Promise<TokenCredential> {
  const { DefaultAzureCredential, ManagedIdentityCredential } = await import('@azure/identity');
  return clientId ? new ManagedIdentityCredential({ clientId }) : new DefaultAzureCredential();
}

/** A refusal for the rate (50009: "wait 2 seconds") or for the size of the queue [SB 5.10, 18.4];
 *  undefined of any other error. The client's own retries hide it: who asks has turned them off. */
export function brokerBusy(error: unknown): BrokerBusy | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  if (error.code === 'QuotaExceeded') return new BrokerBusy({ code: error.code }, { cause: error });
  if (error.code !== 'ServiceBusy') return undefined;
  const seconds = Number(/wait (\d+) seconds/i.exec(error.message)?.[1] ?? 2);
  const retryAfterMs = Math.min(seconds * 1000, busyMsMax);
  return new BrokerBusy({ code: error.code, retryAfterMs }, { cause: error });
}

const busyMsMax = 30_000;

/** What a caller can do about a client error. */
export type ServiceBusFault =
  /** Try the same thing again after a pause. */
  | 'transient'
  /** No such queue. */
  | 'notFound'
  /** The message or batch is over the size the broker grants. */
  | 'tooLarge'
  /** The key or the role assignment is wrong. */
  | 'unauthorized'
  /** Trying again changes nothing. */
  | 'permanent';

const networkFaults = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);
const permanentNames =
  /\b(InvalidOperationError|Argument(OutOfRange)?Error|NotImplementedError|TypeError|RangeError)\b/;

/**
 * Sorts an error of the Service Bus client. The client's own `retryable` is not enough: a refused
 * connection comes as GeneralError, retryable false [SB 4.15], and not-allowed has the same code
 * and differs only by the name in front of its text [SB 14.2].
 */
export function serviceBusFault(error: unknown): ServiceBusFault {
  if (!(error instanceof Error)) return 'permanent';
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  switch (code) {
    case 'MessagingEntityNotFound':
      return 'notFound';
    case 'MessageSizeExceeded':
      return 'tooLarge';
    case 'UnauthorizedAccess':
      return 'unauthorized';
    case 'MessagingEntityDisabled':
      return 'permanent';
    case 'ServiceBusy':
    case 'ServiceTimeout':
    case 'QuotaExceeded':
      return 'transient';
    case 'ServiceCommunicationProblem':
      // amqp:not-found whose text the client does not know comes under this code [SB 3.9].
      return /not be found|not found/i.test(error.message) ? 'notFound' : 'transient';
    case 'GeneralError':
      return permanentNames.test(error.message) ? 'permanent' : 'transient';
  }
  if (networkFaults.has(code) || [...networkFaults].some((name) => error.message.includes(name))) {
    return 'transient';
  }
  // A connection that ended while the client said who it is: it has no reason to tell.
  if (error.message.startsWith('Unknown error encountered')) return 'transient';
  return 'retryable' in error && error.retryable === true ? 'transient' : 'permanent';
}
