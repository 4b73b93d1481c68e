// PURE. Request units per second, for what was given a throughput: a container of its own, or a
// database for all containers that have none. A bucket for each refills with time and holds one
// second's worth; with autoscale that is its maximum. A request is admitted while the bucket is not
// overdrawn, then charged; one that finds it overdrawn is answered 429 with the time to wait, as
// Azure does (substatus 3200).

import { CosmosError } from './errors.ts';
import type { CosmosRequestInfo } from './intercept.ts';
import type { Storage } from './storage.ts';

interface Bucket {
  units: number;
  atMs: number;
}

interface Limit {
  name: string;
  /** Request units per second. */
  most: number;
}

const bucketsMax = 10_000;

export class Throttle {
  readonly #buckets = new Map<string, Bucket>();

  #limitOf(info: CosmosRequestInfo, storage: Storage): Limit | undefined {
    const { kind, database, container: id } = info;
    if (kind === 'other' || database === undefined) return undefined;
    const container = storage.container(database, id ?? '');
    if (!container) return undefined;
    if (container.throughput !== undefined) {
      return { name: container.rid, most: container.throughput };
    }
    const most = storage.sharedThroughput(database);
    return most === undefined ? undefined : { name: `dbs/${database}`, most };
  }

  #bucketOf({ name, most }: Limit, nowMs: number): Bucket {
    let bucket = this.#buckets.get(name);
    if (!bucket) {
      // What was forgotten is full again: lenient, and only beyond any sensible number.
      if (this.#buckets.size >= bucketsMax) this.#buckets.clear();
      this.#buckets.set(name, (bucket = { units: most, atMs: nowMs }));
    }
    return bucket;
  }

  /** Throws 429 when the units are used up. */
  admit(info: CosmosRequestInfo, storage: Storage, nowMs: number): void {
    const limit = this.#limitOf(info, storage);
    if (!limit) return;
    const { most } = limit;
    const bucket = this.#bucketOf(limit, nowMs);
    bucket.units = Math.min(most, bucket.units + (most * (nowMs - bucket.atMs)) / 1000);
    bucket.atMs = nowMs;
    if (bucket.units >= 0) return;
    const retryAfterMs = Math.max(1, Math.ceil((-bucket.units / most) * 1000));
    throw new CosmosError(429, 'Request rate is large. More Request Units may be needed.', {
      substatus: 3200,
      retryAfterMs,
    });
  }

  charge(info: CosmosRequestInfo, storage: Storage, units: number): void {
    const limit = this.#limitOf(info, storage);
    const bucket = limit && this.#buckets.get(limit.name);
    if (bucket) bucket.units -= units;
  }
}
