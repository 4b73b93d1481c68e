// Peers that break the protocol, or keep it badly: neither crash the broker nor leave anything
// behind. The broker runs in a process of its own, so that its memory and handles can be counted.
// A failure prints the seed; SEED repeats it.
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import { connect as dial } from 'node:net';
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { ServiceBusClient } from '@azure/service-bus';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startBroker } from '../../infra/local/broker/broker.ts';
import { virtualClock } from '../../shared/clock.ts';
import { prng } from '../support/prng.ts';
import { until } from '../support/until.ts';

interface Health {
  port: number;
  heapBytes: number;
  sockets: number;
  timers: number;
  rssBytes: number;
}

const program = new URL('fuzz-child.ts', import.meta.url).pathname;
const seed = Number(process.env['SEED'] ?? 20261120);
const random = prng(seed);
const header = Buffer.from('AMQP\0\x01\0\0', 'latin1');
const saslHeader = Buffer.from('AMQP\x03\x01\0\0', 'latin1');
const mebibyte = 1024 * 1024;

let child: ChildProcess;
let port: number;
let connectionString: string;

/** What the broker holds after a full collection. */
async function health(): Promise<Health> {
  child.send('health');
  const [answer] = (await once(child, 'message')) as [Health];
  return answer;
}

beforeAll(async () => {
  child = fork(program, { execArgv: ['--expose-gc'] });
  const [started] = (await once(child, 'message')) as [{ port: number; connectionString: string }];
  ({ port, connectionString } = started);
});

afterAll(async () => {
  child.kill();
  await once(child, 'exit');
});

/** Sends bytes and waits until the broker ends the connection, or a moment when it does not. */
async function throwAt(chunks: readonly Buffer[]): Promise<void> {
  const socket = dial(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.resume();
  for (const chunk of chunks) socket.write(chunk);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await Promise.race([closed, pause(5)]);
  socket.destroy();
}

/** One frame: size, data offset, type, channel, body. */
function frame(body: Buffer, { type = 0, channel = 0, size = body.length + 8, offset = 2 } = {}) {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(size >>> 0, 0);
  head[4] = offset;
  head[5] = type;
  head.writeUInt16BE(channel, 6);
  return Buffer.concat([head, body]);
}

const bytes = (length: number): Buffer =>
  Buffer.from(Array.from({ length }, () => random.below(256)));

/** A performative with a list of made-up fields. */
function performative(code: number): Buffer {
  const values = [
    Buffer.from([0x40]),
    Buffer.from([0x41]),
    Buffer.from([0x43]),
    Buffer.from([0x52, random.below(256)]),
    Buffer.from([0x70, 0xff, 0xff, 0xff, 0xff]),
    Buffer.from([0xa1, 3, 0x61, 0x62, 0x63]),
    Buffer.from([0xa0, 1, random.below(256)]),
    Buffer.from([0x45]),
    Buffer.from([0x00, 0x53, 0x28, 0x45]),
    Buffer.from([0xc1, 1, 0]),
  ];
  const count = random.below(14);
  const items = Array.from({ length: count }, () => values[random.below(values.length)]);
  const content = Buffer.concat(items.filter((item) => item !== undefined));
  const head = [0x00, 0x53, code, 0xc0, content.length + 1, count];
  return Buffer.concat([Buffer.from(head), content]);
}

const open = Buffer.concat([Buffer.from([0x00, 0x53, 0x10, 0xc0, 4, 1, 0xa1, 1, 0x78])]);
const begin = Buffer.from([0x00, 0x53, 0x11, 0xc0, 9, 4, 0x40, 0x43, 0x60, 0x08, 0x00, 0x52, 10]);

const codes = [0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x40, 0x41, 0x44];

const attacks: (() => Buffer[])[] = [
  () => [bytes(1 + random.below(200))],
  () => [header, bytes(random.below(400))],
  () => [saslHeader, header, frame(open)],
  () => [saslHeader, frame(performative(0x41), { type: 1 }), bytes(20)],
  () => [header, frame(open, { size: 0xffffffff })],
  () => [header, frame(open, { size: random.below(8) })],
  () => [header, frame(open, { offset: random.below(256) })],
  () => [header, frame(bytes(70_000))],
  () => [header, frame(performative(codes[random.below(codes.length)] ?? 0x10))],
  () => [header, frame(open), frame(begin), frame(begin), frame(open)],
  () => [
    header,
    frame(open),
    frame(begin),
    ...Array.from({ length: 1 + random.below(12) }, () =>
      frame(performative(codes[random.below(codes.length)] ?? 0x12), { channel: random.below(3) }),
    ),
  ],
  () => [header, frame(open), frame(begin, { channel: 65_535 }), frame(bytes(random.below(40)))],
  // A frame that never ends.
  () => [header, frame(open), frame(begin).subarray(0, random.below(20))],
];

async function exchange(body: number): Promise<number | undefined> {
  const client = new ServiceBusClient(connectionString);
  await client.createSender('plain').sendMessages({ body });
  const receiver = client.createReceiver('plain', { receiveMode: 'receiveAndDelete' });
  const [message] = await receiver.receiveMessages(1);
  await client.close();
  return message && Number(message.body);
}

/** Closed sockets are gone, memory is what it was: a little is allowed for caches. */
async function expectClean(before: Health): Promise<void> {
  const after = await until(health, ({ sockets }) => sockets <= before.sockets);
  expect(after.heapBytes - before.heapBytes, `seed ${seed}`).toBeLessThan(6 * mebibyte);
  expect(after.timers - before.timers, `seed ${seed}`).toBeLessThanOrEqual(2);
}

test('malformed frames and wrong orders of frames end their connection only', async () => {
  await exchange(0);
  const before = await health();
  for (let round = 0; round < 400; round++) {
    const attack = attacks[round % attacks.length];
    if (attack) await throwAt(attack());
  }

  expect(await exchange(1), `seed ${seed}`).toBe(1);
  await expectClean(before);
});

test('an oversized frame is not gathered, and ends its connection', async () => {
  const before = await health();
  const greetings = [[header], [header, frame(open), frame(begin)]];
  for (const greeting of greetings) {
    const socket = dial(port, '127.0.0.1');
    socket.on('error', () => {});
    const closed = new Promise((resolve) => socket.once('close', resolve));
    for (const chunk of greeting) socket.write(chunk);
    socket.write(frame(bytes(100), { size: 0x7fffffff }));
    socket.resume();
    const feeding = setInterval(() => socket.write(Buffer.alloc(mebibyte)), 1);
    await closed;
    clearInterval(feeding);
  }

  expect(await exchange(2)).toBe(2);
  await expectClean(before);
});

test('a thousand idle connections cost little and leave nothing', async () => {
  const before = await health();
  const sockets: Socket[] = [];
  for (let opened = 0; opened < 1_000; opened++) {
    const socket = dial(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.resume();
    // A third says nothing, a third half a greeting, a third opens and falls silent.
    if (opened % 3 === 1) socket.write(header.subarray(0, 5));
    if (opened % 3 === 2) socket.write(Buffer.concat([header, frame(open), frame(begin)]));
    sockets.push(socket);
  }
  for (const socket of sockets) if (socket.connecting) await once(socket, 'connect');
  const during = await until(health, (seen) => seen.sockets >= before.sockets + 1_000);

  const answered = await exchange(3);
  for (const socket of sockets) socket.destroy();

  expect(answered).toBe(3);
  expect((during.heapBytes - before.heapBytes) / 1_000).toBeLessThan(60_000);
  await expectClean(before);
});

interface Flooding extends EventEmitter {
  open_receiver(options: object): EventEmitter & { add_credit(credit: number): void };
  close(): void;
}

test('floods of credit and batches of thousands are worked off', async () => {
  const before = await health();
  const { create_container: container } = createRequire(import.meta.url)('rhea');
  const connection: Flooding = container().connect({
    ...{ host: '127.0.0.1', port, reconnect: false },
    ...{ username: 'RootManageSharedAccessKey', password: 'SAS_KEY_VALUE' },
  });
  const receiver = connection.open_receiver({
    source: 'plain',
    credit_window: 0,
    autoaccept: true,
  });
  await once(receiver, 'receiver_open');
  let received = 0;
  receiver.on('message', () => received++);
  for (let flow = 0; flow < 5_000; flow++) receiver.add_credit(100_000);

  const client = new ServiceBusClient(connectionString);
  const sender = client.createSender('plain');
  const batch = await sender.createMessageBatch();
  while (batch.tryAddMessage({ body: 1 })) {
    // As many as the service allows.
  }
  await sender.sendMessages(batch);
  await client.close();
  await until(
    () => received,
    (count) => count >= batch.count,
  );
  connection.close();
  await once(connection, 'connection_close');

  expect(batch.count).toBeGreaterThan(1_000);
  expect(await exchange(4)).toBe(4);
  await expectClean(before);
});

test('a peer that does not open its connection is cut after a minute', async () => {
  const clock = virtualClock(Date.now());
  const file = ':memory:';
  const broker = await startBroker({ config: { queues: [], topics: [] }, file, port: 0, clock });
  const silent = dial(broker.port, '127.0.0.1');
  const closed = new Promise((resolve) => silent.once('close', () => resolve('closed')));
  silent.resume();
  await once(silent, 'connect');
  await until(
    () => clock.armed,
    (armed) => armed > 0,
  );

  await clock.advance(59_000);
  const early = await Promise.race([closed, pause(20, 'open')]);
  await clock.advance(1_001);

  expect([early, await closed]).toEqual(['open', 'closed']);
  await broker.close();
});
