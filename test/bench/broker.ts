// How fast the broker is: node test/bench/broker.ts [scenario …]
//
// The official client in this process, the broker in another, 1 KB bodies. What each of the two
// spends of its processor says which one is the limit.
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServiceBusClient } from '@azure/service-bus';
import type { ServiceBusSessionReceiver } from '@azure/service-bus';
import { startBroker } from '../../infra/local/broker/broker.ts';

const body = 'x'.repeat(1024);
const base = { lockDurationSeconds: 300, maxDeliveryCount: 10, deadLetterOnExpiration: false };
const config = {
  queues: [{ name: 'sessions', properties: { ...base, requiresSession: true } }],
  topics: [],
};

interface Bench {
  /** A client of its own per 100 sessions: its cost grows with the sessions of a connection. */
  connect(): ServiceBusClient;
}

const sessionNames = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `s${index}`);

async function fill(client: ServiceBusClient, sessions: string[], each: number): Promise<void> {
  const sender = client.createSender('sessions');
  let batch = await sender.createMessageBatch();
  for (let index = 0; index < each; index++) {
    for (const sessionId of sessions) {
      if (batch.tryAddMessage({ body, sessionId })) continue;
      await sender.sendMessages(batch);
      batch = await sender.createMessageBatch();
      batch.tryAddMessage({ body, sessionId });
    }
  }
  await sender.sendMessages(batch);
  await sender.close();
}

async function openSessions({ connect }: Bench, names: string[]) {
  const receivers: ServiceBusSessionReceiver[] = [];
  for (let from = 0; from < names.length; from += 100) {
    const client = connect();
    for (const name of names.slice(from, from + 100)) {
      receivers.push(await client.acceptSession('sessions', name));
    }
  }
  return receivers;
}

/** One message at a time, each settled before the next is asked for. */
async function takeStrictly(receiver: ServiceBusSessionReceiver, count: number): Promise<void> {
  for (let taken = 0; taken < count;) {
    for (const message of await receiver.receiveMessages(1)) {
      await receiver.completeMessage(message);
      taken++;
    }
  }
}

/** Each returns what shall be timed and how many messages that moves. */
const scenarios: Record<string, (bench: Bench) => Promise<[() => Promise<unknown>, number]>> = {
  async 'batched sends, 4 at a time'({ connect }) {
    const sender = connect().createSender('sessions');
    const perBatch = 200;
    const batches = 300;
    const send = async (): Promise<void> => {
      for (let sent = 0; sent < batches / 4; sent++) {
        await sender.sendMessages(
          Array.from({ length: perBatch }, (_, index) => ({ body, sessionId: `s${index % 10}` })),
        );
      }
    };
    await send();
    return [() => Promise.all([send(), send(), send(), send()]), perBatch * batches];
  },
  async 'one session, strictly one by one'(bench) {
    const count = 4_000;
    await fill(bench.connect(), ['s0'], count + 500);
    const [receiver] = await openSessions(bench, ['s0']);
    if (!receiver) throw new Error('no session');
    await takeStrictly(receiver, 500);
    return [() => takeStrictly(receiver, count), count];
  },
  async '200 sessions, each strictly'(bench) {
    const names = sessionNames(200);
    await fill(bench.connect(), names, 120);
    const receivers = await openSessions(bench, names);
    await Promise.all(receivers.map((receiver) => takeStrictly(receiver, 20)));
    const run = () => Promise.all(receivers.map((receiver) => takeStrictly(receiver, 100)));
    return [run, 20_000];
  },
  async '10 sessions open, 10 at work'(bench) {
    return manyOpen(bench, 10);
  },
  async '1,000 sessions open, 10 at work'(bench) {
    return manyOpen(bench, 1_000);
  },
};

async function manyOpen(bench: Bench, open: number): Promise<[() => Promise<unknown>, number]> {
  const names = sessionNames(open);
  const busy = names.slice(0, 10);
  await fill(bench.connect(), busy, 700);
  const working = await openSessions(bench, busy);
  await openSessions(bench, names.slice(10));
  await Promise.all(working.map((receiver) => takeStrictly(receiver, 100)));
  return [() => Promise.all(working.map((receiver) => takeStrictly(receiver, 500))), 5_000];
}

async function cpuOf(broker: ChildProcess): Promise<number> {
  broker.send('cpu');
  const [{ cpuMs }] = (await once(broker, 'message')) as [{ cpuMs: number }];
  return cpuMs;
}

const ownCpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

async function measure(name: string, file: string): Promise<void> {
  const broker = fork(import.meta.filename, ['--broker', file], {
    execArgv: process.env['BROKER_PROFILE'] ? ['--cpu-prof'] : [],
  });
  const [{ connectionString }] = (await once(broker, 'message')) as [{ connectionString: string }];
  const clients: ServiceBusClient[] = [];
  const connect = (): ServiceBusClient => {
    const client = new ServiceBusClient(connectionString);
    clients.push(client);
    return client;
  };
  const prepared = await scenarios[name]?.({ connect });
  if (!prepared) throw new Error(`there is no scenario '${name}'`);
  const [run, messages] = prepared;
  const [brokerBefore, ownBefore] = [await cpuOf(broker), ownCpuMs()];
  const from = performance.now();
  await run();
  const seconds = (performance.now() - from) / 1000;
  const brokerUs = (((await cpuOf(broker)) - brokerBefore) * 1000) / messages;
  const clientUs = ((ownCpuMs() - ownBefore) * 1000) / messages;
  process.stdout.write(
    [
      file === ':memory:' ? 'memory' : 'durable',
      name,
      `${Math.round(messages / seconds)}/s`,
      `client ${Math.round(clientUs)} us`,
      `broker ${Math.round(brokerUs)} us\n`,
    ].join(' | '),
  );
  broker.disconnect();
  for (const client of clients) client.close().catch(() => {});
  await once(broker, 'exit');
}

async function serve(file: string): Promise<void> {
  const broker = await startBroker({ config, file, port: 0 });
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    process.send?.({ cpuMs: (user + system) / 1000 });
  });
  process.on('disconnect', () => process.exit());
  process.send?.({ connectionString: broker.connectionString });
}

const [first, ...others] = process.argv.slice(2);
if (first === '--broker') await serve(others[0] ?? ':memory:');
else {
  const names = first === undefined ? Object.keys(scenarios) : [first, ...others];
  for (const name of names) {
    for (const mode of ['durable', 'memory']) {
      const folder = mkdtempSync(join(tmpdir(), 'broker-bench-'));
      await measure(name, mode === 'durable' ? join(folder, 'broker.db') : ':memory:');
      rmSync(folder, { recursive: true });
    }
  }
  process.exit();
}
