// The management API over HTTP: what ServiceBusAdministrationClient asks for [SB 16].
//
// Owns:    what a method on a path means; creating, changing, listing and deleting through it.
// Leaves:  the rules of entities to catalog.ts, texts to descriptions.ts and atom.ts.
import { entryAnswer, entryType, errorAnswer, feedAnswer } from './atom.ts';
import type { Answer, AtomEntry } from './atom.ts';
import type { Item, SubscriptionItem, TopicItem } from './catalog.ts';
import { refusals } from './conditions.ts';
import { contentOf, entryOf, firstRuleOf, givenOf, roots } from './descriptions.ts';
import { ruleEntryOf, ruleOf } from './descriptions.ts';
import type { Counts } from './descriptions.ts';
import type { Namespace } from './namespace.ts';
import { completeValues } from './properties.ts';
import { parseXml } from './xml.ts';
import type { XmlElement } from './xml.ts';

export interface AdminRequest {
  method: string;
  /** Decoded, without slashes around it. */
  path: string;
  query: URLSearchParams;
  /** What the client calls the namespace, with scheme. */
  base: string;
  /** Whether the client means to change what exists. */
  isUpdate: boolean;
  body: string;
}

/** Entries in one page, also when the client asks for more [SB: management API]. */
const pageMax = 100;
/** The official emulator's name, for clients that call it by no name of its own. */
const namespaceName = 'sbemulatorns';

/** Answers one request; what is refused becomes an error answer. */
export function administrate(namespace: Namespace, request: AdminRequest): Answer {
  try {
    return route(namespace, request);
  } catch (error) {
    return errorAnswer(error);
  }
}

/** A path taken apart: an entity, a list, or a rule. */
interface Target {
  topic: string;
  subscription: string | undefined;
  rule: string | undefined;
  isList: boolean;
}

const subscriptionPattern = /^(.+?)\/Subscriptions(?:\/([^/]+)(?:\/(Rules)(?:\/([^/]+))?)?)?$/i;

function targetOf(path: string): Target | undefined {
  const match = subscriptionPattern.exec(path);
  if (!match) return undefined;
  const [, topic = '', subscription, rules, rule] = match;
  const isList = rules === undefined ? subscription === undefined : rule === undefined;
  return { topic, subscription, rule, isList };
}

function route(namespace: Namespace, request: AdminRequest): Answer {
  const path = request.path.toLowerCase();
  const lists = { '$resources/queues': 'queue', '$resources/topics': 'topic' } as const;
  if (path === '') return feedAnswer([], { ...request, next: undefined });
  if (path === '$namespaceinfo') return namespaceInfo(namespace, request);
  if (path === '$resources/queues' || path === '$resources/topics') {
    requireMethod(request, 'GET');
    const items = namespace.catalog.list(lists[path]);
    return page(request, items, (item) => describe(namespace, item));
  }
  if (path.startsWith('$') || path.includes('/$')) {
    if (!/\/rules\/\$default$/i.test(path)) throw refusals.notSupported(`'${request.path}'`);
  }
  const target = targetOf(request.path);
  if (!target) return entity(namespace, request);
  const topic = topicOf(namespace, target.topic);
  if (target.subscription === undefined) {
    requireMethod(request, 'GET');
    const items = namespace.catalog.list('subscription', topic);
    return page(request, items, (item) => describe(namespace, item));
  }
  const isRule = target.rule !== undefined || target.isList;
  if (!isRule) return subscription(namespace, request, { topic, name: target.subscription });
  const item = found(namespace, `${topic.path}/Subscriptions/${target.subscription}`);
  if (item.kind !== 'subscription') throw refusals.entityNotFound(request.path);
  return rule(namespace, request, { item, name: target.rule });
}

function requireMethod({ method, path }: AdminRequest, ...methods: string[]): void {
  if (!methods.includes(method)) throw refusals.notSupported(`${method} on '${path}'`);
}

function found(namespace: Namespace, path: string): Item {
  const item = namespace.catalog.find(path);
  if (!item) throw refusals.entityNotFound(path);
  return item;
}

function topicOf(namespace: Namespace, path: string): TopicItem {
  const item = found(namespace, path);
  if (item.kind !== 'topic') throw refusals.entityNotFound(path);
  return item;
}

/** A queue or a topic: the description says which. */
function entity(namespace: Namespace, request: AdminRequest): Answer {
  requireMethod(request, 'GET', 'PUT', 'DELETE');
  const { catalog } = namespace;
  if (request.method !== 'PUT') return existing(namespace, request, request.path);
  const entry = parseXml(request.body);
  const isTopic = entry.children.some(({ children }) => children[0]?.name === roots.topic);
  const kind = isTopic ? 'topic' : 'queue';
  const description = contentOf(entry, roots[kind]);
  if (request.isUpdate) {
    const item = found(namespace, request.path);
    if (item.kind !== kind) throw refusals.entityNotFound(request.path);
    return changed(namespace, request, { item, description });
  }
  checkName(request.path, 260);
  const values = completeValues(kind, givenOf(description));
  const item = isTopic
    ? catalog.createTopic(request.path, values)
    : catalog.createQueue(request.path, values);
  return entryAnswer(201, describe(namespace, item), request.base);
}

function subscription(
  namespace: Namespace,
  request: AdminRequest,
  { topic, name }: { topic: TopicItem; name: string },
): Answer {
  requireMethod(request, 'GET', 'PUT', 'DELETE');
  const path = `${topic.path}/Subscriptions/${name}`;
  if (request.method !== 'PUT') return existing(namespace, request, path);
  const description = contentOf(parseXml(request.body), roots.subscription);
  if (request.isUpdate) {
    return changed(namespace, request, { item: found(namespace, path), description });
  }
  checkName(name, 50);
  const item = namespace.catalog.createSubscription(topic, name, {
    values: completeValues('subscription', givenOf(description)),
    rule: firstRuleOf(description),
  });
  return entryAnswer(201, describe(namespace, item), request.base);
}

function existing(namespace: Namespace, request: AdminRequest, path: string): Answer {
  const item = found(namespace, path);
  if (request.method === 'GET') return entryAnswer(200, describe(namespace, item), request.base);
  namespace.catalog.remove(item);
  return { status: 200, type: entryType, body: '' };
}

function changed(
  namespace: Namespace,
  request: AdminRequest,
  { item, description }: { item: Item; description: XmlElement },
): Answer {
  namespace.catalog.update(item, completeValues(item.kind, givenOf(description), item.values));
  return entryAnswer(200, describe(namespace, item), request.base);
}

function rule(
  namespace: Namespace,
  request: AdminRequest,
  { item, name }: { item: SubscriptionItem; name: string | undefined },
): Answer {
  const { catalog } = namespace;
  const { rules } = item.subscription;
  if (name === undefined) {
    requireMethod(request, 'GET');
    const ordered = [...rules].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return page(request, ordered, ([, each]) => ruleEntryOf(item, each));
  }
  requireMethod(request, 'GET', 'PUT', 'DELETE');
  if (request.method === 'DELETE') {
    catalog.removeRule(item, name);
    return { status: 200, type: entryType, body: '' };
  }
  if (request.method === 'PUT') {
    const definition = ruleOf(contentOf(parseXml(request.body), 'RuleDescription'), name);
    if (request.isUpdate) catalog.replaceRule(item, definition);
    else catalog.addRule(item, definition);
  }
  const status = request.method === 'PUT' && !request.isUpdate ? 201 : 200;
  return entryAnswer(status, ruleEntryOf(item, catalog.ruleOf(item, name)), request.base);
}

/** [SB 3.2] */
function checkName(name: string, lengthMax: number): void {
  if (name.length > lengthMax || !/^[A-Za-z0-9](?:[\w./~-]*[\w])?$/.test(name)) {
    throw refusals.badRequest(
      `SubCode=40000. The name '${name}' is invalid: 1-${lengthMax} letters, digits, '.', '-', ` +
        "'_', '~' or '/', a letter or digit first.",
    );
  }
}

function countsOf(item: Item): Counts {
  const { entity: queue } = item;
  const dead = queue.deadLetters;
  const bytes = queue.counts.bytes + (dead?.counts.bytes ?? 0);
  return {
    sizeInBytes: item.kind === 'subscription' ? 0 : bytes,
    active: queue.counts.active,
    deadLetter: dead?.counts.active ?? 0,
    scheduled: queue.counts.scheduled,
    subscriptions: item.kind === 'topic' ? item.topic.subscriptions.size : 0,
  };
}

const describe = (namespace: Namespace, item: Item): AtomEntry => entryOf(item, countsOf(item));

/** One page, and where the next one begins. */
function page<T>(
  { query, base, path }: AdminRequest,
  items: readonly T[],
  describeOne: (item: T) => AtomEntry,
): Answer {
  const number = (name: string, fallback: number): number => {
    const text = query.get(name);
    const value = text === null ? fallback : Number(text);
    if (!Number.isInteger(value) || value < 0) {
      throw refusals.badRequest(`The query parameter '${name}' is not a whole number from 0.`);
    }
    return value;
  };
  const skip = number('$skip', 0);
  const top = Math.min(number('$top', pageMax), pageMax);
  const end = skip + top;
  const next = end < items.length ? `api-version=2021-05&$skip=${end}&$top=${top}` : undefined;
  return feedAnswer(items.slice(skip, end).map(describeOne), { base, path, next });
}

function namespaceInfo(namespace: Namespace, request: AdminRequest): Answer {
  requireMethod(request, 'GET');
  const at = namespace.openedAt;
  const host = /^https?:\/\/([A-Za-z][\w-]*)\./.exec(request.base)?.[1];
  const created = new Date(at).toISOString();
  const content =
    `<Alias/><CreatedTime>${created}</CreatedTime><MessagingSKU>Standard</MessagingSKU>` +
    `<ModifiedTime>${created}</ModifiedTime><Name>${host ?? namespaceName}</Name>` +
    '<NamespaceType>Messaging</NamespaceType>';
  const entry = { path: '$namespaceinfo', updatedAt: at, root: 'NamespaceInfo', content };
  return entryAnswer(200, entry, request.base);
}
