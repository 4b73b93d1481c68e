// PURE. The properties of queues, topics and subscriptions as the management API names them: which
// there are, their defaults and bounds, and what the broker makes of them [SB 16.4, 16.5, 18.3].
//
// A description keeps every property as the service would show it (durations as texts), so that
// what an application wrote is what it reads.
import { refusals } from './conditions.ts';
import { durationOfSeconds, forever, secondsOfDuration } from './durations.ts';

/** What a queue does; the rest of a description is kept and shown only. */
export interface QueueProperties {
  requiresSession: boolean;
  lockDurationSeconds: number;
  maxDeliveryCount: number;
  defaultTimeToLiveSeconds?: number;
  deadLetterOnExpiration: boolean;
  duplicateDetectionSeconds?: number;
}

export type EntityKind = 'queue' | 'topic' | 'subscription';

/** A shared access rule of an entity: kept and shown, its keys open nothing. */
export interface AuthorizationRule {
  keyName: string;
  primaryKey: string;
  secondaryKey: string;
  rights: string[];
}

export type Value = string | number | boolean | AuthorizationRule[];
/** By property name; complete but for what may be absent. */
export type Values = Readonly<Record<string, Value>>;

interface Spec {
  kind: 'duration' | 'flag' | 'count' | 'text' | 'choice' | 'rules' | 'unsupported';
  fallback?: Value;
  /** Seconds of a duration, size of a count, length of a text. */
  range?: [number, number];
  choices?: readonly string[];
  /** Cannot be changed once the entity exists. */
  isFixed?: true;
}

const neverSeconds = secondsOfDuration(forever) ?? Infinity;
const flag = (fallback: boolean): Spec => ({ kind: 'flag', fallback });

/** Bounds are those of the Standard tier [SB 10.1, 12.4, 12.5, 18.3]. */
const specs: Record<string, Spec> = {
  LockDuration: { kind: 'duration', fallback: 'PT1M', range: [5, 300] },
  MaxSizeInMegabytes: { kind: 'count', fallback: 1_024, range: [1_024, 81_920] },
  RequiresDuplicateDetection: { ...flag(false), isFixed: true },
  RequiresSession: { ...flag(false), isFixed: true },
  DefaultMessageTimeToLive: { kind: 'duration', fallback: forever, range: [1, neverSeconds] },
  DeadLetteringOnMessageExpiration: flag(false),
  DeadLetteringOnFilterEvaluationExceptions: flag(true),
  DuplicateDetectionHistoryTimeWindow: {
    kind: 'duration',
    fallback: 'PT10M',
    range: [20, 7 * 86_400],
  },
  MaxDeliveryCount: { kind: 'count', fallback: 10, range: [1, 2_000] },
  EnableBatchedOperations: flag(true),
  AuthorizationRules: { kind: 'rules' },
  Status: {
    kind: 'choice',
    fallback: 'Active',
    choices: ['Active', 'Disabled', 'SendDisabled', 'ReceiveDisabled'],
  },
  ForwardTo: { kind: 'unsupported' },
  UserMetadata: { kind: 'text', range: [0, 1_024] },
  SupportOrdering: flag(true),
  AutoDeleteOnIdle: { kind: 'duration', fallback: forever, range: [300, neverSeconds] },
  EnablePartitioning: { ...flag(false), isFixed: true },
  ForwardDeadLetteredMessagesTo: { kind: 'unsupported' },
  EntityAvailabilityStatus: { kind: 'choice', fallback: 'Available', choices: ['Available'] },
  EnableExpress: flag(false),
  MaxMessageSizeInKilobytes: { kind: 'count', fallback: 256, range: [256, 256] },
};

/** The elements of a description, in the order the clients write and read them [SB 16.4]. */
export const elementNames: Record<EntityKind, readonly string[]> = {
  queue: [
    ...['LockDuration', 'MaxSizeInMegabytes', 'RequiresDuplicateDetection', 'RequiresSession'],
    ...['DefaultMessageTimeToLive', 'DeadLetteringOnMessageExpiration'],
    ...['DuplicateDetectionHistoryTimeWindow', 'MaxDeliveryCount', 'EnableBatchedOperations'],
    ...['AuthorizationRules', 'Status', 'ForwardTo', 'UserMetadata', 'AutoDeleteOnIdle'],
    ...['EnablePartitioning', 'ForwardDeadLetteredMessagesTo', 'EntityAvailabilityStatus'],
    ...['EnableExpress', 'MaxMessageSizeInKilobytes'],
  ],
  topic: [
    ...['DefaultMessageTimeToLive', 'MaxSizeInMegabytes', 'RequiresDuplicateDetection'],
    ...['DuplicateDetectionHistoryTimeWindow', 'EnableBatchedOperations', 'AuthorizationRules'],
    ...['Status', 'UserMetadata', 'SupportOrdering', 'AutoDeleteOnIdle', 'EnablePartitioning'],
    ...['EntityAvailabilityStatus', 'EnableExpress', 'MaxMessageSizeInKilobytes'],
  ],
  subscription: [
    ...['LockDuration', 'RequiresSession', 'DefaultMessageTimeToLive'],
    ...['DeadLetteringOnMessageExpiration', 'DeadLetteringOnFilterEvaluationExceptions'],
    ...['MaxDeliveryCount', 'EnableBatchedOperations', 'Status', 'ForwardTo', 'UserMetadata'],
    ...['ForwardDeadLetteredMessagesTo', 'AutoDeleteOnIdle', 'EntityAvailabilityStatus'],
  ],
};

/** A property of which the service says more than we know, or which only it writes. */
const ignored = new Set([
  ...['SizeInBytes', 'MessageCount', 'CountDetails', 'CreatedAt', 'UpdatedAt', 'AccessedAt'],
  ...['SubscriptionCount', 'IsAnonymousAccessible', 'FilteringMessagesBeforePublishing'],
  ...['EnableSubscriptionPartitioning', 'DefaultRuleDescription'],
]);

/** Checks what was given and adds the defaults; with `old`, fixed properties keep their value and
 *  cannot be changed. Throws a Refusal that names the property. */
export function completeValues(
  kind: EntityKind,
  given: ReadonlyMap<string, string | AuthorizationRule[]>,
  old?: Values,
): Values {
  for (const name of given.keys()) {
    if (!elementNames[kind].includes(name) && !ignored.has(name)) {
      throw refusals.badRequest(`The ${kind} property '${name}' is unknown.`);
    }
  }
  const values: Record<string, Value> = {};
  for (const name of elementNames[kind]) {
    const spec = specs[name];
    const text = given.get(name);
    if (!spec) continue;
    const fallback = spec.isFixed && old ? old[name] : spec.fallback;
    const value = text === undefined || text === '' ? fallback : read(name, spec, text);
    if (value === undefined) continue;
    if (spec.isFixed && old && value !== old[name]) {
      throw refusals.badRequest(
        `SubCode=40000. The value of '${name}' of an existing ${kind} cannot be changed.`,
      );
    }
    values[name] = value;
  }
  return withPartitionedSize(values);
}

/** [SB 18.3] A partitioned entity has sixteen partitions of the size that was asked for. */
function withPartitionedSize(values: Record<string, Value>): Values {
  const size = values['MaxSizeInMegabytes'];
  const isOne = values['EnablePartitioning'] === true && typeof size === 'number' && size <= 5_120;
  return isOne ? { ...values, MaxSizeInMegabytes: size * 16 } : values;
}

function read(name: string, spec: Spec, text: string | AuthorizationRule[]): Value | undefined {
  const wrong = (expected: string) =>
    refusals.badRequest(`SubCode=40000. The value of '${name}' is not ${expected}.`);
  if (typeof text !== 'string') {
    if (spec.kind === 'rules') return text;
    throw wrong('a text');
  }
  const [least, most] = spec.range ?? [0, Infinity];
  switch (spec.kind) {
    case 'flag':
      if (text !== 'true' && text !== 'false') throw wrong('true or false');
      return text === 'true';
    case 'count': {
      const count = Number(text);
      const isInside = Number.isInteger(count) && count >= least && count <= most;
      if (!isInside) throw wrong(`a whole number ${least}..${most}`);
      return count;
    }
    case 'duration': {
      const seconds = secondsOfDuration(text);
      if (seconds === undefined) throw wrong('an ISO-8601 duration');
      if (seconds >= neverSeconds) return forever;
      if (seconds < least || seconds > most) {
        throw wrong(`within ${durationOfSeconds(least)}..${durationOfSeconds(most)}`);
      }
      return durationOfSeconds(seconds);
    }
    case 'text':
      if (text.length > most) throw wrong(`a text of at most ${most} characters`);
      return text;
    case 'choice':
      if (!spec.choices?.includes(text)) throw wrong(`one of ${spec.choices?.join(', ')}`);
      return text;
    case 'rules':
      throw wrong('a list of rules');
    case 'unsupported':
      throw refusals.notSupported(`auto-forwarding ('${name}')`);
  }
}

const secondsOf = (value: Value | undefined): number | undefined =>
  typeof value !== 'string' || value === forever ? undefined : secondsOfDuration(value);

/** What the broker's queue makes of a description. */
export function queuePropertiesOf(values: Values): QueueProperties {
  const timeToLive = secondsOf(values['DefaultMessageTimeToLive']);
  const window = secondsOf(values['DuplicateDetectionHistoryTimeWindow']);
  const detects = values['RequiresDuplicateDetection'] === true && window !== undefined;
  return {
    requiresSession: values['RequiresSession'] === true,
    lockDurationSeconds: secondsOf(values['LockDuration']) ?? 60,
    maxDeliveryCount: Number(values['MaxDeliveryCount'] ?? 10),
    ...(timeToLive === undefined ? {} : { defaultTimeToLiveSeconds: timeToLive }),
    deadLetterOnExpiration: values['DeadLetteringOnMessageExpiration'] === true,
    ...(detects ? { duplicateDetectionSeconds: window } : {}),
  };
}

/** Seconds without use after which the entity goes; undefined is never. */
export const idleSecondsOf = (values: Values): number | undefined =>
  secondsOf(values['AutoDeleteOnIdle']);

/** The description of an entity that a configuration declares. */
export function valuesOfProperties(kind: EntityKind, properties: QueueProperties): Values {
  const values: Record<string, Value> = { ...completeValues(kind, new Map()) };
  const window = properties.duplicateDetectionSeconds;
  const timeToLive = properties.defaultTimeToLiveSeconds;
  const declared: Record<string, Value | undefined> = {
    LockDuration: durationOfSeconds(properties.lockDurationSeconds),
    RequiresSession: properties.requiresSession,
    MaxDeliveryCount: properties.maxDeliveryCount,
    DeadLetteringOnMessageExpiration: properties.deadLetterOnExpiration,
    RequiresDuplicateDetection: window !== undefined,
    DuplicateDetectionHistoryTimeWindow:
      window === undefined ? undefined : durationOfSeconds(window),
    DefaultMessageTimeToLive: timeToLive === undefined ? undefined : durationOfSeconds(timeToLive),
  };
  for (const [name, value] of Object.entries(declared)) {
    if (value !== undefined && name in values) values[name] = value;
  }
  return values;
}
