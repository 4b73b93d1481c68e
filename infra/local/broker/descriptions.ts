// PURE. Queues, topics, subscriptions and rules between ATOM descriptions and what the broker makes
// of them [SB 16.4, 16.5].
import { element, instant } from './atom.ts';
import type { AtomEntry } from './atom.ts';
import type { Item, SubscriptionItem } from './catalog.ts';
import { refusals } from './conditions.ts';
import { filterValueOf, typedText } from './definition.ts';
import { elementNames } from './properties.ts';
import type { AuthorizationRule, EntityKind, Value } from './properties.ts';
import type { Filter, Rule, RuleDefinition, SqlExpression } from './rule.ts';
import type { FilterValue } from './sql-parse.ts';
import { childOf } from './xml.ts';
import type { XmlElement } from './xml.ts';

/** The names of the description elements. */
export const roots: Record<EntityKind, string> = {
  queue: 'QueueDescription',
  topic: 'TopicDescription',
  subscription: 'SubscriptionDescription',
};

/** What changes while an entity is used. */
export interface Counts {
  sizeInBytes: number;
  active: number;
  deadLetter: number;
  scheduled: number;
  subscriptions: number;
}

/** The description inside an entry. Throws a Refusal when it is another. */
export function contentOf(entry: XmlElement, root: string): XmlElement {
  const content = childOf(childOf(entry, 'content'), root);
  if (entry.name !== 'entry' || !content) {
    throw refusals.badRequest(`The body is not an ATOM entry with a ${root}.`);
  }
  return content;
}

/** The properties that a description gives. */
export function givenOf(description: XmlElement): Map<string, string | AuthorizationRule[]> {
  return new Map(
    description.children.map((child) => [
      child.name,
      child.name === 'AuthorizationRules' ? child.children.map(authorizationRuleOf) : child.text,
    ]),
  );
}

function authorizationRuleOf(rule: XmlElement): AuthorizationRule {
  const text = (name: string): string => childOf(rule, name)?.text ?? '';
  const rights = childOf(rule, 'Rights')?.children.map((right) => right.text) ?? [];
  const unknown = rights.find((right) => !['Manage', 'Send', 'Listen'].includes(right));
  if (unknown !== undefined) throw refusals.badRequest(`The right '${unknown}' is unknown.`);
  return {
    keyName: text('KeyName'),
    primaryKey: text('PrimaryKey'),
    secondaryKey: text('SecondaryKey'),
    rights,
  };
}

function encodeValue(name: string, value: Value): string {
  if (!Array.isArray(value)) return element(name, value);
  const rules = value.map(
    ({ keyName, primaryKey, secondaryKey, rights }) =>
      '<AuthorizationRule i:type="SharedAccessAuthorizationRule">' +
      `${element('ClaimType', 'SharedAccessKey')}${element('ClaimValue', 'None')}` +
      `<Rights>${rights.map((right) => element('AccessRights', right)).join('')}</Rights>` +
      `${element('KeyName', keyName)}${element('PrimaryKey', primaryKey)}` +
      `${element('SecondaryKey', secondaryKey)}</AuthorizationRule>`,
  );
  return `<${name}>${rules.join('')}</${name}>`;
}

/** An entity with its properties and what is in it. */
export function entryOf(item: Item, counts: Counts): AtomEntry {
  const { kind, path, values, createdAt, updatedAt, accessedAt } = item;
  const properties = elementNames[kind].map((name) => {
    const value = values[name];
    return value === undefined ? '' : encodeValue(name, value);
  });
  const messages = counts.active + counts.deadLetter + counts.scheduled;
  const content = [
    ...properties,
    ...(kind === 'topic' ? [] : [element('MessageCount', messages)]),
    ...(kind === 'subscription' ? [] : [element('SizeInBytes', counts.sizeInBytes)]),
    ...(kind === 'topic' ? [element('SubscriptionCount', counts.subscriptions)] : []),
    element('CreatedAt', instant(createdAt)),
    element('UpdatedAt', instant(updatedAt)),
    element('AccessedAt', instant(accessedAt)),
    encodeCounts(counts),
  ];
  return { path, updatedAt, root: roots[kind], content: content.join('') };
}

/** The clients want exactly one attribute here, which names the prefix [SB 16.5]. */
function encodeCounts({ active, deadLetter, scheduled }: Counts): string {
  const details = [
    element('d2p1:ActiveMessageCount', active),
    element('d2p1:DeadLetterMessageCount', deadLetter),
    element('d2p1:ScheduledMessageCount', scheduled),
    element('d2p1:TransferMessageCount', 0),
    element('d2p1:TransferDeadLetterMessageCount', 0),
  ];
  const namespace = 'http://schemas.microsoft.com/netservices/2011/06/servicebus';
  return `<CountDetails xmlns:d2p1="${namespace}">${details.join('')}</CountDetails>`;
}

const schema = 'http://www.w3.org/2001/XMLSchema';

function encodePairs(name: string, pairs: ReadonlyMap<string, FilterValue>): string {
  if (pairs.size === 0) return '';
  const encoded = [...pairs].map(([key, value]) => {
    const { type, text } = typedText(value);
    const typed = `<Value i:type="d6p1:${type}" xmlns:d6p1="${schema}">`;
    return (
      `<KeyValueOfstringanyType>${element('Key', key)}` +
      `${element('Value', text).replace('<Value>', typed)}</KeyValueOfstringanyType>`
    );
  });
  return `<${name}>${encoded.join('')}</${name}>`;
}

function pairsOf(pairs: XmlElement | undefined): Map<string, FilterValue> {
  return new Map(
    (pairs?.children ?? []).map((pair) => {
      const value = childOf(pair, 'Value');
      const type = value?.attributes.get('type')?.replace(/^.*:/, '') ?? 'string';
      return [childOf(pair, 'Key')?.text ?? '', filterValueOf({ type, text: value?.text ?? '' })];
    }),
  );
}

const correlationNames = [
  ...['CorrelationId', 'MessageId', 'To', 'ReplyTo', 'Label', 'SessionId', 'ReplyToSessionId'],
  'ContentType',
];

function sqlOf(description: XmlElement): SqlExpression {
  const parameters = pairsOf(childOf(description, 'Parameters'));
  const expression = childOf(description, 'SqlExpression')?.text;
  if (!expression) throw refusals.badRequest("The 'SqlExpression' is missing.");
  return { expression, parameters };
}

function filterOf(filter: XmlElement | undefined): Filter {
  const type = filter?.attributes.get('type')?.replace(/^.*:/, '');
  switch (type) {
    case 'TrueFilter':
      return { kind: 'true' };
    case 'FalseFilter':
      return { kind: 'false' };
    case 'SqlFilter':
      return { kind: 'sql', ...sqlOf(filter ?? missing('Filter')) };
    case 'CorrelationFilter': {
      const system = new Map<string, string>();
      for (const name of correlationNames) {
        const text = childOf(filter, name)?.text;
        if (text) system.set(name, text);
      }
      return { kind: 'correlation', system, user: pairsOf(childOf(filter, 'Properties')) };
    }
    default:
      throw refusals.notSupported(`filters of type '${type ?? 'none'}'`);
  }
}

function missing(name: string): never {
  throw refusals.badRequest(`The element '${name}' is missing.`);
}

/** The rule of a description; one without a filter selects everything. */
export function ruleOf(description: XmlElement, name: string): RuleDefinition {
  const filter = childOf(description, 'Filter');
  const action = childOf(description, 'Action');
  const type = action?.attributes.get('type')?.replace(/^.*:/, '');
  const definition: RuleDefinition = {
    name,
    filter: filter ? filterOf(filter) : { kind: 'true' },
  };
  if (!action || type === 'EmptyRuleAction') return definition;
  if (type !== 'SqlRuleAction') throw refusals.notSupported(`actions of type '${String(type)}'`);
  return { ...definition, action: sqlOf(action) };
}

/** The first rule of a subscription, when its description brings one. */
export function firstRuleOf(description: XmlElement): RuleDefinition | undefined {
  const rule = childOf(description, 'DefaultRuleDescription');
  return rule && ruleOf(rule, childOf(rule, 'Name')?.text ?? '$Default');
}

const encodeSql = ({ expression, parameters }: SqlExpression): string =>
  `${element('SqlExpression', expression)}${element('CompatibilityLevel', 20)}` +
  encodePairs('Parameters', parameters);

const constant = (expression: string): string => encodeSql({ expression, parameters: new Map() });

function encodeFilter(filter: Filter): string {
  switch (filter.kind) {
    case 'true':
      return `<Filter i:type="TrueFilter">${constant('1=1')}</Filter>`;
    case 'false':
      return `<Filter i:type="FalseFilter">${constant('1=0')}</Filter>`;
    case 'sql':
      return `<Filter i:type="SqlFilter">${encodeSql(filter)}</Filter>`;
    case 'correlation': {
      const texts = correlationNames.map((name) => {
        const text = filter.system.get(name);
        return text === undefined ? '' : element(name, text);
      });
      const user = encodePairs('Properties', filter.user);
      return `<Filter i:type="CorrelationFilter">${texts.join('')}${user}</Filter>`;
    }
  }
}

export function ruleEntryOf(item: SubscriptionItem, { definition, createdAt }: Rule): AtomEntry {
  const { name, filter, action } = definition;
  const content = [
    encodeFilter(filter),
    action
      ? `<Action i:type="SqlRuleAction">${encodeSql(action)}</Action>`
      : '<Action i:type="EmptyRuleAction"/>',
    element('CreatedAt', instant(createdAt)),
    element('Name', name),
  ].join('');
  const path = `${item.path}/Rules/${name}`;
  return { path, updatedAt: createdAt, root: 'RuleDescription', content };
}
