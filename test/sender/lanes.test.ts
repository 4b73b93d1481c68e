// The sender and the lanes of split keys: which session and queue, and never by an old layout.
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { ServiceBusClient } from '@azure/service-bus';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseNamespaceConfig, startBroker } from '../../infra/local/broker/broker.ts';
import type { Broker } from '../../infra/local/broker/broker.ts';
import { virtualClock } from '../../shared/clock.ts';
import { brokerMessageId } from '../../shared/keys.ts';
import { type LaneLayout, laneOf } from '../../shared/lanes.ts';
import { createLayoutBook } from '../../shared/sender-lanes.ts';
import { type KeyedMessage, createSender, lanesFrom } from '../../shared/sender.ts';

const layoutOf = (...counts: number[]): LaneLayout => ({
  refreshSeconds: 60,
  all: counts.map((count, i) => ({ count, queue: i === 0 ? 'hot' : `hot-${i + 1}` })),
  keys: {},
});

describe('N4, N5: the book of layouts', () => {
  function openBook() {
    const clock = virtualClock();
    const asked: number[] = [];
    const answers: (LaneLayout | Error)[] = [];
    const world = { clock, asked, answers, delayMs: 0 };
    const book = createLayoutBook(async () => {
      asked.push(clock.now());
      const answer = answers.shift() ?? layoutOf(2);
      if (world.delayMs > 0) await clock.advance(world.delayMs);
      if (answer instanceof Error) throw answer;
      return answer;
    }, clock);
    return { ...world, book, world };
  }

  test('a layout is asked for once, again at half of its time, beside the sending', async () => {
    const { book, clock, asked, answers } = openBook();
    answers.push(layoutOf(2), layoutOf(2, 4));

    await book.pin('hot');
    await clock.advance(29_000);
    const before = await book.pin('hot');
    await clock.advance(2_000);
    const meanwhile = await book.pin('hot');
    await clock.advance(1);
    const after = await book.pin('hot');

    expect(asked).toHaveLength(2);
    expect([before, meanwhile, after].map(({ layout }) => layout.all.length)).toEqual([1, 1, 2]);
    expect(after.until).toBe(clock.now() + 60_000);
  });

  test('nobody sends by a layout that could not be refreshed in time', async () => {
    const { book, clock, answers } = openBook();
    answers.push(layoutOf(2), new Error('away'), new Error('away'));
    await book.pin('hot');
    await clock.advance(59_000);
    await book.pin('hot'); // the refresh beside it fails, the layout still holds

    await clock.advance(1_000);

    await expect(book.pin('hot')).rejects.toThrow(/CVY_LANES_STALE.*away/);
    await expect(book.pin('hot')).resolves.toMatchObject({ layout: { refreshSeconds: 60 } });
  });

  test('its time begins with the question, not with the answer', async () => {
    const { book, clock, asked, world } = openBook();
    world.delayMs = 50_000;
    await book.pin('hot');
    world.delayMs = 0;

    await clock.advance(10_000);
    await book.pin('hot');

    expect(asked).toHaveLength(2);
    world.delayMs = 61_000;
    await clock.advance(120_000);
    await expect(book.pin('hot')).rejects.toThrow(/CVY_LANES_STALE.*took too long/);
  });
});

describe('lanesFrom', () => {
  test('asks the API of the app, with its key, and takes nothing else for a layout', async () => {
    const seen: string[] = [];
    const answers = [JSON.stringify(layoutOf(3)), '{"all": 3}', 'no'];
    const server = createServer((request, response) => {
      seen.push(`${request.url} ${String(request.headers['x-functions-key'])}`);
      response.end(answers.shift());
    }).listen(0);
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const source = lanesFrom(url, { code: 'secret' });

    expect(await source('hot')).toEqual(layoutOf(3));
    await expect(source('hot')).rejects.toThrow(/CVY_UNREACHABLE/);
    await expect(source('hot')).rejects.toThrow(/CVY_UNREACHABLE/);
    expect(seen[0]).toBe('/api/lanes/hot secret');
    server.closeAllConnections();
    server.close();
  });
});

describe('on a broker', () => {
  let broker: Broker;
  beforeAll(async () => {
    const queues = ['hot', 'hot-2', 'plain', 'moved'];
    const Queues = queues.map((Name) => ({ Name, Properties: { RequiresSession: true } }));
    const Namespaces = [{ Name: 'sbemulatorns', Queues, Topics: [] }];
    const config = parseNamespaceConfig({ UserConfig: { Namespaces } });
    broker = await startBroker({ config, file: ':memory:', port: 0 });
  });
  afterAll(() => broker.close());

  const peek = async (queue: string) => {
    const client = new ServiceBusClient(broker.connectionString);
    const messages = await client.createReceiver(queue).peekMessages(100);
    await client.close();
    return messages.map(({ sessionId, messageId, applicationProperties = {} }) => {
      const { convoyKey, convoyLaneKey, convoyMessageId } = applicationProperties;
      return { sessionId, messageId, convoyKey, convoyLaneKey, id: convoyMessageId };
    });
  };
  const open = (layout: () => LaneLayout) =>
    createSender({ connectionString: broker.connectionString }, { lanes: async () => layout() });
  const message = (id: string, laneKey?: string) => ({ id, type: 'Put', body: {}, laneKey });

  test('a message goes to the lane of its lane key in the newest generation', async () => {
    await using sender = open(() => layoutOf(2, 4));

    await sender.send('hot', 'K~', [message('1', 'a'), message('2', 'b'), message('3')]);

    const sessions = ['a', 'b', undefined].map((laneKey) => `K~~~2.${laneOf(laneKey, 4)}`);
    expect(await peek('hot-2')).toEqual(
      sessions.map((sessionId, i) => ({
        ...{ sessionId, convoyKey: sessionId, id: `${i + 1}` },
        messageId: brokerMessageId(sessionId, `${i + 1}`),
        convoyLaneKey: ['a', 'b', undefined][i],
      })),
    );
    expect(await peek('hot')).toEqual([]);
  });

  test('a stream follows a key to another queue, in order', async () => {
    let layout = layoutOf();
    await using sender = open(() => ({ ...layout, refreshSeconds: 0.5 }));
    async function* stream(): AsyncGenerator<KeyedMessage> {
      yield { key: 'K', ...message('1', 'a') };
      await new Promise((resolve) => setTimeout(resolve, 600));
      layout = { ...layout, all: [{ count: 1, queue: 'moved' }] };
      yield { key: 'K', ...message('2', 'a') };
      yield { key: 'K', ...message('3', 'a') };
    }

    expect(await sender.sendAll('plain', stream())).toEqual({ sent: 3 });

    expect((await peek('plain')).map(({ id, sessionId }) => [id, sessionId])).toEqual([['1', 'K']]);
    expect((await peek('moved')).map(({ id, sessionId }) => [id, sessionId])).toEqual([
      ['2', 'K~1.0'],
      ['3', 'K~1.0'],
    ]);
  });

  test('a key that cannot be one beside lanes is refused; nothing is sent', async () => {
    await using sender = open(() => layoutOf(2));
    const long = 'k'.repeat(126);

    await expect(sender.send('hot', 'A~1.0', message('1'))).rejects.toThrow(
      /CVY_KEY_INVALID.*lane/,
    );
    await expect(sender.send('hot', long, message('1'))).rejects.toThrow(/CVY_KEY_INVALID.*130/);
    const wrong = { ...message('2'), laneKey: '' };
    await expect(sender.send('hot', 'K', [message('1'), wrong])).rejects.toThrow(/CVY_ENVELOPE/);
    expect(await peek('hot')).toEqual([]);
  });

  test('without a layout nothing is sent', async () => {
    await using sender = open(() => {
      throw new Error('away');
    });

    await expect(sender.send('hot', 'K', message('1'))).rejects.toThrow(/CVY_LANES_STALE/);
    expect(await peek('hot')).toEqual([]);
  });
});
