// PURE. What the data file keeps of an entity or rule that was made at run time, as one line of
// JSON, and the typed texts in which values of rules are written there and in ATOM entries.
import { refusals } from './conditions.ts';
import type { EntityKind, Values } from './properties.ts';
import type { Filter, RuleDefinition, SqlExpression } from './rule.ts';
import type { FilterValue } from './sql-parse.ts';

export interface EntityDefinition {
  kind: EntityKind;
  /** In milliseconds, like updatedAt. */
  createdAt: number;
  updatedAt: number;
  values: Values;
}

/** A value and its XML schema type: string, int, long, double, boolean or dateTime. */
export interface TypedText {
  type: string;
  text: string;
}

/** The name of a value's type is what the clients read in ATOM entries [SB 16.3]. */
export function typedText(value: FilterValue): TypedText {
  if (typeof value === 'bigint') return { type: 'int', text: String(value) };
  if (typeof value === 'number') return { type: 'double', text: String(value) };
  if (typeof value === 'boolean') return { type: 'boolean', text: String(value) };
  if (typeof value === 'string') return { type: 'string', text: value };
  if (value instanceof Date) return { type: 'dateTime', text: value.toISOString() };
  throw refusals.notSupported('values of this type in rules');
}

/** Reads a value. Throws a Refusal that names what is wrong. */
export function filterValueOf({ type, text }: TypedText): FilterValue {
  const wrong = () => refusals.badRequest(`'${text}' is not a value of type '${type}'.`);
  switch (type) {
    case 'string':
      return text;
    case 'boolean':
      if (text !== 'true' && text !== 'false') throw wrong();
      return text === 'true';
    case 'int':
    case 'long':
    case 'short':
    case 'byte':
      if (!/^-?\d{1,19}$/.test(text)) throw wrong();
      return BigInt(text);
    case 'double':
    case 'float':
    case 'decimal': {
      const value = Number(text);
      if (text === '' || Number.isNaN(value)) throw wrong();
      return value;
    }
    case 'dateTime': {
      const value = new Date(text);
      if (Number.isNaN(value.getTime())) throw wrong();
      return value;
    }
    default:
      throw refusals.notSupported(`values of type '${type}' in rules`);
  }
}

type TypedTexts = Record<string, TypedText>;
interface StoredSql {
  expression: string;
  parameters: TypedTexts;
}
type StoredFilter =
  | { kind: 'true' | 'false' }
  | ({ kind: 'sql' } & StoredSql)
  | { kind: 'correlation'; system: Record<string, string>; user: TypedTexts };
interface StoredRule {
  kind: 'rule';
  createdAt: number;
  name: string;
  filter: StoredFilter;
  action?: StoredSql;
}

const typedTexts = (values: ReadonlyMap<string, FilterValue>): TypedTexts =>
  Object.fromEntries([...values].map(([name, value]) => [name, typedText(value)]));
const valuesOf = (texts: TypedTexts): Map<string, FilterValue> =>
  new Map(Object.entries(texts).map(([name, typed]) => [name, filterValueOf(typed)]));

const storedSql = ({ expression, parameters }: SqlExpression): StoredSql => ({
  expression,
  parameters: typedTexts(parameters),
});
const sqlOf = ({ expression, parameters }: StoredSql): SqlExpression => ({
  expression,
  parameters: valuesOf(parameters),
});

function storedFilter(filter: Filter): StoredFilter {
  if (filter.kind === 'sql') return { kind: 'sql', ...storedSql(filter) };
  if (filter.kind !== 'correlation') return filter;
  const { kind, system, user } = filter;
  return { kind, system: Object.fromEntries(system), user: typedTexts(user) };
}

function filterOf(stored: StoredFilter): Filter {
  if (stored.kind === 'sql') return { kind: 'sql', ...sqlOf(stored) };
  if (stored.kind !== 'correlation') return stored;
  const system = new Map(Object.entries(stored.system));
  return { kind: 'correlation', system, user: valuesOf(stored.user) };
}

export function encodeDefinition(definition: EntityDefinition): string {
  return JSON.stringify(definition);
}

export function encodeRule({ name, filter, action }: RuleDefinition, createdAt: number): string {
  const stored: StoredRule = { kind: 'rule', createdAt, name, filter: storedFilter(filter) };
  if (action) stored.action = storedSql(action);
  return JSON.stringify(stored);
}

export type Stored =
  | { entity: EntityDefinition; rule?: undefined }
  | { entity?: undefined; rule: { definition: RuleDefinition; createdAt: number } };

/** Reads what `encodeDefinition` or `encodeRule` wrote. */
export function decodeStored(text: string): Stored {
  const stored = JSON.parse(text) as EntityDefinition | StoredRule;
  if (stored.kind !== 'rule') return { entity: stored };
  const { name, filter, action, createdAt } = stored;
  const definition: RuleDefinition = { name, filter: filterOf(filter) };
  if (action) definition.action = sqlOf(action);
  return { rule: { definition, createdAt } };
}
