// The history of an orchestration: event shapes as the worker reads them and constructors' types.
// Field names are the protocol's own [reference/durable.md 3]; `IsPlayed` is added when rendered.

export const eventType = {
  executionStarted: 0,
  executionCompleted: 1,
  executionFailed: 2,
  executionTerminated: 3,
  taskScheduled: 4,
  taskCompleted: 5,
  taskFailed: 6,
  subOrchestrationCreated: 7,
  subOrchestrationCompleted: 8,
  subOrchestrationFailed: 9,
  timerCreated: 10,
  timerFired: 11,
  orchestratorStarted: 12,
  orchestratorCompleted: 13,
  eventRaised: 15,
  executionSuspended: 19,
  executionResumed: 20,
} as const;

/** The names Azure shows in `historyEvents`; the key is the number of the event type. */
export const eventTypeNames: Readonly<Record<number, string>> = {
  0: 'ExecutionStarted',
  1: 'ExecutionCompleted',
  2: 'ExecutionFailed',
  3: 'ExecutionTerminated',
  4: 'TaskScheduled',
  5: 'TaskCompleted',
  6: 'TaskFailed',
  7: 'SubOrchestrationInstanceCreated',
  8: 'SubOrchestrationInstanceCompleted',
  9: 'SubOrchestrationInstanceFailed',
  10: 'TimerCreated',
  11: 'TimerFired',
  12: 'OrchestratorStarted',
  13: 'OrchestratorCompleted',
  15: 'EventRaised',
  19: 'ExecutionSuspended',
  20: 'ExecutionResumed',
};

export interface ParentInstance {
  Name: string;
  OrchestrationInstance: { InstanceId: string; ExecutionId: string };
  TaskScheduleId: number;
  Version: string;
}

export interface FailureDetails {
  ErrorType: string;
  ErrorMessage: string;
  StackTrace: string | null;
  IsNonRetriable: boolean;
  Properties: unknown;
}

interface Stamped {
  EventId: number;
  Timestamp: string;
}

type Types = typeof eventType;

export interface ExecutionStarted extends Stamped {
  EventType: Types['executionStarted'];
  Name: string;
  Version: string;
  Input: string | null;
  OrchestrationInstance: { InstanceId: string; ExecutionId: string };
  ParentInstance: ParentInstance | null;
}
export interface TaskCompleted extends Stamped {
  EventType: Types['taskCompleted'] | Types['subOrchestrationCompleted'];
  TaskScheduledId: number;
  Result: string | null;
}
export interface TaskFailed extends Stamped {
  EventType: Types['taskFailed'] | Types['subOrchestrationFailed'];
  TaskScheduledId: number;
  Reason: string;
  Details: string;
  FailureDetails?: FailureDetails;
}
export interface TimerFired extends Stamped {
  EventType: Types['timerFired'];
  TimerId: number;
  FireAt: string;
}
export interface EventRaised extends Stamped {
  EventType: Types['eventRaised'];
  Name: string;
  Input: string | null;
}
export interface ControlEvent extends Stamped {
  EventType: Types['executionTerminated' | 'executionSuspended' | 'executionResumed'];
  Input: string | null;
}

/** What can lie in the inbox of an instance. */
export type InboundEvent =
  ExecutionStarted | TaskCompleted | TaskFailed | TimerFired | EventRaised | ControlEvent;

export interface TaskScheduled extends Stamped {
  EventType: Types['taskScheduled'];
  Name: string;
  Version: string;
  Input: string | null;
}
export interface SubOrchestrationCreated extends Stamped {
  EventType: Types['subOrchestrationCreated'];
  Name: string;
  InstanceId: string;
  Version: string;
  Input: string | null;
}
export interface TimerCreated extends Stamped {
  EventType: Types['timerCreated'];
  FireAt: string;
}
export interface EpisodeMarker extends Stamped {
  EventType: Types['orchestratorStarted' | 'orchestratorCompleted'];
}
export interface ExecutionCompleted extends Stamped {
  EventType: Types['executionCompleted'];
  OrchestrationStatus: string;
  Result: string | null;
}

export type HistoryEvent =
  | InboundEvent
  | TaskScheduled
  | SubOrchestrationCreated
  | TimerCreated
  | EpisodeMarker
  | ExecutionCompleted;

/** JSON text of an event as the worker gets it. */
export function render(event: HistoryEvent, isPlayed: boolean): string {
  return `{"IsPlayed":${isPlayed},${JSON.stringify(event).slice(1)}`;
}

export type ScheduledKind = 'activity' | 'timer' | 'child';

/** What the history says about task ids: which were scheduled, and which have no answer yet. */
export interface Ledger {
  scheduled: Map<number, { kind: ScheduledKind; name: string }>;
  open: Set<number>;
}

export function emptyLedger(): Ledger {
  return { scheduled: new Map(), open: new Set() };
}

/** Enters one event of the history, in order. */
export function enter(ledger: Ledger, event: HistoryEvent): void {
  switch (event.EventType) {
    case eventType.taskScheduled:
      ledger.scheduled.set(event.EventId, { kind: 'activity', name: event.Name });
      ledger.open.add(event.EventId);
      break;
    case eventType.subOrchestrationCreated:
      ledger.scheduled.set(event.EventId, { kind: 'child', name: event.Name });
      ledger.open.add(event.EventId);
      break;
    case eventType.timerCreated:
      ledger.scheduled.set(event.EventId, { kind: 'timer', name: '' });
      ledger.open.add(event.EventId);
      break;
    case eventType.taskCompleted:
    case eventType.taskFailed:
    case eventType.subOrchestrationCompleted:
    case eventType.subOrchestrationFailed:
      ledger.open.delete(event.TaskScheduledId);
      break;
    case eventType.timerFired:
      ledger.open.delete(event.TimerId);
      break;
    default:
  }
}
