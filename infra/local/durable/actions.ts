// What an orchestrator decided, read from the tasks that its run has tracked.
//
// Owns:    the meaning of the SDK's tasks and actions, retries and polls among them.
// Leaves:  the SDK's executor to sdk.ts, running to execute.ts, writing to commit.ts.
//
// Invariants:
//   L1. Ids are the SDK's own: given when a task is first yielded, in its order.
//   L2. What the history scheduled must be what a replay schedules: kind and name, every id.
//   L3. What the hub does not offer is refused by name, never skipped.
import { randomUUID } from 'node:crypto';
import { hubFault } from './fault.ts';
import { entityIdOf, releaseEventName, requestEventName } from './history.ts';
import type { EntityRequest, Ledger, LockSection, ScheduledKind } from './history.ts';
import { httpActivityName, pollPlace, pollRequest } from './http-call.ts';
import type { RetryOptions, SdkAction, SdkRun, SdkTask, Tracked } from './sdk.ts';

/** The part before in a retried call: attempt, timer, attempt … */
interface MayRetry {
  retryAfter?: number;
}

export type Decision =
  | ({ kind: 'activity'; id: number; name: string; input: string | null } & MayRetry)
  | ({ kind: 'timer'; id: number; fireAt: number; isCancelled: boolean } & MayRetry)
  | ChildDecision
  /** `target` is '' for the release of a lock that was never asked for. */
  | { kind: 'message'; id: number; target: string; name: string; request: EntityRequest };

export interface ChildDecision extends MayRetry {
  kind: 'child';
  id: number;
  name: string;
  input: string;
  instanceId: string;
  /** Undefined = the default of the app. */
  version: string | undefined;
}

const actionsMax = 100_000; // maxOrchestrationActions [11.5]

interface DelayAction {
  actionType: 5;
  delayAfterAttempt: number;
}

/** Attempt number (1, 2 …) of a child of a retried task; its delay timers lie between. */
function retryPlace(task: SdkTask): { retried: SdkTask; index: number } | undefined {
  const retried = task.parent;
  if (!retried?.retryOptions || !retried.children) return undefined;
  return { retried, index: retried.children.indexOf(task) };
}

/** The action that a task stands for; retries hide it behind 'noOp'. */
function actionOf(tracked: Tracked): SdkAction | DelayAction {
  if ('action' in tracked) return tracked.action;
  const { task } = tracked;
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

function retriedAfter(tracked: Tracked): MayRetry {
  const place = 'task' in tracked ? retryPlace(tracked.task) : undefined;
  const before = place?.retried.children?.[place.index - 1]?.id;
  return typeof before === 'number' ? { retryAfter: before } : {};
}

/** Delay before the next attempt; the SDK waits for a timer after the last failure too: zero. */
function retryDelayMs(options: RetryOptions, failedAttempt: number): number {
  if (failedAttempt >= options.maxNumberOfAttempts) return 0;
  const factor = Math.pow(options.backoffCoefficient ?? 1, failedAttempt - 1);
  const delay = options.firstRetryIntervalInMilliseconds * factor;
  return Math.min(delay, options.maxRetryIntervalInMilliseconds ?? Number.POSITIVE_INFINITY);
}

const kindsByType: Readonly<Record<number, ScheduledKind>> = {
  0: 'activity',
  1: 'activity',
  2: 'child',
  3: 'child',
  5: 'timer',
  7: 'message',
  8: 'activity', // callHttp
  9: 'message',
  13: 'message', // df.lock
  14: 'message', // its release
};

/** [L3] */
function kindOfAction({ actionType }: { actionType: number }): ScheduledKind {
  const kind = kindsByType[actionType];
  if (kind) return kind;
  const what =
    actionType === 10 ? 'signalEntity with a schedule' : `an action of type ${actionType}`;
  throw hubFault('HUB_PROTOCOL', `${what} is not supported by the local hub`);
}

function isCancelled(task: SdkTask): boolean {
  const own = task.actionObj;
  if (own !== 'noOp' && own?.isCanceled) return true;
  // A slice of a long timer is cancelled through the long timer.
  const outer = task.parent?.actionObj;
  return outer !== 'noOp' && outer?.actionType === 5 && outer.isCanceled === true;
}

/** Who asks, and the critical section as it stands after the ids before. */
interface Asking {
  instanceId: string;
  executionId: string;
  nowMs: number;
  lock: LockSection | undefined;
}

function decide(tracked: Tracked, id: number, asking: Asking): Decision {
  const action = actionOf(tracked);
  const kind = kindOfAction(action);
  const task = 'task' in tracked ? tracked.task : undefined;
  if ('delayAfterAttempt' in action) {
    const options = task?.parent?.retryOptions;
    const delay = options ? retryDelayMs(options, action.delayAfterAttempt) : 0;
    return { kind: 'timer', id, fireAt: validTime(asking.nowMs + delay), isCancelled: false };
  }
  if (kind === 'timer') {
    const fireAt = validTime(action.fireAt?.getTime() ?? Number.NaN);
    return { kind, id, fireAt, isCancelled: task !== undefined && isCancelled(task) };
  }
  if (kind === 'message') return message(tracked, id, asking);
  if (action.actionType === 8) {
    const input = JSON.stringify(pollRequest(task) ?? action.httpRequest);
    return { kind: 'activity', id, name: httpActivityName, input };
  }
  const name = action.functionName ?? '';
  if (kind === 'activity') return { kind, id, name, input: activityInput(action.input) };
  const input = JSON.stringify(action.input ?? null);
  const { instanceId, version } = action;
  return { kind, id, name, input, instanceId: instanceId ?? '', version: version ?? undefined };
}

function message(tracked: Tracked, id: number, asking: Asking): Decision & { kind: 'message' } {
  const action = actionOf(tracked) as SdkAction;
  const { instanceId: parent, executionId: parentExecution } = asking;
  const head = { kind: 'message', id } as const;
  if (action.actionType === 14) {
    const part = 'action' in tracked ? tracked.part : 0;
    const target = asking.lock?.entityIds[part] ?? '';
    const request = { id: asking.lock?.requestId ?? randomUUID(), parent };
    return { ...head, target, name: releaseEventName, request };
  }
  if (action.actionType === 13) {
    const lockset = action.lockSet ?? [];
    const requestId = action.lockRequestId ?? randomUUID();
    const target = lockset[0] ? entityIdOf(lockset[0]) : '';
    const request = { id: requestId, parent, parentExecution, lockset, pos: 0 };
    return { ...head, target, name: requestEventName, request };
  }
  const request: EntityRequest = {
    op: action.operation ?? '',
    ...(action.actionType === 9 ? { signal: true } : {}),
    ...(action.input === undefined ? {} : { input: JSON.stringify(action.input) }),
    id: randomUUID(),
    parent,
    parentExecution,
  };
  return { ...head, target: action.instanceId ?? '', name: requestEventName, request };
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

/** A poll of callHttp waits for the timer before it: the SDK gave both their ids at once [6.7]. */
function mustWait(tracked: Tracked): boolean {
  if (!('task' in tracked)) return false;
  const place = pollPlace(tracked.task);
  return place !== undefined && place.timer.hasResult !== true;
}

/** [L1] The decisions that the history does not know yet, in the order of their ids. */
export function newDecisions(
  run: SdkRun,
  ledger: Ledger,
  asker: { instanceId: string; executionId: string },
): Decision[] {
  if (!run.df) return [];
  const { taskOrchestratorExecutor: executor, currentUtcDateTime } = run.df;
  if (executor.actions.length > actionsMax) {
    throw hubFault('HUB_PROTOCOL', `more than ${actionsMax} actions (maxOrchestrationActions)`);
  }
  const ids = run.heldBack;
  for (let id = run.decidedBelow; id < executor.sequenceNumber; id++) ids.push(id);
  run.heldBack = [];
  run.decidedBelow = executor.sequenceNumber;
  const asking: Asking = { ...asker, nowMs: currentUtcDateTime.getTime(), lock: ledger.lock };
  const decisions: Decision[] = [];
  for (const id of ids) {
    if (ledger.scheduled.has(id)) continue;
    const tracked = run.tracked.get(id);
    if (!tracked) throw hubFault('HUB_PROTOCOL', `nothing was tracked under the task id ${id}`);
    if (mustWait(tracked)) {
      run.heldBack.push(id);
      continue;
    }
    const decision = { ...decide(tracked, id, asking), ...retriedAfter(tracked) };
    decisions.push(decision);
    if (decision.kind !== 'message' || !decision.request.lockset) continue;
    const entityIds = decision.request.lockset.map(entityIdOf);
    asking.lock = { requestId: decision.request.id, entityIds };
  }
  return decisions;
}

/** Timers of the history that are open and that the orchestrator has cancelled by now. */
export function cancelledTimers(run: SdkRun, ledger: Ledger): number[] {
  return [...ledger.openTimers].filter((id) => {
    const tracked = run.tracked.get(id);
    return tracked !== undefined && 'task' in tracked && isCancelled(tracked.task);
  });
}

/** Forgets the tasks that nothing will ask about again: a run that lives on must not grow. */
export function forgetSettled(run: SdkRun, ledger: Ledger): void {
  const held = new Set(run.heldBack);
  for (const id of run.tracked.keys()) {
    if (!ledger.openTimers.has(id) && !held.has(id)) run.tracked.delete(id);
  }
}

const kindNames: Readonly<Record<ScheduledKind, string>> = {
  activity: 'an activity task',
  child: 'a sub-orchestration',
  timer: 'a timer',
  message: 'a message to an entity',
};

/** [L2] Why this replay contradicts the history, or undefined. The SDK itself checks nothing. */
export function divergence(run: SdkRun, ledger: Ledger): string | undefined {
  for (const [id, was] of ledger.scheduled) {
    const tracked = run.tracked.get(id);
    const named = was.name === '' ? '' : ` and name '${was.name}'`;
    const past =
      'Non-Deterministic workflow detected: A previous execution of this orchestration scheduled ' +
      `${kindNames[was.kind]} with sequence ID ${id}${named}, but the current replay execution `;
    const advice =
      '. Was a change made to the orchestrator code after this instance had already started ' +
      'running?';
    if (!tracked) {
      if (ledger.isRewound) continue; // what comes after a failed attempt is not scheduled yet
      return `${past}hasn't (yet?) scheduled this task${advice}`;
    }
    const { kind, name } = identityOf(tracked);
    const isSame = kind === was.kind && (name === undefined || isSameName(name, was.name));
    if (!isSame)
      return `${past}instead scheduled ${kindNames[kind]} '${name}' under this ID${advice}`;
  }
  return undefined;
}

const isSameName = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();

/** What a tracked task would be called in the history; a release has no name of its own. */
function identityOf(tracked: Tracked): { kind: ScheduledKind; name: string | undefined } {
  const action = actionOf(tracked);
  const kind = kindOfAction(action);
  if (kind === 'timer' || 'delayAfterAttempt' in action) return { kind, name: '' };
  if (action.actionType === 8) return { kind, name: httpActivityName };
  if (action.actionType === 13) {
    const [first] = action.lockSet ?? [];
    return { kind, name: first && entityIdOf(first) };
  }
  if (kind === 'message') return { kind, name: action.instanceId };
  return { kind, name: action.functionName ?? '' };
}
