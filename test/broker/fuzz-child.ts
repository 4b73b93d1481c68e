// A broker in a process of its own that says what it holds.
import { startBroker } from '../../infra/local/broker/broker.ts';

const broker = await startBroker({
  file: ':memory:',
  port: 0,
  config: {
    queues: [
      {
        name: 'plain',
        properties: {
          requiresSession: false,
          lockDurationSeconds: 60,
          maxDeliveryCount: 10,
          deadLetterOnExpiration: false,
        },
      },
    ],
    topics: [],
  },
});

const countOf = (kind: string): number =>
  process.getActiveResourcesInfo().filter((resource) => resource === kind).length;

process.on('message', () => {
  globalThis.gc?.();
  const { heapUsed: heapBytes, rss: rssBytes } = process.memoryUsage();
  const counts = { sockets: countOf('TCPSocketWrap'), timers: countOf('Timeout') };
  process.send?.({ heapBytes, rssBytes, ...counts });
});
process.send?.({ port: broker.port, connectionString: broker.connectionString });
