// Messages to entities and the locks they carry: the moves that orchestrations, entities and the
// API share. All of them run inside a change of storage.commit, which is why no message is lost,
// doubled or overtaken by one of the same sender [reference/durable.md 8.3, 8.4].
//
// Invariants:
//   M1. Any message to an unknown entity makes it: state null, not existing.
//   M2. A lock travels through its set in order; who ends gives back all of it, also what it has
//       asked for and not got yet.
import { eventType, type EntityRequest, type LockSection } from './history.ts';
import { isoMs, postAnswer } from './instances.ts';
import type { HubStorage } from './storage.ts';

/** [M1] Queues a request. */
export function postRequest(
  storage: HubStorage,
  { entityId, request }: { entityId: string; request: EntityRequest },
  nowMs: number,
): void {
  const { entities } = storage;
  if (!entities.entity(entityId)) {
    const times = { createdAt: nowMs, updatedAt: nowMs };
    entities.put({ id: entityId, doesExist: false, state: null, lockedBy: null, ...times });
  }
  entities.addOperation(entityId, request.parent ?? '', JSON.stringify(request));
}

/** Frees the entity when that instance holds it; true when it did. */
export function releaseLock(storage: HubStorage, entityId: string, owner: string): boolean {
  const item = storage.entities.entity(entityId);
  if (item?.lockedBy !== owner) return false;
  storage.entities.put({ ...item, lockedBy: null });
  return true;
}

const pendingMax = 1_000;

/** [M2] Gives back a critical section; returns the entities that may go on. */
export function leaveSection(storage: HubStorage, section: LockSection, owner: string): string[] {
  const { entities } = storage;
  for (const id of section.entityIds) {
    releaseLock(storage, id, owner);
    for (const { sequence, request } of entities.operations(id, pendingMax, owner)) {
      const { lockset, id: requestId } = JSON.parse(request) as EntityRequest;
      if (lockset && requestId === section.requestId) entities.dropOperation(id, sequence);
    }
  }
  return section.entityIds;
}

export interface EntityResponse {
  /** JSON text. */
  result: string | null;
  exceptionType?: string;
}

/** Answers the asking orchestration; false when nobody waits any more. */
export function postResponse(
  storage: HubStorage,
  { request, response }: { request: EntityRequest; response: EntityResponse },
  nowMs: number,
): boolean {
  const { id: Name, parent: instanceId = '', parentExecution: executionId = '' } = request;
  const Input = JSON.stringify(response);
  const stamp = { EventId: -1, Timestamp: isoMs(nowMs) };
  const event = { EventType: eventType.eventRaised, ...stamp, Name, Input };
  return postAnswer(storage, { instanceId, executionId }, event);
}
