// The administration client, pointed at Azure or at an emulator.
import { ServiceBusAdministrationClient } from '@azure/service-bus';

type Policy = Parameters<ServiceBusAdministrationClient['pipeline']['addPolicy']>[0];

/** The client speaks https only; Microsoft's sample for its emulator patches it too [SB 16.1]. */
const plainHttp: Policy = {
  name: 'plainHttp',
  sendRequest(request, next) {
    request.allowInsecureConnection = true;
    request.url = request.url.replace('https:', 'http:');
    return next(request);
  },
};

/** No retries: a claim must see the first answer. */
export function adminOf(connectionString: string): ServiceBusAdministrationClient {
  const admin = new ServiceBusAdministrationClient(connectionString, {
    retryOptions: { maxRetries: 0 },
  });
  if (/UseDevelopmentEmulator=true/.test(connectionString)) admin.pipeline.addPolicy(plainHttp);
  return admin;
}
