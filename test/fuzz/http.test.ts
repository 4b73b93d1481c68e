// The HTTP API of the real app behind the real host, asked by the byte: every path, query, header
// and body below ends as an answer of the contract, without a trace of the inside and without
// anything of a key that was not named; a key that was not named stays as it was.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packageRoot } from '../../infra/local/address.ts';
import { type LocalStack, startLocalStack } from '../../infra/local/stack.ts';
import { hexHash, keyFault, toPathKey } from '../../shared/keys.ts';
import { createSender } from '../../shared/sender.ts';
import { Api, until } from '../support/doors.ts';
import { anyText, brokenTexts, isUnpolluted, nastyBodies, nastyTexts, runs } from './hostile.ts';
import { type RawAnswer, type RawRequest, exchange } from './raw-http.ts';

const secret = 'what-nobody-else-may-see';
const victim = 'victim-0001';
let stack: LocalStack;
let api: Api;
let port: number;
let before: unknown;

beforeAll(async () => {
  stack = await startLocalStack({ appDir: packageRoot(), memory: true, logLevel: 'error' });
  api = new Api(stack.url);
  port = Number(new URL(stack.url).port);
  const sender = createSender({ connectionString: stack.serviceBus });
  const body = { amount: 1, note: secret };
  await sender.send('orders', victim, { id: secret, type: 'OrderPlaced', body });
  await sender.send('ledger', other, { id: 'one', type: 'Paid', body: { amount: 1 } });
  await sender.close();
  await until(
    () => api.call('GET', `/convoys/orders/${victim}`),
    (answer) => answer.body.phase === 'idle' && answer.body.cursor === 1,
  );
  before = await everything();
});

afterAll(async () => {
  await stack?.[Symbol.asyncDispose]();
});

/** All that the API tells of the victim. */
const everything = async (): Promise<unknown> => [
  await api.show('orders', victim),
  await api.messages('orders', victim),
  await api.list(`/convoys/orders/${victim}/windows`),
];

async function answerTo(request: RawRequest): Promise<RawAnswer> {
  const answer = await exchange(port, request);
  const where = `${JSON.stringify({
    ...request,
    body: request.body?.toString().slice(0, 200),
  }).slice(0, 600)} → ${answer.status} ${answer.body.slice(0, 600)}`;
  if (answer.status >= 500) throw new Error(where);
  if (/node_modules|\.[jt]s:\d+|\bat (?:async )?[\w.]+ \(/.test(answer.body))
    throw new Error(where);
  if (answer.body.includes(secret)) throw new Error(`tells the secret: ${where}`);
  if (answer.headers.includes('application/problem+json')) {
    const problem = JSON.parse(answer.body) as Record<string, unknown>;
    expect(problem, where).toMatchObject({
      code: expect.stringMatching(/^CVY_/),
      status: answer.status,
      type: `urn:convoy:error:${String(problem['code'])}`,
    });
    expect(String(problem['received']).length, where).toBeGreaterThan(0);
    expect(String(problem['remedy']).length, where).toBeGreaterThan(0);
  }
  return answer;
}

/** Spellings of one text as a segment of a path. */
const spellings: ((text: string) => string)[] = [
  (text) => encodeURIComponent(text.toWellFormed()),
  (text) => encodeURIComponent(encodeURIComponent(text.toWellFormed())),
  (text) => toPathKey(text.toWellFormed()),
  // As it is, but for what would end the line.
  (text) => text.replace(/[\0-\x20\x7f]/g, '_'),
  (text) => [...Buffer.from(text)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
  (text) =>
    Buffer.from(text)
      .toString('latin1')
      .replace(/[\0-\x20\x7f-\xa0]/g, '+'),
];
const rawSegments = [
  '%',
  '%2',
  '%zz',
  '%00',
  '%c0%af',
  '%c0%ae%c0%ae%c0%af',
  '%ed%a0%80',
  '%2e%2e',
  '..',
  '.',
  '..;',
  '%252e%252e%252f',
  '%5c..%5c',
  '~',
  '~2',
  '~GG',
  '~ff',
  '~c0~af',
  '~00',
  '~7E',
  '',
  ';a=b',
  '*',
  '{key}',
  'a%2fb',
  'x'.repeat(7_000),
];
const segment = fc.oneof(
  fc.tuple(anyText, fc.constantFrom(...spellings)).map(([text, spell]) => spell(text)),
  fc.constantFrom(...rawSegments),
);
const convoy = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('orders', 'ledger', 'incidents', 'nobody') },
  segment,
);
const last = fc.oneof(
  fc.constantFrom('messages', 'windows', 'verify', 'pause', 'resume', 'replay', 'retry', 'skip'),
  segment,
);
const path = fc.oneof(
  fc.constantFrom('/convoys', '/stats', '/health', '/board', '/', ''),
  fc.tuple(convoy, segment).map(([name, key]) => `/convoys/${name}/${key}`),
  fc.tuple(convoy, segment, last).map(([name, key, end]) => `/convoys/${name}/${key}/${end}`),
  fc.tuple(convoy, segment).map(([name, window]) => `/windows/${name}/${window}`),
  convoy.map((name) => `/quarantine/${name}`),
  fc.tuple(convoy, segment).map(([name, id]) => `/quarantine/${name}/${id}/replay`),
  fc.array(segment, { maxLength: 6 }).map((parts) => `/${parts.join('/')}`),
);

const token = (parts: unknown): string =>
  Buffer.from(JSON.stringify(parts) ?? '').toString('base64url');
const names = ['limit', 'continuation', 'convoy', 'status', 'parked', 'backlog', 'from', 'to'];
const queryValue = fc.oneof(
  segment,
  fc.constantFrom(
    ...['0', '-1', '501', '1e3', '99999999999999999999', '0x10', '1.5', 'true', 'TRUE', 'held'],
    ...['', '%', '%00', '[]', '{}', token([1, 2, 3]), token(['', 0, null]), token({}), token(null)],
    ...['2026-01-01T00:00:00Z', '9999-12-31T23:59:59Z', '+275760-09-13T00:00:00Z', 'applied'],
  ),
);
const goodQuery = fc.constantFrom('', '?limit=1', '?limit=500', '?from=1');
const anyQuery = fc
  .array(
    fc.tuple(
      fc.constantFrom(...names, 'outcome', 'window', 'key', 'rest', '__proto__', 'code', 'limit[]'),
      queryValue,
    ),
    { maxLength: 4 },
  )
  .map((pairs) => (pairs.length === 0 ? '' : `?${pairs.map((pair) => pair.join('=')).join('&')}`));

const query = fc.oneof({ weight: 1, arbitrary: goodQuery }, { weight: 3, arbitrary: anyQuery });

const field = fc.oneof(
  anyText,
  fc.constantFrom<unknown>(null, 0, -1, 1.5, 2 ** 53, true, [], {}, [[]], { a: {} }, 'x y'),
);
const fieldNames = 'type body id occurredAt senderPosition schemaVersion reason by expectedCursor';
const body = fc.oneof(
  fc.constantFrom(...nastyBodies.map(([, bytes]) => bytes)),
  fc
    .dictionary(
      fc.constantFrom(...fieldNames.split(' '), 'source', 'perSecond', 'key', '__proto__', 'x'),
      field,
      { maxKeys: 8, noNullPrototype: true },
    )
    .map((fields) => Buffer.from(JSON.stringify(fields))),
);
const header = fc.oneof(
  fc.tuple(
    fc.constantFrom('Idempotency-Key', 'traceparent', 'Content-Type', 'x-functions-key', 'Origin'),
    fc.oneof(
      fc.constantFrom(...nastyTexts, ...brokenTexts).map((text) => text.replace(/[\r\n\0]/g, ' ')),
      fc.constantFrom('a, b', '"quoted"', '00-zz-zz-00', 'text/plain', 'multipart/form-data'),
    ),
  ),
  fc.constantFrom(
    ['Transfer-Encoding', 'chunked'] as const,
    ['Content-Length', '5'] as const,
    ['Content-Length', '-1'] as const,
    ['Expect', '100-continue'] as const,
    ['Host', 'evil.example'] as const,
    ['X-HTTP-Method-Override', 'DELETE'] as const,
    ['Forwarded', 'host=evil.example'] as const,
    ['__proto__', 'x'] as const,
    ['bad header', 'x'] as const,
    ['X-Long', 'x'.repeat(20_000)] as const,
  ),
);

const requests: fc.Arbitrary<RawRequest> = fc
  .record({
    method: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom('GET', 'POST') },
      fc.constantFrom('PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE', 'get', 'BREW'),
    ),
    path,
    query,
    headers: fc.array(header, { maxLength: 2 }),
    body: fc.option(body, { nil: undefined }),
  })
  .map(({ query: rest, ...request }) => {
    const bytes = Buffer.from(`/api${request.path}${rest}`.replace(/[\0-\x20]/g, '_')).toString();
    const { body: content, ...others } = request;
    return { ...others, path: latin(bytes), ...(content && { body: content }) };
  });

const latin = (text: string): string => Buffer.from(text.toWellFormed()).toString('latin1');

describe('whatever is asked', () => {
  test('is answered, and touches nothing but what it names', async () => {
    const statuses = new Map<number, number>();
    const property = fc.asyncProperty(requests, async (request) => {
      const { status } = await answerTo(request);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    });
    await fc.assert(property, runs(600));

    // A generator that only makes garbage would prove little.
    for (const status of [200, 400, 404]) expect(statuses.get(status) ?? 0).toBeGreaterThan(5);
    expect(await everything()).toEqual(before);
    expect(isUnpolluted()).toBe(true);
  });

  test('a continuation that was forged with the right seal is refused, not followed', async () => {
    const lists = [
      ['/convoys', 'limit=1'],
      ['/convoys', 'limit=1&backlog=true'],
      ['/convoys', 'limit=1&parked=true'],
      ['/convoys', 'limit=1&status=blocked'],
      [`/convoys/ledger/${other}/messages`, 'limit=1'],
      [`/convoys/ledger/${other}/messages`, 'limit=1&outcome=deadLettered'],
      [`/convoys/ledger/${other}/windows`, 'limit=1'],
      ['/quarantine/ledger', 'limit=1'],
      ['/windows/ledger/hourly', 'limit=1'],
    ] as const;
    const inner = fc.oneof(anyText, fc.constantFrom(...forgedInner));
    const property = fc.asyncProperty(
      fc.constantFrom(...lists),
      fc.constantFrom(0, 1, 2, -1, 1.5, '0', null),
      fc.oneof(inner, field),
      async ([list, asked], source, continuation) => {
        const forged = token([sealOf(list, asked), source, continuation]);
        const path = `/api${list}?${asked}&continuation=${forged}`;
        const { status } = await answerTo({ method: 'GET', path });
        expect([200, 400, 404]).toContain(status);
      },
    );
    await fc.assert(property, runs(150));
  });
});

/** A key beside the victim, in the same convoy. */
const other = 'bystander';
const forgedInner = [
  'inbox:000000000001',
  'inbox:999999999999',
  'inbox:',
  'inbox;',
  'gate',
  'seen:',
  `orders:${victim}`,
  '{"compositeToken":{"token":"x","range":{"min":"","max":"FF"}}}',
  '[{"token":null,"range":{"min":"","max":"FF"}}]',
  '+RID:~x#RT:1#TRC:1#ISV:2#IEO:65551',
  '-1',
  '1e9',
  'NaN',
  '\0',
];

/** Anybody can compute it: it tells lists apart, it does not prove who made the token. */
function sealOf(list: string, asked: string): string {
  const params = list.split('/').filter(Boolean);
  const filters = [...new URLSearchParams(asked)].filter(([name]) => name !== 'limit');
  const [route, places] =
    params[0] === 'convoys' && params.length === 4
      ? [params[3], { convoy: params[1], key: params[2] }]
      : params[0] === 'windows'
        ? ['rollUps', { convoy: params[1], window: params[2] }]
        : params[0] === 'quarantine'
          ? ['quarantine', { convoy: params[1] }]
          : ['convoys', {}];
  return hexHash(JSON.stringify([route, Object.entries(places), filters])).slice(0, 12);
}

describe('keys that look like something else reach only themselves', () => {
  const keys = nastyTexts.filter((text) => keyFault(text) === undefined);

  test('each has its own message, its own state and nothing of another', async () => {
    for (const [at, key] of keys.entries()) {
      const headers = { 'content-type': 'application/json', 'idempotency-key': `own-${at}` };
      const content = JSON.stringify({ type: 'Paid', body: { amount: at + 1 } });
      const path = `/convoys/ledger/${toPathKey(key)}/messages`;
      const { status } = await api.call('POST', path, { headers, body: content });
      expect([key, status]).toEqual([key, 202]);
    }
    for (const [at, key] of keys.entries()) {
      const path = `/convoys/ledger/${toPathKey(key)}`;
      const { body } = await until(
        () => api.call('GET', path),
        (answer) => answer.status === 200 && answer.body.cursor === 1,
      );
      expect([body.key, body.tail]).toEqual([key, 1]);
      const seen = await api.messages('ledger', key);
      expect(seen.map((one) => [one.messageId, one.body])).toEqual([
        [`own-${at}`, { amount: at + 1 }],
      ]);
    }
    const listed = await api.list<{ key: string }>('/convoys?convoy=ledger');
    expect(new Set(listed.map(({ key }) => key)).size).toBe(listed.length);
    for (const key of keys) expect(listed.map((one) => one.key)).toContain(key);
    expect(await everything()).toEqual(before);
  });
});

describe('a request body', () => {
  const post = (content: Buffer, headers: RawRequest['headers'] = []) =>
    answerTo({ method: 'POST', path: '/api/convoys/ledger/big/messages', headers, body: content });

  test('of 10 MB is refused as too large, 10^5 levels as no JSON for us', async () => {
    const text = JSON.stringify({
      type: 'Paid',
      body: { amount: 1, note: 'x'.repeat(10_000_000) },
    });
    const large = await post(Buffer.from(text));
    const levels = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    const deep = await post(Buffer.from(`{"type":"Paid","body":${levels}}`));

    expect([large.status, JSON.parse(large.body).code]).toEqual([413, 'CVY_BODY_TOO_LARGE']);
    expect([deep.status, JSON.parse(deep.body).code]).toEqual([400, 'CVY_BODY_NOT_JSON']);
  });

  test.each([
    ['empty', '', 400],
    ['1,024 characters', 'i'.repeat(1024), 202],
    ['1,025 characters', 'i'.repeat(1025), 400],
    ['a list', 'a, b', 202],
    ['Latin-1', 'caf\u00e9', 202],
  ])('with an Idempotency-Key that is %s', async (_, id, expected) => {
    const content = Buffer.from('{"type":"Paid","body":{"amount":1}}');
    const { status, body: text } = await post(content, [['Idempotency-Key', id]]);
    expect(status, text).toBe(expected);
  });
});
