// Cardinality many, and topics.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openBusStack, type BusStack, type Seen } from './harness.ts';

let stack: BusStack | undefined;
beforeEach(async () => {
  stack = await openBusStack({}, { app: 'many', settings: { NEWS: 'news' } });
});
afterEach(async () => {
  await stack?.close();
  stack = undefined;
});

const json = (...bodies: unknown[]) => bodies.map((body) => ({ body: JSON.stringify(body) }));
/** The client sends a text as JSON; bytes go as they are. */
const bytes = (...texts: string[]) => texts.map((text) => ({ body: Buffer.from(text) }));
const sizes = (seen: Seen[]): number[] => seen.map((one) => (one.body as unknown[]).length);

describe('a batch', () => {
  test('is an array of parsed bodies, one batch at a time, and is completed', async () => {
    const { bus, send, take } = stack!;
    let running = 0;
    let together = 0;
    bus.act = async () => {
      together = Math.max(together, ++running);
      await new Promise((resolve) => setTimeout(resolve, 20));
      running--;
    };
    await send('json', bytes('{"n":1}', '[2]', '"three"', '4'));
    await send('json', bytes('{"n":5}'));

    await bus.until(() => sizes(bus.seen).reduce((a, b) => a + b, 0) === 5);
    await stack!.host.drain();

    expect(bus.seen.flatMap((one) => one.body)).toEqual([{ n: 1 }, [2], 'three', 4, { n: 5 }]);
    expect(together).toBe(1);
    await send('json', json('last'));
    expect((await take('json', 1)).map(({ body }) => String(body))).toEqual(['"\\"last\\""']);
  });

  test('with one body that is not JSON fails before the handler, as a whole', async () => {
    const { bus, send, take, lines } = stack!;
    await send('json', bytes('{"n":1}', 'no json'));

    const dead = await take('json/$DeadLetterQueue', 2);

    expect(dead.map(({ deadLetterReason }) => deadLetterReason)).toEqual([
      'MaxDeliveryCountExceeded',
      'MaxDeliveryCountExceeded',
    ]);
    expect(bus.seen).toEqual([]);
    expect(lines.join('\n')).toContain("Exception binding parameter 'serviceBusTrigger");
  });

  test("of dataType 'string' loses what is empty, in the metadata too", async () => {
    const { bus, send } = stack!;
    await send('text', [
      { body: Buffer.from('plain'), messageId: 'a', correlationId: 'c' },
      { body: Buffer.alloc(0), messageId: 'b' },
      { body: Buffer.from('5'), messageId: '12345678901234567890' },
    ]);

    await bus.until(() => bus.seen.length > 0 && sizes(bus.seen)[0] === 2);

    const [{ body, triggerMetadata }] = bus.seen as [Seen];
    expect(body).toEqual(['plain', 5]);
    expect(triggerMetadata).toMatchObject({
      messageIdArray: ['a', 'b', 12345678901234567000],
      correlationIdArray: ['c'],
      deliveryCountArray: [1, 1, 1],
      sequenceNumberArray: [{ high: 0, unsigned: false }, {}, {}],
      applicationPropertiesArray: [{}, {}, {}],
      sessionIdArray: [],
    });
    expect((triggerMetadata['enqueuedTimeUtcArray'] as string[])[0]).toMatch(/T[\d:.]+$/);
    expect((triggerMetadata['enqueuedTimeArray'] as string[])[0]).toMatch(/\+00:00$/);
    expect(triggerMetadata).not.toHaveProperty('messageId');
  });

  test('is abandoned as a whole when the handler throws', async () => {
    const { bus, send } = stack!;
    bus.act = (one) => {
      if ((one.triggerMetadata['deliveryCountArray'] as number[])[0] === 1) throw new Error('once');
    };
    await send('text', bytes('a', 'b', 'c'));

    await bus.until(() => bus.seen.some((one) => deliveries(one).every((count) => count === 2)));

    expect(bus.seen.map((one) => one.body)).toEqual([
      ['a', 'b', 'c'],
      ['a', 'b', 'c'],
    ]);
  });
});

const deliveries = (one: Seen): number[] => one.triggerMetadata['deliveryCountArray'] as number[];

describe('batches of sessions', () => {
  test('are of one session each, in order, at most maxMessageBatchSize long', async () => {
    const { bus, send } = stack!;
    const order = (sessionId: string, body: string) => ({ sessionId, body: Buffer.from(body) });
    for (let n = 0; n < 10; n++) {
      await send('orders', [order('a', `a${n}`), order('b', `b${n}`)]);
    }

    await bus.until(() => sizes(bus.seen).reduce((a, b) => a + b, 0) === 20);

    const texts = bus.seen.map((one) => (one.body as Buffer[]).map(String));
    for (const batch of texts) expect(new Set(batch.map((text) => text[0])).size).toBe(1);
    for (const key of ['a', 'b']) {
      const own = texts.flat().filter((text) => text.startsWith(key));
      expect(own).toEqual(Array.from({ length: 10 }, (_, n) => `${key}${n}`));
    }
    expect(Math.max(...sizes(bus.seen))).toBe(4);
  });
});

test('a cardinality that is none is named', () => {
  expect(stack!.lines.join('\n')).toContain(
    "'neither' function is in error: cardinality 'some' is neither 'one' nor 'many'",
  );
});

describe('a topic', () => {
  test('triggers by subscription, in order where that has sessions', async () => {
    const { bus, send } = stack!;
    const texts = ['one', 'two', 'three'];

    for (const body of texts) await send('news', [{ sessionId: 's', body: Buffer.from(body) }]);
    await bus.until(() => bus.seen.length === 6);

    const of = (name: string): Seen[] => bus.seen.filter((one) => one.name === name);
    expect(of('newsOrdered').map(({ body }) => body)).toEqual(texts);
    expect(new Set(of('newsIn').map(({ body }) => body))).toEqual(new Set(texts));
    expect(of('newsOrdered')[0]?.triggerMetadata['sessionId']).toBe('s');
  });

  test('what a subscription gives up comes to its dead-letter trigger', async () => {
    const { bus, send } = stack!;
    bus.act = (one) => {
      if (one.name === 'newsIn') throw new Error('always');
    };

    await send('news', [{ sessionId: 's', body: Buffer.from('poison') }]);
    await bus.until(() => bus.seen.some(({ name }) => name === 'newsDead'));

    expect(bus.seen.filter(({ name }) => name === 'newsIn')).toHaveLength(3);
  });
});
