// An app that streams. The flag is the library's and global, so these tests have a file (= a
// process) of their own.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { request, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { startHost, type FunctionsHost } from '../../infra/local/host/host.ts';
import { createThrottle, TooManyRequests } from '../../infra/local/host/throttle.ts';
import { until } from '../support/until.ts';
import { fixture } from './harness.ts';

let host: FunctionsHost;
const lines: string[] = [];
const gates = ((globalThis as { streamGates?: (() => void)[] }).streamGates ??= []);
const letGo = async (): Promise<void> => {
  await until(
    () => gates.length,
    (count) => count > 0,
  );
  gates.shift()?.();
};

beforeAll(async () => {
  host = await startHost({
    appDir: fixture('stream'),
    port: 0,
    dataDir: ':memory:',
    log: (line) => lines.push(line),
    cors: { origins: ['http://shop.example'], isCredentialed: true },
  });
});
afterAll(() => host.close());
beforeEach(() => void (gates.length = 0));

const get = (path: string, init?: RequestInit): Promise<Response> => fetch(host.url + path, init);

async function outstanding(): Promise<number> {
  const status = await get('/admin/host/drain/status');
  return ((await status.json()) as { outstandingInvocations: number }).outstandingInvocations;
}

/** Gone as soon as the request is sent: before the host has reached the library. */
const hangUpAtOnce = (): Promise<void> =>
  new Promise((resolve) => {
    const socket = connect(host.port, '127.0.0.1');
    socket.on('close', () => resolve());
    socket.write('GET /api/ticks HTTP/1.1\r\nHost: x\r\n\r\n', () => socket.destroy());
  });

describe('HTTP streaming', () => {
  test('a handler sees route, query, headers and body; the answer has its own', async () => {
    const answer = await get('/api/echo/7/x?q=1&q=2', {
      method: 'POST',
      body: 'hello',
      headers: { 'x-ask': 'yes' },
    });

    expect(answer.status).toBe(201);
    expect(answer.headers.get('x-seen')).toBe('yes');
    expect(answer.headers.get('x-ms-invocation-id')).toBeNull();
    // without the path that buffered mode adds
    expect(answer.headers.getSetCookie()).toEqual(['a=b']);
    expect(await answer.json()).toEqual({
      params: { id: '7', part: 'x', q: '1,2' },
      query: [
        ['q', '1'],
        ['q', '2'],
      ],
      text: 'hello',
      url: `${host.url}/api/echo/7/x?q=1&q=2`,
    });
  });

  test('an answer arrives in parts, before it is complete', async () => {
    const answer = await get('/api/ticks');
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();

    expect((await reader.read()).value).toBe('one ');
    await letGo();
    expect((await reader.read()).value).toBe('two');
    expect((await reader.read()).done).toBe(true);
  });

  test('a request is read while it comes in, and answered in between', async () => {
    const call = request(`${host.url}/api/mirror`, { method: 'POST' });
    call.write('first');
    const answer = await new Promise<IncomingMessage>((resolve) => call.once('response', resolve));
    const part = await new Promise<Buffer>((resolve) => answer.once('data', resolve));
    call.end(' second');

    expect(String(part) + (await text(answer))).toBe('first second');
  });

  test('a long body without content-length passes', async () => {
    const chunk = Buffer.alloc(1 << 16);
    const body = new ReadableStream({
      start(controller) {
        for (let n = 0; n < 64; n++) controller.enqueue(chunk);
        controller.close();
      },
    });

    const answer = await get('/api/count', { method: 'POST', body, duplex: 'half' } as RequestInit);

    expect(await answer.text()).toBe(String(64 * chunk.length));
  });

  test.each([
    ['a throw', '/api/throwing', 500],
    ['nothing returned', '/api/nothing', 200],
    ['no route', '/api/none', 404],
  ])('%s answers %s with %i and nothing else', async (_, path, status) => {
    const answer = await get(path, { method: 'POST', body: 'unread' });

    expect([answer.status, await answer.text()]).toEqual([status, '']);
  });

  test('an answer that breaks off is not taken for a whole one', async () => {
    const answer = await get('/api/breaking');
    const read = answer.text();
    await letGo();

    await expect(read).rejects.toThrow();
    expect(lines.join('\n')).toContain('half way');
  });

  test('a caller that goes away leaves nothing in flight', async () => {
    const leaving = new AbortController();
    const { signal } = leaving;
    const calls = [
      get('/api/ticks', { signal }).then((answer) => answer.text()),
      get('/api/count', { signal, method: 'POST', body: 'x' }),
    ].map((call) => call.catch(() => 'left'));
    leaving.abort();
    await Promise.all(calls);
    for (let n = 0; n < 20; n++) await hangUpAtOnce();

    await until(
      () => {
        gates.splice(0).forEach((open) => open());
        return outstanding();
      },
      (count) => count === 0,
    );
  });
});

describe('limits and CORS', () => {
  test('so many run at once, the next wait in turn, and beyond that it is too many', async () => {
    const throttle = createThrottle({ maxConcurrent: 2, maxOutstanding: 3 });
    const began: number[] = [];
    const ends: (() => void)[] = [];
    const work = (n: number) => () => {
      began.push(n);
      return new Promise<void>((resolve) => (ends[n] = resolve));
    };
    const runs = [0, 1, 2].map((n) => throttle.run(work(n)));

    await expect(throttle.run(work(3))).rejects.toThrow(TooManyRequests);
    expect(began).toEqual([0, 1]);
    ends[0]?.();
    await runs[0];
    const fourth = throttle.run(work(4));

    expect(began).toEqual([0, 1, 2]);
    ends[1]?.();
    ends[2]?.();
    await Promise.all(runs);
    ends[4]?.();
    await fourth;
  });

  test('a preflight is answered, with the permission for allowed origins only', async () => {
    const ask = (origin: string): Promise<Response> =>
      get('/api/echo/1', {
        method: 'OPTIONS',
        headers: {
          origin,
          'access-control-request-method': 'PUT',
          'access-control-request-headers': 'x-one',
        },
      });

    const yes = await ask('http://shop.example');
    const no = await ask('http://other.example');

    expect([yes.status, no.status]).toEqual([204, 204]);
    expect(yes.headers.get('access-control-allow-origin')).toBe('http://shop.example');
    expect(yes.headers.get('access-control-allow-methods')).toBe('PUT');
    expect(yes.headers.get('access-control-allow-headers')).toBe('x-one');
    expect(yes.headers.get('access-control-allow-credentials')).toBe('true');
    expect(no.headers.get('access-control-allow-origin')).toBeNull();
  });

  test('an answer carries the permission', async () => {
    const answer = await get('/api/echo/1', { headers: { origin: 'http://shop.example' } });

    expect(answer.headers.get('access-control-allow-origin')).toBe('http://shop.example');
    expect(answer.headers.get('vary')).toBe('Origin');
  });
});
