// The processes of a run: one cloud for all arms, one host or one plain receiver at a time.
//
// Owns:   starting them as a user has them (the command line, own data folder, any free ports).
// Leaves: restarts after `kill -9` to the launcher's supervisor.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostSettings, packageRoot } from '../../infra/local/address.ts';
import type { CloudUsage } from '../../infra/local/address.ts';
import type { ReadyMessage } from '../../infra/local/supervisor.ts';
import { SupervisedProcess } from '../../infra/local/supervisor.ts';

type CloudReady = Extract<ReadyMessage, { kind: 'cloudReady' }>;

const cliFile = join(packageRoot(), 'dist', 'infra', 'cli.js');
const stopWithinMs = 9_000;

/** Queues of the other arms; the convoys' own stand in the local stack's configuration. */
const extraQueues = [
  { name: 'ceiling', like: 'ledger' },
  { name: 'naive', like: 'ledger' },
  { name: 'naive-out', like: 'ledger-out' },
];

interface QueueConfig {
  Name: string;
  Properties: object;
}

export interface Cloud extends AsyncDisposable {
  readonly pid: number;
  readonly address: CloudReady;
  readonly folder: string;
  usage(): Promise<CloudUsage>;
  /** Operations on one queue so far; asking costs the broker nothing. */
  operationsOn(queue: string): Promise<number>;
}

export async function startCloud(log: (line: string) => void): Promise<Cloud> {
  const folder = mkdtempSync(join(tmpdir(), 'convoy-bench-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  const configFile = join(folder, 'queues.json');
  writeFileSync(configFile, JSON.stringify(queueConfig()));
  const data = ['--data', join(folder, 'data')];
  const ports = ['--amqp-port', '0', '--management-port', '0', '--cosmos-port', '0'];
  const cloud = new SupervisedProcess({
    name: 'cloud',
    command: () => ({
      args: [cliFile, 'cloud', ...data, ...ports, '--config', configFile],
      env: process.env,
    }),
    log,
    onStopRequested: () => {},
    // Its ports would be others.
    onDeath: () => false,
  });
  const address = await cloud.firstReady;
  if (address.kind !== 'cloudReady') throw new TypeError('the cloud said it is a host');
  const management = `http://127.0.0.1:${address.ports.management}`;
  return {
    pid: cloud.pid ?? 0,
    address,
    folder,
    async usage() {
      const usage = await cloud.usage();
      if (!usage) throw new TypeError('the cloud does not answer');
      return usage;
    },
    async operationsOn(queue) {
      const response = await fetch(`${management}/usage`);
      const { perEntity } = (await response.json()) as { perEntity: Record<string, number> };
      return perEntity[queue] ?? 0;
    },
    async [Symbol.asyncDispose]() {
      await cloud.stop(stopWithinMs);
      remove();
      process.off('exit', remove);
    },
  };
}

function queueConfig(): unknown {
  const file = join(packageRoot(), 'infra', 'local', 'broker', 'Config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as {
    UserConfig: { Namespaces: [{ Queues: QueueConfig[] }] };
  };
  const queues = config.UserConfig.Namespaces[0].Queues;
  for (const { name, like } of extraQueues) {
    const model = queues.find(({ Name }) => Name === like);
    if (!model) throw new TypeError(`there is no queue ${like}`);
    queues.push({ ...model, Name: name });
  }
  return config;
}

export interface HostUsage {
  storageTransactions: number;
  activities: number;
}

export interface Host extends AsyncDisposable {
  readonly pid: number;
  readonly url: string;
  usage(): Promise<HostUsage>;
  /** `kill -9`; the supervisor starts it again. */
  kill(): void;
}

export interface HostOptions {
  name: string;
  appDir: string;
  cloud: Cloud;
  log(line: string): void;
}

export async function startHost({ name, appDir, cloud, log }: HostOptions): Promise<Host> {
  const settings = hostSettings(cloud.address);
  const data = ['--data', join(cloud.folder, name)];
  let port = 0;
  const host = new SupervisedProcess({
    name: 'host',
    command: () => ({
      args: [cliFile, 'host', '--app', appDir, ...data, '--port', String(port)],
      env: { ...process.env, ...settings, AzureWebJobsStorage: undefined },
    }),
    log,
    onStopRequested: () => {},
  });
  const ready = await host.firstReady;
  if (ready.kind !== 'hostReady') throw new TypeError('the host said it is a cloud');
  port = ready.port;
  return {
    get pid() {
      return host.pid ?? 0;
    },
    url: ready.url,
    async usage() {
      const response = await fetch(`${ready.url}/admin/host/usage`);
      return (await response.json()) as HostUsage;
    },
    kill: () => void process.kill(host.pid ?? 0, 'SIGKILL'),
    [Symbol.asyncDispose]: () => host.stop(stopWithinMs),
  };
}
