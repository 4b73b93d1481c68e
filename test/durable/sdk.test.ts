// What the hub leans on in the SDK is looked at when a host starts.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { OrchestrationContext, Task } from 'durable-functions';
import type { HostFunction } from '../../infra/local/host/functions.ts';
import { checkDurableSdk, hubSettings } from '../../infra/local/host/durable.ts';
import { openTestHub } from './hub-under-test.ts';
import { df } from './runner.ts';

type Orchestrator = Generator<Task, unknown, never>;
const folder = mkdtempSync(join(tmpdir(), 'convoy-sdk-'));
afterAll(() => rmSync(folder, { recursive: true }));
const orchestration = [{ kind: 'orchestration' }] as unknown as HostFunction[];
const activity = [{ kind: 'activity' }] as unknown as HostFunction[];

function appWith(version: string, executor?: string): string {
  const app = join(folder, version);
  const sdk = join(app, 'node_modules', 'durable-functions');
  const inner = join(sdk, 'lib', 'src', 'orchestrations');
  mkdirSync(inner, { recursive: true });
  writeFileSync(join(app, 'package.json'), '{}');
  writeFileSync(join(sdk, 'package.json'), JSON.stringify({ version }));
  if (executor) writeFileSync(join(inner, 'TaskOrchestrationExecutor.js'), executor);
  return app;
}

test('the SDK that is installed is one that the hub can run', () => {
  expect(() => checkDurableSdk(resolve('.'), orchestration)).not.toThrow();
});

test('another SDK is refused by name at start-up', () => {
  const next = appWith('4.0.0');
  expect(() => checkDurableSdk(next, orchestration)).toThrow(
    "durable-functions 4.0.0 cannot run here: the app's durable-functions is not one",
  );
  const renamed = appWith(
    '3.9.0',
    'exports.TaskOrchestrationExecutor = class { processEvent() {} };',
  );
  expect(() => checkDurableSdk(renamed, orchestration)).toThrow("no function 'trackOpenTask'");
  expect(() => checkDurableSdk(next, activity)).not.toThrow();
});

test('an app without the package of its own is left to its first episode', () => {
  const bundled = join(folder, 'bundled');
  mkdirSync(bundled);

  expect(() => checkDurableSdk(bundled, orchestration)).not.toThrow();
});

test('host.json sets what the hub knows and refuses what it cannot read', () => {
  expect(
    hubSettings({
      defaultVersion: '2.0',
      versionMatchStrategy: 'strict',
      versionFailureStrategy: 'Fail',
      storeInputsInOrchestrationHistory: true,
      overridableExistingInstanceStates: 'AnyState',
      maxEntityOperationBatchSize: 7,
      httpSettings: { defaultAsyncRequestSleepTimeMilliseconds: 100 },
    }),
  ).toEqual({
    versions: { current: '2.0', match: 'Strict', onMismatch: 'Fail' },
    mayStoreInputs: true,
    mayReplaceRunning: true,
    entityBatchMax: 7,
    httpSleepMs: 100,
  });
  expect(() => hubSettings({ versionMatchStrategy: 'newest' })).toThrow('versionMatchStrategy');
  expect(() => hubSettings({ maxEntityOperationBatchSize: 'all' })).toThrow('no positive');
});

df.app.orchestration('waitsLocked', function* (context: OrchestrationContext): Orchestrator {
  yield context.df.lock(new df.EntityId('Holder', 'h'));
  return yield context.df.waitForExternalEvent('never');
} as never);
df.app.entity('Holder', () => {});

test('AnyState lets a start replace a running instance, locks and all', async () => {
  await using it = openTestHub({ settings: { mayReplaceRunning: true } });
  await it.start('waitsLocked', 'w', 1);
  await it.settle();

  await it.start('waitsLocked', 'w', 2);
  await it.settle();

  expect(await it.status('w')).toMatchObject({ runtimeStatus: 'Running', input: 2 });
  expect(await it.status('@holder@h')).toMatchObject({ customStatus: { lockedBy: 'w' } });
});
