// Writes what one episode decided, in one change: history, inbox, work, timers, children, parent.
//
// Owns:    the translation of an Outcome into stored items and into the history's own events.
// Leaves:  running (execute.ts), waking and retrying (episodes.ts).
//
// Invariants:
//   C1. An episode takes effect whole or not at all; redoing it after a crash is harmless.
//   C2. When an instance ends, what is left in its inbox is lost (and reported), as on Azure.
//   C3. A new generation keeps the instance, its parent and its customStatus; it has a new
//       execution id and an empty history.
import type { ChildDecision, Decision } from './actions.ts';
import { leaveSection, postRequest, releaseLock } from './entity-messages.ts';
import type { Ending, Outcome } from './execute.ts';
import { grow, newGeneration, type Generation } from './generation.ts';
import { enter, eventType, releaseEventName, render } from './history.ts';
import type { HistoryEvent, InboundEvent, ParentInstance } from './history.ts';
import { isoMs, newExecutionId } from './instances.ts';
import { postAnswer, postStart, startInstance } from './instances.ts';
import type { HubSettings } from './parts.ts';
import type { HubStorage, MessageItem, RuntimeStatus } from './storage.ts';

export interface Committed {
  /** Instances that have something to do now. */
  wake: string[];
  /** Entities that may have. */
  wakeEntities: string[];
  hasWork: boolean;
  /** The earliest timer may have changed. */
  hasTimers: boolean;
  /** Names of external events that the end of the instance has lost. */
  lostEvents: string[];
  /** What the Azure Storage back end would have been charged for [reference/durable.md 13]. */
  storageTransactions: number;
}

export interface EpisodeCommit {
  generation: Generation;
  consumed: readonly MessageItem[];
  outcome: Outcome;
  status: RuntimeStatus;
  nowMs: number;
  settings: HubSettings;
}

interface Scheduling {
  storage: HubStorage;
  generation: Generation;
  settings: HubSettings;
  nowMs: number;
  done: Committed;
}

/** [C1] Call inside storage.commit; changes the generation in memory too. */
export function commitEpisode(storage: HubStorage, episode: EpisodeCommit): Committed {
  const { generation, consumed, outcome, nowMs, settings } = episode;
  const { item } = generation;
  const done: Committed = {
    wake: [],
    wakeEntities: [],
    hasWork: false,
    hasTimers: false,
    lostEvents: [],
    // Dequeue, history query, history batches of 100, instance merge; one delete per message.
    storageTransactions: 4 + consumed.length + Math.floor(outcome.received.length / 100),
  };
  const scheduling = { storage, generation, nowMs, done, settings };
  const scheduled = outcome.decisions.map((decision) => schedule(scheduling, decision));
  for (const message of consumed) storage.dropMessage(item.id, message);
  for (const timerId of outcome.cancelled) {
    if (storage.dropTimer(item.id, timerId)) done.hasTimers = true;
    closeTimer(generation, timerId);
  }
  item.status = episode.status;
  item.customStatus = outcome.customStatus;
  item.updatedAt = nowMs;
  const events: HistoryEvent[] = [...outcome.received, ...scheduled];
  const { ending } = outcome;
  if (ending?.kind === 'continuedAsNew') {
    renew(scheduling, ending);
    return done;
  }
  if (ending) finish(scheduling, ending, events);
  else events.push({ ...marker(nowMs), EventType: eventType.orchestratorCompleted });
  const chunk = events.map((event) => render(event, true)).join(',');
  storage.addChunk(item.id, generation.chunks, chunk);
  grow(generation, events, chunk);
  generation.lastEventAt = Math.max(generation.lastEventAt, nowMs);
  storage.progress(item);
  return done;
}

/** A cancelled timer keeps its id, and nothing waits for it [reference/durable.md 6.4]. */
function closeTimer({ ledger }: Generation, timerId: number): void {
  ledger.open.delete(timerId);
  ledger.openTimers.delete(timerId);
}

const marker = (nowMs: number) => ({ EventId: -1, Timestamp: isoMs(nowMs) });

function schedule(scheduling: Scheduling, decision: Decision): HistoryEvent {
  const { storage, generation, done } = scheduling;
  const { item } = generation;
  const event = scheduledEvent(scheduling, decision);
  enter(generation.ledger, event);
  switch (decision.kind) {
    case 'activity': {
      const { id: taskId, name, input } = decision;
      const address = { instanceId: item.id, executionId: item.executionId };
      storage.addWork({ ...address, taskId, name, input });
      done.hasWork = true;
      done.storageTransactions += 3;
      break;
    }
    case 'timer': {
      if (decision.isCancelled) {
        closeTimer(generation, decision.id);
        break;
      }
      const { id: timerId, fireAt } = decision;
      storage.addTimer({ instanceId: item.id, timerId, executionId: item.executionId, fireAt });
      done.hasTimers = true;
      done.storageTransactions += 1;
      break;
    }
    case 'child':
      startChild(scheduling, decision);
      break;
    case 'message':
      send(scheduling, decision);
  }
  return event;
}

function send(scheduling: Scheduling, decision: Decision & { kind: 'message' }): void {
  const { storage, generation, nowMs, done } = scheduling;
  const { target, name, request } = decision;
  if (target === '') return;
  if (name === releaseEventName) releaseLock(storage, target, generation.item.id);
  else postRequest(storage, { entityId: target, request }, nowMs);
  done.wakeEntities.push(target);
  done.storageTransactions += 1;
}

function scheduledEvent(
  { generation, nowMs, settings }: Scheduling,
  decision: Decision,
): HistoryEvent {
  const { executionId } = generation.item;
  const retryAfter = 'retryAfter' in decision ? decision.retryAfter : undefined;
  const retried = retryAfter === undefined ? {} : { RetryAfter: retryAfter };
  const stamp = { EventId: decision.id, Timestamp: isoMs(nowMs), ...retried };
  switch (decision.kind) {
    case 'activity': {
      const { name: Name, input } = decision;
      const Input = settings.mayStoreInputs ? input : null;
      return { EventType: eventType.taskScheduled, ...stamp, Name, Version: '', Input };
    }
    case 'timer':
      return { EventType: eventType.timerCreated, ...stamp, FireAt: isoMs(decision.fireAt) };
    case 'message': {
      const { target: InstanceId, name: Name, request } = decision;
      const Input = JSON.stringify(request);
      return { EventType: eventType.eventSent, ...stamp, InstanceId, Name, Input };
    }
    case 'child': {
      const InstanceId = childId(decision, executionId);
      const { name: Name, input: Input } = decision;
      const Version = decision.version ?? settings.versions?.current ?? '';
      const EventType = eventType.subOrchestrationCreated;
      return { EventType, ...stamp, Name, InstanceId, Version, Input };
    }
  }
}

/** [reference/durable.md 6.6] */
function childId(decision: { instanceId: string; id: number }, executionId: string): string {
  return decision.instanceId || `${executionId}:${decision.id}`;
}

function startChild(
  { storage, generation, nowMs, done, settings }: Scheduling,
  decision: ChildDecision,
): void {
  const { item } = generation;
  const parent: ParentInstance = {
    Name: item.name,
    OrchestrationInstance: { InstanceId: item.id, ExecutionId: item.executionId },
    TaskScheduleId: decision.id,
    Version: item.version,
  };
  const id = childId(decision, item.executionId);
  const { name, input } = decision;
  const version = decision.version ?? settings.versions?.current ?? '';
  const isFree = id !== item.id && !id.startsWith('@');
  const isStarted = isFree && startInstance(storage, { id, name, version, input, parent }, nowMs);
  done.storageTransactions += 2;
  if (isStarted) {
    done.wake.push(id);
    return;
  }
  // The back ends differ and most leave the parent hanging; we fail the call by name.
  const Reason = `An Orchestration instance with the ID '${id}' already exists or is not allowed.`;
  postAnswer(
    storage,
    { instanceId: item.id, executionId: item.executionId },
    {
      EventType: eventType.subOrchestrationFailed,
      ...marker(nowMs),
      TaskScheduledId: decision.id,
      Reason,
      Details: '',
    },
  );
  done.wake.push(item.id);
}

/** [C3] */
function renew(scheduling: Scheduling, ending: Ending & { kind: 'continuedAsNew' }): void {
  const { storage, generation, nowMs, done } = scheduling;
  const { item } = generation;
  storage.dropHistory(item.id);
  if (storage.dropTimers(item.id)) done.hasTimers = true;
  item.executionId = newExecutionId();
  item.input = ending.input;
  storage.putInstance(item);
  postStart(storage, item, nowMs);
  for (const event of ending.carried) {
    const message = { rank: 0, executionId: null, event: JSON.stringify(event) };
    storage.addMessage(item.id, message, event.EventType);
  }
  leave(scheduling);
  Object.assign(generation, newGeneration(item), { lastEventAt: generation.lastEventAt });
  done.wake.push(item.id);
  done.storageTransactions += 1;
}

/** The end of a generation is the end of its critical section [8.3]. */
function leave({ storage, generation, done }: Scheduling): void {
  const { lock } = generation.ledger;
  if (lock) done.wakeEntities.push(...leaveSection(storage, lock, generation.item.id));
}

type FinalEnding = Exclude<Ending, { kind: 'continuedAsNew' }>;

/** [C2] */
function finish(scheduling: Scheduling, ending: FinalEnding, events: HistoryEvent[]): void {
  const { storage, generation, nowMs, done } = scheduling;
  const { item } = generation;
  item.status = finalStatus[ending.kind];
  item.output = ending.kind === 'completed' ? ending.output : JSON.stringify(ending.reason);
  events.push({
    EventType: eventType.executionCompleted,
    ...marker(nowMs),
    OrchestrationStatus: item.status,
    Result: item.output,
  });
  if (storage.dropTimers(item.id)) done.hasTimers = true;
  leave(scheduling);
  for (const text of storage.dropMessages(item.id)) {
    const event = JSON.parse(text) as InboundEvent;
    if (event.EventType === eventType.eventRaised) done.lostEvents.push(event.Name);
  }
  if (item.parent) answerParent(scheduling, ending);
}

const finalStatus = {
  completed: 'Completed',
  failed: 'Failed',
  terminated: 'Terminated',
} as const;

function answerParent({ storage, generation, nowMs, done }: Scheduling, ending: FinalEnding): void {
  const parent = JSON.parse(generation.item.parent ?? 'null') as ParentInstance;
  const { InstanceId: instanceId, ExecutionId: executionId } = parent.OrchestrationInstance;
  const stamp = { ...marker(nowMs), TaskScheduledId: parent.TaskScheduleId };
  const answer: InboundEvent =
    ending.kind === 'completed'
      ? { EventType: eventType.subOrchestrationCompleted, ...stamp, Result: ending.output }
      : {
          EventType: eventType.subOrchestrationFailed,
          ...stamp,
          Reason: ending.reason,
          Details: '',
          ...('details' in ending ? { FailureDetails: ending.details } : {}),
        };
  if (postAnswer(storage, { instanceId, executionId }, answer)) done.wake.push(instanceId);
  done.storageTransactions += 1;
}

/** The messages an episode may take: while suspended only control messages count [11.4]. */
export function selectBatch(
  messages: readonly MessageItem[],
  isSuspended: boolean,
): { taken: MessageItem[]; events: InboundEvent[]; isSuspended: boolean } {
  const taken: MessageItem[] = [];
  const events: InboundEvent[] = [];
  const held: [MessageItem, InboundEvent][] = [];
  const take = (message: MessageItem, event: InboundEvent): void => {
    taken.push(message);
    events.push(event);
  };
  let suspended = isSuspended;
  for (const message of messages) {
    const event = JSON.parse(message.event) as InboundEvent;
    if (event.EventType === eventType.executionSuspended) suspended = true;
    else if (event.EventType === eventType.executionResumed) {
      suspended = false;
      take(message, event);
      for (const [waiting, its] of held.splice(0)) take(waiting, its);
      continue;
    } else if (suspended && event.EventType !== eventType.executionTerminated) {
      held.push([message, event]);
      continue;
    }
    take(message, event);
  }
  return { taken, events, isSuspended: suspended };
}
