// Which queues, topics, subscriptions and rules there are.
//
// Owns:    creating, changing and deleting them; what of it the data file keeps.
// Leaves:  messages to entity.ts and topic.ts, texts of the management API to the admin files.
//
// How Config.json and entities made at run time meet:
//   G1. At every start Config.json's entities are as it says; what was changed on them is undone,
//       what was deleted is there again, empty.
//   G2. Everything else is as it was left, also subscriptions of a declared topic and rules of a
//       subscription that Config.json does not declare.
//   G3. An entity that left Config.json keeps its messages in the data file, out of reach, until
//       one of its name is declared or created again.
import { refusals } from './conditions.ts';
import type { NamespaceConfig, TopicConfig } from './config.ts';
import { decodeStored, encodeDefinition, encodeRule } from './definition.ts';
import type { EntityDefinition, Stored } from './definition.ts';
import type { Entity } from './entity.ts';
import { queuePropertiesOf, valuesOfProperties } from './properties.ts';
import type { EntityKind, QueueProperties, Values } from './properties.ts';
import { defaultRule, makeRule } from './rule.ts';
import type { RuleDefinition } from './rule.ts';
import type { Subscription, Topic } from './topic.ts';

interface Described {
  /** As it was created; addresses do not mind case. */
  path: string;
  values: Values;
  createdAt: number;
  updatedAt: number;
  accessedAt: number;
}

export interface QueueItem extends Described {
  kind: 'queue';
  entity: Entity;
}
export interface TopicItem extends Described {
  kind: 'topic';
  entity: Entity;
  topic: Topic;
}
export interface SubscriptionItem extends Described {
  kind: 'subscription';
  entity: Entity;
  topic: TopicItem;
  subscription: Subscription;
}
export type Item = QueueItem | TopicItem | SubscriptionItem;

/** What the catalog asks of the namespace. */
export interface CatalogPort {
  now(): number;
  /** Opens a queue with its dead-letter queue, with the messages the data file has for it. */
  openQueue(path: string, properties: QueueProperties): Entity;
  openTopic(path: string, properties: QueueProperties): Topic;
  /** Detaches receivers, stops timers and deletes messages. */
  drop(entity: Entity): void;
  define(path: string, text: string): void;
  undefine(path: string): void;
  /** An entity came into being or was changed: it may have to go when it is idle. */
  watchIdle(item: Item): void;
}

/** [SB: quotas] */
const entitiesMax = 10_000;
const subscriptionsMax = 2_000;
const rulesMax = 2_000;

const subscriptionPath = (topic: string, name: string): string => `${topic}/Subscriptions/${name}`;
const rulePath = (subscription: string, name: string): string => `${subscription}/Rules/${name}`;

export class Catalog {
  /** Queues, topics and subscriptions by lower-cased path. */
  private readonly items = new Map<string, Item>();
  private readonly byEntity = new Map<Entity, Item>();
  private readonly port: CatalogPort;

  constructor(port: CatalogPort) {
    this.port = port;
  }

  find(path: string): Item | undefined {
    return this.items.get(path.toLowerCase());
  }

  /** The item an entity belongs to; a dead-letter queue belongs to its queue. */
  itemOf(entity: Entity): Item | undefined {
    return this.byEntity.get(entity);
  }

  /** All items of a kind in order of their names; subscriptions of one topic. */
  list<Kind extends EntityKind>(kind: Kind, topic?: TopicItem): Extract<Item, { kind: Kind }>[] {
    const isOfKind = (item: Item): item is Extract<Item, { kind: Kind }> => item.kind === kind;
    return [...this.items.values()]
      .filter((item) => item.kind !== 'subscription' || item.topic === topic)
      .filter(isOfKind)
      .sort((a, b) => (a.path.toLowerCase() < b.path.toLowerCase() ? -1 : 1));
  }

  /** Config.json and what the data file knows besides [G1, G2]. */
  load(config: NamespaceConfig, stored: readonly { path: string; text: string }[]): void {
    for (const { name, properties } of config.queues) {
      this.addQueue(name, valuesOfProperties('queue', properties), properties);
    }
    for (const topic of config.topics ?? []) this.declareTopic(topic);
    const declared = new Set(this.items.keys());
    const decoded = stored.map(({ path, text }) => ({ path, ...decodeStored(text) }));
    // Topics before their subscriptions, these before their rules.
    for (const each of decoded.toSorted((a, b) => depthOf(a) - depthOf(b))) {
      const owner = each.rule ? cut(each.path, '/Rules/')[0] : each.path;
      if (declared.has(owner.toLowerCase())) this.port.undefine(each.path);
      else this.restore(each.path, each);
    }
  }

  private declareTopic({ name, properties, subscriptions }: TopicConfig): void {
    const complete = { ...topicDefaults, ...properties };
    const topic = this.addTopic(name, valuesOfProperties('topic', complete), complete);
    for (const subscription of subscriptions) {
      const values = valuesOfProperties('subscription', subscription.properties);
      const item = this.addSubscription(topic, subscription.name, values);
      item.entity.configure(subscription.properties);
      const rules = subscription.rules.length > 0 ? subscription.rules : [defaultRule];
      for (const rule of rules) this.setRule(item, rule, this.port.now());
    }
  }

  private restore(path: string, { entity, rule }: Stored): void {
    if (rule) {
      const item = this.find(cut(path, '/Rules/')[0]);
      if (item?.kind === 'subscription') this.setRule(item, rule.definition, rule.createdAt);
      return;
    }
    const [topicPath, name] = cut(path, '/Subscriptions/');
    const topic = this.find(topicPath);
    let item: Item | undefined;
    if (entity.kind === 'queue') item = this.addQueue(path, entity.values);
    else if (entity.kind === 'topic') item = this.addTopic(path, entity.values);
    else if (topic?.kind === 'topic') item = this.addSubscription(topic, name, entity.values);
    if (!item) return;
    const { createdAt, updatedAt } = entity;
    Object.assign(item, { createdAt, updatedAt, accessedAt: updatedAt });
    this.port.watchIdle(item);
  }

  private describe(path: string, values: Values): Described {
    const now = this.port.now();
    return { path, values, createdAt: now, updatedAt: now, accessedAt: now };
  }

  private keep<Kept extends Item>(item: Kept): Kept {
    this.items.set(item.path.toLowerCase(), item);
    this.byEntity.set(item.entity, item);
    if (item.entity.deadLetters) this.byEntity.set(item.entity.deadLetters, item);
    return item;
  }

  private addQueue(path: string, values: Values, properties = queuePropertiesOf(values)) {
    const entity = this.port.openQueue(path, properties);
    return this.keep({ ...this.describe(path, values), kind: 'queue', entity });
  }

  private addTopic(path: string, values: Values, properties = queuePropertiesOf(values)) {
    const topic = this.port.openTopic(path, { ...properties, ...unlimited });
    const { entity } = topic;
    return this.keep({ ...this.describe(path, values), kind: 'topic', topic, entity });
  }

  private addSubscription(topic: TopicItem, name: string, values: Values): SubscriptionItem {
    const path = subscriptionPath(topic.path, name);
    const entity = this.port.openQueue(path, queuePropertiesOf(values));
    const subscription: Subscription = {
      name,
      entity,
      rules: new Map(),
      deadLettersFilterFaults: values['DeadLetteringOnFilterEvaluationExceptions'] !== false,
    };
    topic.topic.subscriptions.set(name.toLowerCase(), subscription);
    const described = this.describe(path, values);
    return this.keep({ ...described, kind: 'subscription', entity, topic, subscription });
  }

  private define(item: Item): void {
    const { kind, createdAt, updatedAt, values } = item;
    const definition: EntityDefinition = { kind, createdAt, updatedAt, values };
    this.port.define(item.path, encodeDefinition(definition));
    this.port.watchIdle(item);
  }

  /** A new queue. Throws a Refusal: the name is taken, or there are too many entities. */
  createQueue(path: string, values: Values): QueueItem {
    this.checkFree(path);
    const item = this.addQueue(path, values);
    this.define(item);
    return item;
  }

  createTopic(path: string, values: Values): TopicItem {
    this.checkFree(path);
    const item = this.addTopic(path, values);
    this.define(item);
    return item;
  }

  /** A new subscription with one rule. */
  createSubscription(
    topic: TopicItem,
    name: string,
    { values, rule = defaultRule }: { values: Values; rule?: RuleDefinition | undefined },
  ): SubscriptionItem {
    const path = subscriptionPath(topic.path, name);
    this.checkFree(path);
    if (topic.topic.subscriptions.size >= subscriptionsMax) {
      throw refusals.quotaExceeded(`A topic has at most ${subscriptionsMax} subscriptions.`);
    }
    makeRule(rule, 0);
    const item = this.addSubscription(topic, name, values);
    this.define(item);
    this.addRule(item, rule);
    return item;
  }

  private checkFree(path: string): void {
    if (this.find(path)) throw refusals.entityExists(path);
    if (this.items.size >= entitiesMax) {
      throw refusals.quotaExceeded(`A namespace has at most ${entitiesMax} entities.`);
    }
  }

  /** Takes changed values, complete and checked. */
  update(item: Item, values: Values): void {
    item.values = values;
    item.updatedAt = this.port.now();
    const properties = queuePropertiesOf(values);
    if (item.kind === 'topic') {
      item.entity.configure({ ...properties, ...unlimited });
      item.topic.detectDuplicates(properties.duplicateDetectionSeconds);
    } else item.entity.configure(properties);
    if (item.kind === 'subscription') {
      item.subscription.deadLettersFilterFaults =
        values['DeadLetteringOnFilterEvaluationExceptions'] !== false;
    }
    this.define(item);
  }

  /** Deletes an entity with its messages; a topic with its subscriptions. */
  remove(item: Item): void {
    if (item.kind === 'topic') {
      for (const subscription of this.list('subscription', item)) this.remove(subscription);
    }
    if (item.kind === 'subscription') {
      const { subscription, topic } = item;
      for (const { definition } of subscription.rules.values()) {
        this.port.undefine(rulePath(item.path, definition.name));
      }
      topic.topic.subscriptions.delete(subscription.name.toLowerCase());
    }
    this.items.delete(item.path.toLowerCase());
    for (const entity of [item.entity, item.entity.deadLetters]) {
      if (!entity) continue;
      this.byEntity.delete(entity);
      this.port.drop(entity);
    }
    this.port.undefine(item.path);
  }

  private setRule(item: SubscriptionItem, definition: RuleDefinition, createdAt: number): void {
    const { rules } = item.subscription;
    rules.set(definition.name.toLowerCase(), makeRule(definition, createdAt));
  }

  /** Throws a Refusal: the name is taken, the rule is invalid, or there are too many. */
  addRule(item: SubscriptionItem, definition: RuleDefinition): void {
    const path = rulePath(item.path, definition.name);
    const { rules } = item.subscription;
    if (rules.has(definition.name.toLowerCase())) throw refusals.entityExists(path);
    if (rules.size >= rulesMax) {
      throw refusals.quotaExceeded(`A subscription has at most ${rulesMax} rules.`);
    }
    this.writeRule(item, definition, this.port.now());
  }

  replaceRule(item: SubscriptionItem, definition: RuleDefinition): void {
    const old = this.ruleOf(item, definition.name);
    this.writeRule(item, { ...definition, name: old.definition.name }, old.createdAt);
  }

  private writeRule(item: SubscriptionItem, definition: RuleDefinition, createdAt: number): void {
    this.setRule(item, definition, createdAt);
    this.port.define(rulePath(item.path, definition.name), encodeRule(definition, createdAt));
  }

  removeRule(item: SubscriptionItem, name: string): void {
    const { definition } = this.ruleOf(item, name);
    item.subscription.rules.delete(name.toLowerCase());
    this.port.undefine(rulePath(item.path, definition.name));
  }

  /** Throws a Refusal when the subscription has no such rule. */
  ruleOf(item: SubscriptionItem, name: string) {
    const rule = item.subscription.rules.get(name.toLowerCase());
    if (!rule) throw refusals.entityNotFound(rulePath(item.path, name));
    return rule;
  }
}

const topicDefaults: QueueProperties = {
  requiresSession: false,
  lockDurationSeconds: 60,
  maxDeliveryCount: 10,
  deadLetterOnExpiration: false,
};

/** A topic's own entity only holds what is scheduled: nobody receives from it. */
const unlimited = { requiresSession: false, maxDeliveryCount: Infinity };

const depthOf = ({ entity }: Stored): number =>
  entity ? Number(entity.kind === 'subscription') : 2;

/** What stands before and behind the last occurrence of a word. */
function cut(path: string, word: string): [string, string] {
  const at = path.lastIndexOf(word);
  return at < 0 ? [path, ''] : [path.slice(0, at), path.slice(at + word.length)];
}
