// Looks at an output queue from outside: peeks, receives nothing.
import { ServiceBusClient } from '@azure/service-bus';
import type { ServiceBusReceivedMessage, ServiceBusReceiver } from '@azure/service-bus';
import type { Delivery } from './count.ts';

const peekCount = 250;
/** A client whose connection broke under a request may wait a minute for its answer. */
const peekWithinMs = 5_000;

export class OutputQueue implements AsyncDisposable {
  readonly #open: () => ServiceBusClient;
  readonly #queue: string;
  #client: ServiceBusClient;
  #receiver: ServiceBusReceiver;
  #last: ServiceBusReceivedMessage['sequenceNumber'];

  constructor(serviceBus: string, queue: string) {
    this.#open = () => new ServiceBusClient(serviceBus);
    this.#queue = queue;
    this.#client = this.#open();
    this.#receiver = this.#client.createReceiver(queue);
  }

  /** Everything that came since the last call, in the order of the queue. */
  async collect(): Promise<Delivery[]> {
    const found: Delivery[] = [];
    for (;;) {
      const messages = await this.#peek();
      if (messages.length === 0) return found;
      this.#last = messages.at(-1)?.sequenceNumber;
      for (const message of messages) found.push(deliveryOf(message));
    }
  }

  async #peek(): Promise<ServiceBusReceivedMessage[]> {
    const from = this.#last ? { fromSequenceNumber: this.#last.add(1) } : {};
    const abortSignal = AbortSignal.timeout(peekWithinMs);
    try {
      return await this.#receiver.peekMessages(peekCount, { ...from, abortSignal });
    } catch (error) {
      void this.#client.close().catch(() => {});
      this.#client = this.#open();
      this.#receiver = this.#client.createReceiver(this.#queue);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.close();
  }
}

function deliveryOf(message: ServiceBusReceivedMessage): Delivery {
  const properties = message.applicationProperties ?? {};
  const { balance } = message.body as { balance?: number };
  return {
    key: String(properties['convoyKey']),
    id: String(properties['causationId']),
    outputId: String(message.messageId),
    atMs: message.enqueuedTimeUtc?.getTime() ?? 0,
    ...(message.subject === undefined ? {} : { subject: message.subject }),
    ...(balance === undefined ? {} : { balance }),
  };
}
