import { describe, expect, test } from 'vitest';
import { judge } from '../../infra/local/sample/judge.ts';
import type { SeenKey, SeenOutput, Sighting } from '../../infra/local/sample/judge.ts';
import { planSample } from '../../infra/local/sample/plan.ts';
import { summarize, summaryPanel } from '../../infra/local/sample/summary.ts';

const plan = planSample({ run: 7, seed: 42, orders: 500 });
const sentAtMs = Object.fromEntries(plan.messages.map(({ id }, i) => [id, 1_000 + i]));

/** What a perfect run leaves behind. */
function perfect(): Sighting & { outputs: SeenOutput[]; keys: SeenKey[] } {
  const met = new Set<string>();
  const firsts = plan.messages.filter(({ id }) => !met.has(id) && met.add(id));
  const expected = new Map(plan.keys.map((one) => [one.key, one.expected]));
  const outputs = firsts.map(({ key, id }, i) => ({
    sequence: i + 1,
    key,
    messageId: `orders:${key}:${id}:1`,
    causationId: id,
    subject: expected.get(key)?.[id]?.subject ?? '',
    enqueuedAtMs: (sentAtMs[id] ?? 0) + 5,
  }));
  const keys = plan.keys.map(({ key, ids, expected: outcomes, state }) => ({
    key,
    epoch: 1,
    phase: 'idle',
    hold: 'none',
    state: structuredClone(state) as unknown,
    records: ids.map((id) => ({ messageId: id, outcome: outcomes[id]?.outcome as string })),
  }));
  return { plan, outputs, keys, sentAtMs };
}

/** Two outputs of one key that follow each other there. */
function neighbours(outputs: SeenOutput[]): [SeenOutput, SeenOutput] {
  const key = plan.keys.find(({ ids }) => ids.length >= 4)?.key;
  const [, second, third] = outputs.filter((output) => output.key === key);
  if (!second || !third) throw new Error('the plan holds no key with four messages');
  return [second, third];
}

const zero = { violations: 0, lost: 0, doubled: 0 };
const countsOf = (sighting: Sighting) => {
  const { violations, lost, doubled } = judge(sighting);
  return { violations, lost, doubled };
};

describe('the plan', () => {
  test('G1: the same run, seed and size give the same plan, another seed another', () => {
    expect(planSample({ run: 7, seed: 42, orders: 500 })).toEqual(plan);
    expect(planSample({ run: 7, seed: 43, orders: 500 }).messages).not.toEqual(plan.messages);
  });

  test('G2: no key and no id of one run or seed is met in another', () => {
    const ids = (run: number, seed: number) =>
      planSample({ run, seed, orders: 50 }).messages.flatMap(({ key, id }) => [key, id]);

    const all = [ids(1, 1), ids(2, 1), ids(1, 2), ids(11, 2)].map((list) => new Set(list));

    const union = new Set(all.flatMap((set) => [...set]));
    expect(union.size).toBe(all.reduce((sum, set) => sum + set.size, 0));
  });

  test('orders are interleaved, some messages come twice and some steps are refused', () => {
    const switches = plan.messages.filter(({ key }, i) => key !== plan.messages[i - 1]?.key);
    const outcomes = plan.keys.flatMap(({ expected }) => Object.values(expected));
    const refused = outcomes.filter(({ outcome }) => outcome === 'rejected').length;

    expect(switches.length).toBeGreaterThan(plan.messages.length * 0.9);
    expect(plan.repeats / plan.messages.length).toBeGreaterThan(0.015);
    expect(plan.repeats / plan.messages.length).toBeLessThan(0.05);
    expect(refused).toBeGreaterThan(5);
    expect(refused).toBeLessThan(plan.messages.length * 0.05);
    expect(plan.messages).toHaveLength(outcomes.length + plan.repeats);
  });

  test('G3: a repeat has the body of its first sending', () => {
    const first = new Map<string, object>();
    for (const { id, type, body } of plan.messages) {
      expect({ type, body }).toEqual(first.get(id) ?? { type, body });
      first.set(id, { type, body });
    }
  });
});

describe('the judge', () => {
  test('a perfect run has no fault, and its counts add up', () => {
    const verdict = judge(perfect());

    expect(verdict.failures).toEqual([]);
    const { sent, late: _, ...outcomes } = verdict.messages;
    expect(sent).toBe(plan.messages.length);
    expect(Object.values(outcomes).reduce((a, b) => a + b)).toBe(sent);
    expect(verdict.messages.duplicate).toBe(plan.repeats);
    expect(verdict.latencyMs).toEqual({ p50: 5, p99: 5 });
    expect(verdict).toMatchObject(zero);
  });

  test('J1: two swapped outputs are one violation and nothing else', () => {
    const sighting = perfect();
    const [a, b] = neighbours(sighting.outputs);
    [a.sequence, b.sequence] = [b.sequence, a.sequence];

    expect(countsOf(sighting)).toEqual({ ...zero, violations: 1 });
    expect(judge(sighting).failures).toHaveLength(1);
  });

  test('J2: a dropped output is one lost message and nothing else', () => {
    const sighting = perfect();
    const [dropped] = neighbours(sighting.outputs);

    const outputs = sighting.outputs.filter((output) => output !== dropped);

    expect(countsOf({ ...sighting, outputs })).toEqual({ ...zero, lost: 1 });
  });

  test('J3: an output doubled under another id is one double and nothing else', () => {
    const sighting = perfect();
    const [twice] = neighbours(sighting.outputs);
    const sequence = sighting.outputs.length + 1;

    sighting.outputs.push({ ...twice, sequence, messageId: `${twice.messageId}x` });

    expect(countsOf(sighting)).toEqual({ ...zero, doubled: 1 });
  });

  test('J3: a repeat under the same output id counts nowhere', () => {
    const sighting = perfect();
    const [twice] = neighbours(sighting.outputs);

    sighting.outputs.push({ ...twice, sequence: sighting.outputs.length + 1 });

    expect(judge(sighting).failures).toEqual([]);
  });

  test('J3: an effect that is twice in the state is a double', () => {
    const sighting = perfect();
    const state = sighting.keys[0]?.state as { steps: string[] };
    state.steps.push(state.steps[0] ?? '');

    expect(countsOf(sighting)).toEqual({ ...zero, doubled: 1 });
  });

  test('J2: an id without a record is lost once, with its output or without', () => {
    const sighting = perfect();
    const key = sighting.keys[0];
    const gone = key?.records.at(-1)?.messageId;
    const keys = sighting.keys.map((one) =>
      one === key ? { ...one, records: one.records.slice(0, -1) } : one,
    );
    const outputs = sighting.outputs.filter(({ causationId }) => causationId !== gone);

    expect(countsOf({ ...sighting, keys })).toMatchObject({ lost: 1 });
    expect(countsOf({ ...sighting, keys, outputs })).toMatchObject({ lost: 1 });
  });

  test.each([
    ['a wrong final state', { state: { status: 'paid', amount: -1, steps: [] } }],
    ['a key that is held', { hold: 'blocked' }],
  ])('%s is a failure', (_, change) => {
    const sighting = perfect();
    const keys = sighting.keys.map((one, i) => (i === 0 ? { ...one, ...change } : one));

    expect(judge({ ...sighting, keys }).failures).not.toEqual([]);
  });

  test('a message that waits is a failure, and is not lost', () => {
    const sighting = perfect();
    const keys = sighting.keys.map((one, i) =>
      i > 0 ? one : { ...one, records: one.records.map((r) => ({ ...r, outcome: 'waiting' })) },
    );

    const verdict = judge({ ...sighting, keys });

    expect(verdict.messages.waiting).toBe(sighting.keys[0]?.records.length);
    expect(verdict.lost).toBe(0);
    expect(verdict.failures.join()).toContain('still wait');
  });

  test('an outcome or an output other than planned is a failure', () => {
    const sighting = perfect();
    const [output] = neighbours(sighting.outputs);
    output.subject = 'order.rejected';

    expect(judge(sighting).failures.join()).toContain('order.rejected');
  });

  test('outputs of earlier runs on the same queue count nowhere', () => {
    const sighting = perfect();
    const [output] = neighbours(sighting.outputs);
    sighting.outputs.push({
      ...output,
      key: 'r6-s42-order-0001',
      causationId: 'x',
      messageId: 'y',
    });

    expect(judge(sighting).published).toBe(sighting.outputs.length - 1);
    expect(judge(sighting).failures).toEqual([]);
  });
});

describe('the summary', () => {
  const usage = {
    serviceBusOperations: 3000,
    cosmosRequestUnits: 1000.5,
    storageTransactions: 10,
    restarts: 0,
  };

  test('has exactly the fields of the contract', () => {
    const summary = summarize(judge(perfect()), usage);

    const fields =
      'convoys messages order lost doubled windows outputs epochs ' +
      'seconds throughput latencyMs cost';
    expect(Object.keys(summary)).toEqual(fields.split(' '));
    expect(Object.keys(summary.messages)).toEqual(
      'sent applied rejected invalid duplicate late parked waiting'.split(' '),
    );
    expect(Object.keys(summary.cost)).toEqual([
      'serviceBusOperations',
      'cosmosRequestUnits',
      'storageTransactions',
      'usdPerMillionMessages',
    ]);
  });

  test('a restart loses counters: the summary says so instead of a price', () => {
    const summary = summarize(judge(perfect()), { ...usage, restarts: 2 });

    expect(summary.cost.restarts).toBe(2);
    expect(summaryPanel(summary, []).join('\n')).toContain('only since a process came back');
  });

  test('says in words whether the checks hold', () => {
    const summary = summarize(judge(perfect()), usage);

    expect(summaryPanel(summary, []).join('\n')).toContain('all hold');
    expect(summaryPanel(summary, ['x', 'y']).join('\n')).toContain('2 failed');
  });
});
