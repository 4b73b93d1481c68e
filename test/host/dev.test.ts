// `convoy dev` on an app of somebody else: a change of its source restarts the host, and what the
// app had begun goes on.
import { expect, test } from 'vitest';
import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { anyPorts, eventually, startCli, tempFolder, type Ready } from '../cli/processes.ts';
import { fixture } from './harness.ts';

async function json(ready: Ready, path: string, init?: RequestInit): Promise<unknown> {
  const answer = await fetch(ready.http + path, init).catch(() => undefined);
  return answer?.ok ? await answer.json() : undefined;
}

test('a changed source is running soon after, in a new process, and state stays', async () => {
  using folder = tempFolder();
  const app = join(folder.path, 'app');
  cpSync(fixture('dev'), app, { recursive: true });
  symlinkSync(resolve('node_modules'), join(app, 'node_modules'));
  const data = join(folder.path, 'data');
  await using cli = startCli(['dev', '--json', '--app', app, ...anyPorts, '--data', data]);
  const ready = await cli.ready();
  const before = (await json(ready, '/api/version')) as { pid: number };
  await json(ready, '/api/begin', { method: 'POST' });

  const file = join(app, 'functions', 'app.js');
  writeFileSync(file, readFileSync(file, 'utf8').replace('version = 1', 'version = 2'));
  const after = await eventually(async () => {
    const now = (await json(ready, '/api/version')) as { version: number; pid: number } | undefined;
    return now?.version === 2 ? now : undefined;
  });
  await json(ready, '/api/finish', { method: 'POST' });
  const done = await eventually(async () => {
    const status = (await json(ready, '/api/status')) as { runtimeStatus: string; output: unknown };
    return status.runtimeStatus === 'Completed' ? status : undefined;
  });

  expect(after.pid).not.toBe(before.pid);
  expect(done.output).toBe('begun by 1, finished by 2');
  cli.signal('SIGTERM');
  expect(await cli.exit).toBe(0);
}, 30_000);
