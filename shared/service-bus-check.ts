// [H14] Whether the input queues can keep the order: session-enabled and unpartitioned. Needs the
// right to manage; where the app lacks it, the caller says that it could not be checked.
//
// The administration client of 7.9.5 speaks https only; for a development emulator its requests are
// sent over http, as Microsoft's own emulator sample does (reference/service-bus.md §16.1). Azure's
// connection strings never carry that flag.
import { ServiceBusAdministrationClient } from '@azure/service-bus';
import { ConvoyError } from './errors.ts';
import { identityOf } from './service-bus.ts';

type Env = Readonly<Record<string, string | undefined>>;

/** Rejects with CVY_ENVIRONMENT naming every queue that is wrong, or with the client's own
 *  error. */
export async function checkQueues(env: Env, queues: readonly string[]): Promise<void> {
  const client = await openAdministration(env);
  const wrong: string[] = [];
  for (const name of queues) {
    const queue = await client.getQueue(name);
    if (queue.enablePartitioning) wrong.push(`queue '${name}' is partitioned`);
    if (!queue.requiresSession) wrong.push(`queue '${name}' does not require sessions`);
  }
  if (wrong.length > 0) throw new ConvoyError('CVY_ENVIRONMENT', wrong.join('; '));
}

async function openAdministration(env: Env): Promise<ServiceBusAdministrationClient> {
  const text = env['ServiceBusAdministration'] ?? env['ServiceBusConnection'];
  if (text === undefined) {
    const namespace = env['ServiceBusConnection__fullyQualifiedNamespace'] ?? '';
    const credential = await identityOf(env['ServiceBusConnection__clientId']);
    return new ServiceBusAdministrationClient(namespace, credential);
  }
  if (!/UseDevelopmentEmulator=true/.test(text)) return new ServiceBusAdministrationClient(text);
  const client = new ServiceBusAdministrationClient(text, { retryOptions: { maxRetries: 1 } });
  client.pipeline.addPolicy({
    name: 'emulatorOverHttp',
    sendRequest: (request, next) => {
      request.url = request.url.replace(/^https:/, 'http:');
      request.allowInsecureConnection = true;
      return next(request);
    },
  });
  return client;
}
