// Runs queued activities, a bounded number at a time; their results go to inboxes.
//
// Invariants:
//   A1. Work leaves the queue in the change that posts its result: an activity runs at least once
//       and its result counts once.
//   A2. Work is read from the file in pages; memory holds at most one page.
import type { HubParts } from './parts.ts';
import { textOf } from './fault.ts';
import { eventType, type FailureDetails, type InboundEvent } from './history.ts';
import { httpActivityName, performHttp } from './http-call.ts';
import { isoMs, postAnswer } from './instances.ts';
import type { WorkItem } from './storage.ts';

const pageMax = 256;
const firstRetryMs = 20;
const retryMsMax = 30_000;
const httpTimeoutMs = 100_000;

type Result =
  { result: string | null } | { reason: string; details: string; failureDetails?: FailureDetails };

export class Activities {
  readonly #parts: HubParts;
  readonly #concurrentMax: number;
  #page: WorkItem[] = [];
  #lastTaken = 0;
  #mayHaveMore = true;
  #running = 0;
  #isTaking = false;
  readonly #drainWaiters: (() => void)[] = [];

  constructor(parts: HubParts, concurrentMax: number) {
    this.#parts = parts;
    this.#concurrentMax = concurrentMax;
  }

  start(): void {
    this.#isTaking = true;
    this.#pump();
  }

  /** There may be new work. */
  wake(): void {
    this.#mayHaveMore = true;
    this.#pump();
  }

  async drain(): Promise<void> {
    this.#isTaking = false;
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => this.#drainWaiters.push(resolve));
  }

  get isBusy(): boolean {
    const hasMore = this.#page.length > 0 || this.#mayHaveMore;
    return this.#running > 0 || (this.#isTaking && hasMore);
  }

  #pump(): void {
    while (this.#isTaking && this.#running < this.#concurrentMax) {
      if (this.#page.length === 0 && this.#mayHaveMore) {
        this.#page = this.#parts.storage.workAfter(this.#lastTaken, pageMax);
        this.#mayHaveMore = this.#page.length === pageMax;
      }
      const work = this.#page.shift();
      if (!work) return;
      this.#lastTaken = Math.max(this.#lastTaken, work.sequence);
      this.#running++;
      void this.#perform(work, 0);
    }
  }

  async #perform(work: WorkItem, failures: number): Promise<void> {
    let retryAfterMs: number | undefined;
    try {
      await this.#runOnce(work);
    } catch (error) {
      retryAfterMs = Math.min(firstRetryMs * 2 ** failures, retryMsMax);
      this.#parts.log(
        'warning',
        `activity ${work.name} of ${work.instanceId}: ${textOf(error)}; again later`,
      );
    }
    this.#running--;
    if (retryAfterMs !== undefined) {
      this.#parts.clock.after(retryAfterMs, () => {
        if (!this.#isTaking) return; // The next start finds it in the file.
        this.#running++;
        void this.#perform(work, failures + 1);
      });
    }
    if (this.#running === 0) for (const resolve of this.#drainWaiters.splice(0)) resolve();
    this.#pump();
    this.#parts.settled();
  }

  async #runOnce(work: WorkItem): Promise<void> {
    const { instanceId, name } = work;
    await this.#parts.intercept({ kind: 'activity-start', instanceId, name });
    const result = await this.#call(work);
    this.#parts.usage.activities++;
    const detail = 'result' in result ? 'completed' : 'failed';
    await this.#parts.intercept({ kind: 'activity-finished', instanceId, name, detail });
    const isWanted = await this.#parts.storage.commit(() => {
      this.#parts.storage.dropWork(work.sequence);
      return postAnswer(this.#parts.storage, work, this.#answer(work, result));
    });
    this.#parts.usage.storageTransactions += 1;
    if (isWanted) this.#parts.wake(instanceId);
    else
      this.#parts.log(
        'debug',
        `result of activity ${name} dropped: ${instanceId} no longer waits for it`,
      );
  }

  async #call(work: WorkItem): Promise<Result> {
    const { name, input } = work;
    if (name === httpActivityName) return this.#callHttp(input ?? '{}');
    if (this.#parts.runner.kindOf(name) !== 'activity') {
      const reason =
        `The function '${name}' doesn't exist, is disabled, ` + 'or is not an activity function.';
      return { reason, details: '' };
    }
    try {
      const trigger = input === null ? { json: 'null' } : { string: input };
      const { result } = await this.#parts.runner.run(name, trigger);
      return { result: JSON.stringify(result) ?? null };
    } catch (error) {
      return failure(name, error);
    }
  }

  /** The .NET client gives up after 100 s. */
  async #callHttp(input: string): Promise<Result> {
    const givingUp = new AbortController();
    const timer = this.#parts.clock.after(httpTimeoutMs, () => givingUp.abort());
    try {
      return { result: await performHttp(input, givingUp.signal) };
    } catch (error) {
      const text = givingUp.signal.aborted ? `no answer within ${httpTimeoutMs} ms` : textOf(error);
      return { reason: text, details: error instanceof Error ? (error.stack ?? '') : '' };
    } finally {
      timer.cancel();
    }
  }

  #answer(work: WorkItem, result: Result): InboundEvent {
    const stamp = {
      EventId: -1,
      Timestamp: isoMs(this.#parts.clock.now()),
      TaskScheduledId: work.taskId,
    };
    if ('result' in result) {
      return { EventType: eventType.taskCompleted, ...stamp, Result: result.result };
    }
    const { reason: Reason, details: Details, failureDetails } = result;
    const details = failureDetails ? { FailureDetails: failureDetails } : {};
    return { EventType: eventType.taskFailed, ...stamp, Reason, Details, ...details };
  }
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
