// The $management operations [SB 11]: what each reads, does and answers.
import { errorOf, refusals } from './conditions.ts';
import type { Lane, Locked } from './lane.ts';
import { applyOutcome, encodeEntry, tokenOfUuid, tokenUuid } from './link.ts';
import type { Outcome } from './link.ts';
import { deadLetterProperties, withoutBody } from './message.ts';
import type { Property } from './message.ts';
import { messageBytesMax } from './namespace.ts';
import { done, field, heldSession, listField, nothing } from './operation.ts';
import { numberField, textField } from './operation.ts';
import type { Operation, RequestContext } from './operation.ts';
import { sessionIdOf } from './request.ts';
import type { Request } from './request.ts';
import { addRule, enumerateRules, removeRule } from './rule-operations.ts';
import { getMessageSessions, getSessionState } from './session-operations.ts';
import { renewSessionLock, setSessionState } from './session-operations.ts';
import * as wire from './wire.ts';

/** A peek answers with no more than this, so that one request cannot ask for the whole queue. */
const peekBytesMax = 1_000_000;
const peekCountMax = 1_000;
/** [SB 18.3] The Premium tier's: purgeMessages of the JavaScript client asks in steps of as many,
 *  and takes a shorter answer for the end. */
const batchDeleteMax = 4_000;

/** The lane a message operation works on: the held session, or the whole queue. */
function laneOf(request: Request, context: RequestContext): Lane {
  const { entity } = context;
  return entity.properties.requiresSession ? heldSession(request, context) : entity.line;
}

/** The locks of a request, all of them or a refusal. The JavaScript client names no link when it
 *  settles: the token proves the lock, and the session must still be held on this connection. */
function locksOf(request: Request, { entity, isOurs }: RequestContext): Locked[] {
  return listField(request, 'lock-tokens').map((uuid) => {
    const locked = entity.lockOf(tokenOfUuid(uuid));
    if (entity.properties.requiresSession && !isOurs(locked.lane.holder)) throw entity.lockLost();
    return locked;
  });
}

const renewLock: Operation = (request, context) => {
  const { entity, namespace } = context;
  if (entity.properties.requiresSession) {
    throw refusals.badRequest('Messages of a session share its lock; renew the session lock.');
  }
  const now = namespace.clock.now();
  const expirations = locksOf(request, context).map((locked) =>
    wire.encodeTimestamp(entity.renewMessage(locked, now)),
  );
  return done(wire.encodeString('expirations'), wire.encodeArray(expirations, 0x83));
};

const encodePeeked = (bytes: Buffer): Buffer =>
  wire.encodeMap([wire.encodeString('message'), wire.encodeBinary(bytes)]);

/** [SB 12.8] In order of sequence, whatever their state; needs no lock, on session queues too. */
const peekMessage: Operation = (request, context) => {
  const { entity, namespace } = context;
  const from = numberField(request, 'from-sequence-number', 1);
  const count = Math.min(numberField(request, 'message-count', 1), peekCountMax);
  const sessionId = sessionIdOf(request);
  const omits = field(request, 'omit-message-body') === true;
  const found =
    sessionId !== null && entity.properties.requiresSession
      ? peekSession(context, sessionId, [from, count])
      : namespace.store.peek(entity.path, from, count);
  const messages: Buffer[] = [];
  let bytes = 0;
  for (const { entry, content } of found) {
    if (messages.length > 0 && bytes + entry.size > peekBytesMax) break;
    bytes += entry.size;
    messages.push(encodePeeked(encodeEntry(entry, omits ? withoutBody(content) : content)));
  }
  if (messages.length === 0) return nothing;
  return done(wire.encodeString('messages'), wire.encodeList(messages));
};

function* peekSession(context: RequestContext, sessionId: string, [from, count]: [number, number]) {
  const { entity, namespace } = context;
  const sequences = entity.sessions.find(sessionId)?.sequences(from, count) ?? [];
  for (const sequence of sequences) {
    const [found] = namespace.store.peek(entity.path, sequence, 1);
    if (found?.entry.sequence === sequence) yield found;
  }
}

/** [SB 12.6] All or nothing. */
const receiveBySequenceNumber: Operation = (request, context) => {
  const { entity, namespace } = context;
  const lane = laneOf(request, context);
  const entries = listField(request, 'sequence-numbers').map((sequence) => {
    const entry = entity.deferredEntry(lane, Number(sequence));
    if (!entry) throw refusals.messageNotFound();
    return entry;
  });
  const deletes = numberField(request, 'receiver-settle-mode', 1) === 0;
  const now = namespace.clock.now();
  const messages = [...new Set(entries)].map((entry) => {
    const content = namespace.store.read(entry.id);
    if (!content) throw refusals.messageNotFound();
    namespace.usage.countMessage(entity.path, entry.size);
    if (deletes) {
      entity.take(lane, entry);
      return encodeHandedOut(encodeEntry(entry, content), 0);
    }
    const locked = entity.lock(lane, entry, now);
    const lockToken = tokenUuid(locked.token);
    const facts = { lockedUntil: entity.lockedUntil(locked), lockToken };
    return encodeHandedOut(encodeEntry(entry, content, facts), locked.token);
  });
  return done(wire.encodeString('messages'), wire.encodeList(messages));
};

function encodeHandedOut(bytes: Buffer, token: number): Buffer {
  return wire.encodeMap([
    wire.encodeString('lock-token'),
    wire.encodeUuid(tokenUuid(token)),
    wire.encodeString('message'),
    wire.encodeBinary(bytes),
  ]);
}

const updateDisposition: Operation = (request, context) => {
  const { entity, namespace } = context;
  const outcome = outcomeOf(request);
  const locks = locksOf(request, context);
  const now = namespace.clock.now();
  for (const locked of locks) applyOutcome(locked, outcome, { entity, now });
  return done();
};

function outcomeOf(request: Request): Outcome {
  const properties = propertiesField(request);
  const status = textField(request, 'disposition-status');
  if (status === 'completed') return { kind: 'complete' };
  if (status === 'abandoned') return { kind: 'abandon', properties };
  if (status === 'defered' || status === 'deferred') return { kind: 'defer', properties };
  if (status !== 'suspended') {
    throw refusals.badRequest(`The disposition status '${String(status)}' is unknown.`);
  }
  const added = deadLetterProperties(
    textField(request, 'deadletter-reason'),
    textField(request, 'deadletter-description'),
  );
  return { kind: 'deadLetter', properties: [...properties, ...added] };
}

/** Values are cut out of the request as they are, so their types survive [SB 7.7]. */
function propertiesField(request: Request): Property[] {
  const at = request.body.get('properties-to-modify');
  if (at === undefined || request.bytes[at] === 0x40) return [];
  return [...wire.mapOffsets(request.bytes, at)].map(([name, value]) => ({
    name,
    value: Buffer.from(request.bytes.subarray(value, wire.skip(request.bytes, value))),
  }));
}

/** [SB 11, 12.1] The instant stands in each message's annotations. */
const scheduleMessage: Operation = (request, { place, namespace }) => {
  const at = request.body.get('messages');
  if (at === undefined) throw refusals.badRequest("'messages' is missing.");
  const messages = wire.itemsOf(request.bytes, at).flatMap((item) => {
    const message = wire.mapOffsets(request.bytes, item).get('message');
    const bytes = message === undefined ? undefined : wire.decode(request.bytes, message);
    if (!Buffer.isBuffer(bytes)) throw refusals.badRequest("'message' is not binary.");
    if (bytes.length > messageBytesMax) {
      throw refusals.messageTooLarge(bytes.length, messageBytesMax);
    }
    return namespace.parse(Buffer.from(bytes));
  });
  namespace.checkUse(place, 'send');
  const { sequences, publish } = namespace.prepare(place, messages);
  // Published by the commit that also releases the reply, which is recorded behind this one.
  namespace.commit(() => publish(namespace.clock.now()));
  const numbers = sequences.map((sequence) => wire.encodeLong(sequence));
  return done(wire.encodeString('sequence-numbers'), wire.encodeArray(numbers, 0x81));
};

const cancelScheduledMessage: Operation = (request, { entity }) => {
  entity.cancelScheduled(listField(request, 'sequence-numbers').map(Number));
  return done();
};

/** The first messages of a queue or session that nobody holds; what is locked, deferred or
 *  scheduled stays [SB 11]. */
const batchDeleteMessages: Operation = (request, { entity, namespace }) => {
  const count = Math.min(numberField(request, 'message-count', 0), batchDeleteMax);
  const now = namespace.clock.now();
  const before = Math.min(numberField(request, 'enqueued-time-utc', now), now);
  const sessionId = sessionIdOf(request);
  const { requiresSession } = entity.properties;
  const lanes = !requiresSession
    ? [entity.line]
    : [...entity.sessions.all()].filter((l) => sessionId === null || l.sessionId === sessionId);
  let deleted = 0;
  for (const lane of lanes) {
    for (let entry = entity.head(lane, now); entry; entry = entity.head(lane, now)) {
      if (deleted >= count || entry.enqueuedAt > before) break;
      entity.take(lane, entry);
      deleted++;
    }
  }
  if (deleted === 0) return { ...nothing, error: errorOf(refusals.nothingToDelete()) };
  return done(wire.encodeString('message-count'), wire.encodeInt(deleted));
};

/** The table. What is missing here is refused by name. */
export const operations: ReadonlyMap<string, Operation> = new Map([
  ['com.microsoft:renew-lock', renewLock],
  ['com.microsoft:renew-session-lock', renewSessionLock],
  ['com.microsoft:get-session-state', getSessionState],
  ['com.microsoft:set-session-state', setSessionState],
  ['com.microsoft:get-message-sessions', getMessageSessions],
  ['com.microsoft:peek-message', peekMessage],
  ['com.microsoft:receive-by-sequence-number', receiveBySequenceNumber],
  ['com.microsoft:update-disposition', updateDisposition],
  ['com.microsoft:schedule-message', scheduleMessage],
  ['com.microsoft:cancel-scheduled-message', cancelScheduledMessage],
  ['com.microsoft:batch-delete-messages', batchDeleteMessages],
  ['com.microsoft:add-rule', addRule],
  ['com.microsoft:remove-rule', removeRule],
  ['com.microsoft:enumerate-rules', enumerateRules],
]);
