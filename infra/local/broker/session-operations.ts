// The $management operations of sessions [SB 11]: lock, state, and which there are.
import { refusals } from './conditions.ts';
import { messageBytesMax } from './namespace.ts';
import { done, field, heldSession, nothing, numberField } from './operation.ts';
import type { Operation } from './operation.ts';
import * as wire from './wire.ts';

const sessionsMax = 1_000;

export const renewSessionLock: Operation = (request, context) => {
  const { entity, namespace } = context;
  const lane = heldSession(request, context);
  const until = entity.sessions.renew(lane, namespace.clock.now());
  return done(wire.encodeString('expiration'), wire.encodeTimestamp(until));
};

export const getSessionState: Operation = (request, context) => {
  const lane = heldSession(request, context);
  const state = context.namespace.store.readState(context.entity.path, lane.sessionId ?? '');
  return done(
    wire.encodeString('session-state'),
    state === null ? wire.encodeNull : wire.encodeBinary(state),
  );
};

export const setSessionState: Operation = (request, context) => {
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
export const getMessageSessions: Operation = (request, { entity, namespace }) => {
  if (!entity.properties.requiresSession) throw refusals.sessionsNotSupported(entity.path);
  const since = numberField(request, 'last-updated-time', Infinity);
  const skip = numberField(request, 'skip', 0);
  const top = Math.min(numberField(request, 'top', sessionsMax), sessionsMax);
  const all =
    since >= Date.UTC(9999, 0)
      ? [...entity.sessions.all()]
          .filter((lane) => lane.length > 0)
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
