// PURE. Evaluates SQL filters and actions on a message, with three-valued logic: undefined is
// "unknown" [SB: SQL filter syntax].
//
// Operators bind as in C#: numbers are promoted, other kinds compare with their own kind only, and
// strings know equality but no order. What does not bind is a FilterFault, as in the service.
import type { Change, FilterValue, Node, Operator, PropertyNode } from './sql-parse.ts';

/** The evaluation failed; the subscription decides what becomes of the message. */
export class FilterFault extends Error {
  override readonly name = 'FilterFault';
}

/** What rules see of a message. */
export interface FilterMessage {
  /** By the name of the service, such as `Label`. */
  system(name: string): FilterValue | undefined;
  /** Case does not matter. */
  user(name: string): FilterValue | undefined;
}

/** What an action does to a property; undefined removes it. */
export interface Assignment {
  property: PropertyNode;
  value: FilterValue | undefined;
}

type Known = FilterValue | undefined;

/** True, false, or undefined when unknown. Throws FilterFault. */
export function holds(condition: Node, message: FilterMessage): boolean | undefined {
  switch (condition.kind) {
    case 'and': {
      const left = holds(condition.left, message);
      if (left === false) return false;
      const right = holds(condition.right, message);
      return right === false ? false : left && right;
    }
    case 'or': {
      const left = holds(condition.left, message);
      if (left === true) return true;
      const right = holds(condition.right, message);
      return right === true ? true : left === undefined ? undefined : right;
    }
    case 'not': {
      const operand = holds(condition.operand, message);
      return operand === undefined ? undefined : !operand;
    }
    case 'compare': {
      const left = valueOf(condition.left, message);
      return compare(condition.operator, left, valueOf(condition.right, message));
    }
    case 'isNull':
      return (valueOf(condition.operand, message) ?? null) === null;
    case 'exists':
      return valueOf(condition.operand, message) !== undefined;
    case 'in':
      return isIn(valueOf(condition.operand, message), condition.choices, message);
    case 'like':
      return isLike(condition, message);
    default:
      throw new FilterFault('a condition is expected');
  }
}

/** The assignments an action makes, in order; later statements see earlier ones. */
export function assign(changes: readonly Change[], message: FilterMessage): Assignment[] {
  const assignments: Assignment[] = [];
  const find = (scope: string, name: string): Assignment | undefined =>
    assignments.findLast(
      ({ property }) =>
        property.scope === scope && property.name.toLowerCase() === name.toLowerCase(),
    );
  const changed: FilterMessage = {
    system: (name) => (find('sys', name) ?? { value: message.system(name) }).value,
    user: (name) => (find('user', name) ?? { value: message.user(name) }).value,
  };
  for (const { property, value } of changes) {
    const assigned = value === undefined ? undefined : (valueOf(value, changed) ?? null);
    assignments.push({ property, value: assigned });
  }
  return assignments;
}

function valueOf(node: Node, message: FilterMessage): Known {
  switch (node.kind) {
    case 'constant':
      return node.value;
    case 'property':
      return node.scope === 'sys' ? message.system(node.name) : message.user(node.name);
    case 'lookup': {
      const name = valueOf(node.name, message);
      if (typeof name !== 'string') throw new FilterFault('property() needs the name as a string');
      return message.user(name);
    }
    case 'negate': {
      const operand = valueOf(node.operand, message);
      if (operand === undefined || operand === null) return undefined;
      if (typeof operand !== 'bigint' && typeof operand !== 'number') throw unbound('-', operand);
      return -operand;
    }
    case 'arithmetic': {
      const left = valueOf(node.left, message);
      return calculate(node.operator, left, valueOf(node.right, message));
    }
    default:
      throw new FilterFault('an expression is expected');
  }
}

const isNumber = (value: Known): value is bigint | number =>
  typeof value === 'bigint' || typeof value === 'number';

function unbound(operator: string, ...operands: Known[]): FilterFault {
  const kinds = operands.map((operand) => kindOf(operand)).join(' and ');
  return new FilterFault(`the operator '${operator}' is not defined for ${kinds}`);
}

function kindOf(value: Known): string {
  if (value instanceof Date) return 'date';
  if (Buffer.isBuffer(value)) return 'binary';
  return typeof value === 'bigint' ? 'integer' : typeof value;
}

/** Unknown and NULL make any operator unknown. */
const isUnknown = (value: Known): value is null | undefined =>
  value === undefined || value === null;

function compare(operator: Operator, left: Known, right: Known): boolean | undefined {
  if (isUnknown(left) || isUnknown(right)) return undefined;
  if (operator === '=' || operator === '<>') {
    return isEqual(operator, left, right) === (operator === '=');
  }
  const bothNumbers = isNumber(left) && isNumber(right);
  if (!bothNumbers && !(left instanceof Date && right instanceof Date)) {
    throw unbound(operator, left, right);
  }
  switch (operator) {
    case '<':
      return left < right;
    case '<=':
      return left <= right;
    case '>':
      return left > right;
    default:
      return left >= right;
  }
}

function isEqual(operator: string, left: FilterValue, right: FilterValue): boolean {
  // Loose equality is the numeric one between bigint and number.
  // oxlint-disable-next-line eqeqeq
  if (isNumber(left) && isNumber(right)) return left == right;
  if (left instanceof Date && right instanceof Date) return left.getTime() === right.getTime();
  if (Buffer.isBuffer(left) && Buffer.isBuffer(right)) return left.equals(right);
  if (kindOf(left) !== kindOf(right)) throw unbound(operator, left, right);
  return left === right;
}

function calculate(operator: Operator, left: Known, right: Known): Known {
  if (isUnknown(left) || isUnknown(right)) return undefined;
  if (operator === '+' && typeof left === 'string' && typeof right === 'string') {
    return left + right;
  }
  if (typeof left === 'bigint' && typeof right === 'bigint') return integers(operator, left, right);
  if (!isNumber(left) || !isNumber(right)) throw unbound(operator, left, right);
  const [a, b] = [Number(left), Number(right)];
  switch (operator) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      return a / b;
    default:
      return a % b;
  }
}

/** 64-bit, wrapping, as C# does it unchecked. */
function integers(operator: Operator, left: bigint, right: bigint): bigint {
  const isDivision = operator === '/' || operator === '%';
  if (isDivision && right === 0n) throw new FilterFault('division by zero');
  switch (operator) {
    case '+':
      return BigInt.asIntN(64, left + right);
    case '-':
      return BigInt.asIntN(64, left - right);
    case '*':
      return BigInt.asIntN(64, left * right);
    case '/':
      return BigInt.asIntN(64, left / right);
    default:
      return left % right;
  }
}

function isIn(
  operand: Known,
  choices: readonly Node[],
  message: FilterMessage,
): boolean | undefined {
  if (isUnknown(operand)) return undefined;
  let result: boolean | undefined = false;
  for (const choice of choices) {
    const isThis = compare('=', operand, valueOf(choice, message));
    if (isThis === true) return true;
    if (isThis === undefined) result = undefined;
  }
  return result;
}

function isLike(
  { operand, pattern, escape }: Extract<Node, { kind: 'like' }>,
  message: FilterMessage,
): boolean | undefined {
  const [text, wanted] = [valueOf(operand, message), valueOf(pattern, message)];
  const escapeBy = escape === undefined ? '' : valueOf(escape, message);
  if (isUnknown(text) || isUnknown(wanted) || isUnknown(escapeBy)) return undefined;
  if (typeof text !== 'string' || typeof wanted !== 'string') throw unbound('LIKE', text, wanted);
  if (typeof escapeBy !== 'string' || escapeBy.length > 1) {
    throw new FilterFault('ESCAPE needs one character');
  }
  return matches(text, partsOf(wanted, escapeBy));
}

const anyCharacter = Symbol('_');
const anyText = Symbol('%');
type Part = string | typeof anyCharacter | typeof anyText;

function partsOf(pattern: string, escapeBy: string): Part[] {
  const parts: Part[] = [];
  for (let at = 0; at < pattern.length; at++) {
    const character = pattern[at] ?? '';
    if (character === escapeBy && at + 1 < pattern.length) parts.push(pattern[++at] ?? '');
    else if (character === '%') parts.push(anyText);
    else parts.push(character === '_' ? anyCharacter : character);
  }
  return parts;
}

/** Greedy with one point to return to: at worst length of the text × length of the pattern. */
function matches(text: string, parts: readonly Part[]): boolean {
  let [at, part, retryAt, retryPart] = [0, 0, 0, -1];
  while (at < text.length) {
    const wanted = parts[part];
    if (wanted === anyText) [retryAt, retryPart] = [at, ++part];
    else if (wanted === anyCharacter || wanted === text[at]) [at, part] = [at + 1, part + 1];
    else if (retryPart >= 0) [at, part] = [++retryAt, retryPart];
    else return false;
  }
  return parts.slice(part).every((rest) => rest === anyText);
}
