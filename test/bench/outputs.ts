// Looks at an output queue from outside: peeks, receives nothing.
import { ServiceBusClient } from '@azure/service-bus';
import type { ServiceBusReceivedMessage, ServiceBusReceiver } from '@azure/service-bus';
import type { Delivery } from './count.ts';

const peekCount = 250;

export class OutputQueue implements AsyncDisposable {
  readonly #client: ServiceBusClient;
  readonly #receiver: ServiceBusReceiver;
  #last: ServiceBusReceivedMessage['sequenceNumber'];

  constructor(serviceBus: string, queue: string) {
    this.#client = new ServiceBusClient(serviceBus);
    this.#receiver = this.#client.createReceiver(queue);
  }

  /** Everything that came since the last call, in the order of the queue. */
  async collect(): Promise<Delivery[]> {
    const found: Delivery[] = [];
    for (;;) {
      const from = this.#last ? { fromSequenceNumber: this.#last.add(1) } : {};
      const messages = await this.#receiver.peekMessages(peekCount, from);
      if (messages.length === 0) return found;
      this.#last = messages.at(-1)?.sequenceNumber;
      for (const message of messages) found.push(deliveryOf(message));
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
    ...(balance === undefined ? {} : { balance }),
  };
}
