// Bytes in, bytes out: the sender's part untouched, the broker's part in the clients' types.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Deadlines } from '../../infra/local/broker/deadlines.ts';
import { Lane } from '../../infra/local/broker/lane.ts';
import { encodeMessage, parseMessage, withProperties } from '../../infra/local/broker/message.ts';
import * as wire from '../../infra/local/broker/wire.ts';

const nothing = wire.encodeNull;
const noStamp = (): string => 'stamped';

function message(values: Buffer[]): Buffer {
  const nulls = Array.from({ length: 8 }, () => nothing);
  const [id, correlation] = [wire.encodeString('m1'), wire.encodeUuid(Buffer.alloc(16, 7))];
  const list = [id, nothing, nothing, nothing, nothing, correlation, ...nulls.slice(4)];
  const properties = wire.encodeList([...list, wire.encodeString('A')]);
  const application = values.flatMap((value, index) => [wire.encodeString(`p${index}`), value]);
  return Buffer.concat([
    wire.encodeSection(0x73, properties),
    wire.encodeSection(0x74, wire.encodeMap(application)),
    wire.encodeSection(0x75, wire.encodeBinary(Buffer.from('body'))),
  ]);
}

const value = fc.oneof(
  fc.boolean().map(wire.encodeBoolean),
  fc.string({ maxLength: 300 }).map(wire.encodeString),
  fc.integer().map(wire.encodeInt),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(wire.encodeLong),
  fc.double().map(wire.encodeDouble),
  fc.uint8Array({ maxLength: 300 }).map(wire.encodeBinary),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map(wire.encodeUuid),
  fc.date({ noInvalidDate: true }).map((date) => wire.encodeTimestamp(date.getTime())),
);

const facts = {
  sequence: 5,
  enqueuedSequence: 3,
  enqueuedAt: 1_000,
  deliveryCount: 2,
  ttlMs: 60_000,
  source: 'orders',
  lockedUntil: 9_000,
};

describe('a message', () => {
  test('M1: the bare bytes come out as they went in', () => {
    fc.assert(
      fc.property(fc.array(value, { maxLength: 8 }), (values) => {
        const bytes = message(values);

        const parsed = parseMessage(bytes, noStamp);
        const delivered = encodeMessage(facts, parsed);

        expect(parsed).toMatchObject({ messageId: 'm1', sessionId: 'A', bare: bytes });
        expect(delivered.subarray(-bytes.length)).toEqual(bytes);
      }),
    );
  });

  test('M2: annotations have the types that the .NET client casts', () => {
    const bytes = encodeMessage(facts, parseMessage(message([]), noStamp));

    const section = wire.sectionsOf(bytes).find((candidate) => candidate.code === 0x72);
    const codes = [...wire.mapOffsets(bytes, section?.value ?? 0)].map(([name, at]) => [
      name,
      bytes[at],
    ]);
    expect(Object.fromEntries(codes)).toEqual({
      'x-opt-sequence-number': 0x81,
      'x-opt-enqueue-sequence-number': 0x81,
      'x-opt-enqueued-time': 0x83,
      'x-opt-locked-until': 0x83,
      'x-opt-deadletter-source': 0xa1,
    });
  });

  test('M3: a sender cannot forge the annotations of the broker', () => {
    const forged = wire.encodeMap([
      wire.encodeSymbol('x-opt-sequence-number'),
      wire.encodeLong(99),
      wire.encodeSymbol('x-opt-partition-key'),
      wire.encodeString('A'),
    ]);
    const bytes = Buffer.concat([wire.encodeSection(0x72, forged), message([])]);

    const delivered = encodeMessage(facts, parseMessage(bytes, noStamp));

    const section = wire.sectionsOf(delivered).find((candidate) => candidate.code === 0x72);
    const annotations = wire.decode(delivered, section?.value ?? 0);
    expect(annotations).toBeInstanceOf(Map);
    expect(annotations instanceof Map && annotations.get('x-opt-sequence-number')).toBe(5);
    expect(annotations instanceof Map && annotations.get('x-opt-partition-key')).toBe('A');
  });

  test('a settlement adds and replaces properties, nothing else', () => {
    const bare = message([wire.encodeInt(1), wire.encodeInt(2)]);

    const changed = withProperties(bare, [
      { name: 'p1', value: wire.encodeString('new') },
      { name: 'added', value: wire.encodeLong(3) },
    ]);

    const section = wire.sectionsOf(changed).find((candidate) => candidate.code === 0x74);
    expect(wire.decode(changed, section?.value ?? 0)).toEqual(
      new Map<string, wire.Decoded>([
        ['p0', 1],
        ['p1', 'new'],
        ['added', 3],
      ]),
    );
    expect(parseMessage(changed, noStamp).messageId).toBe('m1');
  });

  test('cut or garbled bytes are refused, never read beyond their end', () => {
    const bytes = message([wire.encodeString('x'.repeat(300))]);
    for (let length = 1; length < bytes.length; length++) {
      const cut = bytes.subarray(0, length);
      const ends = wire.sectionsOf(bytes).map((section) => section.end);
      if (!ends.includes(length)) expect(() => parseMessage(cut, noStamp)).toThrow(RangeError);
    }
  });
});

test('deadlines come in order and dead ones never', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(1_000), fc.boolean())), (entries) => {
      const lane = new Lane(null);
      const deadlines = new Deadlines((_lane, index) => entries[index]?.[1] === true);
      for (const [index, [at]] of entries.entries()) deadlines.add(at, { lane, sequence: index });

      const seen: number[] = [];
      for (let due = deadlines.takeDue(1_000); due; due = deadlines.takeDue(1_000)) {
        seen.push(entries[due.sequence]?.[0] ?? -1);
      }

      const expected = entries.filter(([, lives]) => lives).map(([at]) => at);
      expect(seen).toEqual(expected.toSorted((a, b) => a - b));
    }),
  );
});
