import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { OrchestrationContext, Task } from 'durable-functions';
import { openTestHub, type TestHub } from './hub-under-test.ts';
import { df } from './runner.ts';

type Orchestrator = Generator<Task, unknown, never>;

df.app.orchestration('fetches', function* (context: OrchestrationContext): Orchestrator {
  const asked = context.df.getInput() as Record<string, unknown>;
  const answer = (yield context.df.callHttp(asked as never)) as unknown as {
    statusCode: number;
    content: string;
    /** Absent when the SDK does not poll: then the answer is a plain object. */
    getHeader?(name: string): string | undefined;
  };
  return [answer.statusCode, answer.content, answer.getHeader?.('X-Said')];
} as never);
df.app.orchestration('fetchesSideBySide', function* (context: OrchestrationContext): Orchestrator {
  const { url } = context.df.getInput() as { url: string };
  const [polling, direct] = (yield context.df.Task.all([
    context.df.callHttp({ method: 'POST', url: `${url}/job` }),
    context.df.callHttp({ method: 'GET', url: `${url}/hello`, enablePolling: false }),
  ])) as unknown as { content: string }[];
  return [polling?.content, direct?.content];
} as never);

const seen: { line: string; headers: IncomingMessage['headers']; body: string }[] = [];
let polls = 0;
let server: Server;
let url = '';
beforeAll(async () => {
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (piece: Buffer) => (body += piece.toString('utf8')));
    request.on('end', () => {
      seen.push({ line: `${request.method} ${request.url}`, headers: request.headers, body });
      if (request.url === '/hello') response.setHeader('x-said', 'yes').end('hello');
      else if (request.url === '/fails') response.writeHead(503).end('later');
      else if (request.url === '/away') response.socket?.destroy();
      else if (request.url === '/job') {
        response.writeHead(202, { location: '/status', 'retry-after': '10' }).end('working');
      } else if (++polls < 2) {
        response.writeHead(202, { location: `http://localhost:${port()}/status` }).end();
      } else response.end('finished');
    });
  });
  const port = () => (server.address() as AddressInfo).port;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${port()}`;
});
afterAll(() => void server.close());
beforeEach(() => {
  seen.length = 0;
  polls = 0;
});

async function outputOf(it: TestHub, input: object, name = 'fetches'): Promise<unknown> {
  await it.start(name, 'h', input);
  for (let k = 0; k < 10; k++) await it.pass(10_000);
  return (await it.status('h')).output;
}

test('an answer is a result whatever its status', async () => {
  await using it = openTestHub();
  const request = { method: 'POST', url: `${url}/hello`, body: { a: 1 }, headers: { 'x-me': '1' } };

  expect(await outputOf(it, request)).toEqual([200, 'hello', 'yes']);
  expect(seen[0]).toMatchObject({
    line: 'POST /hello',
    body: '{"a":1}',
    headers: { 'content-type': 'text/plain', 'x-me': '1' },
  });
  expect(await outputOf(it, { method: 'GET', url: `${url}/fails` })).toEqual([503, 'later', null]);
});

test('no answer fails the call', async () => {
  await using it = openTestHub();

  expect(await outputOf(it, { method: 'GET', url: `${url}/away` })).toContain('failed:');
  expect((await it.status('h')).runtimeStatus).toBe('Failed');
});

test('a 202 is polled at its Location, keys and tokens stay with their origin', async () => {
  await using it = openTestHub();
  const headers = { 'x-functions-key': 'k', authorization: 'Bearer t', 'x-me': '1' };

  const output = await outputOf(it, { method: 'POST', url: `${url}/job`, body: 'go', headers });

  expect(output).toEqual([200, 'finished', null]);
  expect(seen.map(({ line }) => line)).toEqual(['POST /job', 'GET /status', 'GET /status']);
  expect(seen[1]?.headers).toMatchObject({ authorization: 'Bearer t', 'x-me': '1' });
  expect(seen[1]?.headers).not.toHaveProperty('x-functions-key');
  expect(seen[2]?.headers).not.toHaveProperty('authorization');
});

test('without polling the 202 is the result', async () => {
  await using it = openTestHub();
  const request = { method: 'POST', url: `${url}/job`, enablePolling: false };

  expect(await outputOf(it, request)).toEqual([202, 'working', null]);
});

test('a polling call and a direct one may stand in one join', async () => {
  await using it = openTestHub();

  expect(await outputOf(it, { url }, 'fetchesSideBySide')).toEqual(['finished', 'hello']);
});

test('a token source is refused by name', async () => {
  await using it = openTestHub();
  const tokenSource = { kind: 'AzureManagedIdentity', resource: 'https://example.org' };

  const output = await outputOf(it, { method: 'GET', url: `${url}/hello`, tokenSource });

  expect(output).toContain('tokenSource is not supported by the local hub');
});
