import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { OrchestrationContext, Task, TaskFailedError } from 'durable-functions';
import { GenerationCache, loadGeneration } from '../../infra/local/durable/generation.ts';
import { startInstance } from '../../infra/local/durable/instances.ts';
import { HubStorage } from '../../infra/local/durable/storage.ts';
import { openTestHub } from './hub-under-test.ts';
import { df } from './runner.ts';

type Orchestrator = Generator<Task, unknown, never>;
type Context = OrchestrationContext;

let inside = 0;
let insideMax = 0;
df.app.activity('crowd', {
  handler: async () => {
    insideMax = Math.max(insideMax, ++inside);
    await new Promise((resolve) => setImmediate(resolve));
    inside--;
  },
});
df.app.orchestration('crowds', function* (context: Context): Orchestrator {
  const tasks = Array.from({ length: 600 }, () => context.df.callActivity('crowd'));
  return ((yield context.df.Task.all(tasks)) as unknown[]).length;
} as never);
df.app.orchestration('takes', function* (context: Context): Orchestrator {
  let sum = 0;
  const count = context.df.getInput() as number;
  for (let k = 0; k < count; k++) {
    const event: unknown = yield context.df.waitForExternalEvent('N');
    if (event !== k) throw new Error(`${String(event)} instead of ${k}`);
    sum += k;
  }
  return sum;
} as never);
df.app.orchestration('never', function* (context: Context): Orchestrator {
  return yield context.df.waitForExternalEvent('never');
} as never);
df.app.orchestration('callsTaken', function* (context: Context): Orchestrator {
  return yield context.df.callSubOrchestrator('never', null, 'taken');
} as never);
df.app.orchestration('bigStatus', function* (context: Context): Orchestrator {
  const size = context.df.getInput() as number;
  context.df.setCustomStatus('x'.repeat(size));
  return yield context.df.waitForExternalEvent('never');
} as never);
df.app.orchestration('detailed', function* (context: Context): Orchestrator {
  try {
    return yield context.df.callActivity('describes');
  } catch (error) {
    const { message, failureDetails } = error as TaskFailedError;
    return [message, failureDetails.properties];
  }
} as never);
df.app.activity('describes', {
  handler: () => {
    const properties = { code: 42 };
    const text = { errorType: 'Odd', errorMessage: 'very', isNonRetriable: false, properties };
    throw new Error(JSON.stringify(text));
  },
});

test('activities run side by side up to the bound, all of a long queue', async () => {
  insideMax = 0;
  await using it = openTestHub({ maxConcurrentActivities: 7 });
  await it.start('crowds', 'c');
  await it.settle();

  expect((await it.status('c')).output).toBe(600);
  expect(insideMax).toBe(7);
});

test('more events than an episode takes keep their order, also behind a suspension', async () => {
  const count = 2_500;
  await using it = openTestHub();
  await it.start('takes', 't', count);
  await it.settle();
  await it.call('POST', 'instances/t/suspend');
  await it.settle();
  await Promise.all(Array.from({ length: count }, (_, k) => it.raise('t', 'N', k)));
  await it.settle();
  expect((await it.status('t')).runtimeStatus).toBe('Suspended');

  await it.call('POST', 'instances/t/resume');
  await it.settle();

  expect(await it.status('t')).toMatchObject({ runtimeStatus: 'Completed', output: 3_123_750 });
});

test('a child id that runs already fails the call by name', async () => {
  await using it = openTestHub();
  await it.start('never', 'taken');
  await it.start('callsTaken', 'p');
  await it.settle();

  expect((await it.status('p')).output).toContain("ID 'taken' already exists");
});

test('a terminated child fails its parent; a terminated parent leaves its child', async () => {
  await using it = openTestHub();
  await it.start('callsTaken', 'p1');
  await it.settle();
  await it.call('POST', 'instances/p1/terminate?reason=parent');
  await it.settle();
  expect((await it.status('taken')).runtimeStatus).toBe('Running');
  await it.call('POST', 'instances/taken/terminate?reason=child');
  await it.settle();
  await it.start('callsTaken', 'p2');
  await it.settle();
  await it.call('POST', 'instances/taken/terminate?reason=again');
  await it.settle();

  expect((await it.status('p1')).output).toBe('parent');
  expect((await it.status('p2')).output).toContain("'callsTaken' failed: again");
});

test('a customStatus beyond 16 KB fails the instance', async () => {
  await using it = openTestHub();
  await it.start('bigStatus', 'fits', 8_190);
  await it.start('bigStatus', 'bursts', 8_191);
  await it.settle();

  expect((await it.status('fits')).runtimeStatus).toBe('Running');
  expect((await it.status('bursts')).output).toContain('must not exceed 16 KB');
});

test('failure details that an activity describes reach the orchestrator', async () => {
  await using it = openTestHub();
  await it.start('detailed', 'd');
  await it.settle();

  expect((await it.status('d')).output).toEqual(['Odd: very', { code: 42 }]);
});

test('idle answers also when the last request changed nothing', async () => {
  await using it = openTestHub();
  const refused = it.raise('nobody', 'E');

  await it.settle();

  expect(await refused).toBe(404);
});

test('a change that throws is undone alone; its neighbours stand, in order', async () => {
  const storage = new HubStorage(':memory:');
  const start = (id: string) => {
    const isNew = startInstance(
      storage,
      { id, name: 'n', version: '', input: null, parent: null },
      1,
    );
    if (id === 'b') throw new Error('after the write');
    return isNew;
  };
  const answers = await Promise.allSettled(
    ['a', 'b', 'a', 'c'].map((id) => storage.commit(() => start(id))),
  );

  expect(answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : 'no'))).toEqual([
    true,
    'no',
    false,
    true,
  ]);
  expect(storage.instance('b')).toBeUndefined();
  expect(storage.instancesWithMessages()).toEqual(['a', 'c']);
  storage.close();
});

test('the cache of generations is bounded by count and forgets the oldest', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'convoy-hub-'));
  const storage = new HubStorage(join(folder, 'hub.sqlite'));
  const start = { name: 'n', version: '', input: null, parent: null };
  await storage.commit(() => startInstance(storage, { ...start, id: 'x' }, 1));
  const item = storage.instance('x');
  if (!item) throw new Error('not stored');
  const generation = loadGeneration(storage, item);
  const cache = new GenerationCache();

  for (let k = 0; k < 2_001; k++) cache.put({ ...generation, item: { ...item, id: `i${k}` } });

  expect(cache.take('i0')).toBeUndefined();
  expect(cache.take('i1')).toBeDefined();
  storage.close();
  rmSync(folder, { recursive: true });
});
