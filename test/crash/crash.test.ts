// A few seeded rounds of `npm run crash`: one of each topology, and the seeds that once failed.
// CONVOY_SEED repeats other rounds.
import { describe, expect, onTestFailed, test } from 'vitest';
import { possibleDeeds } from './disk.ts';
import { described, planRound } from './mishaps.ts';
import type { Mishap, RoundPlan, Topology } from './mishaps.ts';
import { runRound } from './round.ts';

const limit = { timeout: 300_000 };
const seed = Number(process.env['CONVOY_SEED'] ?? 3);
const possible = possibleDeeds();
/** A mount is nothing a test should do to a machine. */
const scale = { orders: 200, mishaps: 4, deeds: [] };

async function holds(plan: RoundPlan): Promise<void> {
  const startedAt = performance.now();
  const timeline: string[] = [];
  const note = (text: string): void => {
    timeline.push(`${((performance.now() - startedAt) / 1000).toFixed(2)} ${text}`);
  };
  onTestFailed(() => console.error(plan, timeline.join('\n').slice(-8_000)));

  const { verdict, chain, failures } = await runRound({ plan, mayMount: false, note });

  expect(failures).toEqual([]);
  const { violations, lost, doubled } = verdict;
  expect({ violations, lost, doubled }).toEqual({ violations: 0, lost: 0, doubled: 0 });
  expect(JSON.parse(chain)).toMatchObject({ keys: scale.orders, broken: 0, ok: true });
}

describe(`a stream of orders, seed ${seed}`, () => {
  test.each<Topology>(['launched', 'pair'])('goes through mishaps of %s', limit, (topology) =>
    holds(planRound(seed, { ...scale, topology })),
  );

  test.skipIf(!possible.includes('unwritable'))(
    'waits until the files of the cloud, then those of the host can be written',
    limit,
    () => {
      const one = { deed: 'unwritable', forMs: 700 } as const;
      const mishaps: Mishap[] = [
        { ...one, victim: 'cloud', atMs: 500 },
        { ...one, victim: 'host', atMs: 1_900 },
      ];
      return holds({ seed, topology: 'launched', orders: scale.orders, mishaps });
    },
  );
});

describe('the plan of a round', () => {
  test('is the same for the same seed, and names what happens to whom', () => {
    const plans = [1, 1, 2].map((one) => planRound(one, { ...scale, deeds: possible }));

    expect(plans[0]).toEqual(plans[1]);
    expect(plans[0]?.mishaps).not.toEqual(plans[2]?.mishaps);
    const [first] = plans[0]?.mishaps ?? [];
    expect(first && described(first)).toMatch(/^(kill|end|pause) \S+|full disk|un|read-only/);
  });
});
