// One message through the user's own functions: upcasters, schema, handler; and an old state
// through its migrations.
import type { ApplyContext, ConvoyDefinition, Message } from '../../shared/convoy/definition.ts';
import type { RefMessage } from './reference-types.ts';

export const copied = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

export interface Called {
  next: unknown;
  outputs: { type: string; body: unknown }[];
  rejected: boolean;
  isComplete: boolean;
}

/** The body as the definition's version sees it. Throws what an upcaster throws. */
export function bodyOf(
  definition: ConvoyDefinition,
  message: RefMessage,
): { value: unknown } | { fault: true } {
  let body = JSON.parse(message.bodyText ?? 'null') as unknown;
  for (let v = message.schemaVersion; v < definition.version; v += 1)
    body = definition.upcast[v]?.(body);
  const checked = definition.schema['~standard'].validate(body);
  if ('then' in checked) throw new TypeError('asynchronous');
  return checked.issues === undefined ? { value: checked.value } : { fault: true };
}

export function messageOf(
  key: string,
  position: number,
  { message, body }: { message: RefMessage; body: unknown },
): Message<unknown> {
  const { messageId: id, type, senderPosition, occurredAt, enqueuedAt } = message;
  return {
    ...{ id, key, type, body, position, occurredAt, enqueuedAt },
    ...(senderPosition !== undefined && { senderPosition }),
  };
}

/** Throws what the handler throws. */
export function call(
  definition: ConvoyDefinition,
  { state, message, effect }: { state: unknown; message: Message<unknown>; effect: unknown },
): Called {
  const called: Called = { next: undefined, outputs: [], rejected: false, isComplete: false };
  const context: ApplyContext = {
    effect,
    emit(type, body) {
      const isReserved = ['window.closed', 'window.early', 'window.rolledUp'].includes(type);
      if (isReserved || type.length === 0) throw new TypeError(`emit ${type}`);
      called.outputs.push({ type, body: copied(body ?? null) });
    },
    reject: () => void (called.rejected = true),
    complete: () => void (called.isComplete = true),
  };
  const next = definition.apply(copied(state), message, context);
  if (next === undefined && !called.rejected) throw new TypeError('apply returned nothing');
  called.next = called.rejected ? undefined : copied(next);
  return called;
}

/** A state as the definition's version sees it; when it is migrated is of no consequence. */
export function migrated(definition: ConvoyDefinition, state: unknown, from: number): unknown {
  let at = state;
  for (let v = from; v < definition.version; v += 1) at = copied(definition.migrate[v]?.(at) ?? at);
  return at;
}
