// A failing history becomes a small one that fails in the same way, and a story.
import { expect, test } from 'vitest';
import { z } from 'zod';
import { convoy } from '../../functions/convoy.ts';
import { defineConvoy } from '../../shared/convoy/definition.ts';
import { Random } from '../../infra/simulation/random.ts';
import { drawMessages, samplesFor } from '../../infra/simulation/samples.ts';
import { usualFaults } from '../../infra/simulation/scenarios/parts.ts';
import { shrink } from '../../infra/simulation/shrink.ts';
import { runSeeds, simulate } from '../../infra/simulation/simulate.ts';
import { storyOf } from '../../infra/simulation/story.ts';

type Task = { kind?: string };

/** H7 broken: a drain that failed ends the instance, and no sweeper may help within an hour. */
function* brokenConvoy(context: never): Generator<unknown, void, unknown> {
  const generator = convoy(context);
  let step = generator.next();
  while (!step.done) {
    const value: unknown = yield step.value as Task;
    // The instance hears of its first epoch only: whatever comes in another one is passed over.
    const result = value as { kind?: string } | undefined;
    if (result?.kind === 'failed') throw new RangeError('a failed drain ended the instance');
    step = generator.next(value as never);
  }
}

test('fewer messages, fewer faults, the same rule, the same every time', async () => {
  const { failed } = await runSeeds({
    scenario: 'plain',
    orchestrator: brokenConvoy,
    from: 1,
    count: 20,
    stopAtFirst: true,
  });
  const [first] = failed;
  if (!first) throw new Error('no seed failed');
  const run = (history: object) =>
    simulate({ seed: 0, scenario: 'plain', orchestrator: brokenConvoy, ...history });

  const shrunk = await shrink(first, { run, rates: usualFaults, runsMax: 300 });
  const again = await shrink(first, { run, rates: usualFaults, runsMax: 300 });

  const { seed, messages, plan, simulation } = shrunk;
  expect(simulation.violations[0]?.rule).toBe(first.violations[0]?.rule);
  expect(messages.length).toBeLessThanOrEqual(3);
  expect(plan.length).toBeLessThanOrEqual(3);
  expect([again.messages, again.plan]).toEqual([messages, plan]);
  const told = storyOf(await run({ seed, messages, plan, trace: true }));
  expect(told[0]).toMatch(/a failed drain ended the instance/);
  expect(told[1]).toMatch(/expected: messages take effect in order/);
  expect(told.filter((line) => / {2}fault {5}/.test(line))).toHaveLength(plan.length);
  expect(told.at(-1)).toMatch(/✗ H7 is broken/);
});

test('samples satisfy the schema they were made from', () => {
  const schema = z.object({
    amount: z.coerce.number().int().min(3).max(9),
    at: z.iso.datetime(),
    who: z.email().optional(),
    kind: z.enum(['a', 'b']),
    lines: z.array(z.object({ sku: z.string().min(5), n: z.number().positive() })).min(1),
    either: z.union([z.literal('x'), z.null()]),
  });

  const samples = samplesFor(schema);

  if ('fault' in samples) throw new Error(samples.fault);
  expect(samples.length).toBeGreaterThan(20);
  for (const { body } of samples) expect(schema.safeParse(body).success).toBe(true);
});

test('a schema that no sample satisfies says why', () => {
  const schema = z.object({ code: z.string().regex(/^[A-Z]{3}-\d{4}$/) });

  expect(samplesFor(schema)).toMatchObject({ fault: expect.stringContaining('code') });
  const { schema: silent } = defineConvoy({
    name: 'silent',
    schema: { '~standard': { version: 1, vendor: 'x', validate: (value) => ({ value }) } },
    initialState: {},
    apply: (state) => state,
  });
  expect(samplesFor(silent)).toEqual({ fault: 'the schema does not say what it takes' });
});

test('samples with keys keep their order, and senderPosition counts by key', () => {
  const samples = [1, 2, 3].map((n) => ({ body: n, key: 'A' }));

  const drawn = drawMessages(new Random(5), { samples, types: [], messages: 7, bySender: true });

  const bodies = drawn.map(({ text }) => Number(text));
  const steps = bodies.slice(1).map((n, i) => (n - (bodies[i] ?? 0) + 3) % 3);
  expect(new Set(steps)).toEqual(new Set([1]));
  expect(drawn.map(({ senderPosition }) => senderPosition)).toEqual([1, 2, 3, 4, 5, 6, 7]);
});
