// The three arms, behind one shape: where to send, what has come out, what it has cost so far.
import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { packageRoot } from '../../infra/local/address.ts';
import type { Delivery } from './count.ts';
import { OutputQueue } from './outputs.ts';
import type { FromReceiver, ReceiverSettings, ToReceiver } from './receiver.ts';
import type { Cloud, HostUsage } from './stack.ts';
import { startHost } from './stack.ts';

export const armNames = ['ceiling', 'convoy', 'naive'] as const;
export type ArmName = (typeof armNames)[number];

export interface Arm extends AsyncDisposable {
  readonly name: ArmName;
  /** Where the workload goes. */
  readonly queue: string;
  /** The process that does the work; another one after `kill`. */
  readonly pid: number;
  /** Deliveries since the last `collect`, cheaply and not to be believed. */
  count(): Promise<number>;
  collect(): Promise<Delivery[]>;
  hostUsage(): Promise<HostUsage>;
  /** Whether something still happens after the last delivery: instances linger and close. */
  readonly lingers: boolean;
  kill(): void;
}

export interface ArmOptions {
  cloud: Cloud;
  log(line: string): void;
}

export function openArm(name: ArmName, options: ArmOptions): Promise<Arm> {
  switch (name) {
    case 'ceiling':
      return openCeiling(options);
    case 'convoy':
      return openHosted(options, { name, queue: 'ledger', appDir: packageRoot() });
    case 'naive': {
      const appDir = join(packageRoot(), 'test', 'bench', 'naive-app');
      return openHosted(options, { name, queue: 'naive', appDir });
    }
  }
}

interface Hosted {
  name: ArmName;
  queue: string;
  appDir: string;
}

async function openHosted(
  { cloud, log }: ArmOptions,
  { name, queue, appDir }: Hosted,
): Promise<Arm> {
  await using opened = new AsyncDisposableStack();
  const host = opened.use(await startHost({ name, appDir, cloud, log }));
  const outputQueue = `${queue}-out`;
  const outputs = opened.use(new OutputQueue(cloud.address.serviceBus, outputQueue));
  let before = await cloud.operationsOn(outputQueue);
  const owned = opened.move();
  return {
    name,
    queue,
    lingers: true,
    get pid() {
      return host.pid;
    },
    count: async () => (await cloud.operationsOn(outputQueue)) - before,
    async collect() {
      const deliveries = await outputs.collect();
      before = await cloud.operationsOn(outputQueue);
      return deliveries;
    },
    hostUsage: () => host.usage(),
    kill: () => host.kill(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Sessions and idle time as in the host.json of the app. */
function receiverSettings(): Omit<ReceiverSettings, 'serviceBus'> {
  const file = JSON.parse(readFileSync(join(packageRoot(), 'host.json'), 'utf8')) as {
    extensions: { serviceBus: { maxConcurrentSessions: number; sessionIdleTimeout: string } };
  };
  const { maxConcurrentSessions, sessionIdleTimeout } = file.extensions.serviceBus;
  const [hours = 0, minutes = 0, seconds = 0] = sessionIdleTimeout.split(':').map(Number);
  const idleMs = ((hours * 60 + minutes) * 60 + seconds) * 1000;
  return { queue: 'ceiling', sessions: maxConcurrentSessions, idleMs };
}

async function openCeiling({ cloud }: ArmOptions): Promise<Arm> {
  const settings = { ...receiverSettings(), serviceBus: cloud.address.serviceBus };
  const file = join(import.meta.dirname, `receiver${extname(import.meta.filename)}`);
  const child = fork(file, {
    env: { ...process.env, BENCH_RECEIVER: JSON.stringify(settings) },
    serialization: 'advanced',
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const heard = <K extends FromReceiver['kind']>(kind: K) =>
    new Promise<Extract<FromReceiver, { kind: K }>>((resolve, reject) => {
      child.on('message', function listen(message: FromReceiver) {
        if (message.kind !== kind) return;
        child.off('message', listen);
        resolve(message as Extract<FromReceiver, { kind: K }>);
      });
      void ended.then(() => reject(new TypeError('the plain receiver has ended')));
    });
  const ask = <K extends ToReceiver['kind']>(kind: K) => {
    const answer = heard(kind);
    child.send({ kind } satisfies ToReceiver);
    return answer;
  };
  await heard('ready');
  return {
    name: 'ceiling',
    queue: settings.queue,
    lingers: false,
    pid: child.pid ?? 0,
    count: async () => (await ask('count')).received,
    collect: async () => (await ask('collect')).deliveries,
    hostUsage: async () => ({ storageTransactions: 0, activities: 0 }),
    kill: () => {
      throw new TypeError('the ceiling is not killed');
    },
    async [Symbol.asyncDispose]() {
      child.disconnect();
      await ended;
    },
  };
}
