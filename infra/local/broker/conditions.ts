// Error conditions and their texts. The texts matter: the JavaScript client makes
// MessagingEntityNotFound out of the words "messaging entity … could not be found" [SB 3.9], and an
// error without description may not be seen as one at all [SB 14.1].

/** An AMQP error as it goes over the wire. */
export interface AmqpError {
  condition: string;
  description: string;
}

/** Thrown inside the broker where a request must be refused; becomes the AMQP error of the
 *  answer. */
export class Refusal extends Error {
  readonly condition: string;

  constructor(condition: string, description: string) {
    super(description);
    this.name = 'Refusal';
    this.condition = condition;
  }
}

/** The AMQP error of anything thrown; what is not a Refusal is an internal error. */
export function errorOf(thrown: unknown): AmqpError {
  const description = thrown instanceof Error ? thrown.message : String(thrown);
  const condition =
    thrown instanceof Error && 'condition' in thrown && typeof thrown.condition === 'string'
      ? thrown.condition
      : 'amqp:internal-error';
  return { condition, description };
}

export const refusals = {
  entityNotFound: (uri: string) =>
    new Refusal('amqp:not-found', `The messaging entity '${uri}' could not be found.`),
  entityExists: (path: string) =>
    new Refusal(
      'com.microsoft:entity-already-exists',
      `The messaging entity '${path}' already exists.`,
    ),
  entityDisabled: (path: string) =>
    new Refusal(
      'com.microsoft:entity-disabled',
      `The messaging entity '${path}' is currently disabled.`,
    ),
  quotaExceeded: (detail: string) => new Refusal('amqp:resource-limit-exceeded', detail),
  wrongDirection: (detail: string) => new Refusal('amqp:not-allowed', detail),
  sessionsRequired: () =>
    new Refusal(
      'amqp:not-allowed',
      'It is not possible for an entity that requires sessions to create a non-sessionful ' +
        'message receiver.',
    ),
  sessionsNotSupported: (path: string) =>
    new Refusal(
      'amqp:not-allowed',
      `It is not possible to create a session receiver on '${path}', which does not require ` +
        'sessions.',
    ),
  sessionIdMissing: () =>
    new Refusal(
      'amqp:not-allowed',
      'The SessionId was not set on a message, and it cannot be sent to the entity. Entities ' +
        'that have session support enabled can only receive messages that have the SessionId ' +
        'set to a valid value.',
    ),
  tooLong: (field: string) =>
    new Refusal('com.microsoft:argument-error', `The ${field} is longer than 128 characters.`),
  sessionCannotBeLocked: (sessionId: string) =>
    new Refusal(
      'com.microsoft:session-cannot-be-locked',
      `The requested session '${sessionId}' cannot be accepted. It may be locked by another ` +
        'receiver.',
    ),
  sessionLockLost: () =>
    new Refusal(
      'com.microsoft:session-lock-lost',
      'The session lock was lost. Request a new session receiver.',
    ),
  sessionLockExpired: () =>
    new Refusal(
      'com.microsoft:session-lock-lost',
      'The session lock has expired on the MessageSession. Accept a new MessageSession.',
    ),
  messageLockLost: () =>
    new Refusal(
      'com.microsoft:message-lock-lost',
      'The lock supplied is invalid. Either the lock expired, or the message has already been ' +
        'removed from the queue.',
    ),
  messageNotFound: () =>
    new Refusal(
      'com.microsoft:message-not-found',
      'Failed to lock one or more specified messages. The message does not exist.',
    ),
  nothingToDelete: () =>
    new Refusal('com.microsoft:message-not-found', 'There is no message to delete.'),
  acceptTimeout: () =>
    new Refusal(
      'com.microsoft:timeout',
      'The operation did not complete within the allotted timeout.',
    ),
  messageTooLarge: (size: number, limit: number) =>
    new Refusal(
      'amqp:link:message-size-exceeded',
      `The received message (${size} bytes) exceeds the limit (${limit} bytes) of the link.`,
    ),
  sessionStateTooLarge: (limit: number) =>
    new Refusal(
      'amqp:link:message-size-exceeded',
      `The session state exceeds the limit of ${limit} bytes.`,
    ),
  malformed: (detail: string) =>
    new Refusal('amqp:decode-error', `The message is not well-formed AMQP: ${detail}.`),
  unauthorized: (detail: string) =>
    new Refusal('amqp:unauthorized-access', `Unauthorized access. ${detail}`),
  notSupported: (what: string) =>
    new Refusal('amqp:not-implemented', `The local broker does not support ${what}.`),
  badRequest: (detail: string) => new Refusal('com.microsoft:argument-error', detail),
  serverBusy: () =>
    new Refusal(
      'com.microsoft:server-busy',
      'The request was terminated because the entity is being throttled. Error code : 50009. ' +
        'Please wait 2 seconds and try again.',
    ),
  unwritable: () =>
    new Refusal('amqp:internal-error', 'The local broker cannot write its data file now.'),
};
