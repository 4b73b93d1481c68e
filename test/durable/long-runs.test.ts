// Old instances: histories of thousands of events, weeks of timers.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { OrchestrationContext, Task } from 'durable-functions';
import { openTestHub } from './hub-under-test.ts';
import { df } from './runner.ts';

type Orchestrator = Generator<Task, unknown, never>;
type Context = OrchestrationContext;
const hourMs = 3_600_000;

let starts = 0;
let isChanged = false;
df.app.activity('half', { handler: (value: unknown) => Number(value) / 2 });
df.app.orchestration('counts', function* (context: Context): Orchestrator {
  starts++;
  const rounds = context.df.getInput() as number;
  let sum = 0;
  for (let k = 0; k < rounds; k++) {
    sum += (yield context.df.callActivity('half', k)) as number;
    context.df.setCustomStatus({ k });
  }
  if (isChanged) yield context.df.callActivity('half', 1);
  return sum + ((yield context.df.waitForExternalEvent('go')) as number);
} as never);
df.app.orchestration('ticks', function* (context: Context): Orchestrator {
  const began = context.df.currentUtcDateTime.getTime();
  let ticks = 0;
  for (; ticks < 7 * 24; ticks++) {
    const next = began + (ticks + 1) * hourMs;
    yield context.df.createTimer(new Date(next));
  }
  return (context.df.currentUtcDateTime.getTime() - began) / hourMs;
} as never);

test('a run of a thousand episodes is replayed a few times, and ends right', async () => {
  starts = 0;
  await using it = openTestHub();
  await it.start('counts', 'c', 1_000);
  await it.settle();
  // 20 episodes of a history below 64 events, then once per doubling of it.
  expect(starts).toBeGreaterThan(15);
  expect(starts).toBeLessThan(35);
  expect((await it.status('c')).customStatus).toEqual({ k: 999 });

  await it.raise('c', 'go', 0.5);
  await it.settle();

  expect(await it.status('c')).toMatchObject({ runtimeStatus: 'Completed', output: 249_750.5 });
  expect(it.hub.usage().episodes).toBe(1_002);
});

test('a long run that is evicted or restarted goes on by one replay', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'convoy-hub-'));
  const file = join(folder, 'hub.sqlite');
  const first = openTestHub({ file });
  await first.start('counts', 'c', 300);
  await first.settle();
  await first.hub.close();

  starts = 0;
  await using second = openTestHub({ file, clock: first.clock });
  await second.call('POST', 'instances/c/suspend');
  await second.settle();
  await second.raise('c', 'go', 1);
  await second.call('POST', 'instances/c/resume');
  await second.settle();

  expect((await second.status('c')).output).toBe(22_426);
  expect(starts).toBe(1);
  rmSync(folder, { recursive: true });
});

test('suspending a run that is kept alive keeps its events in order', async () => {
  await using it = openTestHub({ settings: { replayedEventsMax: 0 } });
  await it.start('counts', 'c', 3);
  await it.settle();
  await it.call('POST', 'instances/c/suspend');
  await it.settle();
  await it.raise('c', 'go', 7);
  await it.settle();
  expect((await it.status('c')).runtimeStatus).toBe('Suspended');

  await it.call('POST', 'instances/c/resume');
  await it.settle();

  expect((await it.status('c')).output).toBe(8.5);
});

test('code that changed under a long run is found out by its next replay', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'convoy-hub-'));
  const file = join(folder, 'hub.sqlite');
  isChanged = true;
  const first = openTestHub({ file });
  await first.start('counts', 'c', 100);
  await first.settle();
  await first.hub.close();
  isChanged = false;

  await using second = openTestHub({ file, clock: first.clock });
  await second.raise('c', 'go', 1);
  await second.settle();

  expect((await second.status('c')).output).toContain('Non-Deterministic');
  rmSync(folder, { recursive: true });
});

test('a week of hourly timers passes as fast as the hub can go', async () => {
  await using it = openTestHub();
  await it.start('ticks', 't');

  await it.pass(7 * 24 * hourMs, hourMs);

  expect(await it.status('t')).toMatchObject({ runtimeStatus: 'Completed', output: 168 });
  expect(it.clock.armed).toBe(0);
});
