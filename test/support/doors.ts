// A stack as its users reach it: the command line as a child process, the HTTP API, the queues.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { ServiceBusClient } from '@azure/service-bus';
import Long from 'long';
import { packageRoot } from '../../infra/local/address.ts';
import { toPathKey } from '../../shared/keys.ts';

const convoyBin = join(packageRoot(), 'infra', 'convoy.mjs');

export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs `convoy …` as a person does, from the build. */
export function runConvoy(args: readonly string[], input?: Readable | string): Promise<Ended> {
  const child = spawn(process.execPath, [convoyBin, ...args]);
  const heard = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (chunk: string) => (heard[name] += chunk));
  }
  if (typeof input === 'object') input.pipe(child.stdin);
  else child.stdin.end(input ?? '');
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? -1, ...heard }));
  });
}

export interface MessageSeen {
  position: number;
  messageId: string;
  type: string;
  outcome: string;
  code?: string;
  remedy?: string;
  reason?: string;
  body: unknown;
  bodyBase64?: string;
}

export interface ConvoySeen {
  key: string;
  phase: string;
  epoch: number;
  tail: number;
  cursor: number;
  backlog: number;
  repeats: number;
  chain: string;
  hold: { kind: string; code: string | null; reason: string | null; position: number | null };
  state: Record<string, unknown>;
}

export interface Answer {
  status: number;
  // Answers are read field by field.
  // oxlint-disable-next-line typescript/no-explicit-any
  body: any;
}

/** The HTTP API; paths are below `/api`. */
export class Api {
  readonly #url: string;

  constructor(url: string) {
    this.#url = `${url}/api`;
  }

  async call(method: 'GET' | 'POST', path: string, init: RequestInit = {}): Promise<Answer> {
    const response = await fetch(this.#url + path, { method, ...init });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') ?? false;
    return { status: response.status, body: isJson ? JSON.parse(text) : text };
  }

  async get<Body>(path: string): Promise<Body> {
    const { status, body } = await this.call('GET', path);
    if (status !== 200) throw new Error(`GET ${path}: ${status} ${JSON.stringify(body)}`);
    return body as Body;
  }

  /** All items of a list, page by page. */
  async list<Item>(path: string): Promise<Item[]> {
    const items: Item[] = [];
    let continuation: string | undefined;
    do {
      const query = new URLSearchParams({ limit: '500', ...(continuation && { continuation }) });
      const page = await this.get<{ items: Item[]; continuation?: string }>(
        `${path}${path.includes('?') ? '&' : '?'}${query.toString()}`,
      );
      items.push(...page.items);
      continuation = page.continuation;
    } while (continuation !== undefined);
    return items;
  }

  show(convoy: string, key: string): Promise<ConvoySeen> {
    return this.get(`/convoys/${convoy}/${toPathKey(key)}`);
  }

  messages(convoy: string, key: string): Promise<MessageSeen[]> {
    return this.list(`/convoys/${convoy}/${toPathKey(key)}/messages`);
  }

  /** Admitted so far, and how many of them are not settled. */
  async totals(): Promise<{ admitted: number; waiting: number }> {
    const { messages } = await this.get<{ messages: { admitted: number; waiting: number } }>(
      '/stats',
    );
    return messages;
  }
}

/** Asks until the answer will do; the test's own time limit ends it. */
export async function until<T>(
  ask: () => Promise<T> | T,
  holds: (answer: T) => boolean,
  everyMs = 50,
): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (holds(answer)) return answer;
    await pause(everyMs);
  }
}

/** Looks at queues; it receives nothing. */
export class Queues implements AsyncDisposable {
  readonly #client: ServiceBusClient;

  constructor(connectionString: string) {
    this.#client = new ServiceBusClient(connectionString);
  }

  get client(): ServiceBusClient {
    return this.#client;
  }

  /** The oldest messages of a queue; locked ones count. */
  async peek(queue: string, options: { from?: 'deadLetter'; count?: number } = {}) {
    const receiver = this.#client.createReceiver(
      queue,
      options.from === 'deadLetter' ? { subQueueType: 'deadLetter' } : {},
    );
    const fromSequenceNumber = Long.fromNumber(1);
    const seen = await receiver.peekMessages(options.count ?? 100, { fromSequenceNumber });
    await receiver.close();
    return seen;
  }

  /** Nothing waits in the queue or in its dead-letter queue. */
  async isEmpty(queue: string): Promise<boolean> {
    const active = await this.peek(queue, { count: 1 });
    const dead = await this.peek(queue, { from: 'deadLetter', count: 1 });
    return active.length + dead.length === 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.close();
  }
}

/** Waits until the input queue is empty and all that was admitted is settled. */
export async function settledAll(api: Api, queues: Queues, queue: string): Promise<void> {
  const everyMs = 250; // to look costs the stack work, too
  await until(() => queues.isEmpty(queue), Boolean, everyMs);
  const isSettled = ({ waiting }: { waiting: number }): boolean => waiting === 0;
  await until(() => api.totals(), isSettled, everyMs);
}
