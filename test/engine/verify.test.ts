// verify: an intact key says so, and every kind of tampering is named at its first settlement.
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type VirtualClock, virtualClock } from '../../shared/clock.ts';
import { defineConvoy } from '../../shared/convoy/definition.ts';
import { defaultLimits } from '../../shared/convoy/outputs.ts';
import { admitMessage } from '../../shared/engine/admit.ts';
import { drain } from '../../shared/engine/drain.ts';
import { recordDead } from '../../shared/engine/intake.ts';
import { operate } from '../../shared/engine/operate.ts';
import { type Engine, defaultSettings } from '../../shared/engine/ports.ts';
import { verify } from '../../shared/engine/verify.ts';
import { createLog } from '../../shared/log.ts';
import { itemIds } from '../../shared/store/items.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import type { StoreOperation } from '../../shared/store/store.ts';

const place = { convoy: 'drawers', key: 'k' };
const convoyId = 'drawers:k';
const retentionSeconds = 86_400;
let isMended = false;

const drawers = defineConvoy({
  name: 'drawers',
  schema: z.looseObject({ breaks: z.boolean().optional() }),
  initialState: 0,
  retentionSeconds,
  onPoison: 'park',
  apply(count, message, context) {
    if (message.body.breaks && !isMended) throw new Error('no drawer takes it');
    if (message.type === 'refused') context.reject('by test');
    return count + 1;
  },
});

interface Scene {
  engine: Engine;
  clock: VirtualClock;
  admit(
    position: number,
    message?: { body?: object; type?: string; senderPosition?: number },
  ): Promise<void>;
  settle(): Promise<void>;
}

function openScene(): Scene {
  isMended = false;
  const clock = virtualClock();
  const engine: Engine = {
    store: createMemoryStore({ clock }),
    publisher: { publish: async () => {} },
    instances: { start: async () => {}, wake: async () => 'raised' },
    clock,
    log: createLog('warn', () => undefined),
    definitions: new Map([['drawers', drawers]]),
    limits: defaultLimits,
    settings: defaultSettings,
    started: new Set(),
    startedAt: clock.now(),
  };
  return {
    engine,
    clock,
    async admit(position, { body = {}, type = 'put', senderPosition } = {}) {
      const message = {
        messageId: `m${position}`,
        type,
        bodyText: JSON.stringify(body),
        schemaVersion: 1,
        ...{ occurredAt: clock.now(), enqueuedAt: clock.now() },
        ...(senderPosition !== undefined && { senderPosition }),
      };
      await admitMessage(engine, { ...place, message, sequence: position });
    },
    async settle() {
      const gate = await engine.store.readGate(convoyId);
      await drain(engine, { ...place, epoch: gate?.item.epoch ?? 0, mayClose: false });
    },
  };
}

/** Eight messages: 2 refused, 3 parked, the rest applied; with `heals`, 3 settles as the ninth. */
async function settledKey({ heals = true } = {}): Promise<Scene> {
  const scene = openScene();
  for (let position = 1; position <= 8; position += 1) {
    const body = position === 3 ? { breaks: true } : { position };
    await scene.admit(position, { body, type: position === 2 ? 'refused' : 'put' });
  }
  await scene.settle();
  if (!heals) return scene;
  isMended = true;
  await operate(scene.engine, { ...place, action: 'replay', reason: 'mended' });
  await scene.settle();
  return scene;
}

const verdict = ({ engine }: Scene) => verify(engine, place);

async function tamper({ engine }: Scene, operation: StoreOperation): Promise<void> {
  expect(await engine.store.batch(convoyId, [operation])).toMatchObject({ applied: true });
}

const set = (id: string, fields: Record<string, unknown>): StoreOperation => ({
  kind: 'set',
  id,
  fields,
});

describe('verify: an intact key', () => {
  test('every link is recomputed, the one of a healed message twice', async () => {
    expect(await verdict(await settledKey())).toMatchObject({
      ok: true,
      checked: 9,
      from: 1,
      to: 9,
      missing: [],
      parked: [],
      oldestKept: { settlement: 1, position: 1 },
    });
  });

  test('a parked message is intact and listed', async () => {
    expect(await verdict(await settledKey({ heals: false }))).toMatchObject({
      ok: true,
      checked: 8,
      parked: [3],
    });
  });

  test('what has expired is no break; what is kept is checked from there', async () => {
    const scene = await settledKey({ heals: false });
    await scene.clock.advance((retentionSeconds - 60) * 1000);
    for (let position = 9; position <= 12; position += 1) await scene.admit(position);
    await scene.settle();
    await scene.clock.advance(120_000);

    // The parked one (settlement 3) is kept for ever; its neighbours are gone.
    expect(await verdict(scene)).toMatchObject({
      ok: true,
      checked: 3,
      from: 3,
      to: 12,
      missing: [{ from: 4, to: 8, isExpired: true }],
    });
  });

  test('an unknown key is not found', async () => {
    await expect(verdict(openScene())).rejects.toThrow('CVY_NOT_FOUND');
  });
});

describe('verify: the first break is named', () => {
  const inbox = itemIds.inbox;
  const link = { why: expect.stringContaining('do not give this link') as string };
  const gone = { why: 'the settlement is gone', expected: null, found: null };
  const twice = { why: 'two messages claim the same settlement' };

  test.each<[string, StoreOperation, object]>([
    [
      'a body',
      set(inbox(5), { bodyText: '{"position":6}' }),
      { settlement: 5, position: 5, ...link },
    ],
    [
      'a message id',
      set(inbox(4), { messageId: 'other' }),
      { settlement: 4, position: 4, ...link },
    ],
    ['an outcome', set(inbox(2), { outcome: 'applied' }), { settlement: 2, position: 2, ...link }],
    ['a link', set(inbox(6), { chain: 'f'.repeat(64) }), { settlement: 6, found: 'f'.repeat(64) }],
    ['a settlement number', set(inbox(7), { settlement: 6 }), { settlement: 6, ...twice }],
    [
      'the first message',
      set(inbox(1), { bodyText: '0' }),
      { settlement: 1, position: 1, ...link },
    ],
    ['the last message', set(inbox(8), { bodyText: '0' }), { settlement: 8, position: 8, ...link }],
    ['the body of a healed message', set(inbox(3), { bodyText: '0' }), { settlement: 3, ...link }],
    [
      'the outcome of a healed message',
      set(inbox(3), { outcome: 'skipped' }),
      { settlement: 9, ...link },
    ],
    [
      'a link of a parked message',
      set(itemIds.parked(3), { chain: 'x' }),
      { settlement: 3, found: 'x' },
    ],
    ['a removed message', { kind: 'delete', id: inbox(5) }, { settlement: 5, ...gone }],
    [
      'a removed parked message',
      { kind: 'delete', id: itemIds.parked(3) },
      { settlement: 3, ...gone },
    ],
    ['the removed newest message', { kind: 'delete', id: inbox(3) }, { settlement: 9, ...gone }],
    ['the chain of the key', set('progress', { chain: 'x' }), { settlement: 9, found: 'x' }],
    ['the count of the key', set('progress', { settled: 10 }), { settlement: 10, ...gone }],
  ])('%s', async (_, operation, expected) => {
    const scene = await settledKey();

    await tamper(scene, operation);

    const { ok, firstBreak } = await verdict(scene);
    expect(ok).toBe(false);
    expect(firstBreak).toMatchObject(expected);
  });

  test('a parked message said to be applied', async () => {
    const scene = await settledKey({ heals: false });

    await tamper(scene, set(inbox(3), { outcome: 'applied' }));

    expect((await verdict(scene)).firstBreak).toMatchObject({ settlement: 3, ...twice });
  });

  test('of two the earlier one', async () => {
    const scene = await settledKey();

    await tamper(scene, set(inbox(7), { bodyText: '0' }));
    await tamper(scene, set(inbox(4), { bodyText: '0' }));

    expect((await verdict(scene)).firstBreak).toMatchObject({ settlement: 4 });
  });
});

test('verify: what the broker gave up on, and holes in the numbers of the sender', async () => {
  const scene = openScene();
  for (const [index, senderPosition] of [4, 5, 8, 7, 12].entries()) {
    await scene.admit(index + 1, { senderPosition });
  }
  await scene.settle();
  const message = { messageId: 'd1', type: 'put', schemaVersion: 1, occurredAt: 1, enqueuedAt: 1 };
  const parsed = { kind: 'message' as const, key: 'k', message, sequence: 7, warnings: [] };
  await recordDead(scene.engine, { convoy: 'drawers', parsed, reason: 'gave up' });

  expect(await verdict(scene)).toMatchObject({
    ok: true,
    dead: {
      count: 1,
      replayed: 0,
      items: [{ sequence: 7, messageId: 'd1', reason: 'gave up', position: null }],
    },
    senderGaps: [
      { from: 6, to: 6, position: 4, messageId: 'm4' },
      { from: 9, to: 11, position: 5, messageId: 'm5' },
    ],
  });
});

test('verify: a long key in pages', async () => {
  const scene = openScene();
  for (let position = 1; position <= 1_203; position += 1) await scene.admit(position);
  for (let drains = 0; drains < 3; drains += 1) await scene.settle();

  expect(await verdict(scene)).toMatchObject({ ok: true, checked: 1_203, from: 1, to: 1_203 });
});
