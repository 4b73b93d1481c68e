import { describe, expect, test } from 'vitest';
import { countDeliveries, latenciesOf, quantile } from './count.ts';
import type { Delivery } from './count.ts';
import { recoveryOf } from './recovery.ts';
import type { Distribution, Workload } from './workload.ts';
import { bodyBytes, distributionNames, planSchedule, planWorkload } from './workload.ts';

const plan = (distribution: Distribution, seed = 7, messages = 10_000): Workload =>
  planWorkload({ distribution, messages, seed, run: 'r' });

const countsOf = ({ idsByKey }: Workload): number[] =>
  [...idsByKey.values()].map((ids) => ids.length).sort((a, b) => b - a);

describe('the workload', () => {
  test.each(distributionNames)('%s is the same for the same seed, and another for another', (d) => {
    expect(plan(d, 7, 500)).toEqual(plan(d, 7, 500));
    expect(plan(d, 8, 500).messages).not.toEqual(plan(d, 7, 500).messages);
  });

  test.each(distributionNames)('%s has 1 % repeats, each after its original, 256 bytes', (d) => {
    const { messages, uniques, idsByKey } = plan(d);
    const met = new Map<string, string>();
    let repeats = 0;
    for (const { id, key } of messages) {
      if (met.get(id) === key) repeats += 1;
      met.set(id, key);
    }

    expect(messages).toHaveLength(10_000);
    expect(repeats).toBe(100);
    expect(uniques).toBe(9_900);
    const firsts = Map.groupBy(met, ([, key]) => key);
    const inOrder = [...firsts].map(([key, ids]) => [key, ids.map(([id]) => id)]);
    expect(Object.fromEntries(inOrder)).toEqual(Object.fromEntries(idsByKey));
    const sizes = messages.map(({ body }) => Buffer.byteLength(JSON.stringify(body)));
    expect(new Set(sizes)).toEqual(new Set([bodyBytes]));
  });

  test('U spreads evenly over 1,000 keys', () => {
    const counts = countsOf(plan('U', 7, 50_000));

    expect(counts).toHaveLength(1_000);
    expect(counts[0]).toBeLessThan(49.5 * 2);
    expect(counts.at(-1)).toBeGreaterThan(49.5 / 2);
  });

  test('Z gives its first key the share of Zipf 1.1 over 10,000', () => {
    const weights = Array.from({ length: 10_000 }, (_, i) => (i + 1) ** -1.1);
    const sum = weights.reduce((some, one) => some + one);
    const shares = weights.map((weight) => weight / sum);
    const counts = countsOf(plan('Z', 7, 50_000));

    for (const [rank, share] of shares.slice(0, 3).entries()) {
      expect((counts[rank] ?? 0) / 49_500).toBeCloseTo(share, 2);
    }
    expect(counts.length).toBeGreaterThan(1_000);
  });

  test('H gives one key half of all, S gives one key all, M gives each key two', () => {
    const hot = countsOf(plan('H'));

    expect((hot[0] ?? 0) / 9_900).toBeCloseTo(0.5, 1);
    expect(hot[1]).toBeLessThan(100);
    expect(countsOf(plan('S'))).toEqual([9_900]);
    expect(new Set(countsOf(plan('M')))).toEqual(new Set([2]));
  });

  test('an open loop has the asked rate and does not tick like a clock', () => {
    const schedule = planSchedule(10_000, 500, 7);
    const gaps = schedule.map((at, i) => at - (schedule[i - 1] ?? 0));

    expect((schedule.at(-1) ?? 0) / 10_000).toBeCloseTo(2, 0);
    expect(Math.min(...gaps)).toBeLessThan(0.1);
    expect(Math.max(...gaps)).toBeGreaterThan(10);
  });
});

describe('the count', () => {
  const workload = plan('U', 7, 3_000);
  const delivered = (): Delivery[] => {
    const balances = new Map<string, number>();
    const met = new Set<string>();
    return workload.messages
      .filter(({ id }) => !met.has(id) && met.add(id))
      .map(({ key, id }, i) => {
        const balance = (balances.get(key) ?? 0) + 1;
        balances.set(key, balance);
        return { key, id, outputId: `out:${id}`, atMs: i, balance };
      });
  };
  const count = (deliveries: readonly Delivery[]) =>
    countDeliveries(workload, deliveries, new Map());
  /** Two neighbours of one key. */
  const pairIn = (deliveries: readonly Delivery[]): [number, number] => {
    const first = deliveries.findIndex(({ key }, i) =>
      deliveries.slice(i + 1).some((other) => other.key === key),
    );
    const { key } = deliveries[first] ?? {};
    return [first, deliveries.findIndex((other, i) => i > first && other.key === key)];
  };

  test('finds nothing where everything came once and in order', () => {
    expect(count(delivered())).toEqual({ violations: 0, lost: 0, doubled: 0 });
  });

  test('finds one swapped pair', () => {
    const deliveries = delivered();
    const [i, j] = pairIn(deliveries);
    const [a, b] = [deliveries[i]?.id ?? '', deliveries[j]?.id ?? ''];
    const swapped = deliveries.map((one, at) =>
      at === i ? { ...one, id: b } : at === j ? { ...one, id: a } : one,
    );

    expect(count(swapped)).toEqual({ violations: 1, lost: 0, doubled: 0 });
  });

  test('finds one that never came, and one that came under two output ids', () => {
    const deliveries = delivered();
    const [i] = pairIn(deliveries);
    const again = deliveries[i] as Delivery;

    expect(count(deliveries.filter((_, at) => at !== i)).lost).toBe(1);
    expect(count([...deliveries, again])).toEqual({ violations: 0, lost: 0, doubled: 0 });
    expect(count([...deliveries, { ...again, outputId: 'other' }]).doubled).toBe(1);
  });

  test('finds an effect too many and one too few in the balance of a key', () => {
    const { key } = delivered()[0] as Delivery;
    const moved = (by: number) =>
      delivered().map((one) =>
        one.key === key ? { ...one, balance: (one.balance ?? 0) + by } : one,
      );

    expect(count(moved(1))).toEqual({ violations: 0, lost: 0, doubled: 1 });
    expect(count(moved(-1))).toEqual({ violations: 0, lost: 1, doubled: 0 });
  });

  test('takes a latency from the due instant to the first delivery', () => {
    const dueAtMs = new Map([['a', 10]]);
    const deliveries = [40, 25].map((atMs) => ({ key: 'k', id: 'a', outputId: 'x', atMs }));

    expect(latenciesOf(deliveries, dueAtMs)).toEqual([15]);
    expect(quantile([1, 2, 3, 4], 0.5)).toBe(2);
    expect(quantile([1, 2, 3, 4], 0.99)).toBe(4);
    expect(quantile([], 0.5)).toBe(0);
  });
});

describe('the time after a kill', () => {
  const dueAtMs = new Map(Array.from({ length: 100 }, (_, i) => [`m${i}`, i * 10]));
  const deliveredAt = (atOf: (due: number) => number): Delivery[] =>
    [...dueAtMs].map(([id, due]) => ({ key: 'k', id, outputId: id, atMs: atOf(due) }));

  test('ends with the first delivery and with the backlog of the kill', () => {
    // Each takes 5 ms; from 300 on nothing for 250 ms, then one a millisecond.
    const deliveries = deliveredAt((due) => (due < 300 ? due + 5 : Math.max(550 + due / 10, due)));
    const recovery = recoveryOf({ deliveries, dueAtMs, killedAt: 300 });

    expect(recovery.firstDeliveryMs).toBe(280);
    expect(recovery.caughtUpMs).toBeGreaterThan(280);
    expect(recovery.caughtUpMs).toBeLessThan(400);
  });

  test('has no end where nothing comes any more', () => {
    const deliveries = deliveredAt((due) => due + 5).filter(({ atMs }) => atMs < 300);

    expect(recoveryOf({ deliveries, dueAtMs, killedAt: 300 })).toEqual({
      firstDeliveryMs: null,
      caughtUpMs: null,
    });
  });
});
