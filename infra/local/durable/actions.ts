// The seam to durable-functions 3.5.0: reads what an orchestrator decided from its live executor.
//
// Owns:    every undocumented name of the SDK that we lean on; nothing else knows them.
// Leaves:  running the function to execute.ts, writing to commit.ts.
//
// Why live: the returned action list has no identity, so a task re-yielded or listed twice gets
// wrong ids from it and the instance hangs [reference/durable.md 6.2, 6.3]. Ids are read from the
// executor instead, by watching `trackOpenTask`.
//
// Invariants:
//   L1. Ids are the SDK's own: given when a task is first yielded, in its order.
//   L2. What the history scheduled must be what this replay schedules: kind and name, every id.
//   L3. What the hub does not offer is refused by name, never skipped.
import { hubFault } from './fault.ts';
import type { Ledger, ScheduledKind } from './history.ts';

interface SdkAction {
  actionType: number;
  functionName?: string;
  input?: unknown;
  instanceId?: string;
  version?: string;
  retryOptions?: RetryOptions;
  fireAt?: Date;
  isCanceled?: boolean;
  compoundActions?: SdkAction[];
}
interface RetryOptions {
  firstRetryIntervalInMilliseconds: number;
  maxNumberOfAttempts: number;
  backoffCoefficient?: number;
  maxRetryIntervalInMilliseconds?: number;
}
interface SdkTask {
  id: unknown;
  actionObj?: SdkAction | 'noOp';
  children?: SdkTask[];
  parent?: SdkTask;
  innerTask?: SdkTask;
  retryOptions?: RetryOptions;
}
interface Executor {
  openTasks: Record<string, SdkTask>;
  sequenceNumber: number;
  actions: SdkAction[];
  processEvent(event: unknown): void;
  trackOpenTask(task: SdkTask): void;
}

/** What one run of the function showed. */
export interface Watch {
  executor: Executor | undefined;
  currentTime: () => number;
  /** Events of the history that were processed before the orchestrator ended. */
  processed: number;
  tracked: Map<number, SdkTask>;
}

export type Decision =
  | { kind: 'activity'; id: number; name: string; input: string | null }
  | { kind: 'timer'; id: number; fireAt: number; isCancelled: boolean }
  | { kind: 'child'; id: number; name: string; input: string; instanceId: string; version: string };

const refusedActions: Readonly<Record<number, string>> = {
  7: 'callEntity',
  8: 'callHttp',
  9: 'signalEntity',
  10: 'signalEntity with a schedule',
  13: 'df.lock',
  14: 'release of a lock',
};

/** Arms the context before the handler runs: the SDK assigns `df` once, before it executes. */
export function watch(context: object): Watch {
  const seen: Watch = {
    executor: undefined,
    currentTime: () => 0,
    processed: 0,
    tracked: new Map(),
  };
  Object.defineProperty(context, 'df', {
    configurable: true,
    enumerable: true,
    get: () => undefined,
    set(value: { taskOrchestratorExecutor: Executor; currentUtcDateTime: Date }) {
      Object.defineProperty(context, 'df', { value, writable: true, enumerable: true });
      watchExecutor(seen, value.taskOrchestratorExecutor);
      seen.currentTime = () => value.currentUtcDateTime.getTime();
    },
  });
  return seen;
}

function watchExecutor(seen: Watch, executor: Executor): void {
  if (
    typeof executor?.processEvent !== 'function' ||
    typeof executor.trackOpenTask !== 'function' ||
    typeof executor.sequenceNumber !== 'number'
  ) {
    throw hubFault('HUB_PROTOCOL', 'this version of durable-functions is not 3.5.0-compatible');
  }
  seen.executor = executor;
  const processEvent = executor.processEvent.bind(executor);
  const trackOpenTask = executor.trackOpenTask.bind(executor);
  executor.processEvent = (event) => {
    seen.processed++;
    processEvent(event);
  };
  executor.trackOpenTask = (task) => {
    const before = executor.sequenceNumber;
    trackOpenTask(task);
    if (!task.children && typeof task.id === 'number' && task.id >= before) {
      seen.tracked.set(task.id, task);
    }
  };
}

/** Attempt number (1, 2 …) of a child of a retried task; its delay timers lie between. */
function retryPlace(task: SdkTask): { retried: SdkTask; index: number } | undefined {
  const retried = task.parent;
  if (!retried?.retryOptions || !retried.children) return undefined;
  return { retried, index: retried.children.indexOf(task) };
}

/** The action that a task stands for; retries hide it behind 'noOp'. */
function actionOf(task: SdkTask): SdkAction | { actionType: 5; delayAfterAttempt: number } {
  const action = task.actionObj;
  if (action !== 'noOp' && action) return action;
  const place = retryPlace(task);
  const inner = place?.retried.innerTask?.actionObj;
  if (!place || !inner || inner === 'noOp') {
    throw hubFault('HUB_PROTOCOL', 'a task without an action outside a retry');
  }
  // children: attempt 1, timer, attempt 2, timer, …
  if (place.index % 2 === 0) return inner;
  return { actionType: 5, delayAfterAttempt: (place.index + 1) / 2 };
}

/** Delay before the next attempt; the SDK waits for a timer after the last failure too: zero. */
function retryDelayMs(options: RetryOptions, failedAttempt: number): number {
  if (failedAttempt >= options.maxNumberOfAttempts) return 0;
  const factor = Math.pow(options.backoffCoefficient ?? 1, failedAttempt - 1);
  const delay = options.firstRetryIntervalInMilliseconds * factor;
  return Math.min(delay, options.maxRetryIntervalInMilliseconds ?? Number.POSITIVE_INFINITY);
}

function kindOfAction(action: { actionType: number }): ScheduledKind {
  if (action.actionType <= 1) return 'activity';
  if (action.actionType <= 3) return 'child';
  if (action.actionType === 5) return 'timer';
  throw refusal(action.actionType);
}

function refusal(actionType: number): Error {
  const what = refusedActions[actionType] ?? `an action of type ${actionType}`;
  return hubFault('HUB_PROTOCOL', `${what} is not supported by the local hub`);
}

function isCancelled(task: SdkTask): boolean {
  const own = task.actionObj;
  if (own !== 'noOp' && own?.isCanceled) return true;
  // A slice of a long timer is cancelled through the long timer.
  const outer = task.parent?.actionObj;
  return outer !== 'noOp' && outer?.actionType === 5 && outer.isCanceled === true;
}

function decide(task: SdkTask, id: number, nowMs: number): Decision {
  const action = actionOf(task);
  const kind = kindOfAction(action);
  if ('delayAfterAttempt' in action) {
    const options = task.parent?.retryOptions;
    const delay = options ? retryDelayMs(options, action.delayAfterAttempt) : 0;
    return { kind: 'timer', id, fireAt: validTime(nowMs + delay), isCancelled: false };
  }
  if (kind === 'timer') {
    const fireAt = validTime(action.fireAt?.getTime() ?? Number.NaN);
    return { kind, id, fireAt, isCancelled: isCancelled(task) };
  }
  const name = action.functionName ?? '';
  if (kind === 'activity') return { kind, id, name, input: activityInput(action.input) };
  const input = JSON.stringify(action.input ?? null);
  const { instanceId = '', version = '' } = action;
  return { kind, id, name, input, instanceId: instanceId ?? '', version: version ?? '' };
}

const instantMsMax = 8.64e15;

function validTime(atMs: number): number {
  if (Math.abs(atMs) <= instantMsMax) return Math.ceil(atMs);
  throw hubFault('HUB_PROTOCOL', 'a timer without a valid time');
}

/** Text that the activity trigger gets. Azure turns booleans into "True"/"False" on the way
 *  [reference/durable.md 7]; strings were made JSON text by the SDK already. */
function activityInput(input: unknown): string | null {
  if (input === undefined || input === null) return null;
  if (typeof input === 'boolean') return input ? 'True' : 'False';
  return typeof input === 'string' ? input : JSON.stringify(input);
}

/** [L1] The decisions that the history does not know yet, in the order of their ids. */
export function newDecisions(seen: Watch, ledger: Ledger): Decision[] {
  const { executor } = seen;
  if (!executor) return [];
  for (const action of executor.actions) refuseUnsupported(action);
  const nowMs = seen.currentTime();
  const decisions: Decision[] = [];
  for (let id = 0; id < executor.sequenceNumber; id++) {
    if (ledger.scheduled.has(id)) continue;
    const task = seen.tracked.get(id);
    if (!task) throw hubFault('HUB_PROTOCOL', `nothing was tracked under the task id ${id}`);
    decisions.push(decide(task, id, nowMs));
  }
  return decisions;
}

/** [L3] Also inside `any` and `all`. */
function refuseUnsupported(action: SdkAction): void {
  if (action.actionType in refusedActions) throw refusal(action.actionType);
  for (const part of action.compoundActions ?? []) refuseUnsupported(part);
}

/** Timers of the history that are open and that the orchestrator has cancelled by now. */
export function cancelledTimers(seen: Watch, ledger: Ledger): number[] {
  const cancelled: number[] = [];
  for (const id of ledger.open) {
    if (ledger.scheduled.get(id)?.kind !== 'timer') continue;
    const task = seen.tracked.get(id);
    if (task && isCancelled(task)) cancelled.push(id);
  }
  return cancelled;
}

const kindNames: Readonly<Record<ScheduledKind, string>> = {
  activity: 'an activity task',
  child: 'a sub-orchestration',
  timer: 'a timer',
};

/** [L2] Why this replay contradicts the history, or undefined. The SDK itself checks nothing. */
export function divergence(seen: Watch, ledger: Ledger): string | undefined {
  for (const [id, was] of ledger.scheduled) {
    const task = seen.tracked.get(id);
    const named = was.name === '' ? '' : ` and name '${was.name}'`;
    const past =
      'Non-Deterministic workflow detected: A previous execution of this orchestration scheduled ' +
      `${kindNames[was.kind]} with sequence ID ${id}${named}, but the current replay execution `;
    const advice =
      '. Was a change made to the orchestrator code after this instance had already started ' +
      'running?';
    if (!task) return `${past}hasn't (yet?) scheduled this task${advice}`;
    const action = actionOf(task);
    const kind = kindOfAction(action);
    const name = 'functionName' in action && kind !== 'timer' ? (action.functionName ?? '') : '';
    if (kind !== was.kind || name.toLowerCase() !== was.name.toLowerCase()) {
      return `${past}instead scheduled ${kindNames[kind]} '${name}' under this ID${advice}`;
    }
  }
  return undefined;
}

/** The input of the next generation when the orchestrator called continueAsNew. */
export function continuation(actions: unknown): { input: unknown } | undefined {
  const list = Array.isArray(actions) && Array.isArray(actions[0]) ? actions[0] : [];
  const last = list.at(-1) as SdkAction | undefined;
  return last?.actionType === 4 ? { input: last.input } : undefined;
}
