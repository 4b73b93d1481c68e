import { expect, test } from 'vitest';
import type { OrchestrationContext, Task } from 'durable-functions';
import { isAlwaysLive, openTestHub } from './hub-under-test.ts';
import { df } from './runner.ts';

type Orchestrator = Generator<Task, unknown, never>;
type Context = OrchestrationContext;
const later = (context: Context, ms: number) =>
  new Date(context.df.currentUtcDateTime.getTime() + ms);
const dayMs = 86_400_000;

let flakyCalls = 0;
df.app.activity('echo', { handler: (input: unknown) => input });
df.app.activity('greet', { handler: (input: unknown) => `Hello ${String(input)}` });
df.app.activity('nothing', { handler: () => undefined });
df.app.activity('boom', {
  handler: (input: unknown) => {
    throw new Error(`boom ${String(input)}`);
  },
});
df.app.activity('flaky', {
  handler: (succeedOn: unknown) => {
    if (++flakyCalls < Number(succeedOn)) throw new Error(`attempt ${flakyCalls}`);
    return flakyCalls;
  },
});

const sequence = function* (context: Context): Orchestrator {
  const said: unknown[] = [];
  for (const city of ['Tokyo', 'Seattle', 'London']) {
    said.push(yield context.df.callActivity('greet', city));
  }
  return said;
};
df.app.orchestration('sequence', sequence as never);

df.app.orchestration('fanOut', function* (context: Context): Orchestrator {
  const count = context.df.getInput() as number;
  const tasks = Array.from({ length: count }, (_, at) => context.df.callActivity('echo', { at }));
  const found = (yield context.df.Task.all(tasks)) as { at: number }[];
  return found.reduce((sum, { at }) => sum + at, 0);
} as never);

df.app.orchestration('values', function* (context: Context): Orchestrator {
  const values: unknown[] = [];
  const given = [0, '', null, 'true', '{"a":1}', [1], { b: 2 }, 'text', 1.5];
  for (const value of given) values.push(yield context.df.callActivity('echo', value));
  values.push(yield context.df.callActivity('echo', true));
  values.push(yield context.df.callActivity('nothing'));
  return values;
} as never);

df.app.orchestration('weekLong', function* (context: Context): Orchestrator {
  const began = context.df.currentUtcDateTime.getTime();
  yield context.df.createTimer(later(context, 10 * dayMs));
  return (context.df.currentUtcDateTime.getTime() - began) / dayMs;
} as never);

df.app.orchestration('fails', function* (context: Context): Orchestrator {
  return yield context.df.callActivity('boom', 'x');
} as never);
df.app.orchestration('catches', function* (context: Context): Orchestrator {
  try {
    return yield context.df.callActivity('boom', 'y');
  } catch (error) {
    return (error as Error).message.split('\n')[0];
  }
} as never);
// oxlint-disable-next-line require-yield -- it throws before it could
df.app.orchestration('throwsText', function* (): Orchestrator {
  throw 'no error object';
} as never);
df.app.orchestration('callsUnknown', function* (context: Context): Orchestrator {
  return yield context.df.callActivity('no-such-activity');
} as never);
df.app.orchestration('callsEntity', function* (context: Context): Orchestrator {
  return yield context.df.callEntity(new df.EntityId('no-such-entity', 'k'), 'get');
} as never);

df.app.orchestration('retries', function* (context: Context): Orchestrator {
  const options = new df.RetryOptions(1_000, 5);
  options.backoffCoefficient = 2;
  const began = context.df.currentUtcDateTime.getTime();
  const calls = yield context.df.callActivityWithRetry('flaky', options, 4);
  return { calls, waitedMs: context.df.currentUtcDateTime.getTime() - began };
} as never);
df.app.orchestration('retriesInVain', function* (context: Context): Orchestrator {
  return yield context.df.callActivityWithRetry('boom', new df.RetryOptions(1_000, 2), 'z');
} as never);
df.app.orchestration('reyields', function* (context: Context): Orchestrator {
  const retried = context.df.callActivityWithRetry('flaky', new df.RetryOptions(1_000, 5), 3);
  const quick = context.df.callActivity('echo', 'quick');
  yield context.df.Task.any([quick, retried]);
  const value = yield retried;
  return [value, yield context.df.callActivity('echo', 'after')];
} as never);
df.app.orchestration('neverYielded', function* (context: Context): Orchestrator {
  context.df.callActivity('boom', 'never');
  context.df.createTimer(later(context, dayMs));
  return yield context.df.callActivity('echo', 'only');
} as never);

df.app.orchestration('child', function* (context: Context): Orchestrator {
  const input = context.df.getInput();
  if (input === 'fail') throw new Error('child failed');
  return [context.df.parentInstanceId, yield context.df.callActivity('echo', input)];
} as never);
df.app.orchestration('parent', function* (context: Context): Orchestrator {
  const tasks = [
    context.df.callSubOrchestrator('child', 'a'),
    context.df.callSubOrchestrator('child', 'b', 'named-child'),
  ];
  const results = yield context.df.Task.all(tasks);
  try {
    yield context.df.callSubOrchestrator('child', 'fail');
  } catch (error) {
    return [results, (error as Error).message];
  }
  return undefined;
} as never);

df.app.orchestration('counts', function* (context: Context): Orchestrator {
  const { left, sum } = context.df.getInput() as { left: number; sum: number };
  const next = yield context.df.callActivity('echo', sum + left);
  if (left === 0) return next;
  context.df.setCustomStatus({ left });
  context.df.continueAsNew({ left: left - 1, sum: next });
  return undefined;
} as never);

let change = 'none';
df.app.orchestration('changes', function* (context: Context): Orchestrator {
  if (change === 'another activity') yield context.df.callActivity('greet', 1);
  else if (change === 'a child instead') yield context.df.callSubOrchestrator('echo', 1);
  else if (change === 'nothing instead') yield context.df.waitForExternalEvent('before');
  else yield context.df.callActivity('echo', 1);
  return yield context.df.waitForExternalEvent('go');
} as never);
df.app.orchestration('twoTimers', function* (context: Context): Orchestrator {
  const times = [1_000, 1_001].map((ms) => context.df.createTimer(later(context, ms)));
  context.df.setCustomStatus({ waitsFor: 0 });
  yield context.df.Task.any(times);
  context.df.setCustomStatus({ waitsFor: 1 });
  yield context.df.Task.all(times);
  return 'both';
} as never);
const replays: string[] = [];
df.app.orchestration('replays', function* (context: Context): Orchestrator {
  replays.push(`before ${context.df.isReplaying}`);
  yield context.df.callActivity('echo', 1);
  replays.push(`after ${context.df.isReplaying}`);
  return undefined;
} as never);

test('a sequence of activities gives its results in order', async () => {
  await using it = openTestHub();
  await it.start('sequence', 's1');
  await it.settle();

  const status = await it.status('s1', 'showHistory=true&showHistoryOutput=true');

  expect(status.runtimeStatus).toBe('Completed');
  expect(status.output).toEqual(['Hello Tokyo', 'Hello Seattle', 'Hello London']);
  expect(status.historyEvents?.map((event) => event.EventType)).toEqual([
    'ExecutionStarted',
    'TaskCompleted',
    'TaskCompleted',
    'TaskCompleted',
    'ExecutionCompleted',
  ]);
  expect(status.historyEvents?.[1]).toMatchObject({ FunctionName: 'greet', Result: 'Hello Tokyo' });
});

test('a fan-out of 300 activities joins once', async () => {
  await using it = openTestHub();
  await it.start('fanOut', 'f1', 300);
  await it.settle();

  expect(await it.status('f1')).toMatchObject({ runtimeStatus: 'Completed', output: 44_850 });
  expect(it.hub.usage().activities).toBe(300);
});

test('values reach activities and come back as on Azure, booleans as text', async () => {
  await using it = openTestHub();
  await it.start('values', 'v1');
  await it.settle();

  const { output } = await it.status('v1');
  const same = [0, '', null, 'true', '{"a":1}', [1], { b: 2 }, 'text', 1.5];
  expect(output).toEqual([...same, 'True', null]);
});

test('a timer of ten days is sliced and fires at its time, never before', async () => {
  await using it = openTestHub();
  await it.start('weekLong', 'w1');
  await it.pass(10 * dayMs - 1, dayMs / 2);
  expect((await it.status('w1')).runtimeStatus).toBe('Running');

  await it.pass(1);

  expect(await it.status('w1')).toMatchObject({ runtimeStatus: 'Completed', output: 10 });
  expect(it.clock.armed).toBe(0);
});

test('a failed activity fails the orchestration with the text of Azure', async () => {
  await using it = openTestHub();
  await it.start('fails', 'x1');
  await it.start('catches', 'x2');
  await it.settle();

  const { runtimeStatus, output } = await it.status('x1');
  expect(runtimeStatus).toBe('Failed');
  expect(String(output).split('\n')[0]).toBe(
    "Orchestrator function 'fails' failed: Activity function 'boom' failed: boom x ",
  );
  expect((await it.status('x2')).output).toBe("Activity function 'boom' failed: boom y ");
});

test('any throw is a failure, and what is unknown or not offered is named', async () => {
  await using it = openTestHub();
  for (const name of ['throwsText', 'callsUnknown', 'callsEntity']) await it.start(name, name);
  await it.settle();

  expect((await it.status('throwsText')).runtimeStatus).toBe('Failed');
  expect((await it.status('callsUnknown')).output).toContain("'no-such-activity' doesn't exist");
  expect((await it.status('callsEntity')).output).toContain("'no-such-entity' doesn't");
});

test('retries wait on durable timers with back-off and give up after the last', async () => {
  await using it = openTestHub();
  flakyCalls = 0;
  await it.start('retries', 'r1');
  await it.start('retriesInVain', 'r2');
  await it.pass(1_001, 1);
  const { runtimeStatus, output } = await it.status('r2');
  await it.pass(8_000, 250);

  // The clock moves in steps, so the waits of 1, 2 and 4 seconds end a step late at most.
  const { calls, waitedMs } = (await it.status('r1')).output as Record<string, number>;
  expect(calls).toBe(4);
  expect(Math.floor((waitedMs ?? 0) / 1_000)).toBe(7);
  expect(runtimeStatus).toBe('Failed');
  expect(output).toContain("Activity function 'boom' failed: boom z");
});

test('a task that is yielded again, and one never yielded, get the ids of the SDK', async () => {
  await using it = openTestHub();
  flakyCalls = 0;
  await it.start('reyields', 'y1');
  await it.start('neverYielded', 'y2');
  await it.pass(10_000, 500);

  expect((await it.status('y1')).output).toEqual([3, 'after']);
  expect(await it.status('y2')).toMatchObject({ runtimeStatus: 'Completed', output: 'only' });
});

test('sub-orchestrations answer their parent, failures too', async () => {
  await using it = openTestHub();
  await it.start('parent', 'p1');
  await it.settle();

  const { output } = await it.status('p1');
  expect(output).toEqual([
    [
      ['p1', 'a'],
      ['p1', 'b'],
    ],
    "Orchestrator function 'child' failed: child failed \n ",
  ]);
  expect((await it.status('named-child')).runtimeStatus).toBe('Completed');
});

test('continue-as-new begins a new history and keeps the instance', async () => {
  await using it = openTestHub();
  await it.start('counts', 'c1', { left: 20, sum: 0 });
  await it.settle();

  const status = await it.status('c1', 'showHistory=true');
  expect(status).toMatchObject({ runtimeStatus: 'Completed', output: 210, input: { left: 0 } });
  expect(status.historyEvents).toHaveLength(3);
});

test.skipIf(isAlwaysLive()).each(['another activity', 'a child instead', 'nothing instead'])(
  'code that changed under a running instance fails it as non-deterministic: %s',
  async (changed) => {
    await using it = openTestHub();
    change = 'none';
    await it.start('changes', 'd1');
    await it.settle();
    change = changed;
    await it.raise('d1', 'go');
    await it.settle();

    const { runtimeStatus, output } = await it.status('d1');
    expect(runtimeStatus).toBe('Failed');
    expect(output).toContain('Non-Deterministic workflow detected');
  },
);

test('timers a millisecond apart fire a millisecond apart', async () => {
  await using it = openTestHub();
  await it.start('twoTimers', 't');
  await it.pass(999, 999);
  expect((await it.status('t')).customStatus).toEqual({ waitsFor: 0 });
  await it.pass(1);
  const between = await it.status('t');
  expect(between).toMatchObject({ runtimeStatus: 'Running', customStatus: { waitsFor: 1 } });
  await it.pass(1);

  expect(await it.status('t')).toMatchObject({ runtimeStatus: 'Completed', output: 'both' });
});

test.skipIf(isAlwaysLive())('the orchestrator can tell a replay', async () => {
  await using it = openTestHub();
  await it.start('replays', 'r');
  await it.settle();

  expect(replays).toEqual(['before false', 'before true', 'after false']);
});
