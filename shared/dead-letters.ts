// [H10] The seam to the dead-letter queues: what the broker gave up on, one message at a time.
//
// Why a receiver of our own and no Service Bus trigger: the trigger's binary binding cannot read a
// body that is an AMQP value (what JMS calls a TextMessage). Such a message is dead-lettered
// because of that, and a trigger on the dead-letter queue fails at it in the same way, at once and
// for ever. The client reads every body, and its caller decides how often it looks.
//
// D1. A message leaves the queue only after it was recorded. One that cannot be recorded stays
//     locked until its lock runs out: the others pass it, and it is tried about once a minute.
//     After `failuresMax` of them the look ends: the store is away.
// D2. It is handed over in the shape the host gives to triggers, so that intake and this seam make
//     the same message, and the same id, of it.
import type {
  ServiceBusClient,
  ServiceBusReceivedMessage,
  ServiceBusReceiver,
} from '@azure/service-bus';
import type { Clock } from './clock.ts';
import { reasonOf } from './convoy/json.ts';
import { type Received, hostParsed, lowerFirst } from './envelope.ts';

export interface DeadLetter {
  received: Received;
  /** Why the broker, or whoever received it, gave up. */
  reason: string;
}

export interface DeadLetters {
  /** Hands over what lies in the dead-letter queue until it is empty or `untilAt` has passed;
   *  resolves with how many were recorded. Rejects with the client's error, or with the first that
   *  `record` threw. */
  take(
    queue: string,
    record: (letter: DeadLetter) => Promise<void>,
    untilAt: number,
  ): Promise<number>;
  close(): Promise<void>;
}

const batchMax = 32;
const failuresMax = 10;
/** How long an empty queue is listened to. */
const listenMs = 1_000;

export function createDeadLetters(
  open: () => Promise<ServiceBusClient>,
  clock: Clock,
): DeadLetters {
  let client: Promise<ServiceBusClient> | undefined;
  const receivers = new Map<string, ServiceBusReceiver>();
  const receiverOf = async (queue: string): Promise<ServiceBusReceiver> => {
    client ??= open().catch((error: unknown) => {
      client = undefined; // the next look tries again
      throw error;
    });
    const receiver =
      receivers.get(queue) ??
      (await client).createReceiver(queue, {
        subQueueType: 'deadLetter',
        skipParsingBodyAsJson: true,
      });
    receivers.set(queue, receiver);
    return receiver;
  };
  const look = async (
    queue: string,
    record: (letter: DeadLetter) => Promise<void>,
    untilAt: number,
  ): Promise<number> => {
    const receiver = await receiverOf(queue);
    try {
      return await takeAll(receiver, { clock, record, untilAt });
    } catch (error) {
      // Its link may be broken; the next look opens another.
      receivers.delete(queue);
      await receiver.close().catch(() => undefined);
      throw error;
    }
  };
  // One look at a queue at a time: a receiver does not receive twice at once.
  const looks = new Map<string, Promise<number>>();
  return {
    take(queue, record, untilAt) {
      const going = looks.get(queue);
      if (going) return going;
      const begun = look(queue, record, untilAt).finally(() => looks.delete(queue));
      looks.set(queue, begun);
      return begun;
    },
    async close() {
      await (await client?.catch(() => undefined))?.close();
    },
  };
}

async function takeAll(
  receiver: ServiceBusReceiver,
  look: { clock: Clock; record: (letter: DeadLetter) => Promise<void>; untilAt: number },
): Promise<number> {
  let taken = 0;
  const failures: unknown[] = [];
  while (look.clock.now() < look.untilAt && failures.length < failuresMax) {
    const messages = await receiver.receiveMessages(batchMax, { maxWaitTimeInMs: listenMs });
    if (messages.length === 0) break;
    for (const message of messages) {
      if (failures.length >= failuresMax) {
        await receiver.abandonMessage(message).catch(() => undefined);
        continue;
      }
      try {
        await look.record(deadLetterOf(message));
      } catch (error) {
        failures.push(error); // D1
        continue;
      }
      // One settlement after the other: two in one tick may be merged into one outcome [SB 8.5].
      await receiver.completeMessage(message);
      taken += 1;
    }
  }
  if (failures.length > 0) throw failures[0];
  return taken;
}

/** [D2] Strings parsed as JSON, nested names with a small first letter. */
export function deadLetterOf(message: ServiceBusReceivedMessage): DeadLetter {
  const { messageId, sessionId, subject, enqueuedTimeUtc } = message;
  // A new number is given in the dead-letter queue; the old one orders a replay [SB 10.5].
  const sequence = message.enqueuedSequenceNumber || Number(message.sequenceNumber ?? 0);
  // The client decodes into plain objects, so a property called __proto__ comes as a prototype.
  const properties: unknown = JSON.parse(JSON.stringify({ ...message.applicationProperties }));
  const metadata: Record<string, unknown> = {
    ...(messageId !== undefined && { messageId: shaped(messageId) }),
    ...(sessionId !== undefined && { sessionId: shaped(sessionId) }),
    ...(subject !== undefined && { subject: shaped(subject) }),
    ...(enqueuedTimeUtc !== undefined && { enqueuedTime: enqueuedTimeUtc.toISOString() }),
    sequenceNumber: sequence,
    applicationProperties: lowerFirst(properties),
  };
  const { deadLetterReason, deadLetterErrorDescription } = message;
  const reason = [deadLetterReason, deadLetterErrorDescription].filter(Boolean).join(': ');
  return { received: { body: bodyOf(message), metadata }, reason };
}

const shaped = (value: unknown): unknown => (typeof value === 'string' ? hostParsed(value) : value);

/** Bytes of a data section as they are; the text of a text value; any other value as JSON. */
function bodyOf(message: ServiceBusReceivedMessage): Buffer {
  const body: unknown = message.body;
  if (Buffer.isBuffer(body)) return body;
  if (body instanceof Uint8Array) return Buffer.from(body);
  if (body === undefined || body === null) return Buffer.alloc(0);
  if (typeof body === 'string') return Buffer.from(body, 'utf8');
  try {
    return Buffer.from(JSON.stringify(body) ?? '', 'utf8');
  } catch {
    return Buffer.from(reasonOf(body), 'utf8'); // not JSON, and recorded as that
  }
}
