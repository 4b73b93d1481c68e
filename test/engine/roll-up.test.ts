// H13: what leaves for the output queue: parts within the broker's limit, one content per revision,
// and nothing where contributions may be gone.
import { describe, expect, test } from 'vitest';
import { virtualClock } from '../../shared/clock.ts';
import { defineConvoy } from '../../shared/convoy/definition.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import { publishRollUps, type RollUpPart } from '../../shared/engine/roll-up-publish.ts';
import { contributeOutputs } from '../../shared/engine/roll-up.ts';
import { createLog } from '../../shared/log.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import type { ConvoyStore } from '../../shared/store/store.ts';
import { z } from 'zod';
import { closedOutput } from '../simulation/roll-up-history.ts';

const retentionSeconds = 3_600;
const definition = defineConvoy({
  name: 'sums',
  schema: z.unknown(),
  initialState: 0,
  apply: () => 0,
  retentionSeconds,
  windows: [
    {
      ...{ name: 'day', kind: 'tumbling', seconds: 600, value: () => 1 },
      rollUp: { delaySeconds: 10 },
    },
  ],
});

function openScene(
  options: { bytesMax?: number; wrap?: (store: ConvoyStore) => ConvoyStore } = {},
) {
  const clock = virtualClock();
  const memory = createMemoryStore({ clock });
  const warned: string[] = [];
  const parts: RollUpPart[] = [];
  const log = createLog('warn', (line) => warned.push(line));
  const store = options.wrap?.(memory) ?? memory;
  const engine = {
    ...{ store, clock, log },
    definitions: new Map([['sums', definition]]),
    limits: { ...defaultLimits, outputBytesMax: options.bytesMax ?? defaultLimits.outputBytesMax },
    publisher: { publishPart: async (_: string, part: RollUpPart) => void parts.push(part) },
  };
  const contribute = (key: string, revision = 0, result?: unknown) => {
    const output = closedOutput(key, revision);
    const body = { ...JSON.parse(output.bodyText), ...(result !== undefined && { result }) };
    const outputs = [{ ...output, bodyText: JSON.stringify(body) }];
    return contributeOutputs({ store, clock, log }, { convoy: 'sums', key, definition }, outputs);
  };
  const tick = () => publishRollUps(engine, clock.now() + 25_000);
  return { clock, memory, warned, parts, contribute, tick };
}

interface Body {
  part: number;
  parts: number;
  keys: number;
  contributions: { key: string; result?: unknown; resultTooLarge?: boolean }[];
}

const bodiesOf = (parts: RollUpPart[]) => parts.map(({ bodyText }) => JSON.parse(bodyText) as Body);
const windowId = 'sums:day:0';

describe('H13: parts', () => {
  test('more parts than are kept, each within the limit, every key once', async () => {
    const bytesMax = 3_000;
    const { clock, parts, contribute, tick } = openScene({ bytesMax });
    const keys = Array.from({ length: 200 }, (_, i) => `key-${i}`);
    for (const key of keys) await contribute(key);
    await clock.advance(10_000);

    expect(await tick()).toEqual({ published: 1, unchanged: 0, failed: 0 });

    const bodies = bodiesOf(parts);
    expect(parts.length).toBeGreaterThan(16);
    for (const { bodyText } of parts) expect(Buffer.byteLength(bodyText)).toBeLessThan(bytesMax);
    expect(bodies.map(({ part }) => part)).toEqual(parts.map((_, i) => i));
    expect(new Set(bodies.map((body) => [body.parts, body.keys].join()))).toEqual(
      new Set([`${parts.length},200`]),
    );
    const listed = bodies.flatMap(({ contributions }) => contributions.map(({ key }) => key));
    expect(listed.sort()).toEqual(keys.sort());
  });

  test('amended between the readings: the revision is given up, the next is whole', async () => {
    let scans = 0;
    let between = async (): Promise<void> => {};
    const wrap = (store: ConvoyStore): ConvoyStore => ({
      ...store,
      async listContributions(id, page) {
        if (page.continuation === undefined && (scans += 1) === 2) await between();
        return store.listContributions(id, page);
      },
    });
    const { clock, parts, contribute, tick } = openScene({ bytesMax: 3_000, wrap });
    for (let i = 0; i < 200; i += 1) await contribute(`key-${i}`);
    between = () => contribute('key-7', 1);
    await clock.advance(10_000);

    expect(await tick()).toMatchObject({ published: 0, failed: 1 });
    const given = new Map(parts.map(({ messageId, bodyText }) => [messageId, bodyText]));
    await clock.advance(60_000);
    expect(await tick()).toMatchObject({ published: 1, failed: 0 });

    const last = parts.filter(({ revision }) => revision === 1);
    expect(last).toHaveLength(last[0]?.parts ?? 0);
    for (const { messageId } of last) expect(given.has(messageId)).toBe(false);
  });

  test('a result comes along; one that no part could hold is said to be left out', async () => {
    const { clock, parts, contribute, tick } = openScene({ bytesMax: 4_000 });
    await contribute('small', 0, { top: 3 });
    await contribute('large', 0, 'x'.repeat(5_000));
    await clock.advance(10_000);
    await tick();

    const listed = bodiesOf(parts).flatMap(({ contributions }) => contributions);
    expect(listed.find(({ key }) => key === 'small')).toMatchObject({ result: { top: 3 } });
    expect(listed.find(({ key }) => key === 'large')).toMatchObject({ resultTooLarge: true });
  });
});

describe('H13: what is due', () => {
  test('nothing before the delay, nothing twice, nothing for a lower revision', async () => {
    const { clock, parts, contribute, tick } = openScene();
    await contribute('a', 2);
    await clock.advance(9_999);
    expect(await tick()).toEqual({ published: 0, unchanged: 0, failed: 0 });
    await clock.advance(1);
    expect(await tick()).toMatchObject({ published: 1 });
    await contribute('a', 1); // a repeat that was overtaken
    await clock.advance(20_000);

    expect(await tick()).toEqual({ published: 0, unchanged: 1, failed: 0 });
    expect(parts.map(({ messageId }) => messageId)).toEqual(['sums:day:0:0:0']);
  });

  test('no amendment where contributions may have expired, and it is said', async () => {
    const { clock, memory, warned, parts, contribute, tick } = openScene();
    await contribute('a');
    await clock.advance(10_000);
    await tick();
    await clock.advance(2 * retentionSeconds * 1000);

    await contribute('b');
    await clock.advance(20_000);
    await tick();

    expect(parts).toHaveLength(1);
    const { found } = await memory.readRollUp(windowId, '');
    expect(found?.item).toMatchObject({ missed: 1, published: 0, dueAt: null });
    expect(warned.join()).toContain('CVY_ROLL_UP_FORGOTTEN');
  });

  test('windows without roll-up and outputs of the handler contribute nothing', async () => {
    const { clock, memory } = openScene();
    const log = createLog('warn', () => undefined);
    const owner = { convoy: 'sums', key: 'a', definition };
    const body = { window: 'other', start: '1970-01-01T00:00:00Z', end: '1970-01-01T01:00:00Z' };
    const output = closedOutput('a', 0);
    await contributeOutputs({ store: memory, clock, log }, owner, [
      { ...output, bodyText: JSON.stringify({ ...body, final: true }) },
      { ...output, type: 'emitted' },
      { ...output, bodyText: 'null' },
    ]);

    expect((await memory.readRollUp(windowId, '')).found).toBeUndefined();
    expect((await memory.readRollUp('sums:other:0', '')).found).toBeUndefined();
  });

  test('without the definition nobody can say: the outputs stay in the outbox', async () => {
    const { clock, memory } = openScene();
    const log = createLog('warn', () => undefined);
    const owner = { convoy: 'sums', key: 'a', definition: undefined };

    await expect(
      contributeOutputs({ store: memory, clock, log }, owner, [closedOutput('a', 0)]),
    ).rejects.toThrow('CVY_CONVOY_UNKNOWN');
  });
});
