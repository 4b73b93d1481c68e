// PURE. The properties of a message as rules see and change them [SB: topic filters].
//
// The message stays bytes: values are cut out when a rule asks for one, and only what an action
// assigns is written anew, so that everything else reaches the receiver unchanged [SB 7.1].
import type { ParsedMessage } from './message.ts';
import type { Assignment, FilterMessage } from './sql-evaluate.ts';
import type { FilterValue } from './sql-parse.ts';
import * as wire from './wire.ts';

/** Where the system properties stand in the properties section [AMQP 3.2.4]. */
const places: Record<string, number> = {
  MessageId: 0,
  To: 2,
  Label: 3,
  ReplyTo: 4,
  CorrelationId: 5,
  ContentType: 6,
  SessionId: 10,
  ReplyToSessionId: 12,
};

interface Section {
  start: number;
  end: number;
  items: number[];
}

function sectionOf(bare: Buffer, code: number): Section | undefined {
  const section = wire.sectionsOf(bare).find((candidate) => candidate.code === code);
  return section && { ...section, items: wire.itemsOf(bare, section.value) };
}

/** One AMQP value: integers of every width are bigint, so that they divide as integers. */
export function filterValueAt(bytes: Buffer, at: number): FilterValue | undefined {
  const code = bytes[at];
  const value = wire.decode(bytes, at);
  if (code === 0x83) return new Date(Number(value));
  if (code === 0x72 || code === 0x82) return Number(value);
  if (typeof value === 'number') return BigInt(value);
  const isPlain = value === null || ['boolean', 'bigint', 'string'].includes(typeof value);
  if (isPlain || Buffer.isBuffer(value)) return value as FilterValue;
  return undefined;
}

/** The AMQP form of a value. */
export function encodeFilterValue(value: FilterValue): Buffer {
  if (typeof value === 'number') return wire.encodeDouble(value);
  if (typeof value === 'bigint') return wire.encodeLong(value);
  return wire.encodeAny(value);
}

/** What rules read of a message; decoded on first use. */
export function viewOf(message: ParsedMessage): FilterMessage {
  const { bare } = message;
  let system: number[] | undefined;
  let user: Map<string, number> | undefined;
  const userOffsets = (): Map<string, number> => {
    const items = sectionOf(bare, 0x74)?.items ?? [];
    const offsets = new Map<string, number>();
    for (let index = 0; index + 1 < items.length; index += 2) {
      const name = String(wire.decode(bare, items[index] ?? 0)).toLowerCase();
      offsets.set(name, items[index + 1] ?? 0);
    }
    return offsets;
  };
  return {
    system(name) {
      system ??= sectionOf(bare, 0x73)?.items ?? [];
      const at = system[places[name] ?? -1];
      const value = at === undefined ? undefined : filterValueAt(bare, at);
      // A property without value and one that is not there are the same to AMQP.
      if (value === undefined || value === null) return undefined;
      return typeof value === 'string' ? value : String(value);
    },
    user(name) {
      user ??= userOffsets();
      const at = user.get(name.toLowerCase());
      return at === undefined ? undefined : filterValueAt(bare, at);
    },
  };
}

/** A copy of the message with assigned properties. */
export function withAssignments(
  message: ParsedMessage,
  assignments: readonly Assignment[],
): ParsedMessage {
  if (assignments.length === 0) return message;
  const { bare } = message;
  const [system, user] = [sectionOf(bare, 0x73), sectionOf(bare, 0x74)];
  const rest = user?.end ?? system?.end ?? 0;
  const changed = {
    ...message,
    bare: Buffer.concat([
      systemSection(bare, system?.items ?? [], assignments),
      userSection(bare, user?.items ?? [], assignments),
      bare.subarray(rest),
    ]),
  };
  for (const { property, value } of assignments) {
    if (property.scope !== 'sys') continue;
    if (property.name === 'SessionId') changed.sessionId = String(value);
    if (property.name === 'MessageId') changed.messageId = String(value);
  }
  return changed;
}

function systemSection(bare: Buffer, items: number[], assignments: readonly Assignment[]): Buffer {
  const fields = items.map((at) => bare.subarray(at, wire.skip(bare, at)));
  for (const { property, value } of assignments) {
    const place = places[property.name];
    if (property.scope !== 'sys' || place === undefined) continue;
    while (fields.length <= place) fields.push(wire.encodeNull);
    const text = value === undefined || value === null ? null : String(value);
    const isSymbol = property.name === 'ContentType';
    fields[place] =
      text === null
        ? wire.encodeNull
        : isSymbol
          ? wire.encodeSymbol(text)
          : wire.encodeString(text);
  }
  return fields.length === 0 ? Buffer.alloc(0) : wire.encodeSection(0x73, wire.encodeList(fields));
}

function userSection(bare: Buffer, items: number[], assignments: readonly Assignment[]): Buffer {
  const fields = new Map<string, [Buffer, Buffer]>();
  for (let index = 0; index + 1 < items.length; index += 2) {
    const [name, value] = [items[index] ?? 0, items[index + 1] ?? 0];
    const key = String(wire.decode(bare, name)).toLowerCase();
    fields.set(key, [bare.subarray(name, value), bare.subarray(value, wire.skip(bare, value))]);
  }
  for (const { property, value } of assignments) {
    if (property.scope !== 'user') continue;
    const key = property.name.toLowerCase();
    if (value === undefined) fields.delete(key);
    else {
      const name = fields.get(key)?.[0] ?? wire.encodeString(property.name);
      fields.set(key, [name, encodeFilterValue(value)]);
    }
  }
  if (fields.size === 0) return Buffer.alloc(0);
  return wire.encodeSection(0x74, wire.encodeMap([...fields.values()].flat()));
}
