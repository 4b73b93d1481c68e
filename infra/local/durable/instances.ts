// Starting instances and posting to inboxes: the moves that the API, the episodes, the activities
// and the timers share. All of them run inside a change of storage.commit.
//
// Invariants:
//   N1. Only a missing or terminal instance can be started; check and start are one transaction.
//   N2. A re-used id begins with a new execution id and an empty history and inbox.
//   N3. Answers (activity, timer, child) carry the execution they belong to; an answer to an older
//       execution or to a terminal instance is dropped. Events and control messages carry none.
import { randomUUID } from 'node:crypto';
import { eventType, type InboundEvent, type ParentInstance } from './history.ts';
import type { HubStorage, InstanceItem, RuntimeStatus } from './storage.ts';

export const isoMs = (atMs: number): string => new Date(atMs).toISOString();

export function newExecutionId(): string {
  return randomUUID().replaceAll('-', '');
}

export function isTerminal(status: RuntimeStatus): boolean {
  return status === 'Completed' || status === 'Failed' || status === 'Terminated';
}

export const instanceIdLengthMax = 256;

/** Why a text cannot be an instance id, or undefined [reference/durable.md 11.1]. */
export function instanceIdFault(id: string): string | undefined {
  if (id.length === 0) return 'Instance IDs must not be empty.';
  if (id.length > instanceIdLengthMax) {
    return `Instance ID lengths must not exceed ${instanceIdLengthMax} characters.`;
  }
  if (id.startsWith('@')) return "Orchestration instance IDs must not start with '@'.";
  // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
  if (/[/\\#?\u0000-\u001f\u007f-\u009f]/.test(id)) {
    return "Instance IDs must not contain '/', '\\', '#', '?' or control characters.";
  }
  return undefined;
}

export interface Start {
  id: string;
  name: string;
  version: string;
  /** JSON text. */
  input: string | null;
  parent: ParentInstance | null;
}

/** [N1, N2] False when an instance of this id is not terminal. */
export function startInstance(storage: HubStorage, start: Start, nowMs: number): boolean {
  const existing = storage.instance(start.id);
  if (existing && !isTerminal(existing.status)) return false;
  if (existing) storage.dropInstance(start.id);
  const item: InstanceItem = {
    id: start.id,
    executionId: newExecutionId(),
    name: start.name,
    version: start.version,
    status: 'Pending',
    input: start.input,
    output: null,
    customStatus: null,
    createdAt: nowMs,
    updatedAt: nowMs,
    parent: start.parent && JSON.stringify(start.parent),
  };
  storage.putInstance(item);
  postStart(storage, item, nowMs);
  return true;
}

/** The first message of a generation; it comes before all that is queued already (rank 0). */
export function postStart(storage: HubStorage, item: InstanceItem, nowMs: number): void {
  const event: InboundEvent = {
    EventType: eventType.executionStarted,
    EventId: -1,
    Timestamp: isoMs(nowMs),
    Name: item.name,
    Version: item.version,
    Input: item.input,
    OrchestrationInstance: { InstanceId: item.id, ExecutionId: item.executionId },
    ParentInstance: item.parent ? (JSON.parse(item.parent) as ParentInstance) : null,
  };
  const message = { rank: 0, executionId: item.executionId, event: JSON.stringify(event) };
  storage.addMessage(item.id, message, event.EventType);
}

/** [N3] Posts an answer; false when nobody waits for it any more. */
export function postAnswer(
  storage: HubStorage,
  to: { instanceId: string; executionId: string },
  event: InboundEvent,
): boolean {
  const item = storage.instance(to.instanceId);
  if (!item || isTerminal(item.status) || item.executionId !== to.executionId) return false;
  const message = { rank: 1, executionId: to.executionId, event: JSON.stringify(event) };
  storage.addMessage(to.instanceId, message, event.EventType);
  return true;
}

/** Posts an event or control message to whichever execution is current. */
export function postMessage(storage: HubStorage, id: string, event: InboundEvent): void {
  const message = { rank: 1, executionId: null, event: JSON.stringify(event) };
  storage.addMessage(id, message, event.EventType);
}
