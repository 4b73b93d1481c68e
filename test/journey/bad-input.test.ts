// Bad input, sent past our sender with the plain Service Bus client, through the real stack: where
// each ends up, with code and remedy; that what follows it under its key is applied in order; that
// another key gets all of its own; that nothing is left in a queue.
import type { ServiceBusMessage } from '@azure/service-bus';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { packageRoot } from '../../infra/local/address.ts';
import { startLocalStack } from '../../infra/local/stack.ts';
import type { LocalStack } from '../../infra/local/stack.ts';
import { type ErrorCode, errorRegistry } from '../../shared/errors.ts';
import { keyFault, toPathKey } from '../../shared/keys.ts';
import { Api, Queues, until } from '../support/doors.ts';
import type { MessageSeen } from '../support/doors.ts';

let stack: LocalStack;
let api: Api;
let queues: Queues;
let keys = 0;
let ids = 0;
const nextKey = (): string => `bad-${++keys}`;

beforeAll(async () => {
  stack = await startLocalStack({ appDir: packageRoot(), memory: true, logLevel: 'error' });
  api = new Api(stack.url);
  queues = new Queues(stack.serviceBus);
});

afterAll(async () => {
  await queues?.[Symbol.asyncDispose]();
  await stack?.[Symbol.asyncDispose]();
});

type Raw = ServiceBusMessage & { applicationProperties: Record<string, string | number | boolean> };

/** What our sender would send; tests spoil it. */
function raw(key: string, id: string, type: string): Raw {
  return {
    sessionId: key,
    messageId: `${key}-${id}`,
    subject: type,
    contentType: 'application/json',
    body: { amount: 5 },
    applicationProperties: { convoyKey: key, convoyMessageId: id, convoyType: type },
  };
}

async function send(...messages: ServiceBusMessage[]): Promise<void> {
  const sender = queues.client.createSender('orders');
  await sender.sendMessages(messages);
  await sender.close();
}

/** The messages of a key when that many are there and none waits. */
const settled = (key: string, count: number): Promise<MessageSeen[]> =>
  until(
    async () => {
      const { status } = await api.call('GET', `/convoys/orders/${toPathKey(key)}`);
      return status === 200 ? api.messages('orders', key) : [];
    },
    (seen) => seen.length >= count && seen.every(({ outcome }) => outcome !== 'waiting'),
  );

/** A good order of another key, between the bad messages. */
const neighbour = (key: string): [Raw, Raw, Raw] => [
  raw(`${key}-n`, 'n1', 'OrderPlaced'),
  raw(`${key}-n`, 'n2', 'OrderPaid'),
  raw(`${key}-n`, 'n3', 'OrderShipped'),
];

async function expectNeighbourServed(key: string): Promise<void> {
  const seen = await settled(`${key}-n`, 3);
  expect(seen.map(({ messageId, outcome }) => [messageId, outcome])).toEqual([
    ['n1', 'applied'],
    ['n2', 'applied'],
    ['n3', 'applied'],
  ]);
}

interface BadUnderItsKey {
  name: string;
  code: ErrorCode;
  /** Part of the reason. */
  reason: string;
  spoil(message: Raw): Partial<Raw>;
  /** The id under which it is recorded; default: its own. */
  id?: RegExp;
}

const withBody = (body: Buffer | unknown) => (): Partial<Raw> => ({ body });
const withProperty =
  (name: string, value: string | number | boolean) =>
  ({ applicationProperties }: Raw): Partial<Raw> => ({
    applicationProperties: { ...applicationProperties, [name]: value },
  });
const ofDelivery = /^delivery:[0-9a-f]{32}$/;

const badUnderTheirKey: BadUnderItsKey[] = [
  {
    name: 'a body that is not JSON',
    code: 'CVY_BODY_NOT_JSON',
    reason: 'not JSON',
    spoil: withBody(Buffer.from('{"amount":')),
  },
  {
    name: 'an empty body',
    code: 'CVY_BODY_NOT_JSON',
    reason: 'not JSON',
    spoil: withBody(Buffer.alloc(0)),
  },
  {
    name: 'a body that is not UTF-8',
    code: 'CVY_BODY_NOT_UTF8',
    reason: 'UTF-8',
    spoil: withBody(Buffer.from([0x22, 0xc3, 0x28, 0x22])),
  },
  {
    name: 'a body against the schema',
    code: 'CVY_SCHEMA',
    reason: 'amount',
    spoil: withBody({ amount: -1 }),
  },
  ...[42, null, [], 'text'].map((body) => ({
    name: `a body that is JSON and no object: ${JSON.stringify(body)}`,
    code: 'CVY_SCHEMA' as const,
    reason: 'expected object',
    spoil: withBody(Buffer.from(JSON.stringify(body))),
  })),
  ...[
    ['occurredAt', 'yesterday'],
    ['occurredAt', '2026-01-01T10:00:00'],
    ['occurredAt', '2026-02-31T10:00:00Z'],
    ['occurredAt', 1_767_225_600_000],
    ['schemaVersion', 'two'],
    ['schemaVersion', 0],
    ['schemaVersion', 1.5],
    ['senderPosition', -1],
    ['senderPosition', 'first'],
  ].map(([name, value]) => ({
    name: `${name} = ${JSON.stringify(value)}`,
    code: 'CVY_ENVELOPE' as const,
    reason: String(name),
    spoil: withProperty(String(name), value as string | number),
  })),
  {
    name: 'a type of 129 characters',
    code: 'CVY_ENVELOPE',
    reason: 'type',
    spoil: withProperty('convoyType', 't'.repeat(129)),
  },
  ...['', 'i'.repeat(1025), 17].map((id) => ({
    name: `convoyMessageId = ${JSON.stringify(id).slice(0, 20)}`,
    code: 'CVY_ID_INVALID' as const,
    reason: 'convoyMessageId',
    spoil: withProperty('convoyMessageId', id),
    id: ofDelivery,
  })),
];

describe('recorded as invalid in its place under its key', () => {
  test.each(badUnderTheirKey)('$name: $code', async ({ code, reason, spoil, id = /^bad$/ }) => {
    const key = nextKey();
    const bad = raw(key, 'bad', 'OrderPaid');
    const [n1, n2, n3] = neighbour(key);

    await send(
      raw(key, 'm1', 'OrderPlaced'),
      n1,
      { ...bad, ...spoil(bad) },
      n2,
      raw(key, 'm3', 'OrderPaid'),
      raw(key, 'm4', 'OrderShipped'),
      n3,
    );

    const seen = await settled(key, 4);
    expect(seen.map(({ position, outcome }) => [position, outcome])).toEqual([
      [1, 'applied'],
      [2, 'invalid'],
      [3, 'applied'],
      [4, 'applied'],
    ]);
    expect(seen[1]).toMatchObject({ code, remedy: errorRegistry[code].remedy });
    expect(seen[1]?.reason).toContain(reason);
    expect(seen[1]?.messageId).toMatch(id);
    const { state, hold } = await api.show('orders', key);
    expect(state).toMatchObject({ status: 'shipped', steps: ['m1', 'm3', 'm4'] });
    expect(hold.kind).toBe('none');
    await expectNeighbourServed(key);
  });

  test('what is no text is kept byte by byte', async () => {
    const key = nextKey();
    const body = Buffer.from([0x22, 0xc3, 0x28, 0x22]);

    await send({ ...raw(key, 'bad', 'OrderPaid'), body });

    expect(await settled(key, 1)).toMatchObject([
      { outcome: 'invalid', body: null, bodyBase64: body.toString('base64') },
    ]);
  });
});

interface BadWithoutKey {
  name: string;
  code: ErrorCode;
  reason: string;
  spoil(message: Raw): Partial<Raw>;
  /** The session id, where any will not do. */
  session?: string;
}

const without = ({ applicationProperties }: Raw, name: string): Raw['applicationProperties'] =>
  Object.fromEntries(Object.entries(applicationProperties).filter(([other]) => other !== name));

const badWithoutKey: BadWithoutKey[] = [
  {
    name: 'an empty convoyKey',
    code: 'CVY_KEY_MISSING',
    reason: 'convoyKey is empty',
    spoil: withProperty('convoyKey', ''),
  },
  ...['4200', '1e5', 'true', '12345678901234567890', '{"A":1}'].map((text) => ({
    name: `session id ${text} alone, of which the host makes something else`,
    code: 'CVY_KEY_AMBIGUOUS' as const,
    reason: 'the host made',
    session: text,
    spoil: (message: Raw) => ({ applicationProperties: without(message, 'convoyKey') }),
  })),
  {
    name: 'a convoyKey that is not the session id',
    code: 'CVY_KEY_MISMATCH',
    reason: "convoyKey 'another'",
    spoil: withProperty('convoyKey', 'another'),
  },
  {
    name: 'a convoyKey of 129 characters',
    code: 'CVY_KEY_INVALID',
    reason: '129 characters',
    spoil: withProperty('convoyKey', 'k'.repeat(129)),
  },
  {
    name: 'a convoyKey with a line feed',
    code: 'CVY_KEY_INVALID',
    reason: 'control characters',
    spoil: withProperty('convoyKey', 'a\nb'),
  },
  {
    name: 'a convoyKey that is a number',
    code: 'CVY_KEY_INVALID',
    reason: 'not text',
    spoil: withProperty('convoyKey', 4711),
  },
  {
    name: 'a session id with a tab and no convoyKey',
    code: 'CVY_KEY_INVALID',
    reason: 'control characters',
    session: 'tab\t',
    spoil: (message) => ({ applicationProperties: without(message, 'convoyKey') }),
  },
];

interface Quarantined {
  code: string;
  reason: string;
  remedy: string;
  messageId: string;
  sessionId: string;
  bodyBase64: string;
  applicationProperties: Record<string, unknown>;
}

describe('without a usable key: quarantined and completed', () => {
  test.each(badWithoutKey)('$name: $code', async ({ code, reason, spoil, session }) => {
    const inSession = session ?? nextKey();
    // Its followers are in the same session, wherever that can be a key.
    const key = keyFault(inSession) === undefined ? inSession : nextKey();
    const id = `quarantined-${++ids}`;
    const bad = { ...raw(inSession, id, 'OrderPaid'), body: { amount: 5, id } };
    const [n1, n2, n3] = neighbour(id);

    await send(
      n1,
      { ...bad, ...spoil(bad) },
      n2,
      raw(key, 'm1', 'OrderPlaced'),
      raw(key, 'm2', 'OrderPaid'),
      n3,
    );

    const seen = await settled(key, 2);
    expect(seen.map(({ messageId, outcome }) => [messageId, outcome])).toEqual([
      ['m1', 'applied'],
      ['m2', 'applied'],
    ]);
    await expectNeighbourServed(id);
    const listed = await api.get<{ items: Quarantined[] }>('/quarantine/orders?limit=500');
    const found = listed.items.filter(({ messageId }) => messageId === id);
    expect(found).toMatchObject([{ code, remedy: errorRegistry[code].remedy }]);
    expect(found[0]?.reason).toContain(reason);
    const kept = Buffer.from(found[0]?.bodyBase64 ?? '', 'base64').toString();
    expect(JSON.parse(kept)).toEqual({ amount: 5, id });
    expect(found[0]?.applicationProperties).toMatchObject({ convoyMessageId: id });
  });

  test('the same session ids with a convoyKey are keys like any other', async () => {
    const odd = ['42', '2e5', 'false', '98765432109876543210', '{"B":2}'];

    await send(...odd.map((key) => raw(key, 'm1', 'OrderPlaced')));

    for (const key of odd) expect(await settled(key, 1)).toMatchObject([{ outcome: 'applied' }]);
    const listed = await api.list<{ key: string }>('/convoys?convoy=orders');
    expect(listed.map(({ key }) => key)).toEqual(expect.arrayContaining(odd));
  });
});

describe('a message id that the host has changed', () => {
  test('CVY_ID_AMBIGUOUS: a warning, no dedup, and still processed', async () => {
    const key = nextKey();
    const said = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const plain = (type: string, messageId: string): ServiceBusMessage => {
      const message = raw(key, 'x', type);
      return { ...message, messageId, applicationProperties: without(message, 'convoyMessageId') };
    };

    // Apart only in the last digit, which a JavaScript number does not hold.
    await send(
      plain('OrderPlaced', '12345678901234567890'),
      plain('OrderPaid', '12345678901234567891'),
      plain('OrderShipped', 'true'),
    );

    const seen = await settled(key, 3);
    expect(seen.map(({ outcome }) => outcome)).toEqual(['applied', 'applied', 'applied']);
    for (const { messageId } of seen) expect(messageId).toMatch(ofDelivery);
    const warnings = said.mock.calls.filter(([line]) => String(line).includes('CVY_ID_AMBIGUOUS'));
    said.mockRestore();
    expect(warnings).toHaveLength(3);
  });
});

describe('dead-lettered before intake saw it', () => {
  test('recorded under its key with its bytes, and its followers go on', async () => {
    const key = nextKey();
    const body = Buffer.from([0xff, 0x00, 0x7b]);
    const foreign = await queues.client.acceptSession('orders', key);
    await send({ ...raw(key, 'dead', 'OrderPlaced'), body }, raw(key, 'm1', 'OrderPlaced'));
    const [first] = await foreign.receiveMessages(1);
    if (!first) throw new Error('the session is empty');

    await foreign.deadLetterMessage(first, {
      deadLetterReason: 'by hand',
      deadLetterErrorDescription: 'a test',
    });
    await foreign.close();

    expect(await settled(key, 1)).toMatchObject([{ messageId: 'm1', outcome: 'applied' }]);
    const path = `/convoys/orders/${key}/messages?outcome=deadLettered`;
    const timer = `${stack.url}/admin/functions/dead-letter`;
    await fetch(timer, {
      method: 'POST',
      body: '{}',
      headers: { 'content-type': 'application/json' },
    });
    const dead = await until(
      () => api.list<MessageSeen>(path),
      (seen) => seen.length > 0,
    );
    expect(dead).toMatchObject([
      { messageId: 'dead', body: null, bodyBase64: body.toString('base64') },
    ]);
    expect(dead[0]?.reason).toContain('by hand');
  });
});

describe('after all this', () => {
  test('the input queue and its dead-letter queue are empty', async () => {
    await until(() => queues.isEmpty('orders'), Boolean);

    expect(await queues.peek('orders')).toEqual([]);
    expect(await queues.peek('orders', { from: 'deadLetter' })).toEqual([]);
  });
});
