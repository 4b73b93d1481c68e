// The commands as a person runs them: what they print, what they send, how they end.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ServiceBusClient } from '@azure/service-bus';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseNamespaceConfig, startBroker } from '../../infra/local/broker/broker.ts';
import type { Broker } from '../../infra/local/broker/broker.ts';
import { cliFile, tempFolder } from './processes.ts';

const folder = tempFolder();
afterAll(() => folder[Symbol.dispose]());
const limit = { timeout: 20_000 };

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

function convoy(args: readonly string[], input = ''): Promise<Ended> {
  const child = spawn(process.execPath, [cliFile, ...args], { cwd: folder.path });
  const heard = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (chunk: string) => (heard[name] += chunk));
  }
  child.stdin.end(input);
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ code: code ?? -1, ...heard }));
  });
}

describe('convoy send', () => {
  let broker: Broker;
  const queues = ['plain', 'again', 'bad', 'lines', 'whole', 'split'];
  beforeAll(async () => {
    const Queues = queues.map((Name) => ({ Name, Properties: { RequiresSession: true } }));
    const Namespaces = [{ Name: 'sbemulatorns', Queues, Topics: [] }];
    const config = parseNamespaceConfig({ UserConfig: { Namespaces } });
    broker = await startBroker({ config, file: ':memory:', port: 0 });
  });
  afterAll(() => broker.close());

  const send = (queue: string, args: readonly string[], input?: string): Promise<Ended> =>
    convoy(['send', queue, '--connection', broker.connectionString, ...args], input);
  const peek = async (queue: string) => {
    const client = new ServiceBusClient(broker.connectionString);
    const messages = await client.createReceiver(queue).peekMessages(100);
    await client.close();
    return messages;
  };
  const file = (name: string, content: string): string => {
    writeFileSync(join(folder.path, name), content);
    return name;
  };

  test('sends the rows to the lanes that the app tells', limit, async () => {
    const all = [{ count: 4, queue: 'split', announcedAt: null, opensAt: null }];
    const layout = { convoy: 'whole', refreshSeconds: 60, all, keys: {} };
    const app = createServer((_, response) => response.end(JSON.stringify(layout))).listen(0);
    await once(app, 'listening');
    const { port } = app.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}`;
    const csv = 'key,id,customer\nA,1,a\nA,2,b\n';

    const columns = '--key key --id id --lane customer'.split(' ');
    const sent = await send('whole', ['--file', file('l.csv', csv), ...columns, '--url', url]);
    const shown = await convoy(['lanes', 'whole', '--url', url]);
    app.closeAllConnections();
    app.close();

    expect(sent.code, sent.stderr).toBe(0);
    expect((await peek('split')).map(({ sessionId }) => sessionId)).toEqual(['A~1.3', 'A~1.1']);
    expect(shown.stdout).toMatch(/\(every key\) +1 +4 +split/);
  });

  test('sends the rows in their order, with what the columns say', limit, async () => {
    const csv = 'key,id,kind,at,pos,amount\nA,1,Placed,2026-01-01T00:00:00Z,1,10\nB,2,Paid,,,20\n';
    const columns = '--key key --id id --type kind --time at --position pos'.split(' ');

    const { code, stdout } = await send('plain', [
      '--file',
      file('a.csv', csv),
      ...columns,
      '--json',
    ]);

    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ convoy: 'plain', sent: 2 });
    expect(await peek('plain')).toMatchObject([
      {
        sessionId: 'A',
        subject: 'Placed',
        body: { key: 'A', id: '1', kind: 'Placed', pos: '1', amount: '10' },
        applicationProperties: {
          convoyMessageId: '1',
          occurredAt: '2026-01-01T00:00:00Z',
          senderPosition: 1,
        },
      },
      { sessionId: 'B', subject: 'Paid', body: { amount: '20' } },
    ]);
  });

  test('without --id the ids are the same when the same content is sent again', limit, async () => {
    const csv = 'key\nA\nB\n';

    const first = await send('again', ['--file', file('b.csv', csv), '--key', 'key']);
    const second = await send('again', ['--file', '-', '--format', 'csv', '--key', 'key'], csv);

    expect([first.code, second.code]).toEqual([0, 0]);
    const ids = (await peek('again')).map(({ messageId }) => messageId);
    expect(ids).toHaveLength(4);
    expect(new Set(ids).size).toBe(2);
    expect(ids.slice(0, 2)).toEqual(ids.slice(2));
  });

  test('NDJSON travels as it is, numbers may be keys', limit, async () => {
    const lines = '{"key":42,"id":7,"amount":12345678901234567890}\n';

    const { code } = await send('lines', [
      '--file',
      file('c.ndjson', lines),
      '--key',
      'key',
      '--id',
      'id',
    ]);

    expect(code).toBe(0);
    const [message] = await peek('lines');
    expect(message).toMatchObject({
      sessionId: '42',
      applicationProperties: { convoyMessageId: '7' },
    });
  });

  test('E1: rows that are refused are named, and nothing of the file is sent', limit, async () => {
    const csv = 'key,at\nA,2026-01-01T00:00:00Z\n,2026-01-01T00:00:00Z\nC,yesterday\n';

    const args = ['--file', file('d.csv', csv), '--key', 'key', '--time', 'at'];
    const { code, stderr } = await send('bad', args);

    expect(code).toBe(1);
    expect(stderr).toContain('CVY_KEY_MISSING: row 2');
    expect(stderr).toContain('CVY_ENVELOPE: row 3');
    expect(await peek('bad')).toEqual([]);
  });

  test.each([
    ['a column that is not there', 'bad', ['--key', 'nokey'], 1, 'has no column nokey; it has key'],
    ['an unknown convoy', 'nobody', ['--key', 'key'], 1, 'CVY_CONVOY_UNKNOWN'],
    ['no key column', 'bad', [], 2, '--key'],
  ])('%s is told by exit code and name', limit, async (_, queue, args, code, part) => {
    const ended = await send(queue, ['--file', file('e.csv', 'key\nA\n'), ...args]);

    expect(ended).toMatchObject({ code });
    expect(ended.stderr).toContain(part);
  });

  test('nobody at the address ends with exit code 3', limit, async () => {
    const gone = await startBroker({
      config: parseNamespaceConfig({
        UserConfig: { Namespaces: [{ Name: 'x', Queues: [], Topics: [] }] },
      }),
      file: ':memory:',
      port: 0,
    });
    await gone.close();

    const args = ['--connection', gone.connectionString, '--file', file('f.csv', 'key\nA\n')];
    const { code, stderr } = await convoy([
      'send',
      'x',
      ...args,
      '--key',
      'key',
      '--patience',
      '0',
    ]);

    expect(code).toBe(3);
    expect(stderr).toMatch(/^CVY_UNREACHABLE: .*Remedy: /);
  });
});

describe('the commands on the HTTP API', () => {
  const asked: { method: string; url: string; code: unknown; body: string }[] = [];
  let answer = { status: 200, body: '{}' };
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      asked.push({ method, url, code: headers['x-functions-key'], body });
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body);
    });
  });
  beforeAll(() => new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve)));
  afterAll(() => void server.close());
  const call = (...args: string[]): Promise<Ended> => {
    const { port } = server.address() as AddressInfo;
    return convoy([...args, '--url', `http://127.0.0.1:${port}`]);
  };

  test('list asks with its filters and prints columns', limit, async () => {
    const item = {
      convoy: 'orders',
      key: 'A',
      phase: 'held',
      epoch: 2,
      backlog: 13,
      hold: { kind: 'blocked' },
    };
    answer = { status: 200, body: JSON.stringify({ items: [item], continuation: 'next' }) };

    const { code, stdout } = await call(
      'list',
      '--convoy',
      'orders',
      '--status',
      'held',
      '--backlog',
    );

    expect(code).toBe(0);
    expect(asked.at(-1)?.url).toBe('/api/convoys?convoy=orders&status=held&backlog=true');
    expect(stdout).toMatch(/orders +A +held +2 +13 +- +blocked +-\nmore: --continuation next\n$/);
  });

  test(
    'any legal key is written as its path form; the function key is no part of the address',
    limit,
    async () => {
      answer = { status: 200, body: '{"ok":true}' };

      await call('show', 'orders', 'ä/..?', '--messages', '--code', 'secret', '--json');

      expect(asked.at(-1)).toMatchObject({
        url: '/api/convoys/orders/~c3~a4~2f~2e~2e~3f/messages',
        code: 'secret',
      });
    },
  );

  test('an action carries who, why and what was seen', limit, async () => {
    answer = { status: 202, body: '{}' };

    const ended = await call(
      'pause',
      'orders',
      'A',
      '--reason',
      'audit',
      '--by',
      'me',
      '--expected-cursor',
      '7',
    );

    expect(ended.code).toBe(0);
    expect(asked.at(-1)).toMatchObject({ method: 'POST', url: '/api/convoys/orders/A/pause' });
    expect(JSON.parse(asked.at(-1)?.body ?? '')).toEqual({
      reason: 'audit',
      by: 'me',
      expectedCursor: 7,
    });
  });

  test('a "no" of the API is one line with code and remedy, exit code 1', limit, async () => {
    const problem = { code: 'CVY_CONFLICT', title: 'Conflict', detail: 'the cursor is 8, not 7' };
    answer = { status: 409, body: JSON.stringify(problem) };

    const { code, stderr } = await call('retry', 'orders', 'A', '--reason', 'x');
    const asJson = await call('retry', 'orders', 'A', '--reason', 'x', '--json');

    expect(code).toBe(1);
    expect(stderr).toBe(
      'CVY_CONFLICT: the cursor is 8, not 7. ' + 'Remedy: look again, then repeat the action.\n',
    );
    expect(JSON.parse(asJson.stdout)).toEqual(problem);
  });

  test.each([
    ['an unknown command', ['frobnicate'], 2],
    ['an action without a reason', ['pause', 'orders', 'A'], 2],
    ['a port that is none', ['dev', '--port', 'x'], 2],
    ['a folder that is no app', ['host', '--app', '.', '--memory'], 2],
    ['a convoy that is not there', ['simulate', 'nothing'], 2],
    ['help', ['--help'], 0],
    ['help of a command', ['send', '--help'], 0],
    ['nobody at the address', ['list', '--url', 'http://127.0.0.1:9'], 3],
    ['a folder without data', ['reset'], 0],
  ])('%s: exit code', limit, async (_, args, code) => {
    expect(await convoy(args)).toMatchObject({ code });
  });
});
