// The management port: health, usage, and the ATOM entries that ServiceBusAdministrationClient
// reads [SB 16]. Read-only: entities come from Config.json; every change is refused by name.
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { durationOfSeconds } from './config.ts';
import type { Entity } from './entity.ts';
import { messageBytesMax } from './namespace.ts';
import type { Namespace } from './namespace.ts';
import { sasFault } from './sas.ts';

export interface ManagementOptions {
  namespace: Namespace;
  port: number;
  sharedAccessKey: string;
}

interface Answer {
  status: number;
  type: string;
  body: string;
}

/** TimeSpan.MaxValue: how the service says "never" [SB 12.4]. */
const forever = 'P10675199DT2H48M5.4775807S';
const atom = 'application/atom+xml;type=entry;charset=utf-8';

const json = (status: number, value: unknown): Answer => ({
  status,
  type: 'application/json',
  body: JSON.stringify(value),
});

const fault = (status: number, detail: string): Answer => ({
  status,
  type: 'application/xml; charset=utf-8',
  body: `<Error><Code>${status}</Code><Detail>${escape(detail)}</Detail></Error>`,
});

function escape(text: string): string {
  return text.replace(/[<>&"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

export async function listenManagement(options: ManagementOptions) {
  const server = createServer((request, response) => {
    request.resume();
    let answer: Answer;
    try {
      answer = route(request, options);
    } catch (error) {
      answer = fault(500, error instanceof Error ? error.message : String(error));
    }
    respond(response, answer);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return { port, close: () => closeServer(server) };
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function respond(response: ServerResponse, { status, type, body }: Answer): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

function route(request: IncomingMessage, options: ManagementOptions): Answer {
  const { namespace } = options;
  const url = new URL(request.url ?? '/', 'http://localhost');
  const path = decodeURIComponent(url.pathname).replace(/^\/+/, '');
  if (path === 'health') {
    const isHealthy = namespace.store.failure === undefined;
    return isHealthy
      ? json(200, { status: 'healthy', message: 'Service is healthy.' })
      : json(503, { status: 'unhealthy', message: 'The data file cannot be written.' });
  }
  if (path === 'usage') {
    const { operations, perEntity } = namespace.usage.report();
    return json(200, { serviceBusOperations: operations, perEntity });
  }
  const token = request.headers.authorization ?? '';
  const refusal = sasFault(token, options.sharedAccessKey, namespace.clock.now());
  if (refusal !== undefined) return fault(401, refusal);
  if (request.method !== 'GET') {
    return fault(501, `The local broker does not support ${request.method}: edit Config.json.`);
  }
  if (path.startsWith('$') || path.includes('/$')) {
    return fault(501, `The local broker does not support '${path}'.`);
  }
  const entity = namespace.queue(path);
  if (!entity) return fault(404, `Entity '${path}' was not found.`);
  return { status: 200, type: atom, body: describeQueue(namespace, entity, request) };
}

/** Element order and the prefixed counts are what the clients parse [SB 16.4, 16.5]. */
function describeQueue(namespace: Namespace, entity: Entity, request: IncomingMessage): string {
  const { properties, counts, path } = entity;
  const { duplicateDetectionSeconds, defaultTimeToLiveSeconds } = properties;
  const now = new Date(namespace.clock.now()).toISOString();
  const deadLetters = entity.deadLetters?.counts.active ?? 0;
  const elements: [string, string | number | boolean][] = [
    ['LockDuration', durationOfSeconds(properties.lockDurationSeconds)],
    ['MaxSizeInMegabytes', 1024],
    ['RequiresDuplicateDetection', duplicateDetectionSeconds !== undefined],
    ['RequiresSession', properties.requiresSession],
    [
      'DefaultMessageTimeToLive',
      defaultTimeToLiveSeconds === undefined
        ? forever
        : durationOfSeconds(defaultTimeToLiveSeconds),
    ],
    ['DeadLetteringOnMessageExpiration', properties.deadLetterOnExpiration],
    ['DuplicateDetectionHistoryTimeWindow', durationOfSeconds(duplicateDetectionSeconds ?? 600)],
    ['MaxDeliveryCount', properties.maxDeliveryCount],
    ['EnableBatchedOperations', true],
    ['SizeInBytes', namespace.store.sizeOf(path)],
    ['MessageCount', counts.active + counts.scheduled + deadLetters],
    ['Status', 'Active'],
    ['CreatedAt', now],
    ['UpdatedAt', now],
    ['AccessedAt', now],
  ];
  const details: [string, number][] = [
    ['ActiveMessageCount', counts.active],
    ['DeadLetterMessageCount', deadLetters],
    ['ScheduledMessageCount', counts.scheduled],
    ['TransferMessageCount', 0],
    ['TransferDeadLetterMessageCount', 0],
  ];
  const rest: [string, string | number | boolean][] = [
    ['AutoDeleteOnIdle', forever],
    ['EnablePartitioning', false],
    ['EntityAvailabilityStatus', 'Available'],
    ['EnableExpress', false],
    ['MaxMessageSizeInKilobytes', messageBytesMax / 1024],
  ];
  const element = ([name, value]: readonly [string, unknown]): string =>
    `<${name}>${String(value)}</${name}>`;
  const countDetails = details.map(([name, value]) => element([`d2p1:${name}`, value])).join('');
  const host = escape(request.headers.host ?? 'localhost');
  return (
    '<?xml version="1.0" encoding="utf-8"?><entry xmlns="http://www.w3.org/2005/Atom">' +
    `<id>http://${host}/${encodeURI(path)}?api-version=2021-05</id>` +
    `<title type="text">${escape(path)}</title><updated>${now}</updated>` +
    '<content type="application/xml"><QueueDescription ' +
    'xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect">' +
    elements.map(element).join('') +
    '<CountDetails xmlns:d2p1="http://schemas.microsoft.com/netservices/2011/06/servicebus">' +
    `${countDetails}</CountDetails>${rest.map(element).join('')}` +
    '</QueueDescription></content></entry>'
  );
}
