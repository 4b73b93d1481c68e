// The seam to durable-functions 3.5: every undocumented name of the SDK that we lean on is here and
// in actions.ts; nothing else knows them.
//
// Owns:    watching one run of an orchestrator, and keeping it alive between episodes.
// Leaves:  what the tracked tasks mean to actions.ts.
//
// Why live: the returned action list has no identity, so a task re-yielded or listed twice gets
// wrong ids from it and the instance hangs [reference/durable.md 6.2, 6.3]. Ids are read from the
// executor instead, by watching `trackOpenTask` and `recordFireAndForgetAction`.
//
// Invariants:
//   K1. A run that lives on is fed exactly the events that a replay would process after those it
//       has seen, in the same order; it stops at the same event.
import { hubFault, textOf } from './fault.ts';
import { eventType, type FailureDetails, type HistoryEvent } from './history.ts';

export interface SdkAction {
  actionType: number;
  functionName?: string;
  input?: unknown;
  instanceId?: string;
  version?: string;
  operation?: string;
  fireAt?: Date;
  isCanceled?: boolean;
  lockRequestId?: string;
  lockSet?: { name: string; key: string }[];
  httpRequest?: SdkHttpRequest;
}
export interface SdkHttpRequest {
  method: string;
  uri: string;
  content?: string;
  headers?: Record<string, string>;
  tokenSource?: unknown;
  asynchronousPatternEnabled?: boolean;
}
export interface RetryOptions {
  firstRetryIntervalInMilliseconds: number;
  maxNumberOfAttempts: number;
  backoffCoefficient?: number;
  maxRetryIntervalInMilliseconds?: number;
}
export interface SdkTask {
  id: unknown;
  actionObj?: SdkAction | 'noOp';
  children?: SdkTask[];
  parent?: SdkTask;
  innerTask?: SdkTask;
  retryOptions?: RetryOptions;
  hasResult?: boolean;
  result?: unknown;
}
interface SdkFailureDetails {
  errorType: string;
  errorMessage: string;
  stackTrace?: string;
  isNonRetriable?: boolean;
  properties?: unknown;
}
interface Executor {
  sequenceNumber: number;
  actions: SdkAction[];
  willContinueAsNew: boolean;
  orchestratorReturned: boolean;
  output: unknown;
  exception: (Error & { failureDetails?: SdkFailureDetails }) | undefined;
  _isReplaying: boolean;
  processEvent(event: unknown): void;
  trackOpenTask(task: SdkTask): void;
  recordFireAndForgetAction(action: SdkAction, idsTaken?: number): void;
  isDoneExecuting(): boolean;
}
interface DurableContext {
  taskOrchestratorExecutor: Executor;
  currentUtcDateTime: Date;
  customStatus?: unknown;
}

/** What stands under a task id: a task, or the part of an action that nobody awaits. */
export type Tracked = { task: SdkTask } | { action: SdkAction; part: number };

/** What an orchestrator has come to; the shape that the function returns [5.1]. */
export interface SdkState {
  isDone?: boolean;
  output?: unknown;
  error?: string;
  customStatus?: unknown;
  /** Of a TaskFailedError that the orchestrator let through. */
  failureDetails?: FailureDetails;
  /** The input of the next generation, when it called continueAsNew. */
  next?: { input: unknown };
}

/** One run of an orchestrator function, from its first event on. */
export interface SdkRun {
  df: DurableContext | undefined;
  /** Events that were processed before the orchestrator ended. */
  processed: number;
  tracked: Map<number, Tracked>;
  /** Ids below this were decided on. */
  decidedBelow: number;
  /** Ids below it that must wait: polls of callHttp whose timer has not fired. */
  heldBack: number[];
}

const executorShape = {
  processEvent: 'function',
  trackOpenTask: 'function',
  recordFireAndForgetAction: 'function',
  isDoneExecuting: 'function',
  sequenceNumber: 'number',
  willContinueAsNew: 'boolean',
  orchestratorReturned: 'boolean',
  _isReplaying: 'boolean',
  actions: 'object',
} as const;

/** Why this executor is not the one of durable-functions 3.5, or undefined. */
export function executorFault(executor: unknown): string | undefined {
  for (const [name, type] of Object.entries(executorShape)) {
    const found = typeof (executor as Record<string, unknown> | undefined)?.[name];
    if (found === type) continue;
    return (
      `the app's durable-functions is not one that this hub knows (3.5): its orchestration ` +
      `executor has no ${type} '${name}'`
    );
  }
  return undefined;
}

/** Arms the context before the handler runs: the SDK assigns `df` once, before it executes. */
export function watch(context: object): SdkRun {
  const run: SdkRun = {
    df: undefined,
    processed: 0,
    tracked: new Map(),
    decidedBelow: 0,
    heldBack: [],
  };
  Object.defineProperty(context, 'df', {
    configurable: true,
    enumerable: true,
    get: () => undefined,
    set(value: DurableContext) {
      Object.defineProperty(context, 'df', { value, writable: true, enumerable: true });
      const fault = executorFault(value.taskOrchestratorExecutor);
      if (fault) throw hubFault('HUB_PROTOCOL', fault);
      watchExecutor(run, value.taskOrchestratorExecutor);
      run.df = value;
    },
  });
  return run;
}

function watchExecutor(run: SdkRun, executor: Executor): void {
  const processEvent = executor.processEvent.bind(executor);
  const trackOpenTask = executor.trackOpenTask.bind(executor);
  const recordAction = executor.recordFireAndForgetAction.bind(executor);
  executor.processEvent = (event) => {
    run.processed++;
    processEvent(event);
  };
  executor.trackOpenTask = (task) => {
    const before = executor.sequenceNumber;
    trackOpenTask(task);
    if (!task.children && typeof task.id === 'number' && task.id >= before) {
      run.tracked.set(task.id, { task });
    }
  };
  executor.recordFireAndForgetAction = (action, idsTaken) => {
    const before = executor.sequenceNumber;
    recordAction(action, idsTaken);
    for (let id = before; id < executor.sequenceNumber; id++) {
      run.tracked.set(id, { action, part: id - before });
    }
  };
}

/** [K1] Gives the next events to a run that lives on. */
export function feed(run: SdkRun, events: readonly HistoryEvent[]): void {
  const executor = run.df?.taskOrchestratorExecutor;
  if (!executor) throw hubFault('HUB_PROTOCOL', 'a run without an executor was kept');
  executor._isReplaying = false;
  for (const event of events) {
    if (executor.isDoneExecuting()) return;
    // As the SDK parses it: `Timestamp` is a Date, IsPlayed false in the episode of its arrival.
    executor.processEvent({ ...event, IsPlayed: false, Timestamp: new Date(event.Timestamp) });
  }
}

/** What the executor has come to, as its function would have returned it. */
export function stateOf(run: SdkRun): { state: SdkState; thrown?: string } {
  if (!run.df) return { state: {} };
  const { taskOrchestratorExecutor: executor, customStatus } = run.df;
  const state: SdkState = {
    isDone: executor.orchestratorReturned || executor.willContinueAsNew,
    output: executor.output,
    // Falsy ones never leave the worker [5.1].
    customStatus: customStatus || undefined,
  };
  const last = executor.actions.at(-1);
  if (executor.willContinueAsNew && last?.actionType === 4) state.next = { input: last.input };
  const { exception } = executor;
  if (exception === undefined) return { state };
  const failureDetails = exception.failureDetails && wireForm(exception.failureDetails);
  if (failureDetails) state.failureDetails = failureDetails;
  return { state, thrown: textOf(exception) };
}

function wireForm(details: SdkFailureDetails): FailureDetails {
  const { errorType, errorMessage, stackTrace, isNonRetriable, properties } = details;
  return {
    ErrorType: errorType,
    ErrorMessage: errorMessage,
    StackTrace: stackTrace ?? null,
    IsNonRetriable: isNonRetriable === true,
    Properties: properties,
  };
}

/** Whether the generator may still go on. */
export function isLive(run: SdkRun): boolean {
  return run.df !== undefined && !run.df.taskOrchestratorExecutor.isDoneExecuting();
}

/** Only messages to entities change the executor among the events that an episode itself makes. */
export function concernsExecutor(event: HistoryEvent): boolean {
  return event.EventType === eventType.eventSent;
}
