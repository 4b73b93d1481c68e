// D2: a dead letter read by our own client becomes the same message that intake would have made.
import type { ServiceBusReceivedMessage } from '@azure/service-bus';
import { expect, test } from 'vitest';
import { deadLetterOf } from '../../shared/dead-letters.ts';
import { parseEnvelope } from '../../shared/envelope.ts';

const enqueuedTimeUtc = new Date('2026-01-01T00:00:00.123Z');

function received(changes: Partial<ServiceBusReceivedMessage>): ServiceBusReceivedMessage {
  const message = {
    body: Buffer.from('{"n":1}'),
    messageId: 'm',
    sessionId: 'k',
    subject: 'Put',
    enqueuedTimeUtc,
    enqueuedSequenceNumber: 41,
    deadLetterReason: 'gave up',
    deadLetterErrorDescription: 'at last',
    ...changes,
  };
  return message as unknown as ServiceBusReceivedMessage;
}

const parsed = (changes: Partial<ServiceBusReceivedMessage> = {}) =>
  parseEnvelope(deadLetterOf(received(changes)).received);

/** What the host hands to intake for the same message. */
const atIntake = (metadata: Record<string, unknown>, body = '{"n":1}') =>
  parseEnvelope({
    body: Buffer.from(body),
    metadata: { enqueuedTime: '2026-01-01T00:00:00.123+00:00', sequenceNumber: 41, ...metadata },
  });

test('the number is the one of the queue it came from, the reason the one of the broker', () => {
  expect(parsed()).toMatchObject({ kind: 'message', key: 'k', sequence: 41 });
  expect(deadLetterOf(received({})).reason).toBe('gave up: at last');
});

test.each<[string, Partial<ServiceBusReceivedMessage>, Record<string, unknown>]>([
  ['plain fields', {}, { sessionId: 'k', messageId: 'm', subject: 'Put' }],
  [
    'an id that the host changes',
    { messageId: '12345678901234567891' },
    { sessionId: 'k', messageId: 12345678901234567000, subject: 'Put' },
  ],
  [
    'a key that the host changes, with convoyKey',
    { sessionId: '1e5', applicationProperties: { convoyKey: '1e5', convoyMessageId: '7' } },
    {
      ...{ sessionId: 100000, messageId: 'm', subject: 'Put' },
      applicationProperties: { convoyKey: '1e5', convoyMessageId: '7' },
    },
  ],
  [
    'names with a capital',
    { applicationProperties: { 'Diagnostic-Id': '00-1', ConvoyType: 'T' } },
    {
      ...{ sessionId: 'k', messageId: 'm', subject: 'Put' },
      applicationProperties: { 'diagnostic-Id': '00-1', convoyType: 'T' },
    },
  ],
  ['no usable key', { sessionId: '42' }, { sessionId: 42, messageId: 'm', subject: 'Put' }],
])('%s: the same as at intake', (_, changes, metadata) => {
  expect(parsed(changes)).toEqual(atIntake(metadata));
});

test.each<[string, unknown, object]>([
  ['a text value that is JSON', '{"n":2}', { bodyText: '{"n":2}' }],
  ['an object value', { n: 3 }, { bodyText: '{"n":3}' }],
  ['a number value', 4, { bodyText: '4' }],
  ['a list of a sequence', [[1, 2]], { bodyText: '[[1,2]]' }],
  ['bytes', Uint8Array.from([0x7b, 0x7d]), { bodyText: '{}' }],
  ['a text value that is none', 'plain', { fault: { code: 'CVY_BODY_NOT_JSON' } }],
  ['no body', undefined, { fault: { code: 'CVY_BODY_NOT_JSON' } }],
  ['what JSON cannot hold', 5n, { bodyText: '5' }],
])('%s', (_, body, expected) => {
  expect(parsed({ body })).toMatchObject({ kind: 'message', message: expected });
});
