// Claims about what is asked across partitions: the sweeper's questions and the operator's lists.
import { expect } from 'vitest';
import { noCounts, type HoldKind } from '../../shared/convoy/state.ts';
import { convoyIdOf } from '../../shared/keys.ts';
import type { GateItem } from '../../shared/store/items.ts';
import type { ConvoyStore, Totals } from '../../shared/store/store.ts';
import { expectRefused, type Claim } from './store-claims.ts';
import { pagesOf } from './store-lists.contract.ts';
import { create, freshConvoy, gateItem, progressItem } from './store-items.ts';

export function sweepClaims(claim: Claim): void {
  unwrittenClaims(claim);
  dueClaims(claim);
  gateListClaims(claim);
  progressClaims(claim);
  totalClaims(claim);
}

/** One gate per key, each in its partition. */
async function gatesOf(
  store: ConvoyStore,
  convoy: string,
  keys: Record<string, Partial<GateItem>>,
): Promise<void> {
  for (const [key, changes] of Object.entries(keys)) {
    await create(store, [gateItem(convoyIdOf(convoy, key), changes)]);
  }
}

const keysOf = (gates: { key: string }[]): string[] => gates.map(({ key }) => key);

const busySince = (since: number) => ({ since, position: 0, queuedMs: 0 });

/** Instants of its own for each test: the question goes to all partitions. */
let lastInstant = Date.UTC(1990, 0, 1) + Math.floor(Math.random() * 1e9);
function freshInstant(): number {
  lastInstant += 1_000_000;
  return lastInstant;
}

function unwrittenClaims(claim: Claim): void {
  claim('H9: active gates are found by their last write, oldest first', async ({ store }) => {
    const t = freshInstant();
    const active = { phase: 'active' as const };
    await gatesOf(store, freshConvoy(), {
      third: { ...active, writtenAt: t + 30 },
      first: { ...active, writtenAt: t + 10 },
      second: { ...active, writtenAt: t + 20 },
      before: { ...active, writtenAt: t },
      after: { ...active, writtenAt: t + 31 },
      idle: { phase: 'idle', writtenAt: t + 15 },
      held: { phase: 'held', writtenAt: t + 15 },
    });
    const range = { after: t, upTo: t + 30 };

    expect(keysOf(await store.gatesUnwritten(range, 10))).toEqual(['first', 'second', 'third']);
    expect(keysOf(await store.gatesUnwritten(range, 2))).toEqual(['first', 'second']);
    expect(await store.gatesUnwritten({ after: t + 30, upTo: t + 30 }, 10)).toEqual([]);
  });

  claim('H9: a gate that was written again is no longer found', async ({ store }) => {
    const t = freshInstant();
    const id = convoyIdOf(freshConvoy(), 'K');
    const [etag = ''] = await create(store, [gateItem(id, { phase: 'active', writtenAt: t })]);
    const range = { after: t - 1, upTo: t };
    expect(await store.gatesUnwritten(range, 10)).toHaveLength(1);
    const item = gateItem(id, { phase: 'active', writtenAt: t + 1 });
    await store.batch(id, [{ kind: 'replace', item, ifMatch: etag }]);

    expect(await store.gatesUnwritten(range, 10)).toEqual([]);
  });
}

function dueClaims(claim: Claim): void {
  claim('H9: idle gates are found when something is due, oldest first', async ({ store }) => {
    const t = freshInstant();
    await gatesOf(store, freshConvoy(), {
      second: { phase: 'idle', dueAt: t + 20 },
      first: { phase: 'idle', dueAt: t + 10 },
      before: { phase: 'idle', dueAt: t },
      after: { phase: 'idle', dueAt: t + 21 },
      nothing: { phase: 'idle', dueAt: null },
      active: { phase: 'active', dueAt: t + 15 },
    });

    expect(keysOf(await store.gatesDue({ after: t, upTo: t + 20 }, 10))).toEqual([
      'first',
      'second',
    ]);
    expect(keysOf(await store.gatesDue({ after: t, upTo: t + 20 }, 1))).toEqual(['first']);
  });

  claim('lanes behind a fence are found when they are due, oldest first', async ({ store }) => {
    const t = freshInstant();
    await gatesOf(store, freshConvoy(), {
      second: { phase: 'held', dueAt: t + 20 },
      first: { phase: 'held', dueAt: t + 10 },
      before: { phase: 'held', dueAt: t },
      after: { phase: 'held', dueAt: t + 21 },
      blocked: { phase: 'held', dueAt: null },
      idle: { phase: 'idle', dueAt: t + 15 },
      active: { phase: 'active', dueAt: t + 15 },
    });
    const range = { after: t, upTo: t + 20 };

    expect(keysOf(await store.gatesHeldDue(range, 10))).toEqual(['first', 'second']);
    expect(keysOf(await store.gatesHeldDue(range, 1))).toEqual(['first']);
  });

  claim('an instant that is not finite is refused', async ({ store }) => {
    const range = { after: Number.NEGATIVE_INFINITY, upTo: 5 };

    await expectRefused(store.gatesDue(range, 10), 400);
    await expectRefused(store.gatesHeldDue(range, 10), 400);
    await expectRefused(store.gatesUnwritten(range, 10), 400);
  });
}

function gateListClaims(claim: Claim): void {
  claim('gates of a convoy are listed page by page, each exactly once', async ({ store }) => {
    const convoy = freshConvoy();
    const keys = Array.from({ length: 11 }, (_, n) => `K-${n}`);
    await gatesOf(store, convoy, Object.fromEntries(keys.map((key) => [key, {}])));
    await gatesOf(store, freshConvoy(), { other: {} });
    const pages = await pagesOf(4, (at) => store.listGates({ convoy, limit: 4, ...at }));

    expect(keysOf(pages.flat()).sort()).toEqual([...keys].sort());
    expect(pages.length).toBeGreaterThanOrEqual(3);
  });

  claim('active gates without a pause since an instant are listed, page by page', async (t) => {
    const { store } = t;
    const convoy = freshConvoy();
    const active = { phase: 'active' as const };
    await gatesOf(store, convoy, {
      long: { ...active, busy: busySince(10) },
      longer: { ...active, busy: busySince(5) },
      just: { ...active, busy: busySince(11) },
      pausing: active,
      held: { phase: 'held', busy: busySince(5) },
    });
    await gatesOf(store, freshConvoy(), { other: { ...active, busy: busySince(5) } });
    const pages = await pagesOf(1, (at) => store.listBusy(10, { convoy, limit: 1, ...at }));

    expect(keysOf(pages.flat()).sort()).toEqual(['long', 'longer']);
    expect((await store.listBusy(4, { convoy, limit: 9 })).items).toEqual([]);
    await expectRefused(store.listBusy(10, { limit: 0 }), 400);
  });

  claim('gates are listed by phase, with or without a convoy', async ({ store }) => {
    const convoy = freshConvoy();
    const phases = { a: 'active', i: 'idle', h: 'held' } as const;
    for (const [key, phase] of Object.entries(phases)) {
      await gatesOf(store, convoy, { [key]: { phase } });
    }
    const held = await pagesOf(100, (at) => store.listGates({ phase: 'held', limit: 100, ...at }));

    expect(keysOf((await store.listGates({ convoy, phase: 'held', limit: 9 })).items)).toEqual([
      'h',
    ]);
    expect(keysOf((await store.listGates({ convoy, phase: 'idle', limit: 9 })).items)).toEqual([
      'i',
    ]);
    expect(held.flat().every(({ phase }) => phase === 'held')).toBe(true);
    expect(keysOf(held.flat().filter((gate) => gate.convoy === convoy))).toEqual(['h']);
  });

  claim('a convoy name is data, not a part of the question', async ({ store }) => {
    const convoy = `x' OR c.kind = 'gate' OR '1' = '1`;

    expect(await store.listGates({ convoy, limit: 10 })).toEqual({ items: [] });
  });
}

function progressClaims(claim: Claim): void {
  claim('keys are listed by their hold', async ({ store }) => {
    const convoy = freshConvoy();
    const holds: HoldKind[] = ['none', 'blocked', 'retrying', 'blocked', 'paused'];
    for (const [n, kind] of holds.entries()) {
      const id = convoyIdOf(convoy, `K-${n}`);
      const hold = { kind, reason: `reason ${n}` };
      await create(store, [progressItem(id, { hold }), gateItem(id, { hold })]);
    }
    const list = async (kind: string) =>
      keysOf((await pagesOf(1, (at) => store.listHeld(kind, { convoy, limit: 1, ...at }))).flat());

    expect((await list('blocked')).sort()).toEqual(['K-1', 'K-3']);
    expect(await list('paused')).toEqual(['K-4']);
    expect(await list('publishing')).toEqual([]);
  });

  claim('progress of many keys comes in the order asked, unknown keys left out', async (target) => {
    const { store } = target;
    const convoy = freshConvoy();
    const ids = Array.from({ length: 40 }, (_, n) => convoyIdOf(convoy, `K-${n}`));
    for (const id of ids) await create(store, [progressItem(id)]);
    const asked = [convoyIdOf(convoy, 'unknown'), ...ids.toReversed()];

    expect((await store.progressOf(asked)).map(({ convoyId }) => convoyId)).toEqual(
      ids.toReversed(),
    );
  });
}

function totalClaims(claim: Claim): void {
  claim('totals count keys by phase and hold and sum what happened', async ({ store }) => {
    const before = await store.totals();
    const convoy = freshConvoy();
    const keys = [
      { phase: 'active', tail: 5, kind: 'none', applied: 3, rejected: 1 },
      { phase: 'active', tail: 7, kind: 'retrying', applied: 4, rejected: 0 },
      { phase: 'held', tail: 11, kind: 'blocked', applied: 10, rejected: 0 },
    ] as const;
    for (const [n, { phase, tail, kind, applied, rejected }] of keys.entries()) {
      const id = convoyIdOf(convoy, `K-${n}`);
      const counts = { ...noCounts, applied, rejected };
      await create(store, [
        gateItem(id, { phase, tail }),
        progressItem(id, { hold: { kind }, counts }),
      ]);
    }
    const after = await store.totals();
    const more = (of: (totals: Totals) => number | undefined): number =>
      (of(after) ?? 0) - (of(before) ?? 0);

    expect(more(({ convoys }) => convoys)).toBe(3);
    expect(more(({ admitted }) => admitted)).toBe(23);
    expect(more(({ perPhase }) => perPhase['active'])).toBe(2);
    expect(more(({ perPhase }) => perPhase['held'])).toBe(1);
    expect(more(({ perPhase }) => perPhase['idle'])).toBe(0);
    expect(more(({ counts }) => counts['applied'])).toBe(17);
    expect(more(({ counts }) => counts['rejected'])).toBe(1);
    expect(more(({ holds }) => holds['blocked'])).toBe(1);
    expect(more(({ holds }) => holds['none'])).toBe(1);
    expect(Object.keys(after.counts).sort()).toEqual(Object.keys(noCounts).sort());
  });

  claim('a store that can keep its promises says so', async ({ store }) => {
    await expect(store.check()).resolves.toBeUndefined();
  });
}
