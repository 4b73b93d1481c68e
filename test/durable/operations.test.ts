// What operators and starters may do: rewind, restart, wait, versions, unreliable delivery.
import { describe, expect, test } from 'vitest';
import type { OrchestrationContext, Task } from 'durable-functions';
import { openTestHub, type Status, type TestHub } from './hub-under-test.ts';
import { df } from './runner.ts';

type Orchestrator = Generator<Task, unknown, never>;
type Context = OrchestrationContext;

const runs = new Map<string, number>();
const ran = (name: string) => runs.set(name, (runs.get(name) ?? 0) + 1).get(name) ?? 0;
let failuresLeft = 0;
df.app.activity('succeeds', {
  handler: () => ran('succeeds'),
});
df.app.activity('failsFirst', {
  handler: () => {
    ran('failsFirst');
    if (failuresLeft-- > 0) throw new Error('not yet');
    return 'at last';
  },
});
df.app.orchestration('risky', function* (context: Context): Orchestrator {
  yield context.df.callActivity('succeeds');
  return yield context.df.callActivity('failsFirst');
} as never);
df.app.orchestration('riskyParent', function* (context: Context): Orchestrator {
  yield context.df.callActivity('succeeds');
  return yield context.df.callSubOrchestrator('risky', null, 'risky-child');
} as never);
df.app.orchestration('retriesInVain', function* (context: Context): Orchestrator {
  yield context.df.callActivity('succeeds');
  return yield context.df.callActivityWithRetry('failsFirst', new df.RetryOptions(10, 2));
} as never);
df.app.orchestration('echoes', function* (context: Context): Orchestrator {
  yield context.df.callActivity('succeeds');
  return [context.df.version, context.df.getInput()];
} as never);
df.app.orchestration('versions', function* (context: Context): Orchestrator {
  const child = yield context.df.callSubOrchestrator('echoes', 1, undefined, '1.5');
  return [context.df.version, child, yield context.df.callSubOrchestrator('echoes', 2)];
} as never);
df.app.orchestration('sleeps', function* (context: Context): Orchestrator {
  const at = new Date(context.df.currentUtcDateTime.getTime() + 5_000);
  yield context.df.createTimer(at);
  return 'slept';
} as never);
df.app.orchestration('collects', function* (context: Context): Orchestrator {
  const got: unknown[] = [];
  for (;;) {
    const event: unknown = yield context.df.waitForExternalEvent('E');
    if (event === 'end') return got;
    got.push(event);
  }
} as never);

const rewind = async (it: TestHub, id: string): Promise<number> => {
  const { status } = await it.call('POST', `instances/${id}/rewind?reason=again`);
  await it.pass(1_000, 20);
  return status;
};

describe('rewind', () => {
  test.each(['risky', 'riskyParent', 'retriesInVain'])(
    'runs again what failed and nothing else (%s)',
    async (name) => {
      runs.clear();
      failuresLeft = name === 'retriesInVain' ? 3 : 2;
      await using it = openTestHub();
      await it.start(name, 'r');
      await it.pass(1_000, 20);
      expect((await it.status('r')).runtimeStatus).toBe('Failed');
      const succeeded = runs.get('succeeds');

      const answers = [await rewind(it, 'r')];
      if (name !== 'retriesInVain') answers.push(await rewind(it, 'r'));

      expect(answers.every((status) => status === 202)).toBe(true);
      expect(await it.status('r')).toMatchObject({ runtimeStatus: 'Completed', output: 'at last' });
      expect(runs.get('succeeds')).toBe(succeeded);
      expect(runs.get('failsFirst')).toBe(name === 'retriesInVain' ? 4 : 3);
    },
  );

  test('is for failed instances only', async () => {
    await using it = openTestHub();
    await it.start('sleeps', 's');
    await it.settle();

    expect(await rewind(it, 's')).toBe(412);
    expect(await rewind(it, 'nobody')).toBe(404);
  });
});

describe('restart', () => {
  test('runs the same function with the same input, under a new id or the old one', async () => {
    await using it = openTestHub();
    await it.start('echoes', 'first', { a: 1 });
    await it.settle();

    const fresh = await it.call('POST', 'instances/first/restart');
    const { id } = JSON.parse(fresh.body) as { id: string };
    const old = await it.call('POST', 'instances/first/restart?restartWithNewInstanceId=false');
    await it.settle();

    expect([fresh.status, old.status, id === 'first']).toEqual([202, 202, false]);
    expect((await it.status(id)).output).toEqual(['', { a: 1 }]);
    expect((await it.call('POST', 'instances/nobody/restart')).status).toBe(404);
  });
});

describe('create and wait', () => {
  test.each([
    [10, 200, 'slept'],
    [2, 202, undefined],
  ])('answers within %i s with %i', async (seconds, status, output) => {
    await using it = openTestHub();
    const target = `orchestrators/sleeps/w?timeout=${seconds}&pollingInterval=1`;
    const waiting = it.call('POST', target, null);
    await it.pass(11_000, 500);

    const answer = await waiting;

    expect(answer.status).toBe(status);
    const body = JSON.parse(answer.body) as unknown;
    if (output) expect(body).toBe(output);
    else expect(body).toMatchObject({ id: 'w' });
  });
});

describe('versions', () => {
  const rules = { current: '2.0', match: 'CurrentOrOlder' } as const;

  test('come from the start, the call or host.json', async () => {
    await using it = openTestHub({ settings: { versions: { ...rules, onMismatch: 'Fail' } } });
    await it.start('versions', 'v');
    await it.settle();

    expect((await it.status('v')).output).toEqual(['2.0', ['1.5', 1], ['2.0', 2]]);
  });

  test('that are newer fail the instance, or wait for a newer host', async () => {
    for (const onMismatch of ['Fail', 'Reject'] as const) {
      await using it = openTestHub({ settings: { versions: { ...rules, onMismatch } } });
      await it.call('POST', 'orchestrators/echoes/v?version=10.0', 1);
      await it.settle();

      const { runtimeStatus, output } = await it.status('v');
      expect(runtimeStatus).toBe(onMismatch === 'Fail' ? 'Failed' : 'Pending');
      if (onMismatch === 'Fail') expect(output).toContain('VersionMismatch');
    }
  });
});

describe('unreliable delivery', () => {
  async function collect(seed: number): Promise<{ got: number[]; status: Status }> {
    const faults = { seed, lost: 0.2, doubled: 0.2, delayed: 0.3, delayMs: 500 };
    await using it = openTestHub({ delivery: faults });
    await it.start('collects', 'c');
    await it.settle();
    for (let k = 0; k < 60; k++) {
      expect(await it.raise('c', 'E', k)).toBe(202);
      await it.pass(20, 10);
    }
    await it.pass(1_000, 20);
    for (let k = 0; k < 20; k++) await it.raise('c', 'E', 'end');
    await it.pass(1_000, 20);
    const status = await it.status('c');
    return { got: status.output as number[], status };
  }

  test.each([1, 2, 3])('loses, doubles and reorders by its seed (%i)', async (seed) => {
    const { got } = await collect(seed);

    expect(new Set(got).size).toBeLessThan(60);
    expect(got.length).toBeGreaterThan(new Set(got).size);
    expect(got).not.toEqual(got.toSorted((a, b) => a - b));
    expect((await collect(seed)).got).toEqual(got);
  });
});
