// Two short rounds of `npm run crash`, one of each topology. CONVOY_SEED chooses others.
import { describe, expect, onTestFailed, test } from 'vitest';
import { possibleDeeds } from './disk.ts';
import { described, planRound } from './mishaps.ts';
import type { Mishap, RoundPlan } from './mishaps.ts';
import { runRound } from './round.ts';

const limit = { timeout: 300_000 };
const seed = Number(process.env['CONVOY_SEED'] ?? 3);
const possible = possibleDeeds();
/** A mount is nothing a test should do to a machine. */
const scale = { orders: 150, mishaps: 3, deeds: [] };

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
  test('goes through mishaps of a launcher and its processes', limit, () =>
    holds(planRound(seed, { ...scale, topology: 'launched' })),
  );

  test.skipIf(!possible.includes('unwritable'))(
    'goes through mishaps of two hosts on one cloud, whose files cannot be written for a while',
    limit,
    () => {
      const one = { deed: 'unwritable', forMs: 700 } as const;
      const plan = planRound(seed, { ...scale, mishaps: 2, topology: 'pair' });
      const mishaps: Mishap[] = [
        ...plan.mishaps,
        { ...one, victim: 'cloud', atMs: 400 },
        { ...one, victim: 'host', atMs: 1_700 },
      ];
      return holds({ ...plan, mishaps });
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
