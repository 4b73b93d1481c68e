// A pure entity with its dead-letter queue, its changes and wake-ups in lists.
import type { QueueProperties } from '../../infra/local/broker/config.ts';
import type { Change, EntityPort } from '../../infra/local/broker/entity-port.ts';
import { Entity } from '../../infra/local/broker/entity.ts';
import type { Entry, Holder, Lane } from '../../infra/local/broker/lane.ts';
import type { ParsedMessage } from '../../infra/local/broker/message.ts';

export const sessionQueue: QueueProperties = {
  requiresSession: true,
  lockDurationSeconds: 60,
  maxDeliveryCount: 3,
  deadLetterOnExpiration: false,
};

/** The dead-letter queue's numbers lie behind all others. */
const deadLetterId = 1_000_000;

export interface QueueUnderTest {
  entity: Entity;
  deadLetters: Entity;
  changes: Change[];
  lost: { lane: Lane; holder: Holder }[];
  /** What the store would know of the ready messages of a lane. */
  ready(lane: Lane): Entry[];
}

export function queueUnderTest(properties: Partial<QueueProperties> = {}): QueueUnderTest {
  const changes: Change[] = [];
  const lost: { lane: Lane; holder: Holder }[] = [];
  const stored = new Map<number, Entry>();
  const seen = new Map<string, number>();
  const keep = (change: Change): void => {
    if (change.kind === 'remove') stored.delete(change.id);
    if (change.kind === 'move') stored.delete(change.from);
    if (change.kind === 'seen') seen.set(change.messageId, change.expiresAt);
    if ('entry' in change) stored.set(change.id, change.entry);
  };
  const port: EntityPort = {
    record(change) {
      changes.push(change);
      keep(change);
    },
    // A copy, as a store would give it: nobody may rely on the identity of an entry.
    load: (id) => (stored.has(id) ? structuredClone(stored.get(id)) : undefined),
    hasFailed: () => false,
    seenUntil: (messageId) => seen.get(messageId),
    wake: () => {},
    due: () => {},
    sessionLost: (lane, holder) => void lost.push({ lane, holder }),
  };
  const deadLetters = new Entity({
    path: 'q/$DeadLetterQueue',
    firstId: deadLetterId,
    port,
    properties: { ...sessionQueue, requiresSession: false, maxDeliveryCount: Infinity },
  });
  const merged = { ...sessionQueue, ...properties };
  const entity = new Entity({ path: 'q', firstId: 0, port, properties: merged, deadLetters });
  const ready = (lane: Lane): Entry[] => {
    const firstId = lane === deadLetters.line ? deadLetterId : 0;
    return [...lane.ready].flatMap((sequence) => stored.get(firstId + sequence) ?? []);
  };
  return { entity, deadLetters, changes, lost, ready };
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
