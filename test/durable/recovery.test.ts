import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { OrchestrationContext, Task } from 'durable-functions';
import { openHub } from '../../infra/local/durable/hub.ts';
import { openTestHub } from './hub-under-test.ts';
import { randomFrom } from './random.ts';
import { df, runner } from './runner.ts';

type Orchestrator = Generator<Task, unknown, never>;

const runs = new Map<string, number>();
df.app.activity('count', {
  handler: (input: unknown) => {
    runs.set(String(input), (runs.get(String(input)) ?? 0) + 1);
    return input;
  },
});
df.app.orchestration('steps', function* (context: OrchestrationContext): Orchestrator {
  const { instanceId, currentUtcDateTime } = context.df;
  const { generation, done } = context.df.getInput() as { generation: number; done: unknown[] };
  const names = ['a', 'b', 'c'].map((step) => `${instanceId}/${generation}/${step}`);
  done.push(yield context.df.callActivity('count', names[0]));
  yield context.df.createTimer(new Date(currentUtcDateTime.getTime() + 1_000));
  const both = names.slice(1).map((name) => context.df.callActivity('count', name));
  done.push(...((yield context.df.Task.all(both)) as unknown[]));
  if (generation === 2) return done;
  context.df.continueAsNew({ generation: generation + 1, done });
  return undefined;
} as never);

df.app.orchestration('waitsThenSteps', function* (context: OrchestrationContext): Orchestrator {
  yield context.df.waitForExternalEvent('go');
  return yield context.df.callActivity('count', 'new');
} as never);

const expected = (id: string) =>
  [0, 1, 2].flatMap((generation) => ['a', 'b', 'c'].map((step) => `${id}/${generation}/${step}`));

test.each([1, 2, 3, 4])(
  'deaths at named points cost repeats, never results (seed %i)',
  async (seed) => {
    const random = randomFrom(seed);
    const ends = new Map<string, number>();
    let deaths = 0;
    runs.clear();
    await using it = openTestHub({
      intercept({ kind, instanceId, detail }) {
        if (kind === 'after-commit' && detail === 'completed') {
          ends.set(instanceId, (ends.get(instanceId) ?? 0) + 1);
        }
        if (kind === 'instance-started' || kind.startsWith('event-') || random() >= 0.3) return;
        deaths++;
        throw new Error(`death at ${kind}`);
      },
    });
    const ids = Array.from({ length: 10 }, (_, k) => `s${k}`);
    for (const id of ids) await it.start('steps', id, { generation: 0, done: [] });
    await it.pass(3_600_000, 20_000);

    expect(deaths).toBeGreaterThan(50);
    for (const id of ids) {
      const status = await it.status(id);
      expect(status).toMatchObject({ runtimeStatus: 'Completed', output: expected(id) });
      expect(ends.get(id)).toBe(1);
      for (const name of expected(id)) expect(runs.get(name)).toBeGreaterThanOrEqual(1);
    }
    expect([...runs.values()].some((count) => count > 1)).toBe(true);
  },
);

test('an activity that ran but was not committed runs again, its result counts once', async () => {
  runs.clear();
  let isDead = false;
  await using it = openTestHub({
    intercept({ kind, name }) {
      if (kind !== 'activity-finished' || name !== 'count' || isDead) return;
      isDead = true;
      throw new Error('death before the result is stored');
    },
  });
  await it.start('steps', 's', { generation: 2, done: [] });
  await it.pass(60_000, 1_000);

  expect(runs.get('s/2/a')).toBe(2);
  expect((await it.status('s')).output).toEqual(['s/2/a', 's/2/b', 's/2/c']);
});

test('an answer to an earlier execution of the id is dropped', async () => {
  const held = Promise.withResolvers<void>();
  const isHeld = Promise.withResolvers<void>();
  const isOver = Promise.withResolvers<void>();
  await using it = openTestHub({
    async intercept({ kind, detail, name }) {
      if (kind === 'after-commit' && detail === 'terminated') isOver.resolve();
      if (kind !== 'activity-finished' || name !== 'count') return;
      isHeld.resolve();
      await held.promise;
    },
  });
  await it.start('steps', 's', { generation: 2, done: [] });
  await isHeld.promise;
  await it.call('POST', 'instances/s/terminate?reason=over');
  await isOver.promise;
  await it.start('waitsThenSteps', 's');

  held.resolve();
  await it.settle();
  await it.raise('s', 'go');
  await it.settle();

  expect((await it.status('s')).output).toBe('new');
});

test('a closed hub goes on where it was, timers included', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'convoy-hub-'));
  const file = join(folder, 'hub.sqlite');
  runs.clear();
  const first = openTestHub({ file });
  await first.start('steps', 's', { generation: 0, done: [] });
  await first.settle();
  expect(() => openHub({ file, runner })).toThrow('HUB_FILE');
  await first.hub.close();

  await using second = openTestHub({ file, clock: first.clock });
  await second.pass(10_000, 500);

  expect((await second.status('s')).output).toEqual(expected('s'));
  expect([...runs.values()]).toEqual(Array.from({ length: 9 }, () => 1));
  rmSync(folder, { recursive: true });
});
