// A pure entity with its dead-letter queue, its changes and wake-ups in lists.
import type { QueueProperties } from '../../infra/local/broker/config.ts';
import type { Change, EntityPort } from '../../infra/local/broker/entity-port.ts';
import { Entity } from '../../infra/local/broker/entity.ts';
import type { Holder, Lane } from '../../infra/local/broker/lane.ts';
import type { ParsedMessage } from '../../infra/local/broker/message.ts';

export const sessionQueue: QueueProperties = {
  requiresSession: true,
  lockDurationSeconds: 60,
  maxDeliveryCount: 3,
  deadLetterOnExpiration: false,
};

export interface QueueUnderTest {
  entity: Entity;
  deadLetters: Entity;
  changes: Change[];
  lost: { lane: Lane; holder: Holder }[];
}

export function queueUnderTest(properties: Partial<QueueProperties> = {}): QueueUnderTest {
  const changes: Change[] = [];
  const lost: { lane: Lane; holder: Holder }[] = [];
  let id = 0;
  const port: EntityPort = {
    record: (change) => void changes.push(change),
    wake: () => {},
    due: () => {},
    sessionLost: (lane, holder) => void lost.push({ lane, holder }),
    nextId: () => ++id,
  };
  const deadLetters = new Entity({
    path: 'q/$DeadLetterQueue',
    port,
    properties: { ...sessionQueue, requiresSession: false, maxDeliveryCount: Infinity },
  });
  const merged = { ...sessionQueue, ...properties };
  const entity = new Entity({ path: 'q', port, properties: merged, deadLetters });
  return { entity, deadLetters, changes, lost };
}

export function parsed(fields: Partial<ParsedMessage> = {}): ParsedMessage {
  const empty = Buffer.alloc(0);
  const base = { sessionId: 'A', messageId: 'm', ttlMs: null, scheduledAt: null };
  return { ...base, annotations: empty, bare: empty, ...fields };
}

/** Sends, as the namespace does: prepared, committed, published. */
export function send(entity: Entity, messages: ParsedMessage[], now = 0): void {
  entity.publish(entity.prepare(messages, now).entries, now);
}
