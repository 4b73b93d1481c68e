// Loaded into each process of the soak before its own code: tells what only the process knows, and
// gives the host one convoy more.
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isMainThread } from 'node:worker_threads';

/** One line of `<pid>.ndjson`. */
export interface InnerGauge {
  atMs: number;
  /** After a full collection: what is still held. */
  heapBytes: number;
  /** Buffers and the like. */
  externalBytes: number;
  lagMsMax: number;
}

const everyMs = 2_000;
const folder = process.env['SOAK_GAUGES'];
const [, , command] = process.argv;

if (command === 'host' && isMainThread) {
  const { convoys } = await import('../../functions/convoys/registry.ts');
  const { meter } = await import('./meter.ts');
  if (!Array.isArray(convoys)) throw new TypeError('the registry is no list');
  convoys.push(meter);
}
if (folder !== undefined && isMainThread && (command === 'host' || command === 'cloud')) {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const lag = monitorEventLoopDelay({ resolution: 10 });
  lag.enable();
  const write = (): void => {
    const lagMsMax = lag.max / 1e6;
    collect();
    const { heapUsed: heapBytes, external: externalBytes } = process.memoryUsage();
    lag.reset();
    const gauge: InnerGauge = { atMs: Date.now(), heapBytes, externalBytes, lagMsMax };
    appendFileSync(join(folder, `${process.pid}.ndjson`), `${JSON.stringify(gauge)}\n`);
  };
  setInterval(write, everyMs).unref();
}
