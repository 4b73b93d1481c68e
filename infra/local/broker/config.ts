// The emulator's Config.json: which queues there are and how they behave [SB 16.8, 17.1].
// Faithful or refusing: a property we do not know or do not support is a start-up error by name.

export interface QueueProperties {
  requiresSession: boolean;
  lockDurationSeconds: number;
  maxDeliveryCount: number;
  defaultTimeToLiveSeconds?: number;
  deadLetterOnExpiration: boolean;
  duplicateDetectionSeconds?: number;
}

export interface NamespaceConfig {
  queues: { name: string; properties: QueueProperties }[];
}

type Json = Record<string, unknown>;
type Report = (fault: string) => void;

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Seconds of an ISO-8601 duration such as `PT1M` or `P1DT0.5S`; undefined when it is none. */
export function secondsOfDuration(text: string): number | undefined {
  const match = /^P(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$/.exec(text);
  if (!match || text === 'P') return undefined;
  const [days, hours, minutes, seconds] = match.slice(1).map((part) => Number(part ?? 0));
  return (days ?? 0) * 86_400 + (hours ?? 0) * 3_600 + (minutes ?? 0) * 60 + (seconds ?? 0);
}

/** The ISO-8601 form of a number of seconds, as the service writes it. */
export function durationOfSeconds(total: number): string {
  const days = Math.floor(total / 86_400);
  const hours = Math.floor((total % 86_400) / 3_600);
  const minutes = Math.floor((total % 3_600) / 60);
  const seconds = Math.round((total % 60) * 1000) / 1000;
  const time = [hours && `${hours}H`, minutes && `${minutes}M`, seconds && `${seconds}S`]
    .filter(Boolean)
    .join('');
  if (!time) return days ? `P${days}D` : 'PT0S';
  return `P${days ? `${days}D` : ''}T${time}`;
}

/** Reads a Config.json; throws one Error that names every fault. */
export function parseNamespaceConfig(json: unknown): NamespaceConfig {
  const faults: string[] = [];
  const report: Report = (fault) => faults.push(fault);
  const queues = queueList(json, report).flatMap((queue, index) => {
    const parsed = parseQueue(queue, `Queues[${index}]`, report);
    return parsed ? [parsed] : [];
  });
  const names = new Set<string>();
  for (const { name } of queues) {
    if (names.has(name.toLowerCase())) report(`queue ${name}: the name is used twice`);
    names.add(name.toLowerCase());
  }
  if (queues.length > 50) report(`${queues.length} queues, 50 are allowed`);
  if (faults.length > 0) throw new Error(`Config.json: ${faults.join('; ')}`);
  return { queues };
}

function queueList(json: unknown, report: Report): unknown[] {
  const user = isObject(json) ? json['UserConfig'] : undefined;
  const namespaces = isObject(user) ? user['Namespaces'] : undefined;
  const namespace: unknown = Array.isArray(namespaces) ? namespaces[0] : undefined;
  if (!Array.isArray(namespaces) || !isObject(namespace)) {
    report('UserConfig.Namespaces[0] is missing');
    return [];
  }
  if (namespaces.length > 1) report('one namespace is supported, not several');
  if (Array.isArray(namespace['Topics']) && namespace['Topics'].length > 0) {
    report('Topics are not supported by the local broker');
  }
  for (const name of Object.keys(namespace)) {
    if (!['Name', 'Queues', 'Topics'].includes(name)) report(`unknown namespace property ${name}`);
  }
  const queues = namespace['Queues'];
  if (!Array.isArray(queues)) report('UserConfig.Namespaces[0].Queues is missing');
  return Array.isArray(queues) ? queues : [];
}

function parseQueue(value: unknown, place: string, report: Report) {
  if (!isObject(value) || typeof value['Name'] !== 'string' || value['Name'] === '') {
    report(`${place}: Name is missing`);
    return undefined;
  }
  const name = value['Name'];
  if (name.length > 260 || !/^[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?$/.test(name)) {
    report(`queue ${name}: a name has 1-260 letters, digits, '.', '-', '_' or '/'`);
  }
  for (const other of Object.keys(value)) {
    if (!['Name', 'Properties'].includes(other)) report(`queue ${name}: unknown field ${other}`);
  }
  const properties = value['Properties'] ?? {};
  if (!isObject(properties)) {
    report(`queue ${name}: Properties is not an object`);
    return undefined;
  }
  return {
    name,
    properties: parseProperties(properties, (fault) => report(`queue ${name}: ${fault}`)),
  };
}

const known = new Set([
  'DeadLetteringOnMessageExpiration',
  'DefaultMessageTimeToLive',
  'DuplicateDetectionHistoryTimeWindow',
  'ForwardDeadLetteredMessagesTo',
  'ForwardTo',
  'LockDuration',
  'MaxDeliveryCount',
  'RequiresDuplicateDetection',
  'RequiresSession',
]);

/** Bounds are the emulator's, so that one file serves both; what is absent is as in Azure: ten
 *  deliveries, no time-to-live (the emulator: three, one hour) [SB 10.1, 12.4, 12.5]. */
function parseProperties(json: Json, report: Report): QueueProperties {
  for (const name of Object.keys(json)) if (!known.has(name)) report(`unknown property ${name}`);
  for (const name of ['ForwardTo', 'ForwardDeadLetteredMessagesTo']) {
    if (json[name] !== undefined && json[name] !== '') {
      report(`${name} is not supported by the local broker`);
    }
  }
  const flag = (name: string): boolean => {
    const value = json[name] ?? false;
    if (typeof value !== 'boolean') report(`${name} is not true or false`);
    return value === true;
  };
  const duration = (name: string, fallback: string, [least, most]: [number, number]): number => {
    const value = json[name] ?? fallback;
    const seconds = typeof value === 'string' ? secondsOfDuration(value) : undefined;
    if (seconds === undefined) report(`${name} is not an ISO-8601 duration`);
    else if (seconds < least || seconds > most) {
      report(`${name} is outside ${durationOfSeconds(least)}..${durationOfSeconds(most)}`);
    }
    return seconds ?? least;
  };
  const count = json['MaxDeliveryCount'] ?? 10;
  if (!Number.isInteger(count) || Number(count) < 1 || Number(count) > 10) {
    report('MaxDeliveryCount is not 1..10');
  }
  const duplicateDetectionSeconds = duration('DuplicateDetectionHistoryTimeWindow', 'PT10M', [
    20,
    7 * 86_400,
  ]);
  const defaultTimeToLiveSeconds = duration('DefaultMessageTimeToLive', 'PT1H', [1, 3_600]);
  return {
    requiresSession: flag('RequiresSession'),
    lockDurationSeconds: duration('LockDuration', 'PT1M', [1, 300]),
    maxDeliveryCount: Number(count),
    ...(json['DefaultMessageTimeToLive'] === undefined ? {} : { defaultTimeToLiveSeconds }),
    deadLetterOnExpiration: flag('DeadLetteringOnMessageExpiration'),
    ...(flag('RequiresDuplicateDetection') ? { duplicateDetectionSeconds } : {}),
  };
}
