// The client for line-of-business apps: messages in, per key in order, onto the convoy's queue.
//
// Owns:   stamping, packing into batches, order of sending, trying again.
// Leaves: the wire to the Service Bus client; dedup to the receiving side (ids make repeats
//         harmless); naming and checks to outgoing.ts.
//
// N1. Per queue at most one batch is in flight, and a failed batch is sent again whole before any
//     later one: the order of feeding is the order on the queue [SB 9.6].
// N2. A message that is refused is refused before anything of its call is sent; of a stream,
//     everything before it was sent and nothing after it.
// N3. Memory is bounded: one batch in flight and one being packed per stream.
import { randomUUID } from 'node:crypto';
import type {
  ServiceBusClient,
  ServiceBusMessageBatch,
  ServiceBusSender,
} from '@azure/service-bus';
import { realClock, sleep } from './clock.ts';
import type { Clock } from './clock.ts';
import { ConvoyError, reasonOf } from './errors.ts';
import { assertConvoyName, stamp } from './outgoing.ts';
import type { OutgoingMessage, StampedMessage } from './outgoing.ts';
import { brokerBusy, openServiceBusClient, serviceBusFault } from './service-bus.ts';
import type { ServiceBusAddress, ServiceBusFault } from './service-bus.ts';
import type { Refused } from './throttling.ts';

export type { OutgoingMessage } from './outgoing.ts';

/** A message of a stream over many keys. */
export interface KeyedMessage extends OutgoingMessage {
  key: string;
}

export interface SenderOptions {
  /** How long a batch is tried again before the send fails. Default 60 s. */
  retryForMs?: number;
  /** The same until the broker has answered once: a wrong address shows early. */
  connectWithinMs?: number;
  /** How long the first try of a batch may take; each further one has twice as long, to 60 s. */
  attemptWithinMs?: number;
  /** Queue of a convoy whose definition names another one than itself. */
  queues?: Readonly<Record<string, string>>;
  clock?: Clock;
  /** Called for every try that the broker refused for its rate or the size of the queue. */
  onThrottled?: (refused: Refused) => void;
}

export interface SendProgress {
  /** Messages that the broker has accepted so far. */
  sent: number;
}

export interface Sender extends AsyncDisposable {
  /** Sends messages of one key in the given order; resolves with their ids once accepted. */
  send(
    convoy: string,
    key: string,
    messages: OutgoingMessage | readonly OutgoingMessage[],
  ): Promise<readonly string[]>;
  /** Sends a stream over many keys in its order, as far as the source gives at once per batch. */
  sendAll(
    convoy: string,
    messages: Iterable<KeyedMessage> | AsyncIterable<KeyedMessage>,
    options?: { onProgress?: (progress: SendProgress) => void },
  ): Promise<SendProgress>;
  /** Asks the broker how many bytes a message may have; refuses a convoy that has no queue. */
  sizeLimit(convoy: string): Promise<number>;
  close(): Promise<void>;
}

const retryForMsDefault = 60_000;
const firstPauseMs = 100;
const longestPauseMs = 5_000;
const batchMessagesMax = 1_000;
const attemptWithinMsDefault = 5_000;
const attemptMsMax = 60_000;

/** A sender for one namespace; it connects with the first message. */
export function createSender(address: ServiceBusAddress, options: SenderOptions = {}): Sender {
  const wire = createWire(address, options);
  const queueOf = (convoy: unknown): string => {
    assertConvoyName(convoy);
    return options.queues?.[convoy] ?? convoy;
  };
  const close = (): Promise<void> => wire.close();
  return {
    async send(convoy, key, messages) {
      const queue = queueOf(convoy);
      const list = Array.isArray(messages) ? messages : [messages];
      const identified = list.map((message) => ({ ...message, id: message.id ?? randomUUID() }));
      const stamped = identified.map((message) => stamp(key, message));
      await wire.inTurn(queue, async () => {
        const batches = await packAll(wire, queue, stamped);
        for (const batch of batches) await wire.transmit(queue, batch);
      });
      return identified.map((message) => message.id);
    },
    async sendAll(convoy, messages, { onProgress } = {}) {
      const queue = queueOf(convoy);
      return wire.inTurn(queue, () => sendStream(wire, { queue, messages, onProgress }));
    },
    async sizeLimit(convoy) {
      const batch = await wire.newBatch(queueOf(convoy));
      return batch.maxSizeInBytes;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Packs everything before anything is sent, so that an oversized message refuses its call [N2]. */
async function packAll(
  wire: Wire,
  queue: string,
  messages: readonly StampedMessage[],
): Promise<ServiceBusMessageBatch[]> {
  const batches: ServiceBusMessageBatch[] = [];
  for (const message of messages) {
    const last = batches.at(-1);
    if (last && last.count < batchMessagesMax && last.tryAddMessage(message)) continue;
    batches.push(await firstOfBatch(wire, queue, message));
  }
  return batches;
}

async function firstOfBatch(
  wire: Wire,
  queue: string,
  message: StampedMessage,
): Promise<ServiceBusMessageBatch> {
  const batch = await wire.newBatch(queue);
  if (batch.tryAddMessage(message)) return batch;
  throw new ConvoyError(
    'CVY_BODY_TOO_LARGE',
    `a message with a body of ${message.body.length} bytes, ` +
      `the broker takes ${batch.maxSizeInBytes} in all`,
  );
}

interface Stream {
  queue: string;
  messages: Iterable<KeyedMessage> | AsyncIterable<KeyedMessage>;
  onProgress: ((progress: SendProgress) => void) | undefined;
}

/**
 * One batch in flight, the next being packed meanwhile [N1, N3]. A batch leaves when the wire is
 * free and the source has nothing at hand, or when it is full: quick when the source is slow, large
 * when it is fast.
 */
async function sendStream(wire: Wire, { queue, messages, onProgress }: Stream) {
  const source = iteratorOf(messages);
  const progress: SendProgress = { sent: 0 };
  let packing: ServiceBusMessageBatch | undefined;
  let flight: Promise<void> | undefined;
  let isBroken = false;
  const launch = (batch: ServiceBusMessageBatch): void => {
    flight = wire.transmit(queue, batch).then(() => {
      flight = undefined;
      progress.sent += batch.count;
      onProgress?.({ ...progress });
    });
    // The failure is met where the flight is awaited; here it must not count as unhandled.
    flight.catch(() => void (isBroken = true));
  };
  const flush = async (): Promise<void> => {
    await flight;
    if (packing) launch(packing);
    packing = undefined;
  };
  try {
    for (let next = pull(source); ; next = pull(source)) {
      while (packing && !(await arrivesBefore(next, flight ?? immediate()))) await flush();
      const { done, value } = await next;
      if (done) break;
      const message = stamp(value.key, { ...value, id: value.id ?? randomUUID() });
      if (packing && packing.count < batchMessagesMax && packing.tryAddMessage(message)) continue;
      await flush();
      packing = await firstOfBatch(wire, queue, message);
    }
  } catch (error) {
    // What came before the fault is sent; the source is told that nothing more is taken [N2].
    if (!isBroken) await settle();
    await source.return?.();
    throw error;
  }
  await settle();
  return progress;

  async function settle(): Promise<void> {
    await flush();
    await flight;
  }
}

type Source = AsyncIterator<KeyedMessage> | Iterator<KeyedMessage>;

function iteratorOf(messages: Stream['messages']): Source {
  return Symbol.asyncIterator in messages
    ? messages[Symbol.asyncIterator]()
    : messages[Symbol.iterator]();
}

function pull(source: Source): Promise<IteratorResult<KeyedMessage>> {
  const next = (async () => source.next())();
  next.catch(() => {});
  return next;
}

function immediate(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Whether the source gives its next message before the other thing happens. */
function arrivesBefore(next: Promise<unknown>, other: Promise<void>): Promise<boolean> {
  return Promise.race([next.then(() => true), other.then(() => false)]);
}

interface Wire {
  /** Runs one call at a time per queue [N1]. */
  inTurn<T>(queue: string, call: () => Promise<T>): Promise<T>;
  newBatch(queue: string): Promise<ServiceBusMessageBatch>;
  transmit(queue: string, batch: ServiceBusMessageBatch): Promise<void>;
  close(): Promise<void>;
}

function createWire(address: ServiceBusAddress, options: SenderOptions): Wire {
  const clock = options.clock ?? realClock;
  const retryForMs = options.retryForMs ?? retryForMsDefault;
  const turns = new Map<string, Promise<unknown>>();
  const senders = new Map<string, ServiceBusSender>();
  const closed = new AbortController();
  let opening: Promise<ServiceBusClient> | undefined;
  let answeredOnce = false;

  async function senderOf(queue: string): Promise<ServiceBusSender> {
    // The client's own retries wait 30 s and reorder nothing of ours; we try again ourselves.
    opening ??= openServiceBusClient(address, { retryOptions: { maxRetries: 0 } });
    const client = await opening;
    const known = senders.get(queue);
    if (known) return known;
    const sender = client.createSender(queue);
    senders.set(queue, sender);
    return sender;
  }

  async function persistently<T>(queue: string, attempt: Attempt<T>): Promise<T> {
    const startedAt = clock.now();
    let pauseMs = firstPauseMs;
    let attemptMs = options.attemptWithinMs ?? attemptWithinMsDefault;
    for (;;) {
      if (closed.signal.aborted) throw new ConvoyError('CVY_UNREACHABLE', 'the sender is closed');
      const sender = await senderOf(queue);
      try {
        const result = await within(clock, attemptMs, (signal) => attempt(sender, signal));
        answeredOnce = true;
        return result;
      } catch (error) {
        const limitMs = answeredOnce ? retryForMs : (options.connectWithinMs ?? retryForMs);
        const busy = brokerBusy(error);
        if (busy !== undefined) options.onThrottled?.(busy);
        const waitMs = Math.max(pauseMs, busy?.retryAfterMs ?? 0);
        const isLate = clock.now() - startedAt + waitMs > limitMs;
        if (faultOf(error) !== 'transient' || isLate) throw refusal(queue, error);
        await pause(clock, waitMs, closed.signal);
      }
      pauseMs = Math.min(pauseMs * 2, longestPauseMs);
      attemptMs = Math.min(attemptMs * 2, attemptMsMax);
    }
  }

  return {
    inTurn(queue, call) {
      const turn = (turns.get(queue) ?? Promise.resolve()).then(call);
      turns.set(
        queue,
        turn.catch(() => {}),
      );
      return turn;
    },
    newBatch: (queue) =>
      persistently(queue, (sender, abortSignal) => sender.createMessageBatch({ abortSignal })),
    transmit: (queue, batch) =>
      persistently(queue, (sender, abortSignal) => sender.sendMessages(batch, { abortSignal })),
    async close() {
      closed.abort();
      await (await opening)?.close();
    },
  };
}

type Attempt<T> = (sender: ServiceBusSender, signal: AbortSignal) => Promise<T>;

/** One try took too long; whether the broker has stored it is not known. */
class AttemptTooLong extends Error {}

/**
 * One try with a time limit of its own. The client notices neither that its connection was lost
 * under a send in flight nor gives up on it before its own 60 s; a try that was stored after all
 * makes a repeat with the same id, which does no harm.
 */
async function within<T>(
  clock: Clock,
  limitMs: number,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const timer = clock.after(limitMs, () => limit.abort());
  try {
    return await call(limit.signal);
  } catch (error) {
    if (!limit.signal.aborted) throw error;
    throw new AttemptTooLong(`no answer within ${limitMs} ms`, { cause: error });
  } finally {
    timer.cancel();
  }
}

function faultOf(error: unknown): ServiceBusFault {
  return error instanceof AttemptTooLong ? 'transient' : serviceBusFault(error);
}

/** Waits and keeps the process alive meanwhile: with the broker away nothing else would. */
async function pause(clock: Clock, pauseMs: number, signal: AbortSignal): Promise<void> {
  const anchor = setInterval(() => {}, 60_000);
  try {
    await sleep(clock, pauseMs, signal);
  } finally {
    clearInterval(anchor);
  }
}

/** What the sender of the message is told when the broker will not have it. */
function refusal(queue: string, error: unknown): ConvoyError {
  const because = { cause: error };
  switch (faultOf(error)) {
    case 'notFound':
      return new ConvoyError('CVY_CONVOY_UNKNOWN', `there is no queue ${queue}`, because);
    case 'tooLarge':
      return new ConvoyError('CVY_BODY_TOO_LARGE', reasonOf(error), because);
    case 'unauthorized':
      return new ConvoyError('CVY_SETTINGS', 'the broker refuses the key or identity', because);
    case 'transient':
      if (brokerBusy(error))
        return new ConvoyError('CVY_THROTTLED', `queue ${queue}: ${reasonOf(error)}`, because);
      return new ConvoyError('CVY_UNREACHABLE', `queue ${queue}: ${reasonOf(error)}`, because);
    case 'permanent':
      return new ConvoyError('CVY_BAD_REQUEST', `queue ${queue}: ${reasonOf(error)}`, because);
  }
}
