// A broker in a process and on a file of its own, so that a test can kill it and start it again.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ServiceBusClient } from '@azure/service-bus';
import { afterEach, beforeEach } from 'vitest';

const program = new URL('crash-child.ts', import.meta.url).pathname;
const retryOptions = { maxRetries: 0, timeoutInMs: 5_000 };

export interface BrokerProcess {
  /** Starts it on the file of the test; the caller closes the client. */
  start(): Promise<ServiceBusClient>;
  /** SIGKILL; harmless when it has ended. */
  kill(): Promise<void>;
}

/** For the tests of the calling file: a new folder before each, nothing left after it. */
export function brokerProcess(): BrokerProcess {
  let folder = '';
  let child: ChildProcess | undefined;
  const kill = async (): Promise<void> => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'broker-'));
  });
  afterEach(async () => {
    await kill();
    await rm(folder, { recursive: true, force: true });
  });
  return {
    kill,
    async start() {
      child = spawn(process.execPath, [program, join(folder, 'broker.db')], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      if (!child.stdout) throw new Error('no output');
      const [connectionString] = await once(createInterface(child.stdout), 'line');
      return new ServiceBusClient(String(connectionString), { retryOptions });
    },
  };
}
