// The observer: a program of its own that watches one run of the sample stream from outside.
//
// Owns:   looking (peeks at the output queue, reads the HTTP API) and the time limit.
// Leaves: the counting to judge.ts. Imports nothing of the app, of the stack or of the sender.
//
// O1. It only peeks: no message is received, locked or settled by it.
// O2. It reads the API only after the outputs are complete or the time is up, so that its own
//     reading is no part of the measured cost.
// O3. A process of the stack that dies and comes back is waited for: what cannot be peeked or read
//     now is tried again, and the time limit alone decides that it stays away.
//
// It speaks JSON lines: on standard input {kind: begin | fed | go}, on standard output
// {kind: ready | progress | settled | verdict}. Addresses come that way too, never as arguments,
// which everybody on the machine can see.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { ServiceBusClient } from '@azure/service-bus';
import type { ServiceBusReceivedMessage, ServiceBusReceiver } from '@azure/service-bus';
import { judge } from './judge.ts';
import type { SeenKey, SeenOutput, Verdict } from './judge.ts';
import type { SamplePlan } from './plan.ts';

export type ToObserver =
  | { kind: 'begin'; planFile: string; url: string; serviceBus: string; quietLimitMs: number }
  | { kind: 'fed'; sentAtMs: Record<string, number> }
  | { kind: 'go' };

export type FromObserver =
  | { kind: 'ready'; peeks: number }
  | { kind: 'progress'; outputs: number }
  | { kind: 'settled'; isComplete: boolean; peeks: number }
  | { kind: 'verdict'; verdict: Verdict };

const peekCount = 250;
const peekEveryMs = 200;
const peekWithinMs = 5_000;
const progressEveryMs = 500;
const readsAtOnce = 8;
const settleTriesMax = 40;
const settlePauseMs = 250;
const pageLimit = 500;

class OutputQueue implements AsyncDisposable {
  readonly seen: SeenOutput[] = [];
  peeks = 0;
  readonly #open: () => ServiceBusClient;
  readonly #name: string;
  #client: ServiceBusClient | undefined;
  #receiver: ServiceBusReceiver | undefined;
  #last: ServiceBusReceivedMessage['sequenceNumber'];

  constructor(name: string, open: () => ServiceBusClient) {
    this.#name = name;
    this.#open = open;
  }

  /** Goes to the end of the queue and keeps what it meets, or only where the end is. */
  async catchUp(keep: boolean): Promise<void> {
    for (;;) {
      const messages = await this.#peek();
      if (messages.length === 0) return;
      this.#last = messages.at(-1)?.sequenceNumber;
      if (keep) for (const message of messages) this.seen.push(seenOutput(message));
    }
  }

  /** [O3] The same, false when the broker does not answer now. */
  async tryToCatchUp(): Promise<boolean> {
    try {
      await this.catchUp(true);
      return true;
    } catch (error) {
      console.error(`the observer peeks again: ${String(error)}`);
      return false;
    }
  }

  async #peek(): Promise<ServiceBusReceivedMessage[]> {
    this.#client ??= this.#open();
    this.#receiver ??= this.#client.createReceiver(this.#name);
    this.peeks += 1;
    const from = this.#last ? { fromSequenceNumber: this.#last.add(1) } : {};
    const abortSignal = AbortSignal.timeout(peekWithinMs);
    try {
      return await this.#receiver.peekMessages(peekCount, { ...from, abortSignal });
    } catch (error) {
      // A client whose connection broke under a request may wait a minute for its answer.
      await this[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    this.#receiver = undefined;
    await Promise.race([client?.close().catch(() => {}), pause(peekWithinMs)]);
  }
}

function seenOutput(message: ServiceBusReceivedMessage): SeenOutput {
  const properties = message.applicationProperties ?? {};
  return {
    sequence: message.sequenceNumber?.toNumber() ?? 0,
    key: String(properties['convoyKey']),
    messageId: String(message.messageId),
    causationId: String(properties['causationId']),
    subject: String(message.subject),
    enqueuedAtMs: message.enqueuedTimeUtc?.getTime() ?? 0,
  };
}

async function observe(): Promise<void> {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const begin = await heard(lines, 'begin');
  const plan = JSON.parse(readFileSync(begin.planFile, 'utf8')) as SamplePlan;
  const open = () => new ServiceBusClient(begin.serviceBus);
  await using queue = new OutputQueue(`${plan.convoy}-out`, open);
  await queue.catchUp(false);
  say({ kind: 'ready', peeks: queue.peeks });

  const feeding = heard(lines, 'fed');
  const isComplete = await watchOutputs({ plan, queue, feeding, limitMs: begin.quietLimitMs });
  const { sentAtMs } = await feeding;
  say({ kind: 'settled', isComplete, peeks: queue.peeks });

  await heard(lines, 'go');
  const keys = await readKeys(begin.url, plan, isComplete ? settleTriesMax : 1);
  // Once more: a repeat published while the API was read must not escape.
  for (let left = settleTriesMax; left > 0 && !(await queue.tryToCatchUp()); left -= 1) {
    await pause(settlePauseMs);
  }
  say({ kind: 'verdict', verdict: judge({ plan, outputs: queue.seen, keys, sentAtMs }) });
}

interface Watch {
  plan: SamplePlan;
  queue: OutputQueue;
  feeding: Promise<unknown>;
  limitMs: number;
}

/** Peeks until every planned id has its output, or nothing new came for the time limit. */
async function watchOutputs({ plan, queue, feeding, limitMs }: Watch): Promise<boolean> {
  const awaited = new Set(plan.keys.flatMap(({ ids }) => ids));
  let isFed = false;
  void feeding.then(() => (isFed = true));
  let counted = 0;
  let newAt = performance.now();
  let saidAt = 0;
  while (awaited.size > 0 || !isFed) {
    await queue.tryToCatchUp();
    const now = performance.now();
    if (queue.seen.length > counted || !isFed) newAt = now;
    for (const output of queue.seen.slice(counted)) awaited.delete(output.causationId);
    counted = queue.seen.length;
    if (now - saidAt > progressEveryMs) {
      say({ kind: 'progress', outputs: counted });
      saidAt = now;
    }
    if (awaited.size > 0 && now - newAt > limitMs) return false;
    if (awaited.size > 0 || !isFed) await pause(peekEveryMs);
  }
  return true;
}

async function readKeys(url: string, plan: SamplePlan, tries: number): Promise<SeenKey[]> {
  const seen = new Map<string, SeenKey>();
  for (let left = tries; left > 0; left -= 1) {
    const unread = plan.keys.filter(({ key, ids }) => !isSettled(seen.get(key), ids.length));
    if (unread.length === 0) break;
    if (left < tries) await pause(settlePauseMs);
    const queue = [...unread];
    const read = async (): Promise<void> => {
      for (let next = queue.pop(); next; next = queue.pop()) {
        const one = await readKey(`${url}/api/convoys/${plan.convoy}/${next.key}`, next.key);
        if (one) seen.set(next.key, one);
      }
    };
    await Promise.all(Array.from({ length: readsAtOnce }, read));
  }
  return [...seen.values()];
}

function isSettled(seen: SeenKey | undefined, count: number): boolean {
  const settled = seen?.records.filter(({ outcome }) => outcome !== 'waiting') ?? [];
  return settled.length >= count;
}

interface Detail {
  epoch: number;
  phase: string;
  hold?: { kind?: string } | null;
  state: unknown;
}

interface Page {
  items: SeenKey['records'];
  continuation?: string;
}

async function readKey(path: string, key: string): Promise<SeenKey | undefined> {
  const detail = await get<Detail>(path);
  if (!detail) return undefined;
  const records: SeenKey['records'][number][] = [];
  let continuation: string | undefined;
  do {
    const token = continuation ? `&continuation=${encodeURIComponent(continuation)}` : '';
    const page = await get<Page>(`${path}/messages?limit=${pageLimit}${token}`);
    for (const { messageId, outcome } of page?.items ?? []) records.push({ messageId, outcome });
    continuation = page?.continuation;
  } while (continuation);
  const { epoch, phase, state } = detail;
  return { key, epoch, phase, hold: detail.hold?.kind ?? 'none', state, records };
}

/** The answer; nothing for 404 or when there is none now [O3]; any other ends the observation. */
async function get<T>(url: string): Promise<T | undefined> {
  const response = await fetch(url).catch(() => undefined);
  if (!response) return undefined;
  if (response.status === 404 || response.status === 503) {
    await response.body?.cancel();
    return undefined;
  }
  if (!response.ok) throw new TypeError(`${url} answered ${response.status}`);
  return (await response.json()) as T;
}

async function heard<K extends ToObserver['kind']>(
  lines: AsyncIterator<string>,
  kind: K,
): Promise<Extract<ToObserver, { kind: K }>> {
  const { done, value } = await lines.next();
  // The one who asked is gone: there is nobody left to answer.
  if (done) process.exit(1);
  const message = JSON.parse(value) as ToObserver;
  if (message.kind !== kind) throw new TypeError(`${kind} was awaited, ${message.kind} came`);
  return message as Extract<ToObserver, { kind: K }>;
}

function say(message: FromObserver): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

await observe();
process.exit(0);
