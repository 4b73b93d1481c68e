// The emulator's Config.json: which entities there are and how they behave [SB 16.8, 17.1].
// Faithful or refusing: a property we do not know or do not support is a start-up error by name.
import { durationOfSeconds, secondsOfDuration } from './durations.ts';
import type { QueueProperties } from './properties.ts';
import { makeRule } from './rule.ts';
import type { Filter, RuleDefinition, SqlExpression } from './rule.ts';
import type { FilterValue } from './sql-parse.ts';

export type { QueueProperties } from './properties.ts';

export interface SubscriptionConfig {
  name: string;
  properties: QueueProperties;
  /** None: the default rule, which selects everything. */
  rules: RuleDefinition[];
}

export interface TopicConfig {
  name: string;
  properties: Pick<QueueProperties, 'defaultTimeToLiveSeconds' | 'duplicateDetectionSeconds'>;
  subscriptions: SubscriptionConfig[];
}

export interface NamespaceConfig {
  queues: { name: string; properties: QueueProperties }[];
  topics?: TopicConfig[];
}

type Json = Record<string, unknown>;
type Report = (fault: string) => void;
/** Something of the file with its name, such as `queue orders`, and where its faults go. */
interface Named {
  name: string;
  json: Json;
  report: Report;
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Reads a Config.json; throws one Error that names every fault. */
export function parseNamespaceConfig(json: unknown): NamespaceConfig {
  const faults: string[] = [];
  const report: Report = (fault) => faults.push(fault);
  const namespace = onlyNamespace(json, report);
  const queues = named(namespace['Queues'], 'queue', report).map(parseQueue);
  const topics = named(namespace['Topics'] ?? [], 'topic', report).map(parseTopic);
  reportRepeats([...queues, ...topics], 'name', report);
  const count = queues.length + topics.length;
  if (count > 50) report(`${count} queues and topics, 50 are allowed`);
  if (faults.length > 0) throw new Error(`Config.json: ${faults.join('; ')}`);
  return { queues, topics };
}

function onlyNamespace(json: unknown, report: Report): Json {
  const user = isObject(json) ? json['UserConfig'] : undefined;
  const namespaces = isObject(user) ? user['Namespaces'] : undefined;
  const namespace: unknown = Array.isArray(namespaces) ? namespaces[0] : undefined;
  if (!Array.isArray(namespaces) || !isObject(namespace)) {
    report('UserConfig.Namespaces[0] is missing');
    return { Queues: [] };
  }
  if (namespaces.length > 1) report('one namespace is supported, not several');
  for (const name of Object.keys(namespace)) {
    if (!['Name', 'Queues', 'Topics'].includes(name)) report(`unknown namespace property ${name}`);
  }
  if (!Array.isArray(namespace['Queues'])) report('UserConfig.Namespaces[0].Queues is missing');
  return namespace;
}

/** The members of a list that have a name; the others are reported. */
function named(list: unknown, what: string, report: Report): Named[] {
  if (!Array.isArray(list)) {
    if (list !== undefined) report(`the ${what} list is not a list`);
    return [];
  }
  return list.flatMap((json: unknown, index): Named[] => {
    const name = isObject(json) ? json['Name'] : undefined;
    if (!isObject(json) || typeof name !== 'string' || name === '') {
      report(`${what} ${index}: Name is missing`);
      return [];
    }
    const reportNamed: Report = (fault) => report(`${what} ${name}: ${fault}`);
    const most = what === 'queue' || what === 'topic' ? 260 : 50;
    if (name.length > most || !/^[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?$/.test(name)) {
      reportNamed(`a name has 1-${most} letters, digits, '.', '-', '_' or '/'`);
    }
    return [{ name, json, report: reportNamed }];
  });
}

function reportRepeats(items: { name: string }[], what: string, report: Report): void {
  const names = new Set<string>();
  for (const { name } of items) {
    if (names.has(name.toLowerCase())) report(`${name}: the ${what} is used twice`);
    names.add(name.toLowerCase());
  }
}

function reportUnknown({ json, report }: Named, known: readonly string[]): void {
  for (const name of Object.keys(json)) {
    if (!known.includes(name)) report(`unknown field ${name}`);
  }
}

function propertiesOf({ json, report }: Named, known: readonly string[]): Json {
  const properties = json['Properties'] ?? {};
  if (!isObject(properties)) {
    report('Properties is not an object');
    return {};
  }
  for (const name of Object.keys(properties)) {
    if (!known.includes(name)) report(`unknown property ${name}`);
  }
  return properties;
}

const forwards = ['ForwardTo', 'ForwardDeadLetteredMessagesTo'];
const topicKnown = [
  ...['DefaultMessageTimeToLive', 'DuplicateDetectionHistoryTimeWindow'],
  'RequiresDuplicateDetection',
];
const subscriptionKnown = [
  ...['DeadLetteringOnMessageExpiration', 'DefaultMessageTimeToLive', ...forwards],
  ...['LockDuration', 'MaxDeliveryCount', 'RequiresSession'],
];
const queueKnown = [...subscriptionKnown, ...topicKnown];

function parseQueue(queue: Named) {
  reportUnknown(queue, ['Name', 'Properties']);
  const properties = propertiesOf(queue, queueKnown);
  return { name: queue.name, properties: parseProperties(properties, queue.report) };
}

function parseTopic(topic: Named): TopicConfig {
  reportUnknown(topic, ['Name', 'Properties', 'Subscriptions']);
  const properties = parseProperties(propertiesOf(topic, topicKnown), topic.report);
  const subscriptions = named(topic.json['Subscriptions'], 'subscription', topic.report).map(
    parseSubscription,
  );
  reportRepeats(subscriptions, 'subscription name', topic.report);
  if (subscriptions.length > 50) {
    topic.report(`${subscriptions.length} subscriptions, 50 are allowed`);
  }
  return { name: topic.name, properties, subscriptions };
}

function parseSubscription(subscription: Named): SubscriptionConfig {
  reportUnknown(subscription, ['Name', 'Properties', 'Rules']);
  const properties = propertiesOf(subscription, subscriptionKnown);
  const rules = named(subscription.json['Rules'], 'rule', subscription.report).flatMap(parseRule);
  reportRepeats(rules, 'rule name', subscription.report);
  return {
    name: subscription.name,
    properties: parseProperties(properties, subscription.report),
    rules,
  };
}

/** Bounds are the emulator's, so that one file serves both; what is absent is as in Azure: ten
 *  deliveries, no time-to-live, a window of ten minutes (the emulator: three, one hour, twenty
 *  seconds) [SB 10.1, 12.4, 12.5]. */
function parseProperties(json: Json, report: Report): QueueProperties {
  for (const name of forwards) {
    if (json[name] !== undefined && json[name] !== '') {
      report(`${name} is not supported by the local broker`);
    }
  }
  const flag = (name: string): boolean => {
    const value = json[name] ?? false;
    if (typeof value !== 'boolean') report(`${name} is not true or false`);
    return value === true;
  };
  const duration = (name: string, fallback: number, [least, most]: [number, number]): number => {
    const value = json[name];
    if (value === undefined) return fallback;
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
  const window = duration('DuplicateDetectionHistoryTimeWindow', 600, [5, 300]);
  const timeToLive = duration('DefaultMessageTimeToLive', Infinity, [1, 3_600]);
  return {
    requiresSession: flag('RequiresSession'),
    lockDurationSeconds: duration('LockDuration', 60, [1, 300]),
    maxDeliveryCount: Number(count),
    ...(timeToLive === Infinity ? {} : { defaultTimeToLiveSeconds: timeToLive }),
    deadLetterOnExpiration: flag('DeadLetteringOnMessageExpiration'),
    ...(flag('RequiresDuplicateDetection') ? { duplicateDetectionSeconds: window } : {}),
  };
}

const ruleKnown = ['FilterType', 'CorrelationFilter', 'SqlFilter', 'Action'];

function parseRule(rule: Named): RuleDefinition[] {
  reportUnknown(rule, ['Name', 'Properties']);
  const properties = propertiesOf(rule, ruleKnown);
  const filter = parseFilter(properties, rule.report);
  if (!filter) return [];
  const action = parseSql(properties['Action']);
  const definition = { name: rule.name, filter, ...(action ? { action } : {}) };
  try {
    makeRule(definition, 0);
    return [definition];
  } catch (error) {
    rule.report(error instanceof Error ? error.message : String(error));
    return [];
  }
}

const parseSql = (json: unknown): SqlExpression | undefined =>
  isObject(json) && typeof json['SqlExpression'] === 'string'
    ? { expression: json['SqlExpression'], parameters: new Map() }
    : undefined;

function parseFilter(properties: Json, report: Report): Filter | undefined {
  const type = properties['FilterType'];
  if (type === 'Sql') {
    const sql = parseSql(properties['SqlFilter']);
    if (!sql) report('SqlFilter.SqlExpression is missing');
    return sql && { kind: 'sql', ...sql };
  }
  const json = properties['CorrelationFilter'];
  if (type !== 'Correlation' || !isObject(json)) {
    report(type === 'Correlation' ? 'CorrelationFilter is missing' : 'FilterType is unknown');
    return undefined;
  }
  const { Properties: user = {}, ...system } = json;
  const texts = Object.entries(system).map(([name, value]): [string, string] => {
    if (typeof value !== 'string') report(`${name} of the correlation filter is not a text`);
    return [name, String(value)];
  });
  const values = Object.entries(isObject(user) ? user : {}).map(
    ([name, value]): [string, FilterValue] => [name, filterValueOf(value, name, report)],
  );
  return { kind: 'correlation', system: new Map(texts), user: new Map(values) };
}

function filterValueOf(value: unknown, name: string, report: Report): FilterValue {
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  report(`the property ${name} of the correlation filter is no text, number or flag`);
  return null;
}
