// The server of `cosmos-bench.ts` in a process of its own: says where it listens, and what it cost.
import { monitorEventLoopDelay } from 'node:perf_hooks';
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
  cpuMs: number;
  /** The longest time in which the event loop served nobody. */
  blockMs: number;
  rssMebibytes: number;
}

const resolutionMs = 1;
const [file = ':memory:'] = process.argv.slice(2);
const began = performance.now();
const server = await startCosmos({ file, port: 0 });
const startMs = performance.now() - began;
const delay = monitorEventLoopDelay({ resolution: resolutionMs });
delay.enable();
let cpu = process.cpuUsage();

function tell(): void {
  const used = process.cpuUsage(cpu);
  cpu = process.cpuUsage();
  const cost: CosmosCost = {
    cpuMs: (used.user + used.system) / 1000,
    blockMs: Math.max(0, delay.max / 1e6 - resolutionMs),
    rssMebibytes: process.memoryUsage.rss() / 2 ** 20,
  };
  delay.reset();
  process.send?.(cost);
}

// A block is known only after the next turn of the meter's timer.
process.on('message', () => setTimeout(tell, 5 * resolutionMs));
process.on('disconnect', () => process.exit(0));
const ready: CosmosReady = {
  connectionString: server.connectionString,
  port: server.port,
  startMs,
};
process.send?.(ready);
