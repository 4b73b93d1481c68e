// The gauges of a run as series, and whether each is flat.
//
// What may grow by design is counted per message instead: the files keep what was settled (records
// and ids for the retention of the samples, finished instances until the purge), so their bytes per
// message have a bound. Memory, handles and write-ahead logs must not grow.
import type { Fleet } from '../crash/fleet.ts';
import { fileGauge, gaugeOf } from './gauges.ts';
import { trendOf } from './series.ts';
import type { Point, Trend } from './series.ts';

export interface Line {
  name: string;
  trend: Trend;
  /** How much it may rise over the part that is judged. */
  bound: number;
  unit: 'MB' | 'ms' | '';
}

const mb = 1e6;
/** What a process does by itself: caches that fill up to their bounds (of the cloud: 16 MB of
 *  message bodies, and pages of SQLite, 64 MB of them for Cosmos, which only rss shows),
 *  connections of the Cosmos client, as many as requests at once; code that becomes fast. */
const bounds = { heap: 12 * mb, external: 20 * mb, rss: 120 * mb, handles: 60, wal: 8 * mb };
/** What is kept of a message while it is retained: twice what was measured where keys are sparse
 *  and each message opens an epoch, 2,473 bytes, 472 and 1,204. */
const bytesPerMessageMax: Readonly<Record<string, number>> = {
  'cosmos.sqlite': 5_000,
  'service-bus.sqlite': 1_000,
  'hub.sqlite': 2_500,
};

type Part = 'cloud' | 'host';
const parts: readonly Part[] = ['cloud', 'host'];

export class Recorder {
  readonly #fleet: Fleet;
  readonly #folder: string;
  readonly #series = new Map<string, Point[]>();
  readonly #pids = new Map<Part, number>();
  /** When the present process of a part began. */
  readonly #since = new Map<Part, number>();

  constructor(fleet: Fleet, folder: string) {
    this.#fleet = fleet;
    this.#folder = folder;
  }

  sample(): void {
    const atMs = Date.now();
    for (const part of parts) this.#sampleProcess(part, atMs);
    for (const file of this.#fleet.files()) {
      const name = file.split('/').at(-1) ?? file;
      this.#add(`wal ${name}`, atMs, fileGauge(file).walBytes);
    }
  }

  #sampleProcess(part: Part, atMs: number): void {
    const pid = this.#fleet.pidOf(part);
    const gauge = pid === undefined ? undefined : gaugeOf(pid, this.#folder);
    if (pid === undefined || !gauge) return;
    if (this.#pids.get(part) !== pid) this.#since.set(part, atMs);
    this.#pids.set(part, pid);
    this.#add(`rss ${part}`, atMs, gauge.rssBytes);
    this.#add(`handles ${part}`, atMs, gauge.handles);
    this.#add(`sockets ${part}`, atMs, gauge.sockets);
    if (!gauge.inner) return;
    this.#add(`heap ${part}`, atMs, gauge.inner.heapBytes);
    this.#add(`external ${part}`, atMs, gauge.inner.externalBytes);
    this.#add(`lag ${part}`, atMs, gauge.inner.lagMsMax);
  }

  #add(name: string, atMs: number, value: number): void {
    const points = this.#series.get(name) ?? [];
    points.push({ atMs, value });
    this.#series.set(name, points);
  }

  /** The trends since an instant, each of the process that lived last. */
  lines(sinceMs: number): Line[] {
    const found: Line[] = [];
    const add = (name: string, unit: Line['unit'], boundOf: (trend: Trend) => number): void => {
      const part = parts.find((one) => name.endsWith(` ${one}`));
      const warmMs = part ? (this.#since.get(part) ?? 0) + warmUpMs : 0;
      const trend = trendOf(this.#series.get(name) ?? [], Math.max(sinceMs, warmMs));
      if (trend) found.push({ name, trend, bound: boundOf(trend), unit });
    };
    for (const part of parts) {
      add(`rss ${part}`, 'MB', () => bounds.rss);
      add(`heap ${part}`, 'MB', () => bounds.heap);
      add(`external ${part}`, 'MB', () => bounds.external);
      add(`handles ${part}`, '', () => bounds.handles);
      add(`sockets ${part}`, '', () => bounds.handles);
      add(`lag ${part}`, 'ms', () => Infinity);
    }
    for (const file of this.#fleet.files().map((path) => path.split('/').at(-1) ?? path)) {
      add(`wal ${file}`, 'MB', () => bounds.wal);
    }
    return found;
  }
}

/** A new process fills its caches and compiles its code. */
export const warmUpMs = 30_000;

/** The files when all has settled, in bytes per message; what is beyond its bound is a fault. */
export function weigh(fleet: Fleet, messages: number): { text: string; faults: string[] } {
  const weights = fleet.files().flatMap((file) => {
    const name = file.split('/').at(-1) ?? file;
    const most = bytesPerMessageMax[name];
    return most === undefined ? [] : [{ name, most, has: fileGauge(file).bytes / messages }];
  });
  return {
    text: weights.map(({ name, has }) => `${name} ${has.toFixed(0)}`).join(', '),
    faults: weights
      .filter(({ most, has }) => has > most)
      .map(
        ({ name, most, has }) => `${name}: ${has.toFixed(0)} bytes per message, ${most} at most`,
      ),
  };
}

export function shown({ name, trend, bound, unit }: Line): string {
  const scale = unit === 'MB' ? mb : 1;
  const text = (value: number): string =>
    (value / scale).toFixed(unit === 'MB' ? 1 : 0).padStart(7);
  const verdict = bound === Infinity ? '' : trend.rise > bound ? 'GROWS' : 'flat';
  const limit = bound === Infinity ? '' : `(bound ${text(bound).trim()})`;
  return (
    `  ${name.padEnd(24)} ${text(trend.first)} ${text(trend.last)} ${text(trend.most)} ` +
    `${text(trend.rise)} ${unit.padEnd(9)} ${verdict} ${limit}`
  );
}

export const grows = ({ trend, bound }: Line): boolean => trend.rise > bound;
