// PURE. A message that comes in: what a queue demands of it, and what it first knows of it.
import { refusals } from './conditions.ts';
import type { QueueProperties } from './config.ts';
import type { Entry } from './lane.ts';
import type { ParsedMessage } from './message.ts';

/** Throws a Refusal when the queue cannot take the message. */
export function checkMessage(message: ParsedMessage, properties: QueueProperties): void {
  if (properties.requiresSession && message.sessionId === null) throw refusals.sessionIdMissing();
  if ((message.sessionId?.length ?? 0) > 128) throw refusals.tooLong('session id');
  if (message.messageId.length > 128) throw refusals.tooLong('message id');
}

interface Incoming {
  id: number;
  sequence: number;
  now: number;
  properties: QueueProperties;
}

/** The effective time-to-live is the shorter of the message's and the queue's [SB 12.3]. */
export function newEntry(message: ParsedMessage, incoming: Incoming): Entry {
  const { id, sequence, now, properties } = incoming;
  const { defaultTimeToLiveSeconds = Infinity } = properties;
  const ttlMs = Math.min(message.ttlMs ?? Infinity, defaultTimeToLiveSeconds * 1000);
  const isScheduled = message.scheduledAt !== null && message.scheduledAt > now;
  return {
    id,
    sequence,
    enqueuedSequence: message.enqueuedSequence ?? sequence,
    sessionId: message.sessionId,
    messageId: message.messageId,
    enqueuedAt: now,
    expiresAt: now + ttlMs,
    ttlMs: Number.isFinite(ttlMs) ? ttlMs : null,
    deliveryCount: 0,
    scheduledAt: isScheduled ? message.scheduledAt : null,
    deferred: false,
    source: message.source ?? null,
    size: message.bare.length + message.annotations.length,
  };
}
