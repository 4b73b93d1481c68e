// Threads with a connection of their own: what would keep the event loop from everybody else runs
// there.
//
// Owns:    what may run beside what; checkpoints; indexes that queries ask for.
// Leaves:  threads, queues and deadlines to replica-pool.ts, which request goes there to
//          placement.ts, what it means to routes.ts.
//
// Invariants:
//   1. A replica answers from one snapshot, which holds every write that was answered before the
//      request came, and no half of a batch.
//   2. A replica writes only while the owner's writes wait; readers go on. It has a thread of its
//      own, so that no write waits for a query.
//   3. The WAL is copied into the file by a replica; the owner's commits never do it. Only the last
//      few pages are copied while writes wait, so that the WAL starts over.
//   4. Threads, waiting requests and the time of each are bounded.

import { CosmosError } from './errors.ts';
import { ReplicaPool } from './replica-pool.ts';
import type { Learn, ReplicaAnswer, ReplicaTask } from './replica-thread.ts';
import type { Reply, Request } from './request.ts';
import type { Storage } from './storage.ts';

const readersMax = 3;

export interface ReplicaLimits {
  /** Below the 60 s after which the client library gives up. */
  requestMsMax: number;
  /** More makes a start after `kill -9` slow, fewer make checkpoints frequent. */
  walPagesMax: number;
}

const limitsOfAll: ReplicaLimits = { requestMsMax: 50_000, walPagesMax: 8000 };
export class Replicas {
  readonly #storage: Storage;
  readonly #limits: ReplicaLimits;
  readonly #readers: ReplicaPool;
  readonly #writer: ReplicaPool;
  /** Paths whose index is being made. */
  readonly #learning = new Set<string>();
  #exclusive: Promise<unknown> = Promise.resolve();
  #isCheckpointing = false;

  constructor(storage: Storage, limits: Partial<ReplicaLimits> = {}) {
    this.#storage = storage;
    this.#limits = { ...limitsOfAll, ...limits };
    const { file } = storage;
    const { requestMsMax } = this.#limits;
    this.#readers = new ReplicaPool({ file, requestMsMax, threadsMax: readersMax });
    this.#writer = new ReplicaPool({ file, requestMsMax, threadsMax: 1 });
    storage.onGrowth = (pages) => this.#grown(pages);
  }

  /** Runs a request that reads. */
  async read(request: Request): Promise<Reply> {
    const answer = await this.#readers.run(this.#taskOf(request, false));
    if (answer.learn) this.#learn(answer.learn);
    return replyOf(answer);
  }

  /** Runs a request that writes much, while all other writes wait. */
  write(request: Request): Promise<Reply> {
    return this.#alone(async () => {
      const answer = await this.#writer.run(this.#taskOf(request, true));
      this.#storage.forgetAll();
      return replyOf(answer);
    });
  }

  #taskOf(request: Request, isWriting: boolean): ReplicaTask {
    const { lsn, version } = this.#storage;
    return { kind: 'request', request, lsn, version, isWriting };
  }

  /** One job at a time, and none of the owner's writes beside it. */
  #alone<T>(job: () => Promise<T>): Promise<T> {
    const next = this.#exclusive.then(() => this.#storage.hold(job));
    this.#exclusive = next.catch(() => {});
    return next;
  }

  #learn(learn: Learn): void {
    const name = JSON.stringify(learn);
    if (this.#learning.has(name)) return;
    this.#learning.add(name);
    void this.#alone(async () => {
      await this.#writer.run({ kind: 'learn', learn });
      this.#storage.forgetAll();
    })
      .catch(() => {})
      .finally(() => this.#learning.delete(name));
  }

  // The first pass copies what there is beside the owner's writes, the second the rest.
  #grown(pages: number): void {
    if (this.#isCheckpointing || pages < this.#limits.walPagesMax) return;
    this.#isCheckpointing = true;
    void this.#writer
      .run({ kind: 'checkpoint' })
      .then(() => this.#alone(() => this.#writer.run({ kind: 'checkpoint' })))
      .catch(() => {})
      .finally(() => (this.#isCheckpointing = false));
  }

  async close(): Promise<void> {
    await Promise.all([this.#readers.close(), this.#writer.close()]);
    await this.#exclusive;
  }
}

function replyOf({ reply, bytes, failure }: ReplicaAnswer): Reply {
  if (failure) throw new CosmosError(failure.status, failure.message, failure);
  if (!reply) throw new CosmosError(500, 'A replica gave no answer.');
  return bytes ? { ...reply, bytes } : reply;
}
