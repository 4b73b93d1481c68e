// The same routes on the Functions host of the local stack, over HTTP: what only a host can get
// wrong (route order, decoding, methods, bodies), and the broker and the store behind them.
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { toPathKey } from '../../shared/keys.ts';
import { type LocalStack, startLocalStack } from '../../infra/local/stack.ts';

const appDir = fileURLToPath(new URL('../../', import.meta.url));
let stack: LocalStack;

beforeAll(async () => {
  stack = await startLocalStack({ appDir, memory: true, logLevel: 'error' });
});

afterAll(async () => {
  await stack?.[Symbol.asyncDispose]();
});

async function call(method: string, path: string, options: RequestInit = {}) {
  const response = await fetch(`${stack.url}/api${path}`, { method, ...options });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json') ?? false;
  // Answers are read field by field.
  // oxlint-disable-next-line typescript/no-explicit-any
  const body: any = isJson ? JSON.parse(text) : text;
  return { status: response.status, headers: response.headers, body };
}

const enqueue = (key: string, id: string, message: object) =>
  call('POST', `/convoys/orders/${toPathKey(key)}/messages`, {
    headers: { 'content-type': 'application/json', 'idempotency-key': id },
    body: JSON.stringify(message),
  });

/** Asks again until it holds; the test's own time limit ends it. */
async function until<T>(ask: () => Promise<T>, holds: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (holds(answer)) return answer;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe('on the host', () => {
  test('a message enqueued over HTTP is settled and shown, a repeat is counted', async () => {
    const key = 'A/17 ü';
    const placed = { type: 'OrderPlaced', body: { amount: 3, currency: 'EUR' } };

    const first = await enqueue(key, 'o-1', placed);
    const again = await enqueue(key, 'o-1', placed);
    const detail = await until(
      () => call('GET', `/convoys/orders/${toPathKey(key)}`),
      ({ status, body }) => status === 200 && body.backlog === 0 && body.repeats === 1,
    );
    const messages = await call('GET', `/convoys/orders/${toPathKey(key)}/messages`);

    expect([first.status, again.status]).toEqual([202, 202]);
    expect(detail.body).toMatchObject({ key, tail: 1, cursor: 1, hold: { kind: 'none' } });
    expect(messages.body.items).toMatchObject([
      { position: 1, messageId: 'o-1', outcome: 'applied', body: placed.body },
    ]);
    const listed = await call('GET', '/convoys?convoy=orders');
    expect(listed.body.items.map((item: { key: string }) => item.key)).toContain(key);
  });

  test('pause holds a key, what comes meanwhile waits, resume lets it go on', async () => {
    const key = 'P';
    const path = `/convoys/orders/${key}`;
    const act = (action: string, fields: object = {}) =>
      call('POST', `${path}/${action}`, { body: JSON.stringify({ reason: 'audit', ...fields }) });
    const shown = (holds: (body: { phase: string; cursor: number; backlog: number }) => boolean) =>
      until(
        () => call('GET', path),
        ({ status, body }) => status === 200 && holds(body),
      );
    await enqueue(key, 'p-1', { type: 'OrderPlaced', body: { amount: 1, currency: 'EUR' } });
    await shown(({ cursor }) => cursor === 1);

    const stale = await act('pause', { expectedCursor: 0 });
    const paused = await act('pause', { expectedCursor: 1, by: 'kim' });
    await shown(({ phase }) => phase === 'held');
    await enqueue(key, 'p-2', { type: 'OrderPaid', body: { amount: 1 } });
    const waiting = await shown(({ backlog }) => backlog === 1);
    const listed = await call('GET', '/convoys?status=paused');
    const resumed = await act('resume');
    const done = await shown(({ cursor }) => cursor === 2);

    expect([stale.status, stale.body.code]).toEqual([409, 'CVY_CONFLICT']);
    expect([paused.status, resumed.status]).toEqual([202, 202]);
    expect(waiting.body).toMatchObject({ cursor: 1, hold: { kind: 'paused', code: 'CVY_PAUSED' } });
    expect(waiting.body.headAgeSeconds).toBeGreaterThanOrEqual(0);
    expect(listed.body.items.map((item: { key: string }) => item.key)).toEqual([key]);
    expect(done.body).toMatchObject({ backlog: 0, state: { status: 'paid' } });
  });

  test('health answers with the latency of store and broker', async () => {
    const { status, body } = await call('GET', '/health');

    expect(body).toMatchObject({
      status: 'ok',
      dependencies: [{ name: 'store' }, { name: 'serviceBus' }],
    });
    expect(status).toBe(200);
  });

  test('the board is a page with its policy, stats are figures', async () => {
    const board = await call('GET', '/board');
    const stats = await call('GET', '/stats');

    expect(board.headers.get('content-type')).toContain('text/html');
    expect(board.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(board.body).toContain('<title>Convoy board</title>');
    expect(stats.body.convoys).toBeGreaterThanOrEqual(0);
  });

  test.each([
    ['GET', '/nothing', 404, 'CVY_NOT_FOUND'],
    ['DELETE', '/convoys/orders/A', 404, 'CVY_NOT_FOUND'],
    ['GET', '/convoys/orders/nobody', 404, 'CVY_NOT_FOUND'],
    ['GET', '/convoys/orders/a%252Fb', 400, 'CVY_BAD_REQUEST'],
    ['GET', '/convoys?limit=501', 400, 'CVY_BAD_REQUEST'],
    ['POST', '/convoys/orders/A/messages', 400, 'CVY_BAD_REQUEST'],
    ['POST', '/convoys/orders/A/dance', 404, 'CVY_NOT_FOUND'],
  ])('%s %s answers %i %s as problem details', async (method, path, status, code) => {
    const answer = await call(method, path);

    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect([answer.status, answer.body.code]).toEqual([status, code]);
  });
});
