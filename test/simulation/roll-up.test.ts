// H13: roll-ups under any interleaving of contributors and publishers, with stale reads, deaths
// between any two calls and two publishers at a time.
import { expect, test } from 'vitest';
import type { ConvoyStore } from '../../shared/store/store.ts';
import { type RollUpOptions, runRollUp, violationsOf } from './roll-up-history.ts';

const seeds = Array.from({ length: 150 }, (_, i) => i + 1);

async function violationsIn(options: Omit<RollUpOptions, 'seed'>): Promise<string[]> {
  const found: string[] = [];
  for (const seed of seeds) {
    const violations = violationsOf(await runRollUp({ ...options, seed }));
    found.push(...violations.map((text) => `seed=${seed}: ${text}`));
  }
  return found;
}

test('H13: the last revision holds every contribution, and no id has two contents', async () => {
  expect(await violationsIn({ faultRate: 0.05 })).toEqual([]);
});

test('H13: without faults no part is published twice', async () => {
  const history = await runRollUp({ seed: 1, faultRate: 0 });

  expect(violationsOf(history)).toEqual([]);
  expect(Math.max(...history.parts.map(({ revision }) => revision))).toBeLessThan(10);
  // No revision is published twice where nobody died.
  expect(new Set(history.parts.map(({ messageId }) => messageId)).size).toBe(history.parts.length);
});

test.each<[string, (store: ConvoyStore) => ConvoyStore]>([
  [
    'a contributor that reads an older head than its contribution',
    (store) => ({ ...store, readRollUp: (windowId) => store.readRollUp(windowId, '') }),
  ],
  [
    'a scan that is older than the closing write',
    (store) => ({
      ...store,
      listContributions: (windowId, page) =>
        store.listContributions(windowId, { ...page, session: '' }),
    }),
  ],
  [
    'a contributor that marks nothing dirty',
    (store) => ({
      ...store,
      async replaceWindowsItem(item, ifMatch) {
        if (item.kind !== 'head' || !item.dirty) return store.replaceWindowsItem(item, ifMatch);
        const dueAt = item.phase === 'published' ? null : item.dueAt;
        const clean = { ...item, dirty: false, dueAt };
        return store.replaceWindowsItem(clean, ifMatch);
      },
    }),
  ],
])('H13: the oracle finds %s', async (_, sabotage) => {
  expect((await violationsIn({ faultRate: 0.05, sabotage })).length).toBeGreaterThan(0);
});
