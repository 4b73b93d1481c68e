// The server of `cosmos-bench.ts` in a process of its own: says where it listens, and what it cost.
import { startCosmos } from '../../infra/local/cosmos/server.ts';

/** Sent when the server listens. */
export interface CosmosReady {
  connectionString: string;
  port: number;
  /** From the first line of this program to the answer of `startCosmos`. */
  startMs: number;
}

/** Answer to any message: costs since the message before. */
export interface CosmosCost {
  /** All threads. */
  cpuMs: number;
  /** The longest time in which the event loop served nobody … */
  blockMs: number;
  /** … and the most that it worked in one such time: other processes cannot make this longer. */
  blockCpuMs: number;
  rssMebibytes: number;
}

const tickMs = 1;
const [file = ':memory:', key] = process.argv.slice(2);
const began = performance.now();
const server = await startCosmos({ file, port: 0, ...(key !== undefined && { key }) });
const startMs = performance.now() - began;
let cpu = process.cpuUsage();
let [blockMs, blockCpuMs] = [0, 0];

const workedMs = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};
let last = { atMs: performance.now(), workedMs: workedMs() };
function tick(): void {
  const now = { atMs: performance.now(), workedMs: workedMs() };
  blockMs = Math.max(blockMs, now.atMs - last.atMs - tickMs);
  blockCpuMs = Math.max(blockCpuMs, now.workedMs - last.workedMs);
  last = now;
  setTimeout(tick, tickMs);
}
tick();

process.on('message', () => {
  // A block is known only after the next tick.
  setTimeout(() => {
    const used = process.cpuUsage(cpu);
    cpu = process.cpuUsage();
    const cost: CosmosCost = {
      cpuMs: (used.user + used.system) / 1000,
      ...{ blockMs, blockCpuMs },
      rssMebibytes: process.memoryUsage.rss() / 2 ** 20,
    };
    [blockMs, blockCpuMs] = [0, 0];
    process.send?.(cost);
  }, 5 * tickMs);
});
process.on('disconnect', () => process.exit(0));
const ready: CosmosReady = {
  connectionString: server.connectionString,
  port: server.port,
  startMs,
};
process.send?.(ready);
