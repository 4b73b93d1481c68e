// Where the Service Bus contract runs: on the local broker, in memory and on a clock that the
// claims move; or on a namespace of Azure (or an emulator) that a connection string names:
//
//   SERVICEBUS_CONNECTION_STRING=… npx vitest run --config test/vitest.config.ts \
//     --testTimeout 300000 test/broker/contract.test.ts
//
// The string needs the right Manage: each claim runs on queues of its own, which are deleted behind
// it. An emulator with another port for management needs SERVICEBUS_ADMIN_CONNECTION_STRING too.
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceBusAdministrationClient } from '@azure/service-bus';
import { startBroker } from '../../infra/local/broker/broker.ts';
import { virtualClock } from '../../shared/clock.ts';
import type { Skip } from './claims.ts';
import { adminOf } from './service-bus-admin-client.ts';
import type { Target } from './service-bus.contract.ts';

const base = { lockDurationSeconds: 60, maxDeliveryCount: 10, deadLetterOnExpiration: false };

async function openLocal(): Promise<Target> {
  // From the present: the client compares lock times and token expiry with its own clock.
  const clock = virtualClock(Date.now());
  const broker = await startBroker({
    clock,
    file: ':memory:',
    port: 0,
    config: {
      queues: [
        { name: 'sessions', properties: { ...base, requiresSession: true } },
        {
          name: 'plain',
          properties: { ...base, requiresSession: false, deadLetterOnExpiration: true },
        },
        {
          name: 'dedup',
          properties: { ...base, requiresSession: true, duplicateDetectionSeconds: 600 },
        },
      ],
    },
  });
  let names = 0;
  return {
    connectionString: broker.connectionString,
    adminConnectionString: broker.managementConnectionString,
    sessionQueue: 'sessions',
    plainQueue: 'plain',
    dedupQueue: 'dedup',
    lockSeconds: 60,
    windowSeconds: 600,
    nameOf: (what) => `${what}-${++names}`,
    pass: (ms) => clock.advance(ms),
    close: () => broker.close(),
  };
}

/** Time really passes here, so locks and windows are the shortest there are. */
async function openRemote(connectionString: string): Promise<Target> {
  const adminConnectionString =
    process.env['SERVICEBUS_ADMIN_CONNECTION_STRING'] ?? connectionString;
  const admin = adminOf(adminConnectionString);
  const prefix = `contract-${randomBytes(4).toString('hex')}`;
  let names = 0;
  const nameOf = (what: string): string => `${prefix}-${what}-${++names}`;
  const [sessionQueue, plainQueue, dedupQueue] = ['sessions', 'plain', 'dedup'].map(nameOf);
  const options = { lockDuration: 'PT5S', maxDeliveryCount: 10 };
  const dedup = { requiresDuplicateDetection: true, duplicateDetectionHistoryTimeWindow: 'PT20S' };
  await Promise.all([
    admin.createQueue(sessionQueue ?? '', { ...options, requiresSession: true }),
    admin.createQueue(plainQueue ?? '', { ...options, deadLetteringOnMessageExpiration: true }),
    admin.createQueue(dedupQueue ?? '', { ...options, ...dedup, requiresSession: true }),
  ]);
  return {
    connectionString,
    adminConnectionString,
    sessionQueue: sessionQueue ?? '',
    plainQueue: plainQueue ?? '',
    dedupQueue: dedupQueue ?? '',
    lockSeconds: 5,
    windowSeconds: 20,
    nameOf,
    pass: (ms) => sleep(ms),
    close: () => removeAll(admin, prefix),
  };
}

async function removeAll(admin: ServiceBusAdministrationClient, prefix: string): Promise<void> {
  for await (const { name } of admin.listQueues()) {
    if (name.startsWith(prefix)) await admin.deleteQueue(name);
  }
  for await (const { name } of admin.listTopics()) {
    if (name.startsWith(prefix)) await admin.deleteTopic(name);
  }
}

const remote = process.env['SERVICEBUS_CONNECTION_STRING'];

export const open = (): Promise<Target> =>
  remote === undefined ? openLocal() : openRemote(remote);

/** What only the local broker can show. */
export const skip: Skip[] =
  remote === undefined
    ? []
    : [
        {
          reason: 'an entity counts as idle after five minutes at least',
          tests: ['an idle entity goes, one in use stays'],
        },
      ];
