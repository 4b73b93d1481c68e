// The Durable hub alone: throughput of short orchestrations beside a peer, the price of a sparse
// key, and what an episode costs as the history grows.
//
// Goal:   tell whether the hub is fast, and whether it slows down with age.
// Method: our host on its fixture app in this process, the hub on a file; the app's own durable
//         client starts and raises, as a function of the app would. The peer is the in-memory
//         backend of @microsoft/durabletask-js with its own worker and client (gRPC on loopback),
//         found in the folder that `--peer` names; without one it is "not measured".
import { createRequire } from 'node:module';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { DurableClient } from 'durable-functions';
import { packageRoot } from '../../infra/local/address.ts';
import { startHost, type FunctionsHost } from '../../infra/local/host/host.ts';
import { machineSeconds } from './measure.ts';

const { values: flags } = parseArgs({
  options: {
    peer: { type: 'string' },
    orchestrations: { type: 'string', default: '500' },
    episodes: { type: 'string', default: '250,1000,4000' },
    only: { type: 'string', default: '' },
  },
});
const count = Number(flags.orchestrations);
const activitiesEach = 5;

interface Line {
  what: string;
  seconds: number;
  cpuMsEach: number;
  each: number;
  othersPercent: number | undefined;
}

/** Runs it and says what it took; `each` = how many things it did. */
async function measured(what: string, each: number, work: () => Promise<unknown>): Promise<Line> {
  const before = machineSeconds();
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  await work();
  const seconds = (performance.now() - startedAt) / 1_000;
  const cpu = process.cpuUsage(cpuBefore);
  const after = machineSeconds();
  const cpuSeconds = (cpu.user + cpu.system) / 1e6;
  const others =
    before && after
      ? Math.round((100 * (after.busy - before.busy - cpuSeconds)) / (after.all - before.all))
      : undefined;
  return { what, seconds, each, cpuMsEach: (cpuSeconds * 1_000) / each, othersPercent: others };
}

function print({ what, seconds, each, cpuMsEach, othersPercent }: Line): void {
  const perSecond = (each / seconds).toFixed(0);
  const cost = `${cpuMsEach.toFixed(2).padStart(7)} CPU ms each`;
  const conditions = `(${seconds.toFixed(2)} s, others ${othersPercent ?? '?'} %)`;
  console.log(`${what.padEnd(44)} ${perSecond.padStart(6)}/s  ${cost}  ${conditions}`);
}

async function openHost(): Promise<
  { host: FunctionsHost; client: DurableClient } & AsyncDisposable
> {
  const dataDir = mkdtempSync(join(tmpdir(), 'convoy-hub-bench-'));
  const appDir = join(packageRoot(), 'test', 'bench', 'hub-app');
  const host = await startHost({ appDir, port: 0, dataDir, log: (line) => console.error(line) });
  await fetch(`${host.url}/api/lend`);
  const { benchClient } = globalThis as unknown as { benchClient: DurableClient };
  return {
    host,
    client: benchClient,
    async [Symbol.asyncDispose]() {
      await host.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

const pollMs = 20;

/** Until no orchestration runs any more; polls, and so costs little. */
async function untilCompleted(host: FunctionsHost): Promise<void> {
  const list = `${host.url}/runtime/webhooks/durabletask/instances`;
  for (;;) {
    const found = await (await fetch(`${list}?top=1&runtimeStatus=Pending,Running`)).json();
    if ((found as unknown[]).length === 0) return;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

async function runOurs(): Promise<void> {
  await using open = await openHost();
  const { host, client } = open;
  const all = Array.from({ length: count }, (_, k) => k);
  const chains = async (): Promise<void> => {
    await Promise.all(all.map(() => client.startNew('chain', { input: activitiesEach })));
    await untilCompleted(host);
  };
  if (flags.only === '' || flags.only === 'chain') {
    await chains(); // warm
    print(await measured(`hub: ${count} x ${activitiesEach} activities`, count, chains));
  }
  if (flags.only === '' || flags.only === 'sparse') {
    const sparse = async (): Promise<void> => {
      const ids = await Promise.all(all.map(() => client.startNew('sparse', { input: 1 })));
      for (const id of ids) await client.raiseEvent(id, 'wake', 1);
      await untilCompleted(host);
    };
    await sparse(); // warm
    print(await measured(`hub: ${count} sparse keys`, count, sparse));
  }
  if (flags.only !== '' && flags.only !== 'long') return;
  for (const length of (flags.episodes ?? '').split(',').map(Number)) {
    const long = async (): Promise<void> => {
      await client.startNew('chain', { input: length });
      await untilCompleted(host);
    };
    print(await measured(`hub: one instance, ${length} activities`, length, long));
  }
}

interface PeerWorker {
  addNamedOrchestrator(name: string, run: unknown): void;
  addNamedActivity(name: string, run: unknown): void;
  start(): Promise<void>;
  stop(): Promise<void>;
}
interface PeerClient {
  scheduleNewOrchestration(name: string, input: unknown): Promise<string>;
  waitForOrchestrationCompletion(
    id: string,
    withPayloads: boolean,
    seconds: number,
  ): Promise<unknown>;
  stop(): Promise<void>;
}
interface Peer {
  InMemoryOrchestrationBackend: new () => object;
  TestOrchestrationWorker: new (backend: object) => PeerWorker;
  TestOrchestrationClient: new (backend: object) => PeerClient;
}
interface PeerContext {
  callActivity(name: string, input: unknown): unknown;
}

async function runPeer(folder: string | undefined): Promise<void> {
  if (folder === undefined) {
    console.log('peer: not measured (--peer names a folder with @microsoft/durabletask-js)');
    return;
  }
  const require = createRequire(join(folder, 'package.json'));
  const peer = require('@microsoft/durabletask-js') as Peer;
  const { info, debug, log } = console;
  const say = (line: Line): void => {
    Object.assign(console, { info, debug, log });
    print(line);
  };
  Object.assign(console, { info() {}, debug() {}, log() {} }); // it says every event
  const backend = new peer.InMemoryOrchestrationBackend();
  const worker = new peer.TestOrchestrationWorker(backend);
  const client = new peer.TestOrchestrationClient(backend);
  worker.addNamedActivity('echo', (_: unknown, value: unknown) => value);
  worker.addNamedOrchestrator('chain', async function* (context: PeerContext, each: number) {
    let sum = 0;
    for (let k = 0; k < each; k++) sum += (yield context.callActivity('echo', k)) as number;
    return sum;
  });
  await worker.start();
  const chains = async (): Promise<void> => {
    const started = Array.from({ length: count }, () =>
      client.scheduleNewOrchestration('chain', activitiesEach),
    );
    const ids = await Promise.all(started);
    await Promise.all(ids.map((id) => client.waitForOrchestrationCompletion(id, true, 120)));
  };
  await chains(); // warm
  say(await measured(`peer, in memory: ${count} x ${activitiesEach} activities`, count, chains));
  await worker.stop();
  await client.stop();
}

await runOurs();
if (flags.only === '' || flags.only === 'chain') await runPeer(flags.peer);
process.exit(0);
