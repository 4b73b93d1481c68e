import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import type { DurableClient, OrchestrationContext, Task } from 'durable-functions';
import { openTestHub, type TestHub } from './hub-under-test.ts';
import { bindingNamed, df, invoke } from './runner.ts';

type Orchestrator = Generator<Task, unknown, never>;

df.app.orchestration('answers', function* (context: OrchestrationContext): Orchestrator {
  const event = yield context.df.waitForExternalEvent('ask');
  if (event === 'fail') throw new Error('asked to fail');
  return { input: context.df.getInput(), event };
} as never);

let captured: DurableClient | undefined;
df.app.client.http('starter', {
  route: 'starter',
  handler: async (_request, client) => {
    captured = client;
    return { body: '' };
  },
});

/** The real client over a real socket, bound as the host binds it. */
async function openClient(
  it: TestHub,
  mode: 'rpc' | 'webhook' = 'rpc',
): Promise<{ client: DurableClient } & AsyncDisposable> {
  const server: Server = createServer((request, response) => {
    let body = '';
    request.on('data', (piece: Buffer) => (body += piece.toString('utf8')));
    request.on('end', () => {
      const url = new URL(request.url ?? '/', 'http://localhost');
      const path = (request.url ?? '').split('?')[0]?.replace(/^\/(durabletask|webhooks)\//, '');
      const headers = request.headers as Record<string, string>;
      const { method = 'GET' } = request;
      void it.hub
        .handle({ method, path: path ?? '', query: url.searchParams, body, headers })
        .then((answer) => response.writeHead(answer.status, answer.headers).end(answer.body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const urls = { rpcBaseUrl: `${base}/durabletask/`, webhookBaseUrl: `${base}/webhooks` };
  const binding = JSON.parse(it.hub.clientBinding(urls)) as Record<string, unknown>;
  if (mode === 'webhook') binding['rpcBaseUrl'] = null;
  process.env['WEBSITE_HOSTNAME'] = base.slice('http://'.length);
  await invoke('starter', {
    [bindingNamed('starter', /^httpTrigger$/)]: {
      http: { method: 'GET', url: `${base}/api/starter`, headers: {}, query: {}, params: {} },
    },
    [bindingNamed('starter', /^durableClient$/)]: { string: JSON.stringify(binding) },
  });
  if (!captured) throw new Error('the starter was given no client');
  return {
    client: captured,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test.each(['rpc', 'webhook'] as const)('the real client works in %s mode', async (mode) => {
  await using it = openTestHub();
  await using open = await openClient(it, mode);
  const { client } = open;

  const id = await client.startNew('answers', { instanceId: 'one', input: { a: 1 } });
  await it.settle();
  expect((await client.getStatus(id)).runtimeStatus).toBe('Running');
  await client.raiseEvent(id, 'ask', 'hello');
  await it.settle();

  const status = await client.getStatus(id, { showInput: true });
  expect(status.runtimeStatus).toBe('Completed');
  expect(status.output).toEqual({ input: { a: 1 }, event: 'hello' });
  await client.raiseEvent(id, 'ask', 'too late');
  await expect(client.raiseEvent('nobody', 'ask', 1)).rejects.toThrow(
    "No instance with ID 'nobody' found",
  );
  await expect(client.getStatus('nobody')).rejects.toThrow('HTTP 404');
});

test('an id that runs is refused with 409; a terminal one begins anew', async () => {
  await using it = openTestHub();
  await using open = await openClient(it);
  const { client } = open;
  await client.startNew('answers', { instanceId: 'one', input: 1 });
  await it.settle();
  const again = { instanceId: 'one', input: 2 };
  await expect(client.startNew('answers', again)).rejects.toThrow('status code: 409');
  await client.raiseEvent('one', 'ask', 'x');
  await it.settle();

  await client.startNew('answers', again);
  expect((await client.getStatus('one')).runtimeStatus).toMatch(/Pending|Running/);
  await client.raiseEvent('one', 'ask', 'y');
  await it.settle();

  expect((await client.getStatus('one')).output).toEqual({ input: 2, event: 'y' });
});

test('of ten concurrent starts of one id exactly one wins', async () => {
  await using it = openTestHub();
  const starts = Array.from({ length: 10 }, () => it.call('POST', 'orchestrators/answers/one', 1));
  const answers = (await Promise.all(starts)).map(({ status }) => status);

  expect(answers.filter((status) => status === 202)).toHaveLength(1);
  expect(answers.filter((status) => status === 409)).toHaveLength(9);
});

test('malformed starts are refused: function, id, body', async () => {
  await using it = openTestHub();
  const post = async (target: string) => (await it.call('POST', target, 1)).status;

  expect(await post('orchestrators/no-such/x')).toBe(400);
  expect(await post('orchestrators/answers/@x')).toBe(400);
  expect(await post('orchestrators/answers/a%2Fb')).toBe(400);
  expect(await post('orchestrators/answers/a%23b')).toBe(400);
  expect(await post(`orchestrators/answers/${'x'.repeat(257)}`)).toBe(400);
  expect(await post(`orchestrators/answers/${'x'.repeat(256)}`)).toBe(202);
  expect(await post('orchestrators/answers/%zz')).toBe(400);
  const request = { method: 'POST', path: 'orchestrators/answers/bad', body: '{', headers: {} };
  expect((await it.hub.handle({ ...request, query: new URLSearchParams() })).status).toBe(400);
});

test('lists are filtered and paged; purge takes terminal instances only', async () => {
  await using it = openTestHub();
  await using open = await openClient(it);
  const { client } = open;
  for (let k = 0; k < 250; k++) await it.start('answers', `id-${String(k).padStart(3, '0')}`, k);
  await it.settle();
  for (const id of ['id-000', 'id-001']) await client.raiseEvent(id, 'ask', 'end');
  await client.raiseEvent('id-002', 'ask', 'fail');
  await client.terminate('id-003', 'enough');
  await it.settle();
  const { Completed, Failed } = df.OrchestrationRuntimeStatus;

  const all = await client.getStatusAll();
  expect(all.map(({ instanceId }) => instanceId)).toHaveLength(250);
  const ended = await client.getStatusBy({ runtimeStatus: [Completed, Failed] });
  expect(ended.map(({ instanceId }) => instanceId)).toEqual(['id-000', 'id-001', 'id-002']);
  expect(ended[2]?.output).toBe("Orchestrator function 'answers' failed: asked to fail");
  const prefixed = await it.call('GET', 'instances?instanceIdPrefix=id-24&top=3');
  expect(JSON.parse(prefixed.body)).toHaveLength(3);
  expect(prefixed.headers).toHaveProperty('x-ms-continuation-token');

  expect((await it.call('DELETE', 'instances/id-100')).status).toBe(412);
  expect(await client.purgeInstanceHistory('id-000')).toEqual({ instancesDeleted: 1 });
  expect((await it.call('DELETE', 'instances')).status).toBe(400);
  const createdTimeFrom = new Date(0);
  expect(await client.purgeInstanceHistoryBy({ createdTimeFrom })).toEqual({
    instancesDeleted: 3,
  });
  expect((await client.getStatusAll()).length).toBe(246);
});

test('what is not offered is refused by name', async () => {
  await using it = openTestHub();
  await it.start('answers', 'one');

  const { status, body } = await it.call('POST', 'makeprimary');
  expect([status, body]).toEqual([501, expect.stringContaining('makeprimary')]);
  expect((await it.call('POST', 'entities/no-such/k?op=add', 1)).status).toBe(400);
  expect((await it.call('GET', 'nowhere')).status).toBe(404);
});
