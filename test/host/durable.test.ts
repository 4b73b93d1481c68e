import { afterEach, describe, expect, test } from 'vitest';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startHost, type FunctionsHost } from '../../infra/local/host/host.ts';
import { fixture } from './harness.ts';

let host: FunctionsHost | undefined;
afterEach(async () => {
  await host?.close();
  host = undefined;
});

const open = (dataDir = ':memory:'): Promise<FunctionsHost> =>
  startHost({ appDir: fixture('flow'), port: 0, dataDir, log: () => {} });

interface Status {
  runtimeStatus: string;
  output: unknown;
}

async function statusOf(at: FunctionsHost, id: string): Promise<Status> {
  const answer = await fetch(`${at.url}/runtime/webhooks/durabletask/instances/${id}`);
  return (await answer.json()) as Status;
}

async function untilCompleted(at: FunctionsHost, id: string): Promise<Status> {
  for (let tries = 0; tries < 2_000; tries++) {
    const status = await statusOf(at, id);
    if (status.runtimeStatus === 'Completed') return status;
  }
  throw new Error(`${id} did not complete`);
}

const startFlow = async (at: FunctionsHost, n: number): Promise<string> =>
  ((await (await fetch(`${at.url}/api/start/${n}`, { method: 'POST' })).json()) as { id: string })
    .id;

describe('durable functions', () => {
  test('an HTTP starter, an activity and an event complete an orchestration', async () => {
    host = await open();

    const id = await startFlow(host, 7);
    await fetch(`${host.url}/api/more/${id}/5`, { method: 'POST' });

    expect(await untilCompleted(host, id)).toMatchObject({ output: 19 });
    expect(host.usage()).toMatchObject({ activities: 1 });
  });

  test('an instance goes on in the next host on the same folder', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'convoy-flow-'));
    host = await open(dataDir);
    const id = await startFlow(host, 1);
    await host.close();

    host = await open(dataDir);
    await fetch(`${host.url}/api/more/${id}/10`, { method: 'POST' });

    expect(await untilCompleted(host, id)).toMatchObject({ output: 12 });
    await host.close();
    host = undefined;
    rmSync(dataDir, { recursive: true, force: true });
  });
});
