// Runs queued activities, a bounded number at a time; their results go to inboxes.
//
// Invariants:
//   A1. Work leaves the queue in the change that posts its result: an activity runs at least once
//       and its result counts once.
//   A2. Work is read from the file in pages; memory holds at most one page.
import type { HubParts } from './hub.ts';
import { textOf } from './fault.ts';
import { eventType, type FailureDetails, type InboundEvent } from './history.ts';
import { isoMs, postAnswer } from './instances.ts';
import type { WorkItem } from './storage.ts';

export interface Activities {
  start(): void;
  wake(): void;
  drain(): Promise<void>;
  readonly isBusy: boolean;
}

const pageMax = 256;
const firstRetryMs = 20;
const retryMsMax = 30_000;

type Result =
  { result: string | null } | { reason: string; details: string; failureDetails?: FailureDetails };

export function openActivities(parts: HubParts, concurrentMax: number): Activities {
  const { storage, runner, clock, log } = parts;
  let page: WorkItem[] = [];
  let lastTaken = 0;
  let mayHaveMore = true;
  let running = 0;
  let isTaking = false;
  const drainWaiters: (() => void)[] = [];

  function pump(): void {
    while (isTaking && running < concurrentMax) {
      if (page.length === 0 && mayHaveMore) {
        page = storage.workAfter(lastTaken, pageMax);
        mayHaveMore = page.length === pageMax;
      }
      const work = page.shift();
      if (!work) return;
      lastTaken = Math.max(lastTaken, work.sequence);
      running++;
      void perform(work, 0);
    }
  }

  async function perform(work: WorkItem, failures: number): Promise<void> {
    let retryAfterMs: number | undefined;
    try {
      await runOnce(work);
    } catch (error) {
      retryAfterMs = Math.min(firstRetryMs * 2 ** failures, retryMsMax);
      log('warning', `activity ${work.name} of ${work.instanceId}: ${textOf(error)}; again later`);
    }
    running--;
    if (retryAfterMs !== undefined) {
      clock.after(retryAfterMs, () => {
        if (!isTaking) return; // The next start finds it in the file.
        running++;
        void perform(work, failures + 1);
      });
    }
    if (running === 0) for (const resolve of drainWaiters.splice(0)) resolve();
    pump();
    parts.settled();
  }

  async function runOnce(work: WorkItem): Promise<void> {
    const { instanceId, name } = work;
    await parts.intercept({ kind: 'activity-start', instanceId, name });
    const result = await call(work);
    parts.usage.activities++;
    const detail = 'result' in result ? 'completed' : 'failed';
    await parts.intercept({ kind: 'activity-finished', instanceId, name, detail });
    const isWanted = await storage.commit(() => {
      storage.dropWork(work.sequence);
      return postAnswer(storage, work, answer(work, result));
    });
    parts.usage.storageTransactions += 1;
    if (isWanted) parts.wake(instanceId);
    else log('debug', `result of activity ${name} dropped: ${instanceId} no longer waits for it`);
  }

  async function call(work: WorkItem): Promise<Result> {
    const { name, input } = work;
    if (runner.kindOf(name) !== 'activity') {
      const reason = `The function '${name}' doesn't exist, is disabled, or is not an activity function.`;
      return { reason, details: '' };
    }
    try {
      const trigger = input === null ? { json: 'null' } : { string: input };
      const { result } = await runner.run(name, trigger);
      return { result: JSON.stringify(result) ?? null };
    } catch (error) {
      return failure(name, error);
    }
  }

  function answer(work: WorkItem, result: Result): InboundEvent {
    const stamp = {
      EventId: -1,
      Timestamp: isoMs(clock.now()),
      TaskScheduledId: work.taskId,
    };
    if ('result' in result) {
      return { EventType: eventType.taskCompleted, ...stamp, Result: result.result };
    }
    const { reason: Reason, details: Details, failureDetails } = result;
    const details = failureDetails ? { FailureDetails: failureDetails } : {};
    return { EventType: eventType.taskFailed, ...stamp, Reason, Details, ...details };
  }

  return {
    start() {
      isTaking = true;
      pump();
    },
    wake() {
      mayHaveMore = true;
      pump();
    },
    async drain() {
      isTaking = false;
      if (running > 0) await new Promise<void>((resolve) => drainWaiters.push(resolve));
    },
    get isBusy() {
      return running > 0 || (isTaking && (page.length > 0 || mayHaveMore));
    },
  };
}

/** [reference/durable.md 7] `Reason \n Details` is what the orchestrator sees. */
function failure(name: string, error: unknown): Result {
  const message = textOf(error);
  const details = error instanceof Error ? (error.stack ?? '') : '';
  const reason = `Activity function '${name}' failed: ${message}`;
  const failureDetails = describedFailure(message);
  return failureDetails ? { reason, details, failureDetails } : { reason, details };
}

/** An app with an exception properties provider puts JSON into the message [7]. */
function describedFailure(message: string): FailureDetails | undefined {
  if (!message.startsWith('{')) return undefined;
  try {
    const { errorType, errorMessage, stackTrace, isNonRetriable, properties } = JSON.parse(
      message,
    ) as Record<string, unknown>;
    if (typeof errorType !== 'string' || properties === undefined) return undefined;
    return {
      ErrorType: errorType,
      ErrorMessage: String(errorMessage ?? ''),
      StackTrace: typeof stackTrace === 'string' ? stackTrace : null,
      IsNonRetriable: isNonRetriable === true,
      Properties: properties,
    };
  } catch {
    return undefined;
  }
}
