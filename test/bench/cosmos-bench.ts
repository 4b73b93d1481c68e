// `node dist/test/bench/cosmos-bench.js`: the local Cosmos server alone, at growing sizes.
//
// Owns:   the order of phases, what is measured of them, the output.
// Leaves: items and requests to cosmos-load.ts, the server's process to cosmos-child.ts.
//
// Nothing here asserts a time. Server and client are two processes on one machine; both costs are
// told. A block is the longest time in which the server's event loop ran nothing else; on a busy
// machine most of it is other processes, so the work done in it is told beside it.
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { CosmosClient, type Container } from '@azure/cosmos';
import { Command } from 'commander';
import { aligned, note, printJson, printLine } from '../../infra/cli/output.ts';
import { wholeNumber } from '../../infra/cli/serve.ts';
import { emulatorKey } from '../../infra/local/cosmos/auth.ts';
import { prng } from '../support/prng.ts';
import type { CosmosCost, CosmosReady } from './cosmos-child.ts';
import {
  definition,
  itemOf,
  itemsPerPartition,
  largeRequests,
  partitionOf,
  requests,
  type Scene,
} from './cosmos-load.ts';
import { machineSeconds } from './measure.ts';

interface Flags {
  json?: true;
  sizes: number[];
  seconds: number;
  atOnce: number;
  only?: string;
  data?: string;
}

interface Line {
  items: number;
  what: string;
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  serverCpuMs: number;
  clientCpuMs: number;
  blockMs: number;
  blockCpuMs: number;
  rssMebibytes: number;
  othersPercent: number;
}

const program = new URL(import.meta.url).pathname.replace('cosmos-bench', 'cosmos-child');
const loadersAtOnce = 4;
const operationsPerBatch = 100;

class ServerProcess {
  readonly #child: ChildProcess;
  readonly ready: CosmosReady;

  private constructor(child: ChildProcess, ready: CosmosReady) {
    this.#child = child;
    this.ready = ready;
  }

  static async start(file: string): Promise<ServerProcess> {
    const child = fork(program, [file, emulatorKey], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const [ready] = (await once(child, 'message')) as [CosmosReady];
    return new ServerProcess(child, ready);
  }

  /** What it cost since the call before. */
  async cost(): Promise<CosmosCost> {
    this.#child.send('cost');
    const [cost] = (await once(this.#child, 'message')) as [CosmosCost];
    return cost;
  }

  async kill(): Promise<void> {
    const isGone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await isGone;
  }
}

/** Fills the container up to `size`, with batches of 100. */
async function load(container: Container, from: number, size: number): Promise<void> {
  let next = from;
  const work = async (): Promise<void> => {
    while (next < size) {
      const start = next;
      const inPartition = itemsPerPartition - (start % itemsPerPartition);
      next = Math.min(start + operationsPerBatch, start + inPartition, size);
      const operations = Array.from({ length: next - start }, (_, at) => ({
        operationType: 'Upsert' as const,
        resourceBody: itemOf(start + at) as never,
      }));
      const { code } = await container.items.batch(operations, partitionOf(start));
      if (code !== 200) throw new Error(`loading was answered ${code}`);
    }
  };
  await Promise.all(Array.from({ length: loadersAtOnce }, work));
}

interface Measure {
  what: string;
  items: number;
  server: ServerProcess;
  atOnce: number;
  seconds: number;
  countMax?: number;
  one(): Promise<void>;
}

async function measure(options: Measure): Promise<Line> {
  const { server, one, seconds, countMax = Infinity } = options;
  const times: number[] = [];
  await server.cost();
  const machine = machineSeconds();
  const cpu = process.cpuUsage();
  const began = performance.now();
  const until = began + seconds * 1000;
  const work = async (): Promise<void> => {
    while (performance.now() < until && times.length < countMax) {
      const start = performance.now();
      await one();
      times.push(performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: options.atOnce }, work));
  const elapsedMs = performance.now() - began;
  const client = process.cpuUsage(cpu);
  const cost = await server.cost();
  const after = machineSeconds();
  times.sort((a, b) => a - b);
  const clientCpuMs = (client.user + client.system) / 1000;
  const at = (share: number): number => times[Math.floor((times.length - 1) * share)] ?? 0;
  const busy = machine && after ? after.busy - machine.busy : 0;
  const all = machine && after ? after.all - machine.all : 1;
  const own = (clientCpuMs + cost.cpuMs) / 1000;
  return {
    items: options.items,
    what: options.what,
    perSecond: round((times.length / elapsedMs) * 1000, 1),
    p50Ms: round(at(0.5), 2),
    p99Ms: round(at(0.99), 2),
    serverCpuMs: round(cost.cpuMs / times.length, 3),
    clientCpuMs: round(clientCpuMs / times.length, 3),
    blockMs: round(cost.blockMs, 0),
    blockCpuMs: round(cost.blockCpuMs, 0),
    rssMebibytes: round(cost.rssMebibytes, 0),
    othersPercent: round(Math.max(0, ((busy - own) / all) * 100), 0),
  };
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits));

async function* phases(scene: Scene, server: ServerProcess, flags: Flags): AsyncGenerator<Line> {
  const { size: items } = scene;
  const isWanted = (what: string): boolean => !flags.only || what.includes(flags.only);
  for (const [what, request] of Object.entries(requests).filter(([name]) => isWanted(name))) {
    const one = (): Promise<void> => request(scene);
    const common = { items, server, one, seconds: flags.seconds };
    yield await measure({ ...common, what, atOnce: 1, seconds: flags.seconds / 3 });
    yield await measure({ ...common, what: `${what}, ${flags.atOnce} clients`, ...flags });
  }
  for (const [what, request] of Object.entries(largeRequests).filter(([name]) => isWanted(name))) {
    const one = (): Promise<void> => request(scene);
    yield await measure({ items, server, one, what, atOnce: 1, seconds: 60, countMax: 1 });
  }
}

async function run(flags: Flags): Promise<Line[]> {
  const folder = flags.data ?? mkdtempSync(join(tmpdir(), 'cosmos-bench-'));
  const file = join(folder, 'cosmos.sqlite');
  const lines: Line[] = [];
  let from = 0;
  let server = await ServerProcess.start(file);
  try {
    for (const size of flags.sizes) {
      const client = new CosmosClient(server.ready.connectionString);
      const { database } = await client.databases.createIfNotExists({ id: 'bench' });
      const { container } = await database.containers.createIfNotExists(definition as never);
      const began = performance.now();
      await server.cost();
      await load(container, from, size);
      const { blockMs, blockCpuMs, rssMebibytes } = await server.cost();
      const perSecond = Math.round(((size - from) / (performance.now() - began)) * 1000);
      note(
        `${size} items: loaded ${perSecond}/s, block ${Math.round(blockMs)} ms ` +
          `(${Math.round(blockCpuMs)} of work), ` +
          `${Math.round(rssMebibytes)} MiB, file ${Math.round(statSync(file).size / 2 ** 20)} MiB`,
      );
      from = size;
      const scene = { container, size, random: prng(size) };
      for await (const line of phases(scene, server, flags)) {
        lines.push(line);
        note(
          `  ${line.what}: ${line.perSecond}/s p50 ${line.p50Ms} p99 ${line.p99Ms} ms, server ` +
            `${line.serverCpuMs} client ${line.clientCpuMs} CPU ms, block ${line.blockMs} ms ` +
            `(${line.blockCpuMs} of work), ` +
            `${line.rssMebibytes} MiB, others ${line.othersPercent} %`,
        );
      }
      client.dispose();
      await server.kill();
      server = await ServerProcess.start(file);
      note(`  start-up: ${Math.round(server.ready.startMs)} ms, after kill -9`);
    }
  } finally {
    await server.kill();
    if (flags.data === undefined) rmSync(folder, { recursive: true, force: true });
  }
  return lines;
}

const flags = new Command('cosmos-bench')
  .description('the local Cosmos server at growing sizes')
  .option('--json', 'one JSON object on the last line')
  .option('--sizes <list>', 'items, separated by commas', listOf, [1_000, 100_000, 1_000_000])
  .option('--seconds <n>', 'per kind of request', wholeNumber(1, 600), 3)
  .option('--at-once <n>', 'parallel clients', wholeNumber(1, 1000), 16)
  .option('--only <text>', 'only requests whose name has this text')
  .option('--data <dir>', 'keep the data in this folder')
  .parse()
  .opts<Flags>();

function listOf(text: string): number[] {
  return text.split(',').map(wholeNumber(1, 10_000_000));
}

const lines = await run(flags);
const heads = ['items', 'what', '/s', 'p50 ms', 'p99 ms', 'server CPU ms', 'client CPU ms'];
const table = lines.map((line) => Object.values(line));
const all = aligned([[...heads, 'block ms', 'of work', 'RSS MiB', 'others %'], ...table]);
for (const line of all) printLine(line);
const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version };
if (flags.json) printJson({ machine, load: loadavg(), lines });
