// A broker in a process of its own, to be killed. Prints its connection string.
import { startBroker } from '../../infra/local/broker/broker.ts';

const [file = ':memory:'] = process.argv.slice(2);
const base = { requiresSession: true, lockDurationSeconds: 60, maxDeliveryCount: 10 };
const plain = { ...base, requiresSession: false, deadLetterOnExpiration: false };
const broker = await startBroker({
  file,
  port: 0,
  config: {
    queues: [
      {
        name: 'orders',
        properties: { ...base, deadLetterOnExpiration: false, duplicateDetectionSeconds: 600 },
      },
    ],
    topics: [
      {
        name: 'events',
        properties: {},
        subscriptions: ['a', 'b'].map((name) => ({ name, properties: plain, rules: [] })),
      },
    ],
  },
});
process.stdout.write(`${broker.connectionString}\n`);
