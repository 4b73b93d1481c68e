// Where the Cosmos account is, as the Functions host writes settings of a connection: one string,
// or the address of the account with an identity [functions-host 2.12].
import type { TokenCredential } from '@azure/identity';
import { ConvoyError } from '../errors.ts';

/** `clientId` names a user-assigned identity; without it the default credential chain is asked. */
export type CosmosAddress =
  | { connectionString: string }
  | { endpoint: string; credential?: TokenCredential; clientId?: string };

/** Reads the address from app settings; throws ConvoyError CVY_SETTINGS listing what is missing. */
export function cosmosSettings(
  settings: Readonly<Record<string, string | undefined>>,
  name = 'CosmosConnection',
): CosmosAddress {
  const connectionString = settings[name];
  if (connectionString) {
    assertConnectionString(connectionString, name);
    return { connectionString };
  }
  const endpoint = settings[`${name}__accountEndpoint`];
  if (endpoint) {
    if (!URL.canParse(endpoint) || !/^https?:/.test(endpoint)) {
      throw new ConvoyError('CVY_SETTINGS', `${name}__accountEndpoint is not an http(s) address`);
    }
    const clientId = settings[`${name}__clientId`];
    return clientId ? { endpoint, clientId } : { endpoint };
  }
  throw new ConvoyError('CVY_SETTINGS', `neither ${name} nor ${name}__accountEndpoint is set`);
}

// The text is never repeated: it holds the account's key.
function assertConnectionString(text: string, name: string): void {
  const missing = ['AccountEndpoint', 'AccountKey'].filter(
    (part) => !new RegExp(`(?:^|;)\\s*${part}=[^;]`).test(text),
  );
  if (missing.length === 0) return;
  throw new ConvoyError('CVY_SETTINGS', `${name} lacks ${missing.join(' and ')}`);
}

/** Loads the identity library only when an identity is asked for. */
export async function credentialOf(
  address: Extract<CosmosAddress, { endpoint: string }>,
): Promise<TokenCredential> {
  if (address.credential) return address.credential;
  const { DefaultAzureCredential, ManagedIdentityCredential } = await import('@azure/identity');
  return address.clientId
    ? new ManagedIdentityCredential({ clientId: address.clientId })
    : new DefaultAzureCredential();
}
