// The message contract, read side: what the host hands over → one message or one quarantine entry.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Received, parseEnvelope } from '../../shared/envelope.ts';
import { errorRegistry } from '../../shared/errors.ts';

const properties = { convoyKey: 'A-17', convoyMessageId: 'm1', convoyType: 'OrderPaid' };

function received(
  change: { body?: Buffer; properties?: object; metadata?: object } = {},
): Received {
  return {
    body: change.body ?? Buffer.from('{"amount":1}'),
    metadata: {
      sessionId: 'A-17',
      messageId: 'broker-id',
      subject: 'Subject',
      sequenceNumber: 7,
      enqueuedTime: '2026-11-20T10:00:00.1234567+00:00',
      applicationProperties: change.properties ?? properties,
      ...change.metadata,
    },
  };
}

test('a stamped message is read as it was sent; convoy properties win over broker fields', () => {
  expect(parseEnvelope(received())).toEqual({
    kind: 'message',
    key: 'A-17',
    message: {
      messageId: 'm1',
      type: 'OrderPaid',
      bodyText: '{"amount":1}',
      schemaVersion: 1,
      occurredAt: Date.parse('2026-11-20T10:00:00.123Z'),
      enqueuedAt: Date.parse('2026-11-20T10:00:00.123Z'),
    },
    sequence: 7,
    warnings: [],
  });
});

test.each([
  ['no key at all', {}, { sessionId: undefined }, 'CVY_KEY_MISSING'],
  ['an empty convoyKey', { convoyKey: '' }, {}, 'CVY_KEY_MISSING'],
  ['a session id the host made a number', {}, { sessionId: 42 }, 'CVY_KEY_AMBIGUOUS'],
  ['a session id the host made an object', {}, { sessionId: { a: 1 } }, 'CVY_KEY_AMBIGUOUS'],
  ['another key than the session', { convoyKey: 'B' }, {}, 'CVY_KEY_MISMATCH'],
  ['a key with a control character', {}, { sessionId: 'a\u0001' }, 'CVY_KEY_INVALID'],
  ['a key of 129 characters', { convoyKey: 'k'.repeat(129) }, {}, 'CVY_KEY_INVALID'],
  ['a convoyKey that is a number', { convoyKey: 17 }, {}, 'CVY_KEY_INVALID'],
] as const)('%s goes to quarantine', (_, propertiesOf, metadata, code) => {
  expect(parseEnvelope(received({ properties: propertiesOf, metadata }))).toMatchObject({
    kind: 'quarantine',
    code,
    sequence: 7,
  });
});

test('a convoyKey that the host parsed in the session id is still the same key', () => {
  const same: [string, unknown][] = [
    ['42', 42],
    ['1e5', 100000],
    ['12345678901234567890', 12345678901234567000],
    ['true', true],
    ['null', null],
    ['{"Order":1}', { order: 1 }],
    ['"quoted"', 'quoted'],
    ['00123', '00123'],
  ];
  for (const [convoyKey, sessionId] of same) {
    const parsed = parseEnvelope(received({ properties: { convoyKey }, metadata: { sessionId } }));
    expect(parsed).toMatchObject({ kind: 'message', key: convoyKey });
  }
});

test('without convoyMessageId a whole number is an id, else the delivery is named', () => {
  const idOf = (messageId: unknown, sequenceNumber = 7) => {
    const metadata = { messageId, sequenceNumber };
    const parsed = parseEnvelope(received({ properties: { convoyKey: 'A-17' }, metadata }));
    return parsed.kind === 'message' ? parsed : undefined;
  };

  expect(idOf(42)?.message.messageId).toBe('42');
  expect(idOf('m-7')?.message.messageId).toBe('m-7');
  const ambiguous = idOf(1e300);
  expect(ambiguous?.warnings[0]?.code).toBe('CVY_ID_AMBIGUOUS');
  expect(idOf(1e300)?.message.messageId).toBe(ambiguous?.message.messageId); // a redelivery
  expect(idOf(1e300, 8)?.message.messageId).not.toBe(ambiguous?.message.messageId);
});

test.each([
  ['a body that is not JSON', { body: Buffer.from('{oops') }, 'CVY_BODY_NOT_JSON'],
  ['an empty body', { body: Buffer.alloc(0) }, 'CVY_BODY_NOT_JSON'],
  ['invalid UTF-8', { body: Buffer.from([0x22, 0xff, 0x22]) }, 'CVY_BODY_NOT_UTF8'],
  [
    'an instant without zone',
    { properties: { occurredAt: '2026-01-01T00:00:00' } },
    'CVY_ENVELOPE',
  ],
  ['31 February', { properties: { occurredAt: '2026-02-31T00:00:00Z' } }, 'CVY_ENVELOPE'],
  ['a schemaVersion of 0', { properties: { schemaVersion: 0 } }, 'CVY_ENVELOPE'],
  ['a senderPosition of 1.5', { properties: { senderPosition: 1.5 } }, 'CVY_ENVELOPE'],
  ['an empty convoyMessageId', { properties: { convoyMessageId: '' } }, 'CVY_ID_INVALID'],
] as const)('%s is recorded under its key with its fault', (_, change, code) => {
  const merged = {
    ...change,
    properties: { ...properties, ...('properties' in change ? change.properties : {}) },
  };

  expect(parseEnvelope(received(merged))).toMatchObject({
    kind: 'message',
    key: 'A-17',
    message: { fault: { code } },
  });
});

test('whatever arrives ends as a message or in quarantine, with a registered code', () => {
  const anything = fc.record({
    sessionId: fc.anything(),
    messageId: fc.anything(),
    subject: fc.anything(),
    sequenceNumber: fc.anything(),
    enqueuedTime: fc.anything(),
    applicationProperties: fc.dictionary(
      fc.constantFrom('convoyKey', 'convoyMessageId', 'convoyType', 'occurredAt', 'schemaVersion'),
      fc.anything(),
    ),
  });
  fc.assert(
    fc.property(anything, fc.uint8Array({ maxLength: 40 }), (metadata, bytes) => {
      const parsed = parseEnvelope({ body: Buffer.from(bytes), metadata });
      const code = parsed.kind === 'quarantine' ? parsed.code : parsed.message.fault?.code;
      expect(code === undefined || code in errorRegistry).toBe(true);
    }),
  );
});
