import { describe, expect, test } from 'vitest';
import type { OrchestrationContext, Task, TimerTask } from 'durable-functions';
import { openTestHub, type TestHub } from './hub-under-test.ts';
import { df } from './runner.ts';

type Orchestrator = Generator<Task, unknown, never>;
type Context = OrchestrationContext;
const hourMs = 3_600_000;
const inMs = (context: Context, ms: number) =>
  new Date(context.df.currentUtcDateTime.getTime() + ms);

df.app.activity('work', { handler: (input: unknown) => input });
df.app.orchestration('waits', function* (context: Context): Orchestrator {
  const first = yield context.df.waitForExternalEvent('E');
  return [first, yield context.df.waitForExternalEvent('E')];
} as never);
df.app.orchestration('worksThenWaits', function* (context: Context): Orchestrator {
  yield context.df.createTimer(inMs(context, hourMs));
  return yield context.df.waitForExternalEvent('E');
} as never);
df.app.orchestration('races', function* (context: Context): Orchestrator {
  const { cancels } = context.df.getInput() as { cancels: boolean };
  const event = context.df.waitForExternalEvent('E');
  const timer: TimerTask = context.df.createTimer(inMs(context, hourMs));
  const winner: unknown = yield context.df.Task.any([event, timer]);
  if (winner === timer) return 'timer';
  if (cancels) timer.cancel();
  return 'event';
} as never);
df.app.orchestration('racesOnAndOn', function* (context: Context): Orchestrator {
  const timer = context.df.createTimer(inMs(context, hourMs));
  const got: unknown[] = [];
  while (got.length < 3) {
    const event = context.df.waitForExternalEvent('E');
    const winner: unknown = yield context.df.Task.any([event, timer]);
    if (winner === timer) break;
    got.push((event as unknown as { result: unknown }).result);
  }
  if (!timer.isCompleted) timer.cancel();
  return got;
} as never);

const isLast = (got: unknown[]) => got.includes('end');
df.app.orchestration('renewsAtOnce', function* (context: Context): Orchestrator {
  const got = (context.df.getInput() ?? []) as unknown[];
  got.push(yield context.df.waitForExternalEvent('M'));
  if (isLast(got)) return got;
  context.df.continueAsNew(got);
  return undefined;
} as never);
df.app.orchestration('renewsAfterWork', function* (context: Context): Orchestrator {
  const got = (context.df.getInput() ?? []) as unknown[];
  const event = yield context.df.waitForExternalEvent('M');
  got.push(yield context.df.callActivity('work', event));
  if (isLast(got)) return got;
  context.df.continueAsNew(got);
  return undefined;
} as never);
df.app.orchestration('drainsThenRenews', function* (context: Context): Orchestrator {
  const got = (context.df.getInput() ?? []) as unknown[];
  const queue: unknown[] = [yield context.df.waitForExternalEvent('M')];
  for (;;) {
    while (queue.length > 0) got.push(yield context.df.callActivity('work', queue.shift()));
    const event = context.df.waitForExternalEvent('M');
    const timer = context.df.createTimer(context.df.currentUtcDateTime);
    const winner: unknown = yield context.df.Task.any([event, timer]);
    if (winner === timer) break;
    timer.cancel();
    queue.push((event as unknown as { result: unknown }).result);
  }
  if (isLast(got)) return got;
  context.df.continueAsNew(got);
  return undefined;
} as never);
df.app.orchestration('renewsWithOpenTimer', function* (context: Context): Orchestrator {
  const generation = (context.df.getInput() as number) ?? 0;
  if (generation === 1) return yield context.df.waitForExternalEvent('M');
  const event = context.df.waitForExternalEvent('M');
  yield context.df.Task.any([event, context.df.createTimer(inMs(context, hourMs))]);
  context.df.continueAsNew(generation + 1);
  return undefined;
} as never);

/** Starts and raises in one commit, so that the first episode finds everything in its inbox. */
async function startWith(it: TestHub, name: string, events: readonly string[]): Promise<void> {
  await Promise.all([it.start(name, name), ...events.map((data) => it.raise(name, 'M', data))]);
  await it.settle();
}

describe('delivery', () => {
  test('an event is answered 404 without an instance and 410 after its end', async () => {
    await using it = openTestHub();
    expect(await it.raise('nobody', 'E', 1)).toBe(404);
    await it.start('waits', 'w');
    expect(await it.raise('w', 'E', 1)).toBe(202);
    expect(await it.raise('w', 'E', 2)).toBe(202);
    await it.settle();

    expect(await it.raise('w', 'E', 3)).toBe(410);

    expect(await it.status('w')).toMatchObject({ runtimeStatus: 'Completed', output: [1, 2] });
    expect(it.log.join()).toContain('event E to w is lost');
  });

  test('an early event is kept for a later wait; other names and cases do not match', async () => {
    await using it = openTestHub();
    await it.start('worksThenWaits', 'w');
    for (const name of ['other', 'e', 'E']) await it.raise('w', name, name);
    await it.pass(hourMs);

    expect(await it.status('w')).toMatchObject({ runtimeStatus: 'Completed', output: 'E' });
  });

  test('an event without JSON or with a numeric name is refused', async () => {
    await using it = openTestHub();
    await it.start('waits', 'w');

    expect((await it.call('POST', 'instances/w/raiseEvent/E')).status).toBe(400);
    expect(await it.raise('w', '0', 1)).toBe(400);
  });

  test('a test may lose an event between its answer and its being written', async () => {
    let losses = 1;
    await using it = openTestHub({
      intercept({ kind }) {
        if (kind === 'event-accepted' && losses-- > 0) throw new Error('lost');
      },
    });
    await it.start('waits', 'a');
    const answers = [await it.raise('a', 'E', 1), await it.raise('a', 'E', 2)];
    await it.raise('a', 'E', 3);
    await it.settle();

    expect(answers).toEqual([202, 202]);
    expect((await it.status('a')).output).toEqual([2, 3]);
  });

  test('an event that arrives while the last episode commits is accepted and lost', async () => {
    let raised: number | undefined;
    const it: TestHub = openTestHub({
      async intercept({ kind, detail }) {
        if (kind === 'before-commit' && detail === 'completed') {
          raised = await it.raise('w', 'E', 'late');
        }
      },
    });
    await using _open = it;
    await it.start('waits', 'w');
    await it.raise('w', 'E', 1);
    await it.raise('w', 'E', 2);
    await it.settle();

    expect(raised).toBe(202);
    expect(await it.status('w')).toMatchObject({ runtimeStatus: 'Completed', output: [1, 2] });
    expect(it.log).toContain('warning: w ended; events lost: E');
  });
});

describe('races of event and timer', () => {
  test.each([
    ['event', true],
    ['event', false],
    ['timer', true],
  ])('the %s wins (cancels: %s)', async (winner, cancels) => {
    await using it = openTestHub();
    await it.start('races', 'r', { cancels });
    await it.pass(hourMs - 1);
    if (winner === 'event') await it.raise('r', 'E', 1);
    await it.pass(1);

    expect(await it.status('r')).toMatchObject({ runtimeStatus: 'Completed', output: winner });
    expect(it.clock.armed).toBe(0);
  });

  test('a timer that lost and still runs keeps the instance Running; events vanish', async () => {
    await using it = openTestHub();
    await it.start('races', 'r', { cancels: false });
    await it.raise('r', 'E', 1);
    await it.settle();
    expect((await it.status('r')).runtimeStatus).toBe('Running');
    expect(it.log.join()).toContain('r finished but is kept Running by open tasks 0');
    expect(await it.raise('r', 'E', 'swallowed')).toBe(202);
    await it.pass(hourMs - 1);
    expect((await it.status('r')).runtimeStatus).toBe('Running');

    await it.pass(1);

    expect(await it.status('r')).toMatchObject({ runtimeStatus: 'Completed', output: 'event' });
  });

  test('a cancelled timer lets the instance end at once', async () => {
    await using it = openTestHub();
    await it.start('races', 'r', { cancels: true });
    await it.raise('r', 'E', 1);
    await it.settle();

    expect(await it.status('r')).toMatchObject({ runtimeStatus: 'Completed', output: 'event' });
    expect(it.clock.armed).toBe(0);
  });

  test('one timer may stand in many races', async () => {
    await using it = openTestHub();
    await it.start('racesOnAndOn', 'r');
    for (const data of [1, 2, 3]) {
      await it.raise('r', 'E', data);
      await it.settle();
    }

    expect(await it.status('r')).toMatchObject({ runtimeStatus: 'Completed', output: [1, 2, 3] });
  });
});

describe('continue-as-new', () => {
  test('events behind the one that renews are carried over', async () => {
    await using it = openTestHub();
    await startWith(it, 'renewsAtOnce', ['a', 'b', 'end']);

    expect((await it.status('renewsAtOnce')).output).toEqual(['a', 'b', 'end']);
  });

  test('events before it that nothing consumed are lost, as on Azure', async () => {
    await using it = openTestHub();
    await startWith(it, 'renewsAfterWork', ['a', 'b', 'end']);
    expect(await it.status('renewsAfterWork')).toMatchObject({
      runtimeStatus: 'Running',
      input: ['a'],
    });

    await it.raise('renewsAfterWork', 'M', 'end');
    await it.settle();

    expect((await it.status('renewsAfterWork')).output).toEqual(['a', 'end']);
  });

  test('a drain loop before it loses nothing', async () => {
    await using it = openTestHub();
    await startWith(it, 'drainsThenRenews', ['a', 'b', 'end']);
    await it.pass(10);

    expect((await it.status('drainsThenRenews')).output).toEqual(['a', 'b', 'end']);
  });

  test('what is carried over comes before what is queued meanwhile', async () => {
    let isRaised = false;
    const it: TestHub = openTestHub({
      async intercept({ kind, detail }) {
        if (kind !== 'before-commit' || detail !== 'continuedAsNew' || isRaised) return;
        isRaised = true;
        await it.raise('renewsAtOnce', 'M', 'end');
      },
    });
    await using _open = it;
    await startWith(it, 'renewsAtOnce', ['a', 'b']);

    expect((await it.status('renewsAtOnce')).output).toEqual(['a', 'b', 'end']);
  });

  test('an open timer delays it', async () => {
    await using it = openTestHub();
    await it.start('renewsWithOpenTimer', 'r', 0);
    await it.raise('r', 'M', 'first');
    await it.pass(hourMs - 1);
    expect((await it.status('r')).input).toBe(0);

    await it.raise('r', 'M', 'behind');
    await it.pass(1);

    expect(await it.status('r')).toMatchObject({ runtimeStatus: 'Completed', output: 'behind' });
  });
});

describe('control', () => {
  test('a suspended instance keeps its events and takes them in order when resumed', async () => {
    await using it = openTestHub();
    await it.start('waits', 'w');
    await it.call('POST', 'instances/w/suspend?reason=pause');
    await it.settle();
    await it.raise('w', 'E', 1);
    await it.raise('w', 'E', 2);
    await it.settle();
    expect((await it.status('w')).runtimeStatus).toBe('Suspended');
    expect((await it.call('POST', 'instances/w/suspend')).status).toBe(500);

    await it.call('POST', 'instances/w/resume?reason=go');
    await it.settle();

    expect(await it.status('w')).toMatchObject({ runtimeStatus: 'Completed', output: [1, 2] });
    expect((await it.call('POST', 'instances/w/resume')).status).toBe(410);
  });

  test('a terminated instance ends with the reason, its timer with it', async () => {
    await using it = openTestHub();
    await it.start('worksThenWaits', 'w');
    await it.settle();

    expect((await it.call('POST', 'instances/w/terminate?reason=enough')).status).toBe(202);
    await it.settle();

    expect(await it.status('w')).toMatchObject({ runtimeStatus: 'Terminated', output: 'enough' });
    expect((await it.call('POST', 'instances/w/terminate?reason=again')).status).toBe(410);
    await it.pass(2 * hourMs);
    expect((await it.status('w')).runtimeStatus).toBe('Terminated');
  });
});
