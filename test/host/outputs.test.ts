// Output bindings for Service Bus, retry policies, warmup.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { outputBodies } from '../../infra/local/host/outputs.ts';
import { until } from '../support/until.ts';
import { openBusStack, type BusStack } from './harness.ts';

let stack: BusStack;
const attempts: object[] = [];

beforeAll(async () => {
  Object.assign(globalThis, { attempts });
  stack = await openBusStack({}, { app: 'chain', settings: { OUT_QUEUE: 'plain' } });
});
afterAll(() => stack.close());

const post = (path: string, body: unknown = {}): Promise<Response> =>
  fetch(`${stack.host.url}/api/${path}`, { method: 'POST', body: JSON.stringify(body) });

describe('a Service Bus output', () => {
  test.each([
    ['a text', { value: 'hello' }, ['hello']],
    ['an object, indented', { value: { a: 1 } }, ['{\n  "a": 1\n}']],
    ['an array: one message each', { value: ['x', { b: 2 }] }, ['x', '{\n  "b": 2\n}']],
    ['a text that is a JSON array', { value: '["y","z"]' }, ['y', 'z']],
    ['bytes', { bytes: '00ff' }, ['\0\ufffd']],
  ])('is %s', async (_, body, wanted) => {
    const answer = await post('put', body);

    const sent = await stack.take('plain', wanted.length);

    expect(await answer.text()).toBe('put');
    expect(sent.map((message) => String(message.body))).toEqual(wanted);
    expect(sent[0]).toMatchObject({
      contentType: 'application/octet-stream',
      applicationProperties: { $AzureWebJobsParentId: expect.stringMatching(/^[0-9a-f-]{36}$/) },
    });
  });

  test('names its queue by an expression', async () => {
    await post('named/other');

    expect((await stack.take('other', 1)).map(({ body }) => String(body))).toEqual(['by name']);
  });

  test('goes to a topic, whose subscriptions get it', async () => {
    await post('tell');

    const [told] = await stack.take('news/Subscriptions/all', 1);

    expect(String(told?.body)).toBe('news');
  });

  test('that cannot be sent fails the invocation: a session queue wants a session id', async () => {
    const answer = await post('refused');

    expect([answer.status, await answer.text()]).toEqual([500, '']);
  });

  test('takes the return value of a function that a message triggered', async () => {
    await stack.send('json', [{ body: Buffer.from('{"n":1}') }]);

    const [sent] = await stack.take('plain', 1);

    expect(JSON.parse(String(sent?.body))).toEqual({ got: { n: 1 } });
  });

  test('prints numbers and booleans as .NET does', () => {
    const texts = [{ int: 7 }, { double: 1.5 }, { json: 'true' }].map((data) =>
      outputBodies(data).map(String),
    );

    expect(texts).toEqual([['7'], ['1.5'], ['True']]);
  });
});

test('a retry policy runs again within one delivery, with its context', async () => {
  await stack.send('text', [{ body: Buffer.from('m') }]);

  await until(
    () => attempts.length,
    (count) => count >= 3,
  );

  expect(attempts).toEqual([
    { delivery: 1 },
    { delivery: 1, retryCount: 1, maxRetryCount: 2, exception: { message: 'attempt 1' } },
    { delivery: 1, retryCount: 2, maxRetryCount: 2, exception: { message: 'attempt 2' } },
  ]);
  expect(stack.lines.join('\n')).toContain("retries will not be supported for function 'again'");
});

test('what cannot be bound is named, and a warmup function warms on request', async () => {
  const text = stack.lines.join('\n');

  expect(text).toContain("'elsewhere' function is in error: trigger type 'queueTrigger'");
  expect(text).toContain("'table' function is in error: output binding type 'table'");
  const answer = await fetch(`${stack.host.url}/admin/warmup`);
  expect(answer.status).toBe(200);
  expect((globalThis as { warmed?: number }).warmed).toBe(1);
});
