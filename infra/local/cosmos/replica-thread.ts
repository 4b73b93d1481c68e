// The program of a replica: the same routes on a connection of its own [replicas.ts].

import { parentPort, workerData } from 'node:worker_threads';

import { CosmosError, type CosmosErrorOptions } from './errors.ts';
import { learnIndex } from './indexes.ts';
import type { Reply, Request } from './request.ts';
import { resolveAction } from './routes.ts';
import { Storage } from './storage.ts';

export type ReplicaTask =
  /** The request, as of a position of the owner. */
  | { kind: 'request'; request: Request; lsn: number; version: number; isWriting: boolean }
  | { kind: 'checkpoint' }
  | { kind: 'learn'; learn: Learn };

/** A path of a container that a slow query filtered by without an index. */
export interface Learn {
  database: string;
  container: string;
  path: string[];
}

export interface ReplicaAnswer {
  reply?: Reply;
  /** The JSON text of the reply, encoded. */
  bytes?: Uint8Array<ArrayBuffer>;
  learn?: Learn;
  failure?: { status: number; message: string } & CosmosErrorOptions;
}

const storage = new Storage(String(workerData), { isReplica: true });

async function answerRequest(task: ReplicaTask & { kind: 'request' }): Promise<ReplicaAnswer> {
  storage.follow(task.lsn, task.version);
  storage.unindexed = undefined;
  if (!task.isWriting) storage.sql.exec('BEGIN');
  let reply: Reply;
  try {
    reply = await resolveAction(storage, task.request).run();
  } finally {
    if (storage.sql.isTransaction) storage.sql.exec('COMMIT');
  }
  const { text, ...rest } = reply;
  const learn = storage.unindexed;
  if (text === undefined) return { reply: rest };
  return { reply: rest, bytes: new TextEncoder().encode(text), ...(learn ? { learn } : {}) };
}

function checkpoint(): ReplicaAnswer {
  storage.sql.exec('PRAGMA wal_checkpoint(PASSIVE)');
  return {};
}

async function answerLearn({ database, container: id, path }: Learn): Promise<ReplicaAnswer> {
  storage.forgetAll();
  const container = storage.container(database, id);
  if (container) await storage.write(() => learnIndex(storage.sql, path, container));
  return {};
}

async function answer(task: ReplicaTask): Promise<ReplicaAnswer> {
  if (task.kind === 'checkpoint') return checkpoint();
  if (task.kind === 'learn') return answerLearn(task.learn);
  return answerRequest(task);
}

function failureOf(error: unknown): ReplicaAnswer {
  if (!(error instanceof CosmosError)) return { failure: { status: 500, message: String(error) } };
  const { status, message, substatus, retryAfterMs, additionalErrorInfo } = error;
  return {
    failure: {
      ...{ status, message },
      ...(substatus !== undefined && { substatus }),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
      ...(additionalErrorInfo !== undefined && { additionalErrorInfo }),
    },
  };
}

parentPort?.postMessage('ready');
parentPort?.on('message', (task: ReplicaTask) => {
  void answer(task)
    .catch(failureOf)
    .then((done) => parentPort?.postMessage(done, done.bytes ? [done.bytes.buffer] : []));
});
