// Threads of one kind, each with a connection of its own, and what waits for them [replicas.ts].

import { Worker } from 'node:worker_threads';

import { realClock, type Timer } from '../../../shared/clock.ts';
import { CosmosError } from './errors.ts';
import type { ReplicaAnswer, ReplicaTask } from './replica-thread.ts';

const waitingMax = 1000;
/** A query whose groups or order do not fit fails alone. */
const resourceLimits = { maxOldGenerationSizeMb: 1024, maxYoungGenerationSizeMb: 32 };
const program = new URL(
  import.meta.url.endsWith('.ts') ? './replica-thread.ts' : './replica-thread.js',
  import.meta.url,
);

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

export interface PoolOptions {
  file: string | undefined;
  threadsMax: number;
  /** After so long a request that reads is ended with its thread. */
  requestMsMax: number;
}

const closing = (): CosmosError => new CosmosError(503, 'The server closes.');

export class ReplicaPool {
  readonly #options: PoolOptions;
  readonly #replicas = new Set<Replica>();
  readonly #waiting: Job[] = [];
  #isClosed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** Throws CosmosError 503 when too much waits or the pool was closed, 408 after the time. */
  run(task: ReplicaTask): Promise<ReplicaAnswer> {
    return new Promise((resolve, reject) => {
      const isFull = this.#waiting.length >= waitingMax;
      if (this.#isClosed || isFull) {
        reject(isFull ? new CosmosError(503, 'Too many queries wait.') : closing());
        return;
      }
      this.#waiting.push({ task, done: resolve, failed: reject });
      this.#dispatch();
    });
  }

  #dispatch(): void {
    if (this.#waiting.length === 0) return;
    let idle = [...this.#replicas].find(({ job }) => job === undefined);
    if (!idle && this.#replicas.size < this.#options.threadsMax) idle = this.#open();
    if (idle) this.#begin(idle, this.#waiting.shift());
  }

  #open(): Replica {
    const worker = new Worker(program, { workerData: this.#options.file, resourceLimits });
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
    replica.deadline = realClock.after(this.#options.requestMsMax, () => {
      void replica.worker.terminate();
      const message = `The query took longer than ${this.#options.requestMsMax / 1000} s.`;
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
    for (const job of this.#waiting.splice(0)) job.failed(closing());
    const threads = [...this.#replicas];
    this.#replicas.clear();
    await Promise.all(threads.map(({ worker }) => worker.terminate()));
    for (const replica of threads) this.#end(replica)?.failed(closing());
  }
}
