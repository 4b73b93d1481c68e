import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { request } from 'node:http';
import { startHost, type FunctionsHost } from '../../infra/local/host/host.ts';
import { virtualClock } from '../../shared/clock.ts';
import { fixture } from './harness.ts';

let host: FunctionsHost;
const lines: string[] = [];
const settings = { START_SCHEDULE: '0 0 0 1 1 *', WEB_SETTING: 'set' };

beforeAll(async () => {
  host = await startHost({
    appDir: fixture('web'),
    port: 0,
    dataDir: ':memory:',
    clock: virtualClock(),
    log: (line) => lines.push(line),
    settings: { ...settings, 'AzureWebJobs.sleeper.Disabled': 'true' },
  });
});
afterAll(() => host.close());

const get = (path: string, init?: RequestInit): Promise<Response> => fetch(host.url + path, init);

describe('HTTP triggers', () => {
  test('a handler sees route, query, headers and body and answers with its own', async () => {
    const traceparent = '00-aaaabbbbccccddddeeeeffff00001111-2222333344445555-01';

    const answer = await get('/api/echo/7/x?q=1&q=2', {
      method: 'POST',
      body: 'hello',
      headers: { 'x-ask': 'yes', traceparent },
    });

    expect(answer.status).toBe(201);
    expect(answer.headers.get('x-seen')).toBe('yes');
    expect(answer.headers.get('x-house')).toBe('convoy');
    const body = (await answer.json()) as Record<string, unknown>;
    expect(body).toMatchObject({
      params: { id: '7', part: 'x' },
      text: 'hello',
      url: `${host.url}/api/echo/7/x?q=1&q=2`,
      trace: expect.stringContaining('aaaabbbbccccddddeeeeffff00001111'),
    });
    expect(body).not.toHaveProperty('metadata');
  });

  test('bytes travel unchanged both ways', async () => {
    const bytes = Uint8Array.from([255, 0, 1, 128]);

    const answer = await get('/api/binary', { method: 'POST', body: bytes });

    expect([...new Uint8Array(await answer.arrayBuffer())]).toEqual([128, 1, 0, 255]);
  });

  test('a body without content-length arrives empty, as on Azure', async () => {
    const text = await new Promise<string>((resolve, reject) => {
      const call = request(`${host.url}/api/echo/1`, { method: 'POST' }, (answer) => {
        answer.setEncoding('utf8').on('data', resolve);
      });
      call.on('error', reject).write('chunk');
      call.end();
    });

    expect(JSON.parse(text)).toMatchObject({ text: '' });
  });

  test('several cookies are set with their attributes', async () => {
    const answer = await get('/api/cookies');

    expect(answer.headers.getSetCookie()).toEqual([
      'a=1%202; max-age=60; path=/; samesite=lax; httponly',
      'b=x; path=/api; secure; samesite=none',
    ]);
  });

  test.each([
    ['nothing returned', '/api/nothing', 200, ''],
    ['a throw', '/api/throwing', 500, ''],
    ['a primitive', '/api/primitive', 500, ''],
    ['no route', '/api/none', 404, ''],
    ['a broken constraint', '/api/echo/x', 404, ''],
    ['the alphabetically first match', '/api/items/search', 200, 'item search'],
    ['a catch-all', '/api/files/a/b', 200, '{"path":"a/b"}'],
    ['a disabled function', '/api/sleeper', 404, ''],
    ['a clashing route stays with the first', '/api/echo/1?clash', 201, undefined],
    ['a reserved route', '/api/admin/x', 404, ''],
  ])('%s: %s answers %i', async (_, path, status, body) => {
    const answer = await get(path);

    expect(answer.status).toBe(status);
    if (body !== undefined) expect(await answer.text()).toBe(body);
  });

  test('the wrong method is 404, never 405', async () => {
    expect((await get('/api/cookies', { method: 'POST' })).status).toBe(404);
  });

  test('hooks may wrap handler and result; settings are in process.env', async () => {
    const answer = await get('/api/hooked');

    expect(await answer.json()).toEqual({ added: 'by hook', env: 'set' });
    expect(answer.headers.get('x-hook')).toBe('pre');
  });

  test('what cannot run is named with the reason, and the rest runs', () => {
    const text = lines.join('\n');

    expect(text).toContain("'queued' function is in error: trigger type 'queueTrigger'");
    expect(text).toContain("'wrong' function is in error: The schedule expression '0 0 L * * *'");
    expect(text).toContain("'odd' function is in error: route 'odd/{a:mystery}': constraint");
    expect(text).toContain("'reserved' function is in error: The specified route conflicts");
    expect(text).toContain("'zclash' function is in error: The route specified conflicts");
    expect(host.functions.map(({ name }) => name)).not.toContain('odd');
    expect(host.functions).toContainEqual({
      name: 'nothing',
      type: 'httpTrigger',
      invokeUrl: `${host.url}/api/nothing`,
    });
  });

  test('a throw is told in the log, not in the answer', async () => {
    await get('/api/throwing');

    expect(lines.join('\n')).toContain('Exception: secret detail');
  });
});

describe('admin', () => {
  test('status, ping and usage answer', async () => {
    expect(await (await get('/admin/host/status')).json()).toMatchObject({ state: 'Running' });
    expect((await get('/admin/host/ping', { method: 'POST' })).status).toBe(200);
    expect(await (await get('/admin/host/usage')).json()).toMatchObject({ storageTransactions: 0 });
  });

  test('functions are listed by name, the disabled too, and say how they are', async () => {
    const list = (await (await get('/admin/functions')).json()) as {
      name: string;
      isDisabled: boolean;
    }[];
    const status = async (name: string): Promise<unknown> => {
      const answer = await get(`/admin/functions/${name}/status`);
      return answer.ok ? await answer.json() : answer.status;
    };

    const enabled = list.filter((one) => !one.isDisabled).map(({ name }) => name);
    expect(enabled).toEqual(host.functions.map(({ name }) => name));
    expect(list.filter((one) => one.isDisabled).map(({ name }) => name)).toEqual(['sleeper']);
    expect(await status('Echo')).toEqual({ isDisabled: false });
    expect(await status('sleeper')).toEqual({ isDisabled: true });
    expect(await status('odd')).toMatchObject({
      errors: [expect.stringContaining("constraint 'mystery'")],
    });
    expect(await status('unknown')).toBe(404);
  });

  test('a timer can be run by hand; what cannot is named', async () => {
    const post = (name: string, body: string) =>
      get(`/admin/functions/${name}`, { method: 'POST', body });

    expect((await post('hourly', '{}')).status).toBe(202);
    expect((await post('unknown', '{}')).status).toBe(404);
    expect((await post('hourly', '')).status).toBe(400);
    expect((await get('/admin/host/restart', { method: 'POST' })).status).toBe(501);
  });
});
