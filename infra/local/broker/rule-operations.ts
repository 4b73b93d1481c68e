// The $management operations of a subscription's rules, as rule managers of the clients send them
// [SB 11, 11.2].
import type { SubscriptionItem } from './catalog.ts';
import { refusals } from './conditions.ts';
import { encodeFilterValue, filterValueAt } from './message-properties.ts';
import { done, nothing, numberField, textField } from './operation.ts';
import type { Operation, RequestContext } from './operation.ts';
import type { Request } from './request.ts';
import type { Filter, Rule, RuleDefinition, SqlExpression } from './rule.ts';
import type { FilterValue } from './sql-parse.ts';
import * as wire from './wire.ts';

/** Rules in one answer. */
const pageMax = 100;

/** Descriptors of the described lists [SB 11.2]. */
const descriptors = {
  rule: 0x13700000004n,
  noAction: 0x13700000005n,
  sqlAction: 0x13700000006n,
  sql: 0x1370000006n,
  true: 0x1370000007n,
  false: 0x1370000008n,
  correlation: 0x1370000009n,
};

/** The conditions of a correlation filter in the order of its list, by our name and the wire's. */
const correlationFields: readonly [string, string][] = [
  ['CorrelationId', 'correlation-id'],
  ['MessageId', 'message-id'],
  ['To', 'to'],
  ['ReplyTo', 'reply-to'],
  ['Label', 'label'],
  ['SessionId', 'session-id'],
  ['ReplyToSessionId', 'reply-to-session-id'],
  ['ContentType', 'content-type'],
];

function subscriptionOf({ namespace, entity }: RequestContext): SubscriptionItem {
  const item = namespace.catalog.itemOf(entity);
  if (item?.kind !== 'subscription' || item.entity !== entity) {
    throw refusals.badRequest(`'${entity.path}' is not a subscription and has no rules.`);
  }
  return item;
}

function nameOf(request: Request): string {
  const name = textField(request, 'rule-name');
  if (name === undefined) throw refusals.badRequest("'rule-name' is missing.");
  return name;
}

export const addRule: Operation = (request, context) => {
  const item = subscriptionOf(context);
  const name = nameOf(request);
  const at = request.body.get('rule-description');
  if (at === undefined) throw refusals.badRequest("'rule-description' is missing.");
  const { bytes } = request;
  const description = wire.mapOffsets(bytes, at);
  const action = sqlAt(bytes, description.get('sql-rule-action'));
  const definition: RuleDefinition = { name, filter: filterOf(bytes, description) };
  context.namespace.catalog.addRule(item, { ...definition, ...(action ? { action } : {}) });
  return done();
};

export const removeRule: Operation = (request, context) => {
  context.namespace.catalog.removeRule(subscriptionOf(context), nameOf(request));
  return done();
};

export const enumerateRules: Operation = (request, context) => {
  const { rules } = subscriptionOf(context).subscription;
  const skip = numberField(request, 'skip', 0);
  const top = Math.min(numberField(request, 'top', pageMax), pageMax);
  const page = [...rules.keys()].toSorted().slice(skip, skip + top);
  if (page.length === 0) return nothing;
  const encoded = page.flatMap((name) => {
    const rule = rules.get(name);
    return rule ? [wire.encodeMap([wire.encodeString('rule-description'), encodeRule(rule)])] : [];
  });
  return done(wire.encodeString('rules'), wire.encodeList(encoded));
};

function filterOf(bytes: Buffer, description: Map<string, number>): Filter {
  const sql = sqlAt(bytes, description.get('sql-filter'));
  if (sql) return { kind: 'sql', ...sql };
  const at = description.get('correlation-filter');
  if (at === undefined) throw refusals.badRequest('The rule has no filter.');
  const fields = wire.mapOffsets(bytes, at);
  const system = new Map<string, string>();
  for (const [name, field] of correlationFields) {
    const value = fields.has(field) ? wire.decode(bytes, fields.get(field) ?? 0) : null;
    if (value !== null && value !== undefined) system.set(name, String(value));
  }
  const user = new Map<string, FilterValue>();
  const properties = fields.get('properties');
  if (properties !== undefined && bytes[properties] !== wire.encodeNull[0]) {
    for (const [name, value] of wire.mapOffsets(bytes, properties)) {
      const wanted = filterValueAt(bytes, value);
      if (wanted === undefined) throw refusals.notSupported(`the type of '${name}' in rules`);
      user.set(name, wanted);
    }
  }
  return { kind: 'correlation', system, user };
}

function sqlAt(bytes: Buffer, at: number | undefined): SqlExpression | undefined {
  if (at === undefined || bytes[at] === wire.encodeNull[0]) return undefined;
  const expression = wire.mapOffsets(bytes, at).get('expression');
  const text = expression === undefined ? undefined : wire.decode(bytes, expression);
  if (typeof text !== 'string') throw refusals.badRequest("'expression' is missing.");
  return { expression: text, parameters: new Map() };
}

function described(descriptor: bigint, items: readonly Buffer[]): Buffer {
  const head = Buffer.from([0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, 0]);
  head.writeBigUInt64BE(descriptor, 2);
  return Buffer.concat([head, wire.encodeList(items)]);
}

function encodeRule({ definition, createdAt }: Rule): Buffer {
  const { name, filter, action } = definition;
  return described(descriptors.rule, [
    encodeFilter(filter),
    action
      ? described(descriptors.sqlAction, [wire.encodeString(action.expression)])
      : described(descriptors.noAction, []),
    wire.encodeString(name),
    wire.encodeTimestamp(createdAt),
  ]);
}

function encodeFilter(filter: Filter): Buffer {
  switch (filter.kind) {
    case 'sql':
      return described(descriptors.sql, [wire.encodeString(filter.expression)]);
    case 'correlation': {
      const texts = correlationFields.map(([name]) => {
        const text = filter.system.get(name);
        return text === undefined ? wire.encodeNull : wire.encodeString(text);
      });
      const properties = [...filter.user].flatMap(([name, value]) => [
        wire.encodeString(name),
        encodeFilterValue(value),
      ]);
      return described(descriptors.correlation, [...texts, wire.encodeMap(properties)]);
    }
    default:
      return described(descriptors[filter.kind], []);
  }
}
