// Hosts that come and go in one process leave nothing behind.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Broker } from '../../infra/local/broker/broker.ts';
import { startHost } from '../../infra/local/host/host.ts';
import { fixture, openBroker } from './harness.ts';

let broker: Broker;
beforeAll(async () => {
  broker = await openBroker();
});
afterAll(() => broker.close());

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const turns = async (): Promise<void> => {
  for (let n = 0; n < 20; n++) await new Promise((resolve) => setTimeout(resolve, 5));
};

/**
 * A host with HTTP, listeners and an output; it does some work and is closed. No session trigger:
 * the client keeps the timers of an accept that was left behind for its 60 s.
 */
async function comeAndGo(): Promise<void> {
  const host = await startHost({
    appDir: fixture('chain'),
    port: 0,
    dataDir: ':memory:',
    log: () => {},
    settings: { BusConnection: broker.connectionString, OUT_QUEUE: 'plain' },
  });
  const body = JSON.stringify({ value: 'hello' });
  const answer = await fetch(`${host.url}/api/put`, { method: 'POST', body });
  expect(await answer.text()).toBe('put');
  await host.close();
}

interface Held {
  resources: Record<string, number>;
  listeners: number;
  heapMiB: number;
}

async function held(): Promise<Held> {
  await turns();
  collect();
  const resources: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) {
    resources[kind] = (resources[kind] ?? 0) + 1;
  }
  return {
    resources,
    listeners: process.listenerCount('uncaughtException'),
    heapMiB: process.memoryUsage().heapUsed / 2 ** 20,
  };
}

const count = ({ resources }: Held, kind: string): number => resources[kind] ?? 0;

test('twenty restarts hold no more than five did', async () => {
  for (let n = 0; n < 5; n++) await comeAndGo();
  const before = await held();

  for (let n = 0; n < 20; n++) await comeAndGo();
  const after = await held();

  expect(after.listeners).toBe(before.listeners);
  for (const kind of ['TCPServerWrap', 'TCPSocketWrap', 'Timeout']) {
    expect(count(after, kind), kind).toBeLessThanOrEqual(count(before, kind) + 2);
  }
  // a host that stayed would keep its settings, clients and hub: some hundred KiB each
  expect(after.heapMiB - before.heapMiB).toBeLessThan(4);
});
