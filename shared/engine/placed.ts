// Pure facts as items of the store, and back: the only place that knows both shapes.
import type { Admitted, Gate, Progress } from '../convoy/state.ts';
import { convoyIdOf } from '../keys.ts';
import { type GateItem, type InboxItem, type ProgressItem, itemIds } from '../store/items.ts';

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
