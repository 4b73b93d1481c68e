// What is refused at the door, by the sender library, the command line, the HTTP API and the
// broker: told by code and remedy, and nothing of it is enqueued.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ServiceBusError } from '@azure/service-bus';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { packageRoot } from '../../infra/local/address.ts';
import { startLocalStack } from '../../infra/local/stack.ts';
import type { LocalStack } from '../../infra/local/stack.ts';
import { ConvoyError, type ErrorCode, errorRegistry } from '../../shared/errors.ts';
import { toPathKey } from '../../shared/keys.ts';
import { createSender } from '../../shared/sender.ts';
import type { Sender } from '../../shared/sender.ts';
import { Api, Queues, runConvoy } from '../support/doors.ts';

const folder = mkdtempSync(join(tmpdir(), 'convoy-refused-'));
let stack: LocalStack;
let api: Api;
let queues: Queues;
let sender: Sender;

beforeAll(async () => {
  stack = await startLocalStack({ appDir: packageRoot(), memory: true, logLevel: 'error' });
  api = new Api(stack.url);
  queues = new Queues(stack.serviceBus);
  sender = createSender({ connectionString: stack.serviceBus });
});

afterAll(async () => {
  await sender?.close();
  await queues?.[Symbol.asyncDispose]();
  await stack?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

afterEach(async () => {
  // Nothing on the queue and nothing admitted: nothing was enqueued.
  expect(await queues.isEmpty('orders')).toBe(true);
  expect(await api.totals()).toMatchObject({ admitted: 0 });
});

const good = { type: 'OrderPlaced', body: { amount: 1 } };
/** Over the 256 KB of the standard tier. */
const tooMuch = 'x'.repeat(300_000);

const refusals: { name: string; code: ErrorCode; convoy?: string; message: object }[] = [
  { name: 'no key', code: 'CVY_KEY_MISSING', message: { key: '' } },
  { name: 'a key of 129 characters', code: 'CVY_KEY_INVALID', message: { key: 'k'.repeat(129) } },
  { name: 'a key with a line feed', code: 'CVY_KEY_INVALID', message: { key: 'a\nb' } },
  { name: 'an id of 1,025 characters', code: 'CVY_ID_INVALID', message: { id: 'i'.repeat(1025) } },
  { name: 'a body over the limit', code: 'CVY_BODY_TOO_LARGE', message: { body: { tooMuch } } },
  { name: 'a body that JSON has not', code: 'CVY_BODY_NOT_JSON', message: { body: undefined } },
  {
    name: 'an instant without zone',
    code: 'CVY_ENVELOPE',
    message: { occurredAt: '2026-01-01T00:00:00' },
  },
  {
    name: 'the 31st of February',
    code: 'CVY_ENVELOPE',
    message: { occurredAt: '2026-02-31T00:00:00Z' },
  },
  { name: 'position 0', code: 'CVY_ENVELOPE', message: { senderPosition: 0 } },
  { name: 'an unknown convoy', code: 'CVY_CONVOY_UNKNOWN', convoy: 'nobody', message: {} },
];

/** What a promise was rejected with. */
const faultOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'accepted',
    (error: unknown) => error,
  );

describe('by the sender library', () => {
  test.each(refusals)('$name: $code, and the good one beside it stays', async (refusal) => {
    const { code, convoy = 'orders' } = refusal;
    const { key, ...message } = { key: 'S', ...good, ...refusal.message };
    const pair = [{ ...good, id: 'good' }, message];

    const fault = await faultOf(sender.send(convoy, key, key === 'S' ? pair : message));

    expect(fault).toBeInstanceOf(ConvoyError);
    expect(fault).toMatchObject({ code, remedy: errorRegistry[code].remedy });
  });
});

describe('by the command line', () => {
  const send = (convoy: string, lines: object[], ...flags: string[]) => {
    const file = join(folder, 'in.ndjson');
    writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const to = ['--connection', stack.serviceBus, '--key', 'key'];
    return runConvoy(['send', convoy, '--file', file, ...to, ...flags]);
  };
  const row = { key: 'C', amount: 1 };

  test.each([
    ['no key', 'orders', { key: '' }, 'CVY_KEY_MISSING: row 2'],
    ['a body over the limit', 'orders', { tooMuch }, 'CVY_BODY_TOO_LARGE: row 2'],
    ['a key with a line feed', 'orders', { key: 'a\nb' }, 'CVY_KEY_INVALID: row 2'],
    ['a wrong instant', 'orders', { at: '2026-02-31T00:00:00Z' }, 'CVY_ENVELOPE: row 2'],
    ['an unknown convoy', 'nobody', {}, 'CVY_CONVOY_UNKNOWN: '],
  ])('%s: exit code 1, and nothing of the file is sent', async (_, convoy, spoilt, said) => {
    const lines = [row, { ...row, ...spoilt }, row];

    const { code, stdout, stderr } = await send(convoy, lines, '--time', 'at');

    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    const name = said.slice(0, said.indexOf(':')) as ErrorCode;
    expect(stderr).toContain(said);
    expect(stderr).toContain(`Remedy: ${errorRegistry[name].remedy}.`);
  });
});

describe('by the HTTP API', () => {
  const post = (path: string, message: unknown) =>
    api.call('POST', path, {
      headers: { 'content-type': 'application/json' },
      body: typeof message === 'string' ? message : JSON.stringify(message),
    });
  const toKey = (key: string, convoy = 'orders') => `/convoys/${convoy}/${toPathKey(key)}/messages`;

  test.each<[string, string, unknown, number, ErrorCode]>([
    ['no key', '/convoys/orders//messages', good, 404, 'CVY_NOT_FOUND'],
    ['a key of 129 characters', toKey('k'.repeat(129)), good, 400, 'CVY_KEY_INVALID'],
    ['a key with a line feed', toKey('a\nb'), good, 400, 'CVY_KEY_INVALID'],
    ['an unknown convoy', toKey('H', 'nobody'), good, 404, 'CVY_CONVOY_UNKNOWN'],
    ['a queue without a convoy', toKey('H', 'nothing'), good, 404, 'CVY_CONVOY_UNKNOWN'],
    ['a body over the limit', toKey('H'), { ...good, body: tooMuch }, 413, 'CVY_BODY_TOO_LARGE'],
    ['no body', toKey('H'), { type: 'OrderPlaced' }, 400, 'CVY_BAD_REQUEST'],
    ['no type', toKey('H'), { body: {} }, 400, 'CVY_BAD_REQUEST'],
    ['a request that is not JSON', toKey('H'), '{"type":', 400, 'CVY_BAD_REQUEST'],
    ['a wrong instant', toKey('H'), { ...good, occurredAt: 'now' }, 400, 'CVY_ENVELOPE'],
    ['an id too long', toKey('H'), { ...good, id: 'i'.repeat(1025) }, 400, 'CVY_BAD_REQUEST'],
  ])('%s', async (_, path, message, status, code) => {
    const answer = await post(path, message);

    expect([answer.status, answer.body.code]).toEqual([status, code]);
    expect(answer.body.remedy).toBe(errorRegistry[code].remedy);
    expect(answer.body.received.length).toBeGreaterThan(0);
  });
});

describe('by the broker, from a plain client', () => {
  test.each([
    ['no session id', 'orders', {}, /SessionId was not set/],
    [
      'a message over the limit',
      'orders',
      { sessionId: 'B', body: tooMuch },
      /MessageSizeExceeded/,
    ],
    ['an unknown queue', 'nobody', { sessionId: 'B' }, /MessagingEntityNotFound/],
  ])('%s', async (_, queue, message, said) => {
    const plain = queues.client.createSender(queue);

    const fault = await faultOf(plain.sendMessages({ body: {}, ...message }));

    const { code, message: text } = fault as ServiceBusError;
    expect(`${code}: ${text}`).toMatch(said);
    await plain.close();
  });
});
