// H10: replay of dead-lettered messages admits by H1, in the order of the broker, at a bounded
// rate; a death between any two steps is resumed, a repeat is harmless.
import { describe, expect, test } from 'vitest';
import { type VirtualClock, virtualClock } from '../../shared/clock.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import { recordDead } from '../../shared/engine/intake.ts';
import { type Engine, defaultSettings } from '../../shared/engine/ports.ts';
import { type ReplayRequest, replayDead } from '../../shared/engine/replay.ts';
import { createLog } from '../../shared/log.ts';
import { createMemoryStore, type MemoryCall } from '../../shared/store/memory.ts';
import { StoreUnavailable } from '../../shared/store/store.ts';
import { summing } from '../convoy/settling.ts';

const convoyId = 'summing:k';
const request: ReplayRequest = { convoy: 'summing', key: 'k', reason: 'mended', perSecond: 1_000 };

interface Scene {
  engine: Engine;
  clock: VirtualClock;
  /** Asked before each call: throws or not. */
  fault: { before?: (call: MemoryCall) => void };
}

function openScene(): Scene {
  const clock = virtualClock();
  const fault: Scene['fault'] = {};
  const engine: Engine = {
    store: createMemoryStore({ clock, intercept: async (call) => fault.before?.(call) }),
    publisher: { publish: async () => {} },
    instances: { start: async () => {}, wake: async () => 'raised' },
    clock,
    log: createLog('warn', () => undefined),
    definitions: new Map([['summing', summing()]]),
    limits: defaultLimits,
    settings: defaultSettings,
    started: new Set(),
    startedAt: clock.now(),
  };
  return { engine, clock, fault };
}

async function dead({ engine }: Scene, sequences: number[], id = (n: number) => `m${n}`) {
  for (const sequence of sequences) {
    const about = { type: 'added', schemaVersion: 2, senderPosition: sequence, traceparent: 't' };
    const at = { occurredAt: 5, enqueuedAt: 6 };
    const message = { messageId: id(sequence), bodyText: '{"n":1}', ...about, ...at };
    const parsed = { kind: 'message' as const, key: 'k', message, sequence, warnings: [] };
    await recordDead(engine, { convoy: 'summing', parsed, reason: 'gave up' });
  }
}

/** Lets virtual time pass until the work has ended. */
async function during<Result>({ clock }: Scene, work: Promise<Result>): Promise<Result> {
  let isOver = false;
  const over = work.finally(() => (isOver = true));
  over.catch(() => undefined);
  while (!isOver) await clock.advance(1);
  return over;
}

const replay = (scene: Scene, changes: Partial<ReplayRequest> = {}, forMs = 20_000) =>
  during(scene, replayDead(scene.engine, { ...request, ...changes }, scene.clock.now() + forMs));

const admittedIds = async ({ engine }: Scene): Promise<string[]> =>
  (await engine.store.listMessages(convoyId, { from: 1, limit: 1_000 })).items.map(
    ({ messageId }) => messageId,
  );

describe('H10: replay of dead-lettered messages', () => {
  test('in the order of the broker, with everything that the message had', async () => {
    const scene = openScene();
    await dead(scene, [20, 3, 100]);

    expect(await replay(scene)).toEqual({ replayed: 3, duplicates: 0, hasMore: false });

    expect(await admittedIds(scene)).toEqual(['m3', 'm20', 'm100']);
    const { items } = await scene.engine.store.listMessages(convoyId, { from: 1, limit: 1 });
    expect(items[0]).toMatchObject({
      ...{ position: 1, messageId: 'm3', type: 'added', bodyText: '{"n":1}', sequence: 3 },
      ...{ schemaVersion: 2, senderPosition: 3, traceparent: 't', occurredAt: 5, enqueuedAt: 6 },
    });
    const marked = await scene.engine.store.listDead(convoyId, { limit: 10 });
    expect(marked.items.map(({ position, replayReason }) => [position, replayReason])).toEqual([
      [1, 'mended'],
      [2, 'mended'],
      [3, 'mended'],
    ]);
  });

  test('a repeat admits nothing; what came meanwhile is replayed', async () => {
    const scene = openScene();
    await dead(scene, [1, 2]);
    await replay(scene);
    await dead(scene, [3]);

    expect(await replay(scene)).toEqual({ replayed: 1, duplicates: 0, hasMore: false });
    expect(await admittedIds(scene)).toEqual(['m1', 'm2', 'm3']);
  });

  test('a death between any two writes is resumed: each once, in order', async () => {
    for (let deadly = 0; deadly < 8; deadly += 1) {
      const scene = openScene();
      await dead(scene, [1, 2, 3]);
      let writes = 0;
      scene.fault.before = ({ method }) => {
        if (method === 'batch' && writes++ === deadly) throw new StoreUnavailable('died');
      };
      const first = await replay(scene).then(
        () => 'ended',
        () => 'died',
      );
      delete scene.fault.before;

      const second = await replay(scene);

      expect([deadly, first]).toEqual([deadly, deadly < 6 ? 'died' : 'ended']);
      expect(second.hasMore).toBe(false);
      expect(await admittedIds(scene)).toEqual(['m1', 'm2', 'm3']);
      const { items } = await scene.engine.store.listDead(convoyId, { limit: 10 });
      expect(items.map(({ position }) => position)).toEqual([1, 2, 3]);
    }
  });

  test('two operators at a time: each message once, in order', async () => {
    const scene = openScene();
    const sequences = Array.from({ length: 30 }, (_, i) => i + 1);
    await dead(scene, sequences);

    const [a, b] = await during(
      scene,
      Promise.all([1, 2].map(() => replayDead(scene.engine, request, Infinity))),
    );

    expect((a?.replayed ?? 0) + (b?.replayed ?? 0)).toBe(30);
    expect(await admittedIds(scene)).toEqual(sequences.map((n) => `m${n}`));
  });

  test('no faster than asked, and no longer than allowed; the next call goes on', async () => {
    const scene = openScene();
    await dead(scene, [1, 2, 3, 4, 5]);
    const startedAt = scene.clock.now();

    const first = await replay(scene, { perSecond: 2 }, 1_200);

    expect(first).toEqual({ replayed: 3, duplicates: 0, hasMore: true });
    expect(scene.clock.now() - startedAt).toBeGreaterThanOrEqual(1_500);
    expect(await replay(scene)).toEqual({ replayed: 2, duplicates: 0, hasMore: false });
  });

  test('what the sender sent again in the meantime is a duplicate', async () => {
    const scene = openScene();
    await dead(scene, [1]);
    await dead(scene, [7], () => 'm1');

    expect(await replay(scene)).toEqual({ replayed: 1, duplicates: 1, hasMore: false });
    expect(await admittedIds(scene)).toEqual(['m1']);
  });

  test('nothing is done for another cursor, an unknown key or an unknown convoy', async () => {
    const scene = openScene();
    await dead(scene, [1]);

    await expect(replay(scene, { expectedCursor: 2 })).rejects.toThrow('CVY_CONFLICT');
    await expect(replay(scene, { key: 'other' })).rejects.toThrow('CVY_NOT_FOUND');
    await expect(replay(scene, { convoy: 'other' })).rejects.toThrow('CVY_CONVOY_UNKNOWN');
    expect(await admittedIds(scene)).toEqual([]);
  });
});

describe('H10: recording', () => {
  test('the same number of a queue that was made again is another message', async () => {
    const scene = openScene();
    await dead(scene, [1]);
    await dead(scene, [1], () => 'other');
    await dead(scene, [1], () => 'other');

    const { items } = await scene.engine.store.listDead(convoyId, { limit: 10 });
    expect(items.map(({ messageId }) => messageId)).toEqual(['m1', 'other']);
  });

  test('a body that does not fit an item is left out, and its message is poison', async () => {
    const scene = openScene();
    const message = { messageId: 'm', type: 't', schemaVersion: 1, occurredAt: 1, enqueuedAt: 1 };
    const large = { ...message, bodyText: JSON.stringify('x'.repeat(3_000_000)) };
    const parsed = {
      kind: 'message' as const,
      key: 'k',
      message: large,
      sequence: 1,
      warnings: [],
    };

    await recordDead(scene.engine, { convoy: 'summing', parsed, reason: 'gave up' });

    const [item] = (await scene.engine.store.listDead(convoyId, { limit: 1 })).items;
    expect(item).toMatchObject({ messageId: 'm', fault: { code: 'CVY_TOO_LARGE' } });
    expect(item).not.toHaveProperty('bodyText');
  });
});
