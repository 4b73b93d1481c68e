// Whatever an AMQP client can put into a message, and whatever a host could make of it: intake gets
// one message to admit or one to quarantine, never a throw, and both can be stored as they are.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { adaptMessage } from '../../infra/local/host/service-bus-adapter.ts';
import type { TypedData } from '../../infra/local/host/rpc.ts';
import {
  type MessageToAdmit,
  hostParsed,
  lowerFirst,
  parseEnvelope,
} from '../../shared/envelope.ts';
import { ConvoyError } from '../../shared/errors.ts';
import { keyFault } from '../../shared/keys.ts';
import { stamp } from '../../shared/outgoing.ts';
import {
  anyBody,
  anyText,
  anyValue,
  isUnpolluted,
  nastyBodies,
  nastyText,
  runs,
} from './hostile.ts';

const metadata = fc.record(
  {
    sessionId: anyValue,
    messageId: anyValue,
    subject: anyValue,
    label: anyValue,
    enqueuedTime: anyValue,
    sequenceNumber: anyValue,
    applicationProperties: fc.oneof(
      anyValue,
      fc.record(
        {
          convoyKey: anyValue,
          convoyMessageId: anyValue,
          convoyType: anyValue,
          schemaVersion: anyValue,
          senderPosition: anyValue,
          occurredAt: anyValue,
          traceparent: anyValue,
          'diagnostic-Id': anyValue,
        },
        { requiredKeys: [] },
      ),
    ),
  },
  { requiredKeys: [] },
);

/** Every text inside is well-formed, and short enough for one item beside the body. */
function assertStorable(value: unknown): void {
  expect(JSON.parse(JSON.stringify(value))).toEqual(value);
  const { bodyText: _, bodyBase64: __, ...rest } = value as Record<string, unknown>;
  const texts: string[] = [];
  const text = JSON.stringify(rest, (_name, one: unknown) => {
    if (typeof one === 'string') texts.push(one);
    return one;
  });
  expect(texts.filter((one) => !one.isWellFormed())).toEqual([]);
  expect(text.length).toBeLessThan(12_000);
}

test('parseEnvelope is total, and what it gives can be stored', () => {
  const property = fc.property(metadata, anyBody, (given, body) => {
    const parsed = parseEnvelope({ body, metadata: given });
    if (parsed.kind === 'quarantine') return assertStorable(parsed);
    expect(keyFault(parsed.key)).toBeUndefined();
    expect(parsed.message.type.length).toBeLessThanOrEqual(128);
    expect(parsed.message.messageId.length).toBeLessThanOrEqual(1024);
    assertStorable(parsed.message);
    assertStorable(parsed.warnings);
  });
  fc.assert(property, runs(3_000));
  expect(isUnpolluted()).toBe(true);
});

/** What the worker's library makes of the host's data [functions-host.md 1.6]. */
function bound(data: TypedData): unknown {
  if (data.json !== undefined) return JSON.parse(data.json);
  return hostParsed(data.string ?? '');
}

/** A message as a handler gets it from the host. */
function handed(message: Parameters<typeof adaptMessage>[0]) {
  const { data, triggerMetadata } = adaptMessage(message, 'binary');
  const fields = Object.entries(triggerMetadata).map(([name, one]) => [name, bound(one)]);
  const given = lowerFirst(Object.fromEntries(fields)) as Record<string, unknown>;
  return { body: Buffer.from(data.bytes ?? []), metadata: given };
}

test('what our sender accepts arrives as it was, however it looks', () => {
  const property = fc.property(nastyText, nastyText, nastyText, fc.jsonValue(), (...given) => {
    const [key, id, type, body] = given;
    let message: ReturnType<typeof stamp>;
    try {
      message = stamp(key, { id, type, body });
    } catch (error) {
      expect(error).toBeInstanceOf(ConvoyError); // refused by name, and nothing else
      return;
    }
    const parsed = parseEnvelope(handed(message)) as MessageToAdmit;
    expect(parsed).toMatchObject({ kind: 'message', key, message: { messageId: id, type } });
    expect(parsed.message.fault).toBeUndefined();
    expect(parsed.message.bodyText).toBe(JSON.stringify(body));
  });
  fc.assert(property, runs(1_000));
});

test('without convoyKey no two session ids become one key, but by JSON quotes', () => {
  const property = fc.property(anyText, (sessionId) => {
    const parsed = parseEnvelope(handed({ body: Buffer.from('{}'), sessionId, messageId: 'm' }));
    if (parsed.kind === 'quarantine') return;
    const quoted = hostParsed(sessionId);
    expect(parsed.key).toBe(quoted);
  });
  fc.assert(property, runs(500));
});

describe('a body', () => {
  const codes: Record<string, string | undefined> = {
    'a byte order mark': undefined,
    '128 levels': undefined,
    'brackets in a text': undefined,
    'a prototype': undefined,
    'names of methods': undefined,
    'a name twice': undefined,
    'a lone surrogate': undefined,
    'minus zero': undefined,
    'a number beyond doubles': undefined,
    'twenty digits': undefined,
    '100,000 digits': undefined,
  };
  const notUtf8 = nastyBodies.slice(nastyBodies.findIndex(([name]) => name.startsWith('a stray')));

  test.each(nastyBodies)('%s', (name, body) => {
    const parsed = parseEnvelope({ body, metadata: { sessionId: 'k', messageId: 'm' } });

    const expected = notUtf8.some(([one]) => one === name)
      ? 'CVY_BODY_NOT_UTF8'
      : name in codes
        ? undefined
        : 'CVY_BODY_NOT_JSON';
    const { message } = parsed as MessageToAdmit;
    expect(message.fault?.code).toBe(expected);
    // Nothing of it is lost: as text where it is good, byte by byte where it is not.
    const kept = expected === undefined ? message.bodyText : message.bodyBase64;
    const text = body.toString('utf8').replace(/^\ufeff/, '');
    expect(kept).toBe(expected === undefined ? text : body.toString('base64'));
  });
});

describe('found by these tests', () => {
  const parsed = (given: Record<string, unknown>) =>
    parseEnvelope({ body: Buffer.from('{}'), metadata: { sessionId: 'k', ...given } });

  test('a subject that the host makes an object without text is a fault, not a throw', () => {
    const { message } = parsed({ subject: { toString: 1 }, messageId: 'm' }) as MessageToAdmit;

    expect(message).toMatchObject({ type: '{"toString":1}', fault: { code: 'CVY_ENVELOPE' } });
  });

  test('ids that differ in broken Unicode alone are not the same id', () => {
    const [one, other] = ['\ud800', '\udfff'].map((messageId) => parsed({ messageId }));

    expect(one).toMatchObject({ warnings: [{ code: 'CVY_ID_AMBIGUOUS' }] });
    expect(other).toMatchObject({ warnings: [{ code: 'CVY_ID_AMBIGUOUS' }] });
  });

  test('the id -0 is not the id 0, although the host makes numbers of both', () => {
    const [minus, zero] = [-0, 0].map((messageId) => parsed({ messageId }) as MessageToAdmit);

    expect(zero?.message.messageId).toBe('0');
    expect(minus?.warnings).toMatchObject([{ code: 'CVY_ID_AMBIGUOUS' }]);
  });

  test('our sender refuses a body that the receiving side would', () => {
    let body: unknown = 1;
    for (let level = 0; level < 129; level++) body = [body];

    expect(() => stamp('k', { id: 'm', type: 't', body })).toThrow(/CVY_BODY_NOT_JSON.*128 levels/);
  });
});
