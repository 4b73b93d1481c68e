// Threads with a connection of their own: what would keep the event loop from everybody else runs
// there.
//
// Owns:    the threads, what waits for them, deadlines, checkpoints, indexes that queries ask for.
// Leaves:  which request goes there to placement.ts, what it means to routes.ts.
//
// Invariants:
//   1. A replica answers from one snapshot, which holds every write that was answered before the
//      request came, and no half of a batch.
//   2. A replica writes only while the owner's writes wait; readers go on.
//   3. The WAL is copied into the file by a replica; the owner's commits never do it. Only the last
//      few pages are copied while writes wait, so that the WAL starts over.
//   4. Threads, waiting requests and the time of each are bounded.

import { Worker } from 'node:worker_threads';

import { realClock, type Timer } from '../../../shared/clock.ts';
import { CosmosError } from './errors.ts';
import type { Learn, ReplicaAnswer, ReplicaTask } from './replica-thread.ts';
import type { Reply, Request } from './request.ts';
import type { Storage } from './storage.ts';

const threadsMax = 3;
const waitingMax = 1000;

export interface ReplicaLimits {
  /** Below the 60 s after which the client library gives up. */
  requestMsMax: number;
  /** More makes a start after `kill -9` slow, fewer make checkpoints frequent. */
  walPagesMax: number;
}

const limitsOfAll: ReplicaLimits = { requestMsMax: 50_000, walPagesMax: 8000 };
const thread = new URL(
  import.meta.url.endsWith('.ts') ? './replica-thread.ts' : './replica-thread.js',
  import.meta.url,
);

/** A query whose groups or order do not fit fails alone. */
const resourceLimits = { maxOldGenerationSizeMb: 1024, maxYoungGenerationSizeMb: 32 };

interface Job {
  task: ReplicaTask;
  done(answer: ReplicaAnswer): void;
  failed(error: CosmosError): void;
}

interface Replica {
  worker: Worker;
  /** Its program is loaded; only then does the time of a request begin. */
  isReady: boolean;
  job: Job | undefined;
  deadline: Timer | undefined;
}

export class Replicas {
  readonly #storage: Storage;
  readonly #limits: ReplicaLimits;
  readonly #replicas = new Set<Replica>();
  readonly #waiting: Job[] = [];
  #exclusive: Promise<unknown> = Promise.resolve();
  #isCheckpointing = false;
  #isClosed = false;

  constructor(storage: Storage, limits: Partial<ReplicaLimits> = {}) {
    this.#storage = storage;
    this.#limits = { ...limitsOfAll, ...limits };
    storage.onGrowth = (pages) => this.#grown(pages);
  }

  /** Runs a request that reads. */
  async read(request: Request): Promise<Reply> {
    const answer = await this.#run(this.#taskOf(request, false));
    if (answer.learn) this.#learn(answer.learn);
    return replyOf(answer);
  }

  /** Runs a request that writes much, while all other writes wait. */
  write(request: Request): Promise<Reply> {
    return this.#alone(async () => {
      const answer = await this.#run(this.#taskOf(request, true));
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
    void this.#alone(async () => {
      await this.#run({ kind: 'learn', learn });
      this.#storage.forgetAll();
    }).catch(() => {});
  }

  // The first pass copies what there is beside the owner's writes, the second the rest.
  #grown(pages: number): void {
    if (this.#isCheckpointing || this.#isClosed || pages < this.#limits.walPagesMax) return;
    this.#isCheckpointing = true;
    void this.#run({ kind: 'checkpoint' })
      .then(() => this.#alone(() => this.#run({ kind: 'checkpoint' })))
      .catch(() => {})
      .finally(() => (this.#isCheckpointing = false));
  }

  #run(task: ReplicaTask): Promise<ReplicaAnswer> {
    return new Promise((resolve, reject) => {
      const isFull = this.#waiting.length >= waitingMax;
      if (this.#isClosed || isFull) {
        reject(new CosmosError(503, isFull ? 'Too many queries wait.' : 'The server closes.'));
        return;
      }
      this.#waiting.push({ task, done: resolve, failed: reject });
      this.#dispatch();
    });
  }

  #dispatch(): void {
    if (this.#waiting.length === 0) return;
    let idle = [...this.#replicas].find(({ job }) => job === undefined);
    if (!idle && this.#replicas.size < threadsMax) idle = this.#open();
    if (idle) this.#begin(idle, this.#waiting.shift());
  }

  #open(): Replica {
    const worker = new Worker(thread, { workerData: this.#storage.file, resourceLimits });
    const replica: Replica = { worker, isReady: false, job: undefined, deadline: undefined };
    this.#replicas.add(replica);
    worker.unref();
    worker.on('message', (answer: ReplicaAnswer | 'ready') => {
      if (answer === 'ready') {
        replica.isReady = true;
        this.#arm(replica);
        return;
      }
      this.#end(replica)?.done(answer);
      this.#dispatch();
    });
    worker.on('error', (error) => {
      this.#lost(replica, new CosmosError(500, `A replica failed: ${String(error)}`));
    });
    return replica;
  }

  #begin(replica: Replica, job: Job | undefined): void {
    if (!job) return;
    replica.job = job;
    if (replica.isReady) this.#arm(replica);
    replica.worker.postMessage(job.task);
  }

  #arm(replica: Replica): void {
    const task = replica.job?.task;
    if (task?.kind !== 'request' || task.isWriting) return;
    replica.deadline = realClock.after(this.#limits.requestMsMax, () => {
      void replica.worker.terminate();
      const message = `The query took longer than ${this.#limits.requestMsMax / 1000} s.`;
      this.#lost(replica, new CosmosError(408, message));
    });
  }

  #end(replica: Replica): Job | undefined {
    const { job, deadline } = replica;
    deadline?.cancel();
    replica.job = replica.deadline = undefined;
    return job;
  }

  #lost(replica: Replica, error: CosmosError): void {
    this.#replicas.delete(replica);
    this.#end(replica)?.failed(error);
    this.#dispatch();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const closing = new CosmosError(503, 'The server closes.');
    for (const job of this.#waiting.splice(0)) job.failed(closing);
    const threads = [...this.#replicas];
    this.#replicas.clear();
    await Promise.all(threads.map(({ worker }) => worker.terminate()));
    for (const replica of threads) this.#end(replica)?.failed(closing);
    await this.#exclusive;
  }
}

function replyOf({ reply, bytes, failure }: ReplicaAnswer): Reply {
  if (failure) throw new CosmosError(failure.status, failure.message, failure);
  if (!reply) throw new CosmosError(500, 'A replica gave no answer.');
  return bytes ? { ...reply, bytes } : reply;
}
