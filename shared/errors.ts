// The registry of every error a person can meet: code, what it means, what to do, and the
// settlement of the Service Bus message it implies. README's error table is held equal by a test.

/** `complete`: the message leaves the queue, recorded elsewhere; `none`: no message is touched;
 *  `hold`: the message is admitted and its key waits; `redeliver`: the broker delivers it again. */
export type Settlement = 'complete' | 'none' | 'hold' | 'redeliver';

interface Entry {
  meaning: string;
  remedy: string;
  settlement: Settlement;
}

export const errorRegistry = {
  CVY_KEY_MISSING: {
    meaning: 'a message has no usable key (session id and convoyKey both absent or empty)',
    remedy: 'send with a key of 1-128 characters; our sender sets sessionId and convoyKey',
    settlement: 'complete',
  },
  CVY_KEY_INVALID: {
    meaning: 'a key is longer than 128 characters, holds control characters or broken Unicode',
    remedy: 'use 1-128 printable characters',
    settlement: 'complete',
  },
  CVY_KEY_AMBIGUOUS: {
    meaning: 'without convoyKey the host changed the session id (it parses metadata as JSON)',
    remedy: 'set the application property convoyKey to the session id, or send with our sender',
    settlement: 'complete',
  },
  CVY_KEY_MISMATCH: {
    meaning: 'convoyKey is not the session id of the message',
    remedy: 'set sessionId and convoyKey to the same text',
    settlement: 'complete',
  },
  CVY_ID_AMBIGUOUS: {
    meaning: 'without convoyMessageId the host changed the message id; it is not used for dedup',
    remedy: 'set the application property convoyMessageId, or send with our sender',
    settlement: 'complete',
  },
  CVY_ID_INVALID: {
    meaning: 'a message id is empty, longer than 1,024 characters or broken Unicode',
    remedy: 'use a message id of 1-1,024 characters',
    settlement: 'complete',
  },
  CVY_BODY_NOT_JSON: {
    meaning: 'the body is not JSON',
    remedy: 'send a JSON body with contentType application/json',
    settlement: 'complete',
  },
  CVY_BODY_NOT_UTF8: {
    meaning: 'the body is not valid UTF-8',
    remedy: 'encode the JSON body as UTF-8; put binary data elsewhere and send its address',
    settlement: 'complete',
  },
  CVY_SCHEMA: {
    meaning: 'the body does not match the schema of the convoy',
    remedy: 'send what the schema in functions/convoys/ asks for; the reason names the field',
    settlement: 'complete',
  },
  CVY_ENVELOPE: {
    meaning:
      'an application property (schemaVersion, senderPosition, occurredAt, type) is malformed',
    remedy: 'see the message contract; occurredAt is ISO-8601 with a zone',
    settlement: 'complete',
  },
  CVY_BODY_TOO_LARGE: {
    meaning: 'the message is larger than the broker accepts',
    remedy: 'store the large part elsewhere and send its address',
    settlement: 'none',
  },
  CVY_TOO_LARGE: {
    meaning: 'one message with its outputs does not fit one transaction (90 operations, 1.5 MB)',
    remedy: 'emit less per message, or keep less in the state; then retry or skip the message',
    settlement: 'hold',
  },
  CVY_CONVOY_UNKNOWN: {
    meaning: 'no convoy of this name is registered, or its queue does not exist',
    remedy: 'check the name against functions/convoys/registry.ts and deploy its queue',
    settlement: 'none',
  },
  CVY_DEFINITION: {
    meaning: 'a convoy definition is wrong',
    remedy: 'change what the message lists, in functions/convoys/',
    settlement: 'none',
  },
  CVY_HANDLER: {
    meaning: 'the apply function of the convoy threw',
    remedy: 'mend the convoy and deploy it, then retry; or skip the message',
    settlement: 'hold',
  },
  CVY_EFFECT: {
    meaning: 'the effect of the convoy rejected',
    remedy: 'check the system it calls; then retry, or skip the message',
    settlement: 'hold',
  },
  CVY_EFFECT_TIMEOUT: {
    meaning: 'the effect of the convoy took longer than effectSeconds',
    remedy: 'check the system it calls, or raise effectSeconds; then retry',
    settlement: 'hold',
  },
  CVY_VERSION: {
    meaning: 'a message or a state was written by a newer version of the definition',
    remedy: 'deploy that version, then retry',
    settlement: 'hold',
  },
  CVY_MIGRATE: {
    meaning: 'a migrate function threw',
    remedy: 'mend it and deploy it, then retry',
    settlement: 'hold',
  },
  CVY_SENDER_POSITION: {
    meaning: "a message has no senderPosition although the convoy follows the sender's order",
    remedy: 'stamp every message with 1, 2, 3 … per key',
    settlement: 'complete',
  },
  CVY_STALE: {
    meaning: 'a message came after its senderPosition had been settled or gone on without',
    remedy: 'nothing, where later versions replace earlier ones; else raise gap.waitSeconds',
    settlement: 'complete',
  },
  CVY_GAP: {
    meaning: 'a senderPosition did not come within gap.waitSeconds',
    remedy: 'send what is missing and retry; or skip to go on without it',
    settlement: 'hold',
  },
  CVY_LATE: {
    meaning: 'a message came for a closed window, and the window parks what is late',
    remedy: 'replay it to amend the window; or leave it',
    settlement: 'complete',
  },
  CVY_WINDOW_FORGOTTEN: {
    meaning: 'a message came for a window that is no longer kept',
    remedy: 'replay it to apply it without counting it; or raise retentionSeconds',
    settlement: 'complete',
  },
  CVY_COMPLETED: {
    meaning: 'a message came after the convoy was completed',
    remedy: 'replay it where it is parked; or use a new key for new business',
    settlement: 'complete',
  },
  CVY_PARKED: {
    meaning: 'an operator set the message aside',
    remedy: 'replay it when the reason is gone',
    settlement: 'complete',
  },
  CVY_PARKED_FULL: {
    meaning: 'more messages of one key are set aside than it may hold',
    remedy: 'mend what fails, then replay',
    settlement: 'hold',
  },
  CVY_SKIPPED: {
    meaning: 'an operator left the message out',
    remedy: 'nothing; it is recorded as skipped',
    settlement: 'complete',
  },
  CVY_HOLE: {
    meaning: 'an admitted message cannot be read although the gate counts it',
    remedy: 'check who deletes items of the convoys container; restore the item, then retry',
    settlement: 'hold',
  },
  CVY_INVARIANT: {
    meaning: 'the stored state of a convoy breaks an invariant of the engine',
    remedy: 'check who else writes to the container; this is a defect, report it with the detail',
    settlement: 'hold',
  },
  CVY_PAUSED: {
    meaning: 'an operator paused the key',
    remedy: 'resume it when the reason is gone',
    settlement: 'hold',
  },
  CVY_PUBLISH: {
    meaning: 'more than 200 outputs of a key wait for the broker',
    remedy: 'check the output queue (size, throttling, send rights); publishing goes on by itself',
    settlement: 'hold',
  },
  CVY_ROLL_UP_FORGOTTEN: {
    meaning: 'a closed window came too late to be rolled up: contributions of others have expired',
    remedy:
      'use the window.closed of the key itself; a longer retentionSeconds keeps roll-ups open',
    settlement: 'none',
  },
  CVY_LANES: {
    meaning: 'the lanes of a definition contradict those that were announced to senders',
    remedy: 'append a generation; restore the announced ones as they were',
    settlement: 'none',
  },
  CVY_LANES_STALE: {
    meaning: 'the sender could not refresh the layout of the lanes in time and sends nothing',
    remedy: 'check that GET /api/lanes/{convoy} answers, then send again with the same ids',
    settlement: 'none',
  },
  CVY_LANE_UNKNOWN: {
    meaning:
      'a message names a lane that its key does not have, or that is not the one it hashes to',
    remedy: 'send with our sender and its option lanes; replay the message under the whole key',
    settlement: 'complete',
  },
  CVY_LANE_FENCE: {
    meaning: 'a new lane waits until every older lane of its key is drained',
    remedy: 'nothing, it opens by itself; an older lane that is held has to be set going',
    settlement: 'hold',
  },
  CVY_LANE_RETIRED: {
    meaning:
      'a message came to a lane after a newer generation had taken over; it overtakes nothing',
    remedy: 'replay it: it goes to the newest lanes; give senders the option lanes',
    settlement: 'complete',
  },
  CVY_LANE_DUPLICATE: {
    meaning: 'a message with this id was admitted in a lane of an older generation',
    remedy: 'nothing; it has had its effect there, or waits there for a replay',
    settlement: 'complete',
  },
  CVY_LANE_MOVED: {
    meaning: 'a replay moved a message from a retired lane to the newest one',
    remedy: 'nothing; look for its id there',
    settlement: 'complete',
  },
  CVY_CONFLICT: {
    meaning: 'the convoy changed since the operator looked at it',
    remedy: 'look again, then repeat the action',
    settlement: 'none',
  },
  CVY_NOT_FOUND: {
    meaning: 'no such convoy key, or no such route',
    remedy: 'check convoy and key; keys are written as pathKey in paths',
    settlement: 'none',
  },
  CVY_BAD_REQUEST: {
    meaning: 'a parameter of the request is malformed',
    remedy: 'change what the message names',
    settlement: 'none',
  },
  CVY_INTERNAL: {
    meaning: 'the service met an error that it did not foresee',
    remedy: 'look at the log of the app at this time; report it as a defect',
    settlement: 'none',
  },
  CVY_FILE: {
    meaning: 'an input file cannot be read or a row of it is malformed',
    remedy: 'check path, format and column names; nothing of the bad row was sent',
    settlement: 'none',
  },
  CVY_SETTINGS: {
    meaning: 'a required setting is missing or malformed',
    remedy: 'set what the message lists in the app settings or local.settings.json',
    settlement: 'none',
  },
  CVY_ENVIRONMENT: {
    meaning:
      'the environment cannot keep the guarantees (several write regions, partitioned queue)',
    remedy: 'use one Cosmos write region and unpartitioned session queues',
    settlement: 'redeliver',
  },
  CVY_UNREACHABLE: {
    meaning: 'a service cannot be reached',
    remedy: 'check that it runs and that the address is right',
    settlement: 'redeliver',
  },
  CVY_THROTTLED: {
    meaning: 'a service limits the rate of requests',
    remedy: 'try again later; if it lasts, raise the RU/s of Cosmos DB or the Service Bus tier',
    settlement: 'redeliver',
  },
  CVY_PORT_BUSY: {
    meaning: 'a port of the local stack is in use',
    remedy: 'stop what uses it or choose another with the flag that the message names',
    settlement: 'none',
  },
  CVY_DATA_IN_USE: {
    meaning: 'another local stack runs on the same data folder',
    remedy: 'stop it, or choose another folder with --data',
    settlement: 'none',
  },
  CVY_START: {
    meaning: 'a process of the local stack did not start',
    remedy: 'mend what the message says; an app is loaded from its build, so build it first',
    settlement: 'none',
  },
  CVY_DATA_FOREIGN: {
    meaning: 'the data folder holds files that are not ours',
    remedy: 'choose another folder with --data; nothing in it was touched',
    settlement: 'none',
  },
} as const satisfies Record<string, Entry>;

export type ErrorCode = keyof typeof errorRegistry;

/** An error for operators and senders: `code: what was received. Remedy: …`. */
export class ConvoyError extends Error {
  readonly code: ErrorCode;
  readonly received: string;

  constructor(code: ErrorCode, received: string, options?: { cause?: unknown }) {
    super(`${code}: ${received}. Remedy: ${errorRegistry[code].remedy}.`, options);
    this.name = 'ConvoyError';
    this.code = code;
    this.received = received;
  }

  get remedy(): string {
    return errorRegistry[this.code].remedy;
  }

  get settlement(): Settlement {
    return errorRegistry[this.code].settlement;
  }
}

export { reasonOf } from './convoy/json.ts';
