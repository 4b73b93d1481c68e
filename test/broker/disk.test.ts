// A disk that is full or cannot be written: clear errors, and what was answered stays.
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { ServiceBusClient } from '@azure/service-bus';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startBroker } from '../../infra/local/broker/broker.ts';
import { codeOf } from '../contract/service-bus.contract.ts';
import { until } from '../support/until.ts';

const program = new URL('crash-child.ts', import.meta.url).pathname;
const retryOptions = { maxRetries: 0, timeoutInMs: 2_000 };

let folder: string;
let file: string;
let child: ChildProcess | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'broker-'));
  file = join(folder, 'broker.db');
});

afterEach(async () => {
  child?.kill('SIGKILL');
  if (child?.exitCode === null && child.signalCode === null) await once(child, 'exit');
  await rm(folder, { recursive: true, force: true });
});

/** A broker whose files may not grow beyond so many KiB. */
async function start(limitKib: number | 'unlimited'): Promise<ServiceBusClient> {
  const script = `trap '' XFSZ; ulimit -S -f ${limitKib}; exec "$0" "$1" "$2"`;
  child = spawn('bash', ['-c', script, process.execPath, program, file], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  if (!child.stdout) throw new Error('no output');
  const [connectionString] = await once(createInterface(child.stdout), 'line');
  return new ServiceBusClient(String(connectionString), { retryOptions });
}

/** Sends until the disk is full: how many were accepted, and what the next one was answered. */
async function fillDisk(client: ServiceBusClient) {
  const sender = client.createSender('orders');
  const body = 'x'.repeat(100_000);
  let answered = 0;
  let code = 'no error';
  while (code === 'no error' && answered < 100) {
    code = await codeOf(sender.sendMessages({ body, sessionId: 'A', messageId: `m${answered}` }));
    if (code === 'no error') answered++;
  }
  return { sender, body, answered, code };
}

async function peekIds(client: ServiceBusClient): Promise<string[]> {
  const receiver = client.createReceiver('orders');
  const kept: string[] = [];
  for (let page = await receiver.peekMessages(5); page.length > 0;) {
    kept.push(...page.map(({ messageId }) => String(messageId)));
    page = await receiver.peekMessages(5);
  }
  return kept;
}

const firstIds = (count: number): string[] => Array.from({ length: count }, (_, at) => `m${at}`);

test('a full disk refuses sends, and nothing that was answered is lost', async () => {
  const client = await start(2_048);
  const { sender, body, answered, code } = await fillDisk(client);
  const again = await codeOf(sender.sendMessages({ body, sessionId: 'A' }));
  const accept = await codeOf(client.acceptSession('orders', 'A'));
  child?.kill('SIGKILL');
  if (child) await once(child, 'exit');
  client.close().catch(() => {});

  const reopened = await start('unlimited');
  const kept = await peekIds(reopened);

  expect(answered).toBeGreaterThan(3);
  // The one that met the full disk is in doubt; the next ones hear why.
  expect([code, again, accept]).toEqual(['ServiceTimeout', 'GeneralError', 'no error']);
  expect(kept).toEqual(firstIds(answered));
  await reopened.close();
});

test('room again: what was under way is done, and it goes on without a restart', async () => {
  const client = await start(2_048);
  const receiver = await client.acceptSession('orders', 'A');
  await client.createSender('orders').sendMessages({ body: 'b', sessionId: 'B' });
  const { sender, answered } = await fillDisk(client);
  const accepted = client.acceptNextSession('orders');
  const withheld = await receiver.receiveMessages(1, { maxWaitTimeInMs: 200 });
  const renewed = await codeOf(receiver.renewSessionLock());
  execFileSync('prlimit', ['--pid', String(child?.pid), '--fsize=unlimited:']);

  const last = { body: 'last', sessionId: 'A', messageId: 'last' };
  await until(
    () => codeOf(sender.sendMessages(last)),
    (code) => code === 'no error',
  );

  expect([withheld, renewed]).toEqual([[], 'no error']);
  expect((await accepted).sessionId).toBe('B');
  expect((await peekIds(client)).slice(1)).toEqual([...firstIds(answered + 1), 'last']);
  const [delivered] = await receiver.receiveMessages(1);
  expect(delivered?.messageId).toBe('m0');
  await client.close();
});

test('a file that cannot be opened, or is no data file, is named with the reason', async () => {
  const config = { queues: [], topics: [] };
  const missing = join(folder, 'nowhere', 'broker.db');
  const text = join(folder, 'text');
  await writeFile(text, 'This is no database, but long enough to look like something.'.repeat(100));
  const readOnly = join(folder, 'read-only.db');
  new DatabaseSync(readOnly).close();

  await expect(startBroker({ config, file: missing, port: 0 })).rejects.toThrow(
    `The data file ${missing} cannot be used: unable to open`,
  );
  await expect(startBroker({ config, file: text, port: 0 })).rejects.toThrow(
    `The data file ${text} cannot be used: file is not a database`,
  );
  await expect(startBroker({ config, file: `file:${readOnly}?mode=ro`, port: 0 })).rejects.toThrow(
    'cannot be used: attempt to write a readonly database',
  );
});

test('the file of another version, and one in use, are refused by name', async () => {
  const config = { queues: [], topics: [] };
  const old = join(folder, 'old.db');
  const database = new DatabaseSync(old);
  database.exec('CREATE TABLE messages (id INTEGER PRIMARY KEY)');
  database.close();
  const first = await startBroker({ config, file, port: 0 });

  await expect(startBroker({ config, file: old, port: 0 })).rejects.toThrow(
    'It was written by version 0; remove it to start afresh.',
  );
  await expect(startBroker({ config, file, port: 0 })).rejects.toThrow('database is locked');
  await first.close();
});
