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
  eventSent: 14,
  eventRaised: 15,
  genericEvent: 17,
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
  14: 'EventSent',
  15: 'EventRaised',
  17: 'GenericEvent',
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

/** A failed instance was rewound [reference/durable.md 11.4]; the SDK passes over it. */
export interface Rewound extends Stamped {
  EventType: Types['genericEvent'];
  Data: string;
}

/** What can lie in the inbox of an instance. */
export type InboundEvent =
  ExecutionStarted | TaskCompleted | TaskFailed | TimerFired | EventRaised | ControlEvent | Rewound;

/** Parts of one retried call point back to the part before; ours, not the protocol's. */
interface Retried {
  RetryAfter?: number;
}
export interface TaskScheduled extends Stamped, Retried {
  EventType: Types['taskScheduled'];
  Name: string;
  Version: string;
  Input: string | null;
}
export interface SubOrchestrationCreated extends Stamped, Retried {
  EventType: Types['subOrchestrationCreated'];
  Name: string;
  InstanceId: string;
  Version: string;
  Input: string | null;
}
export interface TimerCreated extends Stamped, Retried {
  EventType: Types['timerCreated'];
  FireAt: string;
}
/** An orchestrator's message to an entity; `Input` is the JSON text of an EntityRequest. */
export interface EventSent extends Stamped {
  EventType: Types['eventSent'];
  /** Of the entity; '' for the release of a lock that was never asked for. */
  InstanceId: string;
  Name: string;
  Input: string;
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
  | EventSent
  | EpisodeMarker
  | ExecutionCompleted;

/** JSON text of an event as the worker gets it. */
export function render(event: HistoryEvent, isPlayed: boolean): string {
  return `{"IsPlayed":${isPlayed},${JSON.stringify(event).slice(1)}`;
}

export interface EntityName {
  name: string;
  key: string;
}

/** What goes to an entity [reference/durable.md 8.2]; a lock request has no operation. */
export interface EntityRequest {
  op?: string;
  signal?: true;
  /** JSON text. */
  input?: string;
  id: string;
  parent?: string;
  parentExecution?: string;
  lockset?: EntityName[];
  /** How many of the lock set are held already. */
  pos?: number;
}

/** The instance id of an entity; names are case-insensitive, keys are not. */
export function entityIdOf({ name, key }: EntityName): string {
  return `@${name.toLowerCase()}@${key}`;
}

export const requestEventName = 'op';
export const releaseEventName = 'release';

export type ScheduledKind = 'activity' | 'timer' | 'child' | 'message';

/** The critical section of a generation: the lock request and who still has to be released. */
export interface LockSection {
  requestId: string;
  entityIds: string[];
}

/** What the history says about task ids: which were scheduled, and which have no answer yet. */
export interface Ledger {
  scheduled: Map<number, { kind: ScheduledKind; name: string }>;
  /** Those that keep an instance open (E2): messages to entities do not. */
  open: Set<number>;
  openTimers: Set<number>;
  lock: LockSection | undefined;
  /** Retries of what was rewound may come in another order than their timers. */
  isRewound: boolean;
}

export function emptyLedger(): Ledger {
  return {
    scheduled: new Map(),
    open: new Set(),
    openTimers: new Set(),
    lock: undefined,
    isRewound: false,
  };
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
      ledger.openTimers.add(event.EventId);
      break;
    case eventType.eventSent:
      ledger.scheduled.set(event.EventId, { kind: 'message', name: event.InstanceId });
      enterMessage(ledger, event);
      break;
    case eventType.taskCompleted:
    case eventType.taskFailed:
    case eventType.subOrchestrationCompleted:
    case eventType.subOrchestrationFailed:
      ledger.open.delete(event.TaskScheduledId);
      break;
    case eventType.timerFired:
      ledger.open.delete(event.TimerId);
      ledger.openTimers.delete(event.TimerId);
      break;
    case eventType.genericEvent:
      ledger.isRewound = true;
      break;
    default:
  }
}

function enterMessage(ledger: Ledger, event: EventSent): void {
  if (event.Name === releaseEventName) {
    const rest = ledger.lock?.entityIds.filter((id) => id !== event.InstanceId) ?? [];
    const { requestId = '' } = ledger.lock ?? {};
    ledger.lock = rest.length > 0 ? { requestId, entityIds: rest } : undefined;
    return;
  }
  const { lockset, id } = JSON.parse(event.Input) as EntityRequest;
  if (lockset) ledger.lock = { requestId: id, entityIds: lockset.map(entityIdOf) };
}
