// [H11] The seam to the output queues: the outputs of one key, in order, one awaited batch at a
// time.
//
// A batch is atomic on an unpartitioned queue, so what the broker has accepted is a prefix. A
// repeat carries the same message ids; the output queues have duplicate detection on.
import type { ServiceBusClient, ServiceBusMessage, ServiceBusSender } from '@azure/service-bus';
import type { Output } from './convoy/state.ts';
import { outputMessageId } from './keys.ts';

export interface OutputPublisher {
  /** Rejects with the client's error when the broker has not accepted everything. */
  publish(convoy: string, key: string, outputs: readonly Output[]): Promise<void>;
  close(): Promise<void>;
}

export function createPublisher(open: () => Promise<ServiceBusClient>): OutputPublisher {
  let client: Promise<ServiceBusClient> | undefined;
  const senders = new Map<string, Promise<ServiceBusSender>>();
  const senderOf = (convoy: string): Promise<ServiceBusSender> => {
    client ??= open();
    const sender = senders.get(convoy) ?? client.then((c) => c.createSender(`${convoy}-out`));
    senders.set(convoy, sender);
    return sender;
  };
  return {
    async publish(convoy, key, outputs) {
      const sender = await senderOf(convoy);
      const messages = outputs.map((output) => toMessage(convoy, key, output));
      let batch = await sender.createMessageBatch();
      for (const message of messages) {
        if (batch.tryAddMessage(message)) continue;
        if (batch.count > 0) {
          await sender.sendMessages(batch);
          batch = await sender.createMessageBatch();
        }
        // Alone too large for a batch envelope: sent plain, the broker has the last word.
        if (!batch.tryAddMessage(message)) await sender.sendMessages(message);
      }
      if (batch.count > 0) await sender.sendMessages(batch);
    },
    async close() {
      await (await client)?.close();
    },
  };
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
