// PURE. Request units per second, for containers that were given a throughput: a bucket per
// container that refills with time. A request is admitted while the bucket is not overdrawn, then
// charged; one that finds it overdrawn is answered 429 with the time to wait, as Azure does
// (substatus 3200).

import { CosmosError } from './errors.ts';
import type { CosmosRequestInfo } from './intercept.ts';
import type { Container, Storage } from './storage.ts';

interface Bucket {
  units: number;
  atMs: number;
}

export class Throttle {
  readonly #buckets = new WeakMap<Container, Bucket>();

  #limited(info: CosmosRequestInfo, storage: Storage): Container | undefined {
    if (info.kind === 'other' || info.database === undefined) return undefined;
    const container = storage.container(info.database, info.container ?? '');
    return container?.throughput === undefined ? undefined : container;
  }

  /** Throws 429 when the container's units are used up. */
  admit(info: CosmosRequestInfo, storage: Storage, nowMs: number): void {
    const container = this.#limited(info, storage);
    if (!container) return;
    const most = container.throughput ?? 0;
    const bucket = this.#buckets.get(container) ?? { units: most, atMs: nowMs };
    bucket.units = Math.min(most, bucket.units + (most * (nowMs - bucket.atMs)) / 1000);
    bucket.atMs = nowMs;
    this.#buckets.set(container, bucket);
    if (bucket.units >= 0) return;
    const retryAfterMs = Math.max(1, Math.ceil((-bucket.units / most) * 1000));
    throw new CosmosError(429, 'Request rate is large. More Request Units may be needed.', {
      substatus: 3200,
      retryAfterMs,
    });
  }

  charge(info: CosmosRequestInfo, storage: Storage, units: number): void {
    const container = this.#limited(info, storage);
    const bucket = container && this.#buckets.get(container);
    if (bucket) bucket.units -= units;
  }
}
