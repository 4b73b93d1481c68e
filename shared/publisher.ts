// [H11] The seam to the output queues: the outputs of one key, in order, one awaited batch at a
// time.
//
// A batch is atomic on an unpartitioned queue, so what the broker has accepted is a prefix. A
// repeat carries the same message ids; the output queues have duplicate detection on.
//
// Every send ends within a limit of its own. The client does not notice that its connection was
// lost under a send in flight and waits a minute for the answer; as many drains as may run at once
// would wait with it, and no key could go on. Trying again is the drain's (H7).
//
// A sender whose link has failed is not used again. The client closes whatever link a sender has
// when it hears of the end of the one before; with many waiting to send, each new link was closed
// by the news of the last, and a queue stood still after its links had been detached.
import type {
  ServiceBusClient,
  ServiceBusMessage,
  ServiceBusMessageBatch,
  ServiceBusSender,
} from '@azure/service-bus';
import { type Clock, realClock } from './clock.ts';
import type { Output } from './convoy/state.ts';
import type { Fence } from './engine/ports.ts';
import type { RollUpPart, RollUpPublisher } from './engine/roll-up-publish.ts';
import { brokerMessageId, outputMessageId } from './keys.ts';
import { brokerBusy } from './service-bus.ts';
import type { Refused } from './throttling.ts';

export interface OutputPublisher extends RollUpPublisher {
  /** Sends the marker that a new generation of lanes waits for. */
  sendFence(fence: Fence): Promise<void>;
  /** Rejects when the broker has not accepted everything: with BrokerBusy when it throttles, else
   *  with the client's error. */
  publish(convoy: string, key: string, outputs: readonly Output[]): Promise<void>;
  close(): Promise<void>;
}

const sendMsFirst = 5_000;
const sendMsMax = 60_000;

/** The broker did not answer in time; whether it has accepted the send is not known. */
export class SendTooLong extends Error {}

export interface PublisherOptions {
  clock?: Clock;
  /** Called for every send that the broker refused for its rate or the size of the queue. */
  onThrottled?: (refused: Refused) => void;
}

export function createPublisher(
  open: () => Promise<ServiceBusClient>,
  { clock = realClock, onThrottled = () => undefined }: PublisherOptions = {},
): OutputPublisher {
  const limit = new SendLimit(clock);
  const senders = new Senders(open);
  const within = async <Result>(call: Call<Result>): Promise<Result> => {
    try {
      return await limit.of(call);
    } catch (error) {
      const busy = brokerBusy(error);
      if (busy === undefined) throw error;
      onThrottled(busy);
      throw busy;
    }
  };
  const sendBy = async (
    sender: ServiceBusSender,
    what: ServiceBusMessageBatch | ServiceBusMessage,
  ): Promise<void> => {
    await within((abortSignal) => sender.sendMessages(what, { abortSignal }));
    limit.reset();
  };
  const sendInOrder = async (
    sender: ServiceBusSender,
    messages: readonly ServiceBusMessage[],
  ): Promise<void> => {
    const newBatch = () => within((abortSignal) => sender.createMessageBatch({ abortSignal }));
    const send = (what: ServiceBusMessageBatch | ServiceBusMessage) => sendBy(sender, what);
    let batch = await newBatch();
    for (const message of messages) {
      if (batch.tryAddMessage(message)) continue;
      if (batch.count > 0) {
        await send(batch);
        batch = await newBatch();
      }
      // Alone too large for a batch envelope: sent plain, the broker has the last word.
      if (!batch.tryAddMessage(message)) await send(message);
    }
    if (batch.count > 0) await send(batch);
  };
  return {
    sendFence: (fence) =>
      senders.use(fence.queue, (sender) => sendBy(sender, toFenceMessage(fence))),
    publishPart: (convoy, part) =>
      senders.use(outputQueueOf(convoy), (sender) => sendBy(sender, toPartMessage(convoy, part))),
    publish: (convoy, key, outputs) =>
      senders.use(outputQueueOf(convoy), (sender) => {
        const messages = outputs.map((output) => toMessage(convoy, key, output));
        return sendInOrder(sender, messages);
      }),
    close: () => senders.close(),
  };
}

/** One sender for each queue, until its link fails. */
class Senders {
  readonly #open: () => Promise<ServiceBusClient>;
  #client: Promise<ServiceBusClient> | undefined;
  readonly #senders = new Map<string, Promise<ServiceBusSender>>();

  constructor(open: () => Promise<ServiceBusClient>) {
    this.#open = open;
  }

  async use(queue: string, send: (sender: ServiceBusSender) => Promise<void>): Promise<void> {
    const sender = await this.#senderTo(queue);
    try {
      await send(sender);
    } catch (error) {
      if (isLinkFault(error)) void this.#discard(queue, sender).catch(() => {});
      throw error;
    }
  }

  async close(): Promise<void> {
    await (await this.#client)?.close();
  }

  #senderTo(queue: string): Promise<ServiceBusSender> {
    this.#client ??= this.#open();
    const sender = this.#senders.get(queue) ?? this.#client.then((c) => c.createSender(queue));
    this.#senders.set(queue, sender);
    return sender;
  }

  /** Of many that fail together the first one does it. */
  async #discard(queue: string, failed: ServiceBusSender): Promise<void> {
    const known = this.#senders.get(queue);
    if ((await known) !== failed || this.#senders.get(queue) !== known) return;
    this.#senders.delete(queue);
    await failed.close();
  }
}

const outputQueueOf = (convoy: string): string => `${convoy}-out`;

/** The link is at fault, not what was sent, and not the broker's load. */
function isLinkFault(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'GeneralError';
}

type Call<Result> = (abortSignal: AbortSignal) => Promise<Result>;

/** Gives up a call that takes too long; the next one may take twice as long, until a send succeeds:
 *  a broker that is slow, not gone, is not sent ever more of the same. */
class SendLimit {
  readonly #clock: Clock;
  #limitMs = sendMsFirst;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  reset(): void {
    this.#limitMs = sendMsFirst;
  }

  async of<Result>(call: Call<Result>): Promise<Result> {
    const limitMs = this.#limitMs;
    const controller = new AbortController();
    const timer = this.#clock.after(limitMs, () => controller.abort());
    try {
      return await call(controller.signal);
    } catch (error) {
      if (!controller.signal.aborted) throw error;
      // Many may end together: they double it once.
      this.#limitMs = Math.max(this.#limitMs, Math.min(limitMs * 2, sendMsMax));
      throw new SendTooLong(`no answer within ${limitMs} ms`, { cause: error });
    } finally {
      timer.cancel();
    }
  }
}

/** CONTRACT §3. */
function toMessage(convoy: string, key: string, output: Output): ServiceBusMessage {
  const { position, epoch, causationId, traceparent } = output;
  return {
    messageId: outputMessageId(convoy, key, output),
    sessionId: key,
    subject: output.type,
    contentType: 'application/json',
    body: Buffer.from(output.bodyText, 'utf8'),
    applicationProperties: {
      convoy,
      convoyKey: key,
      position,
      epoch,
      causationId,
      ...(traceparent !== undefined && { traceparent }),
    },
  };
}

/** No message of the key: intake only notes that it has come through (engine/lane-fence.ts). */
function toFenceMessage({ session, generation }: Fence): ServiceBusMessage {
  const id = `fence:${generation}`;
  return {
    messageId: brokerMessageId(session, id),
    sessionId: session,
    subject: 'convoy.fence',
    contentType: 'application/json',
    body: Buffer.from('{}', 'utf8'),
    applicationProperties: {
      convoyKey: session,
      convoyMessageId: id,
      convoyType: 'convoy.fence',
      convoyFence: generation,
    },
  };
}

/** [H13] CONTRACT §3. */
function toPartMessage(convoy: string, roll: RollUpPart): ServiceBusMessage {
  const { messageId, window, revision, part, parts, bodyText } = roll;
  return {
    messageId,
    sessionId: `${convoy}:${window}`,
    subject: 'window.rolledUp',
    contentType: 'application/json',
    body: Buffer.from(bodyText, 'utf8'),
    applicationProperties: { convoy, window, revision, part, parts },
  };
}
