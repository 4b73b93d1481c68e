// H13 through the real stack: closed windows of many keys become one roll-up on the output queue,
// amended when a key amends its window, and published once however often the timer fires.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../support/doors.ts';
import { Meters } from '../support/meters.ts';

const limit = { timeout: 60_000 };
let meters: Meters;

beforeAll(async () => {
  meters = await Meters.open();
});

afterAll(async () => meters?.[Symbol.asyncDispose]());

interface Body {
  start: string;
  revision: number;
  part: number;
  parts: number;
  contributions: { key: string; sum: number; revision: number }[];
}

async function rolledUp(minute: string): Promise<{ messageId: unknown; body: Body }[]> {
  const seen = await meters.queues.peek('meters-out', { count: 500 });
  return seen
    .filter(({ subject }) => subject === 'window.rolledUp')
    .map(({ messageId, sessionId, body }) => ({ messageId, sessionId, body: body as Body }))
    .filter(({ body }) => body.start === minute);
}

interface Listed {
  start: string;
  state: string;
  revision: number | null;
  keys: number | null;
}

const listed = async (minute: string): Promise<Listed | undefined> =>
  (await meters.api.list<Listed>(`/windows/meters/minute?from=${minute}&to=${minute}`))[0];

/** Fires the timer until the roll-up of this minute is at rest in this revision. */
const published = (minute: string, revision: number) =>
  until(
    async () => {
      await meters.fire('roll-up');
      return listed(minute);
    },
    (seen) => seen?.state === 'published' && (seen.revision ?? -1) >= revision,
  );

describe('H13: roll-ups on the real stack', () => {
  const keys = Array.from({ length: 12 }, (_, i) => `M${i}`);
  const minute = '2026-01-01T00:00:00Z';

  test('all keys of a minute in one batch, published once', limit, async () => {
    for (const [i, key] of keys.entries()) {
      await meters.send(
        meters.reading(key, 'a', { minute: 0, value: i }),
        meters.reading(key, 'b', { minute: 0, value: 100 }),
        meters.reading(key, 'c', { minute: 1, value: 1 }), // closes minute 0
      );
    }
    for (const key of keys) await meters.settled(key, 3);
    const counted = (): Promise<Listed | undefined> => listed(minute);
    await until(counted, (seen) => seen !== undefined);

    // Contributions come while the outboxes are published: the last revision has them all.
    await until(
      async () => {
        await meters.fire('roll-up');
        return listed(minute);
      },
      (seen) => seen?.state === 'published' && seen.keys === keys.length,
    );
    await Promise.all([meters.fire('roll-up'), meters.fire('roll-up')]);

    const parts = await rolledUp(minute);
    const last = parts.at(-1)?.body;
    const sum = keys.reduce((total, _, i) => total + 100 + i, 0);
    expect(last).toMatchObject({ convoy: 'meters', window: 'minute', keys: 12, count: 24, sum });
    expect(last).toMatchObject({ min: 0, max: 100, part: 0, parts: 1, final: true });
    expect(last?.contributions.map(({ key }) => key).sort()).toEqual([...keys].sort());
    expect(new Set(parts.map(({ messageId }) => messageId)).size).toBe(parts.length);
    expect(parts.at(-1)).toMatchObject({
      messageId: `meters:minute:${Date.parse(minute)}:${last?.revision}:0`,
      sessionId: 'meters:minute',
    });
  });

  test(
    'a late reading amends its key and then the roll-up, with the next revision',
    limit,
    async () => {
      const before = await published(minute, 0);
      const revision = (before?.revision ?? 0) + 1;

      await meters.send(meters.reading('M3', 'late', { minute: 0, value: 1_000 }));
      await meters.settled('M3', 4);
      const after = await published(minute, revision);

      expect(after).toMatchObject({ keys: 12, revision });
      const last = (await rolledUp(minute)).at(-1)?.body;
      expect(last?.revision).toBe(revision);
      expect(last?.contributions.find(({ key }) => key === 'M3')).toMatchObject({
        sum: 1_103,
        revision: 1,
      });
    },
  );
});
