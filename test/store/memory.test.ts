import { describe, expect, test } from 'vitest';
import { virtualClock } from '../../shared/clock.ts';
import { contribute } from '../../shared/convoy/roll-up.ts';
import { rollUpItem } from '../../shared/engine/roll-up.ts';
import { createMemoryStore, type MemoryCall } from '../../shared/store/memory.ts';
import { StoreUnavailable } from '../../shared/store/store.ts';
import { create, freshId, gateItem } from '../contract/store-items.ts';
import { storeContract } from '../contract/store.contract.ts';

storeContract({
  name: 'memory',
  open: async () => {
    const clock = virtualClock();
    return {
      store: createMemoryStore({ clock }),
      advance: (byMs) => clock.advance(byMs),
      close: async () => {},
    };
  },
});

describe('faults of the memory store', () => {
  test('a fault before a call leaves nothing applied', async () => {
    const id = freshId();
    let isDown = false;
    const store = createMemoryStore({
      intercept: async ({ method }) => {
        if (isDown && method === 'batch') throw new StoreUnavailable('down');
      },
    });
    isDown = true;
    await expect(create(store, [gateItem(id)])).rejects.toBeInstanceOf(StoreUnavailable);

    expect(await store.readGate(id)).toBeUndefined();
  });

  test('a fault after a call loses the answer, not the write', async () => {
    const id = freshId();
    const store = createMemoryStore({
      interceptAnswer: async ({ method }) => {
        if (method === 'batch') throw new StoreUnavailable('answer lost');
      },
    });
    await expect(create(store, [gateItem(id)])).rejects.toBeInstanceOf(StoreUnavailable);

    expect((await store.readGate(id))?.item).toEqual(gateItem(id));
  });

  test('every method passes the intercept, with its partition and operations', async () => {
    const calls: MemoryCall[] = [];
    const store = createMemoryStore({ intercept: async (call) => void calls.push(call) });
    const id = freshId();
    const range = { after: 0, upTo: 1 };
    await store.readGate(id);
    await store.readProgress(id);
    await store.readSeen(id, 'm');
    await store.readInbox(id, { from: 1, to: 2, limit: 2 });
    await store.readInboxAt(id, [1]);
    await store.readOutbox(id);
    await store.readWindow(id, 'day', 0);
    await store.readSessions(id, 'day', { start: 0, end: 1 });
    await store.batch(id, [{ kind: 'delete', id: 'gate' }]);
    await store.gatesUnwritten(range, 1);
    await store.gatesDue(range, 1);
    await store.gatesHeldDue(range, 1);
    await store.readLayout('orders');
    await store.readFence('orders:K', 1);
    await store.listGates({ limit: 1 });
    await store.listHeld('blocked', { limit: 1 });
    await store.listAside({ limit: 1 });
    await store.listBusy(1, { limit: 1 });
    await store.progressOf([]);
    await store.listMessages(id, { from: 1, limit: 1 });
    await store.listWindows(id, { limit: 1 });
    await store.listParkedOf(id, { limit: 1 });
    await store.readDead(id, 'dead:1');
    await store.listDead(id, { limit: 1 });
    await store.readQuarantine('orders', 'quarantine:1');
    await store.listQuarantine('orders', { limit: 1 });
    await store.countRepeats(id);
    await store.totals();
    const window = { convoy: 'orders', window: 'day', start: 0, end: 1 };
    const opened = contribute(undefined, window, { now: 0, delayMs: 0, keepMs: 1 });
    if (opened.kind === 'none') throw new Error('no head');
    const head = rollUpItem(opened.head);
    await store.readRollUp(head.windowId, '');
    await store.readContribution(head.windowId, 'k');
    await store.createWindowsItem(head);
    await store.replaceWindowsItem(head, '"other"');
    await store.listContributions(head.windowId, { session: '', limit: 1 });
    await store.rollUpsDue(range, 1);
    await store.listRollUps({ series: 's', from: 0, to: 1, limit: 1 });
    await store.check();

    expect(calls.map(({ method }) => method)).toEqual(expect.arrayContaining(Object.keys(store)));
    expect(calls).toHaveLength(Object.keys(store).length);
    expect(calls.find(({ method }) => method === 'batch')).toEqual({
      method: 'batch',
      convoyId: id,
      operations: [{ kind: 'delete', id: 'gate' }],
    });
  });
});
