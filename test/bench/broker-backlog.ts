// How a broker starts on a big backlog: node test/bench/broker-backlog.ts [messages]
//
// For each shape a process fills a data file and ends, a second one starts the broker on it and
// says how long that took and what it holds, and the official client of this process receives.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServiceBusClient } from '@azure/service-bus';
import { realClock } from '../../shared/clock.ts';
import { startBroker } from '../../infra/local/broker/broker.ts';
import { Namespace } from '../../infra/local/broker/namespace.ts';
import * as wire from '../../infra/local/broker/wire.ts';

interface Started {
  connectionString: string;
  readyMs: number;
  rssMiB: number;
  peakRssMiB: number;
}

const bodyBytes = 100;
const batch = 500;
const mebibyte = 1024 * 1024;

/** How many sessions the messages spread over; 0 = a queue without sessions. */
const shapes = [1_000, 0, 100_000];

const configOf = (sessions: number) => ({
  queues: [
    {
      name: 'backlog',
      properties: {
        requiresSession: sessions > 0,
        lockDurationSeconds: 60,
        maxDeliveryCount: 10,
        deadLetterOnExpiration: false,
      },
    },
  ],
});

function encode(id: number, sessionId: string | undefined): Buffer {
  const nothing = wire.encodeNull;
  const group = sessionId === undefined ? nothing : wire.encodeString(sessionId);
  const between = Array.from({ length: 9 }, () => nothing);
  const properties = wire.encodeList([wire.encodeString(`message-${id}`), ...between, group]);
  const body = wire.encodeBinary(Buffer.alloc(bodyBytes, id & 0xff));
  return Buffer.concat([wire.encodeSection(0x73, properties), wire.encodeSection(0x75, body)]);
}

async function fill(file: string, sessions: number, messages: number): Promise<void> {
  const namespace = new Namespace({ config: configOf(sessions), file, clock: realClock });
  const place = namespace.find('backlog', 'localhost');
  for (let from = 0; from < messages; from += batch) {
    const parsed = Array.from({ length: Math.min(batch, messages - from) }, (_, index) => {
      const id = from + index;
      return namespace.parse(encode(id, sessions > 0 ? `session-${id % sessions}` : undefined));
    });
    const sent = Promise.withResolvers<void>();
    namespace.send(place, parsed.flat(), (error) =>
      error ? sent.reject(new Error(error.description)) : sent.resolve(),
    );
    await sent.promise;
  }
  namespace.close();
}

const residentMiB = (): number => Math.round(process.memoryUsage.rss() / mebibyte);

function peakMiB(): number {
  const kib = /VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return Math.round(Number(kib ?? Number.NaN) / 1024);
}

async function start(file: string, sessions: number): Promise<void> {
  const from = performance.now();
  const broker = await startBroker({ config: configOf(sessions), file, port: 0 });
  const readyMs = Math.round(performance.now() - from);
  const { connectionString } = broker;
  const started = { connectionString, readyMs, rssMiB: residentMiB(), peakRssMiB: peakMiB() };
  process.send?.(started satisfies Started);
  process.on('message', () => process.send?.({ rssMiB: residentMiB(), peakRssMiB: peakMiB() }));
}

/** Takes 2,000 messages as a client would, so that memory is also seen at work. */
async function receiveSome(connectionString: string, sessions: number): Promise<number> {
  // More than a session holds would wait for the rest.
  const visit = sessions > 10_000 ? 10 : 100;
  const client = new ServiceBusClient(connectionString);
  let received = 0;
  while (received < 2_000) {
    const receiver =
      sessions > 0 ? await client.acceptNextSession('backlog') : client.createReceiver('backlog');
    const messages = await receiver.receiveMessages(visit, { maxWaitTimeInMs: 1_000 });
    for (const message of messages) await receiver.completeMessage(message);
    received += messages.length;
    await receiver.close();
  }
  await client.close();
  return received;
}

async function measure(sessions: number, messages: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'broker-backlog-'));
  const file = join(folder, 'broker.db');
  const child = (role: string) =>
    fork(import.meta.filename, [role, file, String(sessions), String(messages)]);
  const filling = performance.now();
  await once(child('fill'), 'exit');
  const fillSeconds = (performance.now() - filling) / 1000;
  const fileMiB = Math.round(statSync(file).size / mebibyte);
  const broker = child('start');
  const [started] = (await once(broker, 'message')) as [Started];
  const received = await receiveSome(started.connectionString, sessions);
  broker.send('measure');
  const [after] = (await once(broker, 'message')) as [Started];
  broker.kill();
  await once(broker, 'exit');
  rmSync(folder, { recursive: true });
  const where = sessions > 0 ? `${sessions} sessions` : 'no sessions';
  process.stdout.write(
    `${messages} messages, ${where}: ready in ${started.readyMs} ms, RSS ${started.rssMiB} MiB ` +
      `(peak ${started.peakRssMiB}), after ${received} received ${after.rssMiB} MiB ` +
      `(peak ${after.peakRssMiB}); file ${fileMiB} MiB, ` +
      `filled with ${Math.round(messages / fillSeconds)}/s\n`,
  );
}

const [role = '1000000', file = '', sessions = '0', messages = '0'] = process.argv.slice(2);
if (role === 'fill') await fill(file, Number(sessions), Number(messages));
else if (role === 'start') await start(file, Number(sessions));
else for (const shape of shapes) await measure(shape, Number(role));
