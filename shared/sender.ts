// The client for line-of-business apps: messages in, per key in order, onto the convoy's queue.
//
// Owns:   stamping, packing into batches, order of sending, trying again.
// Leaves: the wire to sender-wire.ts; lanes of split keys to sender-lanes.ts; dedup to the
//         receiving side (ids make repeats harmless); naming and checks to outgoing.ts.
//
// N1. Per queue at most one batch is in flight, and a failed batch is sent again whole before any
//     later one: the order of feeding is the order on the queue [SB 9.6].
// N2. A message that is refused is refused before anything of its call is sent; of a stream,
//     everything before it was sent and nothing after it.
// N3. Memory is bounded: one batch in flight and one being packed per stream.
import { randomUUID } from 'node:crypto';
import type { ServiceBusMessageBatch } from '@azure/service-bus';
import { realClock } from './clock.ts';
import { ConvoyError } from './errors.ts';
import { type LaneSource, hasLanes, laneSessionOf, newestPlace, wholeKeyFault } from './lanes.ts';
import { assertConvoyName, stamp } from './outgoing.ts';
import type { OutgoingMessage, StampedMessage } from './outgoing.ts';
import { type PinnedLayout, createLayoutBook } from './sender-lanes.ts';
import { type Wire, type WireOptions, createWire } from './sender-wire.ts';
import type { ServiceBusAddress } from './service-bus.ts';

export type { OutgoingMessage } from './outgoing.ts';
export type { LaneLayout, LaneSource } from './lanes.ts';
export { lanesFrom } from './sender-lanes.ts';

/** A message of a stream over many keys. */
export interface KeyedMessage extends OutgoingMessage {
  key: string;
}

export interface SenderOptions extends WireOptions {
  /** Queue of a convoy whose definition names another one than itself. */
  queues?: Readonly<Record<string, string>>;
  /** Where the lanes of split keys are told: `lanesFrom(url)`. Without it a key is one session. */
  lanes?: LaneSource;
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

const batchMessagesMax = 1_000;

/** A sender for one namespace; it connects with the first message. */
export function createSender(address: ServiceBusAddress, options: SenderOptions = {}): Sender {
  const wire = createWire(address, options);
  const book = options.lanes && createLayoutBook(options.lanes, options.clock ?? realClock);
  const queueOf = (convoy: unknown): string => {
    assertConvoyName(convoy);
    return options.queues?.[convoy] ?? convoy;
  };
  /** [N1] A key may move from queue to queue: with lanes a convoy sends one call at a time. */
  const turnOf = (convoy: string): string => (book ? `lanes of ${convoy}` : queueOf(convoy));
  const plain = (convoy: string): Placer => {
    const queue = queueOf(convoy);
    return (key, message) => ({ queue, message: stamp(key, message) });
  };
  const placerOf = async (convoy: string): Promise<Placer> => {
    if (!book) return plain(convoy);
    const queue = queueOf(convoy);
    const pin = await book.pin(convoy);
    return (key, message) => inLane(pin, { queue, key, message });
  };
  const close = (): Promise<void> => wire.close();
  return {
    async send(convoy, key, messages) {
      const list = Array.isArray(messages) ? messages : [messages];
      const identified = list.map((message) => ({ ...message, id: message.id ?? randomUUID() }));
      // Refused before its turn, and before anything of the call is sent [N2].
      const checked = identified.map((message) => plain(convoy)(key, message));
      await wire.inTurn(turnOf(convoy), async () => {
        const place = await placerOf(convoy);
        const placed = book ? identified.map((message) => place(key, message)) : checked;
        for (const { queue, batch, until } of await packAll(wire, placed))
          await wire.transmit(queue, batch, until);
      });
      return identified.map((message) => message.id);
    },
    async sendAll(convoy, messages, { onProgress } = {}) {
      queueOf(convoy);
      const stream = { placer: () => placerOf(convoy), messages, onProgress };
      return wire.inTurn(turnOf(convoy), () => sendStream(wire, stream));
    },
    async sizeLimit(convoy) {
      const batch = await wire.newBatch(queueOf(convoy));
      return batch.maxSizeInBytes;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** A message on its way: to which queue, and until when it may be sent. */
interface Placed {
  queue: string;
  message: StampedMessage;
  until?: number;
}

type Placer = (key: string, message: OutgoingMessage & { id: string }) => Placed;

/** The session, and the queue, of the newest lane of a split key. */
function inLane(
  { layout, until }: PinnedLayout,
  {
    queue,
    key,
    message,
  }: { queue: string; key: string; message: OutgoingMessage & { id: string } },
): Placed {
  const fault = hasLanes(layout) ? wholeKeyFault(key) : undefined;
  if (fault !== undefined) throw new ConvoyError('CVY_KEY_INVALID', fault);
  const place = newestPlace(layout, key, message.laneKey);
  return {
    queue: place.queue ?? queue,
    message: stamp(laneSessionOf(place), message),
    until,
  };
}

interface Packed {
  queue: string;
  batch: ServiceBusMessageBatch;
  until: number | undefined;
}

/** Packs everything before anything is sent, so that an oversized message refuses its call [N2]. */
async function packAll(wire: Wire, all: readonly Placed[]): Promise<Packed[]> {
  const packed: Packed[] = [];
  for (const placed of all) {
    const last = packed.at(-1);
    if (last && isAdded(last, placed)) continue;
    packed.push(await firstOfBatch(wire, placed));
  }
  return packed;
}

/** Whether the message went into the batch: full, too large or for another queue, it did not. */
function isAdded({ queue, batch }: Packed, placed: Placed): boolean {
  const isOpen = queue === placed.queue && batch.count < batchMessagesMax;
  return isOpen && batch.tryAddMessage(placed.message);
}

async function firstOfBatch(wire: Wire, { queue, message, until }: Placed): Promise<Packed> {
  const batch = await wire.newBatch(queue);
  if (batch.tryAddMessage(message)) return { queue, batch, until };
  throw new ConvoyError(
    'CVY_BODY_TOO_LARGE',
    `a message with a body of ${message.body.length} bytes, ` +
      `the broker takes ${batch.maxSizeInBytes} in all`,
  );
}

interface Stream {
  /** By the layout as it is when a message is placed. */
  placer: () => Promise<Placer>;
  messages: Iterable<KeyedMessage> | AsyncIterable<KeyedMessage>;
  onProgress: ((progress: SendProgress) => void) | undefined;
}

/**
 * One batch in flight, the next being packed meanwhile [N1, N3]. A batch leaves when the wire is
 * free and the source has nothing at hand, or when it is full: quick when the source is slow, large
 * when it is fast.
 */
async function sendStream(wire: Wire, { placer, messages, onProgress }: Stream) {
  const source = iteratorOf(messages);
  const progress: SendProgress = { sent: 0 };
  let packing: Packed | undefined;
  let flight: Promise<void> | undefined;
  let isBroken = false;
  const launch = ({ queue, batch, until }: Packed): void => {
    flight = wire.transmit(queue, batch, until).then(() => {
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
      const place = await placer();
      const placed = place(value.key, { ...value, id: value.id ?? randomUUID() });
      if (packing && isAdded(packing, placed)) continue;
      await flush();
      packing = await firstOfBatch(wire, placed);
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
