// Rewind: a failed instance goes on from its last success [reference/durable.md 11.4].
//
// Invariants:
//   W1. What failed is taken out of the history with its schedule, so that the replay schedules it
//       again under the same id; what succeeded stays and does not run again. A retried call is one
//       thing: it stays whole when its last attempt succeeded, and goes whole when it did not.
//   W2. Failed sub-orchestrations are rewound with their parent, in the same change; one that
//       cannot be (gone, or ended otherwise) is started again.
import { parsePlayed } from './generation.ts';
import { eventType, render, type HistoryEvent } from './history.ts';
import { isoMs, postMessage } from './instances.ts';
import type { HubStorage, InstanceItem } from './storage.ts';

/** Rewinds the instance and its failed descendants; returns who has to be woken. */
export function rewindInstance(
  storage: HubStorage,
  item: InstanceItem,
  by: { reason: string; nowMs: number },
): string[] {
  const woken = [item.id];
  const history = parsePlayed(storage.chunks(item.id).join(','));
  const calls = callsOf(history);
  const dropped = new Set<number>();
  const rewound = new Set<number>();
  const drop = (taskId: number): void => {
    for (const id of calls.partsOf(taskId)) dropped.add(id);
  };
  for (const event of history) {
    const hasFailed = event.EventType === eventType.taskFailed;
    if (hasFailed && !calls.hasSucceeded(event.TaskScheduledId)) drop(event.TaskScheduledId);
    if (event.EventType !== eventType.subOrchestrationFailed) continue;
    if (calls.hasSucceeded(event.TaskScheduledId)) continue;
    const created = history.find((earlier) => isCreationOf(earlier, event.TaskScheduledId));
    const child = created && failedChild(storage, item, created);
    if (child) woken.push(...rewindInstance(storage, child, by));
    if (child) rewound.add(event.TaskScheduledId);
    else drop(event.TaskScheduledId);
  }
  const { reason, nowMs } = by;
  const kept = history.filter((event) => isKept(event, dropped, rewound));
  storage.dropHistory(item.id);
  storage.addChunk(item.id, 0, kept.map((event) => render(event, true)).join(','));
  // What the cache holds of it is older than this.
  storage.progress({ ...item, status: 'Running', output: null, updatedAt: nowMs });
  const stamp = { EventId: -1, Timestamp: isoMs(nowMs) };
  postMessage(storage, item.id, { EventType: eventType.genericEvent, ...stamp, Data: reason });
  return woken;
}

function isKept(
  event: HistoryEvent,
  dropped: ReadonlySet<number>,
  rewound: ReadonlySet<number>,
): boolean {
  switch (event.EventType) {
    case eventType.executionCompleted:
      return false;
    case eventType.taskFailed:
      return !dropped.has(event.TaskScheduledId);
    case eventType.subOrchestrationFailed:
      return !dropped.has(event.TaskScheduledId) && !rewound.has(event.TaskScheduledId);
    case eventType.timerFired:
      return !dropped.has(event.TimerId);
    case eventType.taskScheduled:
    case eventType.subOrchestrationCreated:
    case eventType.timerCreated:
      return !dropped.has(event.EventId);
    default:
      return true;
  }
}

/** Which task ids belong to one retried call, and which calls have succeeded. */
function callsOf(history: readonly HistoryEvent[]) {
  const first = new Map<number, number>();
  const parts = new Map<number, number[]>();
  const succeeded = new Set<number>();
  const firstOf = (id: number): number => first.get(id) ?? id;
  for (const event of history) {
    switch (event.EventType) {
      case eventType.taskScheduled:
      case eventType.subOrchestrationCreated:
      case eventType.timerCreated: {
        const { EventId: id, RetryAfter: before } = event;
        const head = before === undefined ? id : firstOf(before);
        first.set(id, head);
        parts.set(head, [...(parts.get(head) ?? []), id]);
        break;
      }
      case eventType.taskCompleted:
      case eventType.subOrchestrationCompleted:
        succeeded.add(firstOf(event.TaskScheduledId));
        break;
      default:
    }
  }
  return {
    partsOf: (id: number): number[] => parts.get(firstOf(id)) ?? [id],
    hasSucceeded: (id: number): boolean => succeeded.has(firstOf(id)),
  };
}

function isCreationOf(event: HistoryEvent, taskId: number): boolean {
  return event.EventType === eventType.subOrchestrationCreated && event.EventId === taskId;
}

/** The failed child that was created there, when it is still the one that this parent started. */
function failedChild(
  storage: HubStorage,
  parent: InstanceItem,
  created: HistoryEvent,
): InstanceItem | undefined {
  if (created.EventType !== eventType.subOrchestrationCreated) return undefined;
  const child = storage.instance(created.InstanceId);
  const isOurs = child?.parent?.includes(parent.executionId) ?? false;
  return isOurs && child?.status === 'Failed' ? child : undefined;
}
