// The $management operations [SB 11]: what each reads, does and answers.
import { refusals } from './conditions.ts';
import type { AmqpError } from './conditions.ts';
import type { Entity } from './entity.ts';
import type { Entry, Holder, Lane, Locked } from './lane.ts';
import { applyOutcome, encodeEntry, tokenOfUuid, tokenUuid } from './link.ts';
import type { Consumer, Outcome } from './link.ts';
import { deadLetterProperties, withoutBody } from './message.ts';
import type { Property } from './message.ts';
import { messageBytesMax } from './namespace.ts';
import type { Namespace } from './namespace.ts';
import { sessionIdOf } from './request.ts';
import type { Request } from './request.ts';
import * as wire from './wire.ts';
import type { Decoded } from './wire.ts';

/** Where an operation runs. */
export interface RequestContext {
  namespace: Namespace;
  entity: Entity;
  /** The receiving link the client named, if it is one of this connection. */
  associated: Consumer | undefined;
  /** Whether a session's holder is a link of this connection. */
  isOurs(holder: Holder | undefined): boolean;
}

/** What an operation answers. */
export interface Reply {
  status: number;
  /** Encoded key, value, key, value … */
  body: Buffer[];
  error?: AmqpError;
}

type Operation = (request: Request, context: RequestContext) => Reply;

/** A peek answers with no more than this, so that one request cannot ask for the whole queue. */
const peekBytesMax = 1_000_000;
const peekCountMax = 1_000;
const sessionsMax = 1_000;

const done = (...body: Buffer[]): Reply => ({ status: 200, body });
const nothing: Reply = { status: 204, body: [] };

function field(request: Request, name: string): Decoded {
  const at = request.body.get(name);
  return at === undefined ? undefined : wire.decode(request.bytes, at);
}

function numberField(request: Request, name: string, fallback: number): number {
  const value = field(request, name);
  return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : fallback;
}

function textField(request: Request, name: string): string | undefined {
  const value = field(request, name);
  return typeof value === 'string' ? value : undefined;
}

function listField(request: Request, name: string): Decoded[] {
  const value = field(request, name);
  if (!Array.isArray(value)) throw refusals.badRequest(`'${name}' is missing.`);
  return value;
}

/** The session of the request, if the associated link holds it [R2]. */
function heldSession(request: Request, { associated, entity }: RequestContext): Lane {
  const sessionId = sessionIdOf(request);
  if (sessionId === null) throw refusals.badRequest("'session-id' is missing.");
  const lane = entity.sessions.find(sessionId);
  if (!lane || !associated?.holdsSession(sessionId)) throw refusals.sessionLockLost();
  return lane;
}

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

const renewSessionLock: Operation = (request, context) => {
  const { entity, namespace } = context;
  const lane = heldSession(request, context);
  const until = entity.sessions.renew(lane, namespace.clock.now());
  return done(wire.encodeString('expiration'), wire.encodeTimestamp(until));
};

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

const getSessionState: Operation = (request, context) => {
  const lane = heldSession(request, context);
  const state = context.namespace.store.readState(context.entity.path, lane.sessionId ?? '');
  return done(
    wire.encodeString('session-state'),
    state === null ? wire.encodeNull : wire.encodeBinary(state),
  );
};

const setSessionState: Operation = (request, context) => {
  const lane = heldSession(request, context);
  const state = field(request, 'session-state') ?? null;
  if (state !== null && !Buffer.isBuffer(state)) {
    throw refusals.badRequest("'session-state' is not binary.");
  }
  if (state !== null && state.length > messageBytesMax) {
    throw refusals.sessionStateTooLarge(messageBytesMax);
  }
  context.namespace.store.record({
    kind: 'state',
    queue: context.entity.path,
    sessionId: lane.sessionId ?? '',
    // A copy: the field is a slice of the request.
    state: state === null ? null : Buffer.from(state),
    updatedAt: context.namespace.clock.now(),
  });
  return done();
};

/** Sessions with messages; with a last-updated-time before the year 9999, those whose state was set
 *  since then, which is how the .NET client words the two questions. */
const getMessageSessions: Operation = (request, { entity, namespace }) => {
  if (!entity.properties.requiresSession) throw refusals.sessionsNotSupported(entity.path);
  const since = numberField(request, 'last-updated-time', Infinity);
  const skip = numberField(request, 'skip', 0);
  const top = Math.min(numberField(request, 'top', sessionsMax), sessionsMax);
  const all =
    since >= Date.UTC(9999, 0)
      ? [...entity.sessions.all()]
          .filter((lane) => lane.ready.length + lane.deferred.size + lane.locked.size > 0)
          .map((lane) => lane.sessionId ?? '')
      : namespace.store.statesSince(entity.path, since);
  const page = all.slice(skip, skip + top);
  if (page.length === 0) return nothing;
  return done(
    wire.encodeString('skip'),
    wire.encodeInt(skip + page.length),
    wire.encodeString('sessions-ids'),
    encodeTexts(page),
  );
};

/** An array needs one constructor for all: the four-byte string form. */
function encodeTexts(texts: readonly string[]): Buffer {
  const items = texts.map((text) => {
    const content = Buffer.from(text, 'utf8');
    const head = Buffer.alloc(5, 0xb1);
    head.writeUInt32BE(content.length, 1);
    return Buffer.concat([head, content]);
  });
  return wire.encodeArray(items, 0xb1);
}

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
  const lane = entity.sessions.find(sessionId);
  const entries: Entry[] = lane
    ? [...lane.ready, ...lane.deferred.values(), ...[...lane.locked.values()].map((l) => l.entry)]
    : [];
  entries.push(...entity.schedule.ofSession(sessionId));
  const wanted = entries
    .filter((entry) => entry.sequence >= from)
    .sort((a, b) => a.sequence - b.sequence)
    .slice(0, count);
  for (const entry of wanted) {
    const content = namespace.store.read(entry.id);
    if (content) yield { entry, content };
  }
}

/** [SB 12.6] All or nothing. */
const receiveBySequenceNumber: Operation = (request, context) => {
  const { entity, namespace } = context;
  const lane = laneOf(request, context);
  const entries = listField(request, 'sequence-numbers').map((sequence) => {
    const entry = lane.deferred.get(Number(sequence));
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
    const facts = { lockedUntil: entity.lockedUntil(locked) };
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
const scheduleMessage: Operation = (request, { entity, namespace }) => {
  const at = request.body.get('messages');
  if (at === undefined) throw refusals.badRequest("'messages' is missing.");
  const encoded = wire.itemsOf(request.bytes, at).map((item) => {
    const message = wire.mapOffsets(request.bytes, item).get('message');
    const bytes = message === undefined ? undefined : wire.decode(request.bytes, message);
    if (!Buffer.isBuffer(bytes)) throw refusals.badRequest("'message' is not binary.");
    if (bytes.length > messageBytesMax) {
      throw refusals.messageTooLarge(bytes.length, messageBytesMax);
    }
    return Buffer.from(bytes);
  });
  const { entries, sequences } = entity.prepare(namespace.parse(encoded), namespace.clock.now());
  for (const entry of entries) namespace.usage.countMessage(entity.path, entry.size);
  // Published by the commit that also releases the reply, which is recorded behind this one.
  namespace.commit((error) => {
    if (!error) entity.publish(entries, namespace.clock.now());
  });
  const numbers = sequences.map((sequence) => wire.encodeLong(sequence));
  return done(wire.encodeString('sequence-numbers'), wire.encodeArray(numbers, 0x81));
};

const cancelScheduledMessage: Operation = (request, { entity }) => {
  entity.cancelScheduled(listField(request, 'sequence-numbers').map(Number));
  return done();
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
]);
