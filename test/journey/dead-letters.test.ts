// H10 through the real stack: what the broker gave up on, a body that no binding can read included,
// is recorded under its key by the timer, shown there, and replayed in order; nothing loops and
// nothing is lost. So is what came without a key.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ServiceBusSender } from '@azure/service-bus';
import { CosmosFault } from '../../infra/local/cosmos/intercept.ts';
import { toPathKey } from '../../shared/keys.ts';
import { runConvoy, until } from '../support/doors.ts';
import { Meters, type Raw } from '../support/meters.ts';

const limit = { timeout: 20_000 };
let meters: Meters;
let isStoreAway = false;
let refused = 0;
let keys = 0;

beforeAll(async () => {
  meters = await Meters.open({
    intercepts: {
      cosmos: {
        before: ({ kind, operations }) => {
          const isDead = operations?.some((one) =>
            JSON.stringify(one.resourceBody ?? '').includes('"kind":"dead"'),
          );
          if (!isStoreAway || kind !== 'batch' || !isDead) return;
          refused += 1;
          throw new CosmosFault(503);
        },
      },
    },
  });
});

afterAll(async () => meters?.[Symbol.asyncDispose]());

interface DeadSeen {
  messageId: string;
  sequence: number;
  reason: string;
  body: unknown;
  position: number | null;
  replayedAt: string | null;
}

const deadOf = (key: string) =>
  meters.api.list<DeadSeen>(`/convoys/meters/${toPathKey(key)}/messages?outcome=deadLettered`);

const post = (path: string, body: object) =>
  meters.api.call('POST', path, {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

const deadCount = async (): Promise<number> =>
  (await meters.queues.peek('meters', { from: 'deadLetter' })).length;

/** Recorded, and gone from the dead-letter queue. */
async function recorded(key: string, count: number): Promise<DeadSeen[]> {
  return until(
    async () => {
      await meters.fire('dead-letter');
      const { status, body } = await meters.api.call(
        'GET',
        `/convoys/meters/${toPathKey(key)}/messages?outcome=deadLettered`,
      );
      return status === 200 && (await deadCount()) === 0 ? (body.items as DeadSeen[]) : [];
    },
    (seen) => seen.length === count,
    200,
  );
}

/** A foreign receiver takes the messages and dead-letters them before intake sees them. */
async function deadLettered(key: string, ...messages: Raw[]): Promise<void> {
  const foreign = await meters.queues.client.acceptSession('meters', key);
  await meters.send(...messages);
  for (let taken = 0; taken < messages.length;) {
    for (const message of await foreign.receiveMessages(messages.length)) {
      await foreign.deadLetterMessage(message, {
        deadLetterReason: 'by hand',
        deadLetterErrorDescription: 'a test',
      });
      taken += 1;
    }
  }
  await foreign.close();
}

type Sendable = Parameters<ServiceBusSender['sendMessages']>[0];

/** What a JMS client sends as TextMessage: the body is an AMQP value. */
function valueMessage(like: Raw, body: unknown): Sendable {
  return {
    bodyType: 'value',
    body,
    properties: { groupId: like.sessionId ?? '', messageId: String(like.messageId) },
    applicationProperties: like.applicationProperties,
  };
}

describe('H10: a body that no binding can read', () => {
  test('a text value: given up by the broker, recorded, replayed, applied', limit, async () => {
    const key = `V${++keys}`;
    const like = meters.reading(key, 'text', { minute: 0, value: 7 });
    const sender = meters.queues.client.createSender('meters');
    await sender.sendMessages(valueMessage(like, '{"value":7}'));
    await sender.sendMessages(meters.reading(key, 'next', { minute: 0, value: 1 }));
    await sender.close();

    await meters.settled(key, 1);
    const [dead] = await recorded(key, 1);
    const { body: replayed } = await post(`/convoys/meters/${key}/replay`, {
      reason: 'JMS',
      source: 'dead',
    });
    await meters.settled(key, 2);

    expect(dead).toMatchObject({ messageId: 'text', body: { value: 7 }, replayedAt: null });
    expect(dead?.reason).toContain('MaxDeliveryCount');
    expect(replayed.replay).toEqual({ replayed: 1, duplicates: 0, hasMore: false });
    const { state } = await meters.api.show('meters', key);
    expect(state).toEqual({ ids: ['next', 'text'], sum: 8 });
    expect(await deadOf(key)).toMatchObject([{ messageId: 'text', position: 2 }]);
  });

  test('an object value becomes JSON', limit, async () => {
    const key = `V${++keys}`;
    const like = meters.reading(key, 'object', { minute: 0, value: 7 });
    const sender = meters.queues.client.createSender('meters');
    await sender.sendMessages(valueMessage(like, { value: 7 }));
    await sender.close();

    expect(await recorded(key, 1)).toMatchObject([{ messageId: 'object', body: { value: 7 } }]);
  });
});

describe('H10: replay of dead-lettered messages', () => {
  test('by the command line, in their order, once; a repeat finds nothing', limit, async () => {
    const key = `R/${++keys}`;
    const ids = ['m1', 'm2', 'm3', 'm4'];
    const value = 1;
    await deadLettered(key, ...ids.map((id) => meters.reading(key, id, { minute: 0, value })));
    const dead = await recorded(key, 4);

    const flags = ['--reason', 'mended', '--url', meters.stack.url];
    const args = ['replay', 'meters', key, '--dead', '--per-second', '50', ...flags];
    const first = await runConvoy([...args, '--json']);
    await meters.settled(toPathKey(key), 4);
    const second = await runConvoy([...args, '--json']);

    expect(dead.map(({ messageId }) => messageId)).toEqual(ids);
    expect([first.code, second.code]).toEqual([0, 0]);
    expect(JSON.parse(first.stdout).replay).toMatchObject({ replayed: 4, duplicates: 0 });
    expect(JSON.parse(second.stdout).replay).toMatchObject({ replayed: 0, duplicates: 0 });
    expect((await meters.api.show('meters', key)).state).toEqual({ ids, sum: 4 });
  });

  test('what the operator saw has changed: 409, nothing is replayed', limit, async () => {
    const key = `R${++keys}`;
    await deadLettered(key, meters.reading(key, 'm1', { minute: 0, value: 1 }));
    await recorded(key, 1);

    const answer = await post(`/convoys/meters/${key}/replay`, {
      reason: 'mended',
      source: 'dead',
      expectedCursor: 3,
    });

    expect([answer.status, answer.body.code]).toEqual([409, 'CVY_CONFLICT']);
    expect(await deadOf(key)).toMatchObject([{ replayedAt: null }]);
  });
});

test('H10: while the store is away nothing is lost and nothing loops', limit, async () => {
  const key = `S${++keys}`;
  await deadLettered(key, meters.reading(key, 'm1', { minute: 0, value: 1 }));
  isStoreAway = true;
  for (let looks = 0; looks < 3; looks += 1) await meters.fire('dead-letter');
  await until(
    () => refused,
    (n) => n > 0,
  );
  expect(await deadCount()).toBe(1);
  isStoreAway = false;

  expect(await recorded(key, 1)).toMatchObject([{ messageId: 'm1' }]);
  expect(refused).toBeLessThanOrEqual(3); // once per look at most
});

test('a quarantined message is listed and replayed under the key it lacked', limit, async () => {
  const key = `Q${++keys}`;
  const { applicationProperties, ...rest } = meters.reading('4711', 'm1', { minute: 0, value: 5 });
  const { convoyKey: _, ...withoutKey } = applicationProperties;
  await meters.send({ ...rest, applicationProperties: withoutKey });
  const at = ['--url', meters.stack.url, '--json'];
  const list = async () => {
    const { stdout } = await runConvoy(['quarantine', 'list', 'meters', ...at]);
    return JSON.parse(stdout).items as { id: string; code: string; replayedKey: string | null }[];
  };
  const [found] = await until(list, (items) => items.length > 0);

  const args = ['quarantine', 'replay', 'meters', found?.id ?? '', '--key', key];
  const done = await runConvoy([...args, '--reason', 'the meter is known', ...at]);
  await meters.settled(key, 1);
  const again = await runConvoy([...args, '--reason', 'twice', ...at]);

  expect(found).toMatchObject({ code: 'CVY_KEY_AMBIGUOUS', replayedKey: null });
  expect(JSON.parse(done.stdout)).toMatchObject({ key, messageId: 'm1', position: 1 });
  expect(JSON.parse(again.stdout)).toMatchObject({ position: 1, isDuplicate: true });
  expect((await meters.api.show('meters', key)).state).toEqual({ ids: ['m1'], sum: 5 });
  expect(await list()).toMatchObject([{ replayedKey: key }]);
});
