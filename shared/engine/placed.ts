// Pure facts as items of the store, and back: the only place that knows both shapes.
import { type Admitted, type Gate, type Progress, withDefaults } from '../convoy/state.ts';
import { convoyIdOf } from '../keys.ts';
import { type GateItem, type InboxItem, type ProgressItem, itemIds } from '../store/items.ts';
import type { ConvoyStore, Versioned } from '../store/store.ts';

export interface Place {
  convoy: string;
  key: string;
}

// Callers hand in requests as places: only convoy and key are taken, never their other fields.

export function gateItem({ convoy, key }: Place, gate: Gate): GateItem {
  const convoyId = convoyIdOf(convoy, key);
  return { ...gate, id: itemIds.gate, convoyId, kind: 'gate', convoy, key };
}

export function progressItem({ convoy, key }: Place, progress: Progress): ProgressItem {
  const convoyId = convoyIdOf(convoy, key);
  return { ...progress, id: itemIds.progress, convoyId, kind: 'progress', convoy, key };
}

export function inboxItem(
  place: Place,
  admitted: Admitted,
  entry: { admittedAt: number; sequence: number | null },
): InboxItem {
  const convoyId = convoyIdOf(place.convoy, place.key);
  const id = itemIds.inbox(admitted.position);
  return { ...admitted, ...entry, id, convoyId, kind: 'inbox', outcome: 'waiting' };
}

/** Everything H1 needs of a message, and nothing else of its item. */
export function messageOf(item: Omit<Admitted, 'position'>): Omit<Admitted, 'position'> {
  const { messageId, type, bodyText, bodyBase64, fault, schemaVersion } = item;
  const { senderPosition, laneKey, occurredAt, enqueuedAt, traceparent } = item;
  return {
    ...{ messageId, type, schemaVersion, occurredAt, enqueuedAt },
    ...(bodyText !== undefined && { bodyText }),
    ...(bodyBase64 !== undefined && { bodyBase64 }),
    ...(fault !== undefined && { fault }),
    ...(senderPosition !== undefined && { senderPosition }),
    ...(laneKey !== undefined && { laneKey }),
    ...(traceparent !== undefined && { traceparent }),
  };
}

/** Progress, whichever version of Convoy wrote it. */
export async function readProgress(
  store: Pick<ConvoyStore, 'readProgress'>,
  convoyId: string,
): Promise<Versioned<ProgressItem> | undefined> {
  const read = await store.readProgress(convoyId);
  return read && { ...read, item: withDefaults(read.item) };
}
