// The orchestrator: one durable instance per key and epoch. It drains first, then waits (H7), and
// knows nothing of messages: everything it decides comes from the result of a drain.
//
// Deterministic: time is `currentUtcDateTime`, drains are counted, nothing is read from outside. A
// failed drain never ends the instance; continue-as-new comes after `drainsPerGeneration` drains
// and may drop wakes, which costs nothing, because the next generation drains first.
import * as df from 'durable-functions';
import type { OrchestrationContext, Task } from 'durable-functions';
import type { DrainResult } from '../shared/engine/drain.ts';
import type { DrainRequest } from '../shared/engine/drain-context.ts';
import { backoffMs } from '../shared/engine/patience.ts';
import type { InstanceInput } from '../shared/engine/ports.ts';
import { drainName, orchestratorName, wakeName } from './wiring/instances.ts';

const drainsPerGeneration = 40;

interface GenerationInput extends InstanceInput {
  failures?: number;
  mayClose?: boolean;
  /** Since when drains fail because a service throttles; shown as the custom status. */
  throttledSince?: number;
}

export function* convoy(context: OrchestrationContext): Generator<Task, void, unknown> {
  const input = context.df.getInput<GenerationInput>();
  const { convoy, key, epoch } = input;
  let { failures = 0, mayClose = false, throttledSince } = input;
  for (let drains = 0; drains < drainsPerGeneration; drains += 1) {
    const result = yield* drainOnce(context, { convoy, key, epoch, mayClose });
    mayClose = false;
    failures = result.kind === 'failed' ? failures + 1 : 0;
    throttledSince = showThrottling(context, result, throttledSince);
    switch (result.kind) {
      case 'fenced': // H3
      case 'closed': // H6
      case 'rested': // H8
        return;
      case 'more':
        break;
      case 'failed': // H7: back-off timer, then drain
        yield timer(context, Math.max(backoffMs(failures), result.throttled?.retryAfterMs ?? 0));
        break;
      case 'retryAt': // H8: one durable timer; wakes do not shorten it
        yield context.df.createTimer(new Date(result.at));
        break;
      case 'waiting': // H4
        mayClose = yield* lingerPassed(context, result.seconds);
        break;
    }
  }
  const shown = throttledSince === undefined ? {} : { throttledSince };
  context.df.continueAsNew({ convoy, key, epoch, failures, mayClose, ...shown });
}

/** Says in the custom status that a service throttles the key: no further write, for the hub stores
 *  it with what it stores anyway. Returns since when. */
function showThrottling(
  context: OrchestrationContext,
  result: DrainResult,
  since: number | undefined,
): number | undefined {
  const throttled = result.kind === 'failed' ? result.throttled : undefined;
  if (throttled === undefined) {
    // An object without it: hosts take null for "not changed".
    if (since !== undefined) context.df.setCustomStatus({ throttled: null });
    return undefined;
  }
  const begun = since ?? context.df.currentUtcDateTime.getTime();
  context.df.setCustomStatus({ throttled: { by: throttled.by, since: begun } });
  return begun;
}

/** [H7] An activity that could not even run is a failed drain. */
function* drainOnce(
  context: OrchestrationContext,
  request: DrainRequest,
): Generator<Task, DrainResult, unknown> {
  try {
    return (yield context.df.callActivity(drainName, request)) as DrainResult;
  } catch (error) {
    return { kind: 'failed', reason: error instanceof Error ? error.message : String(error) };
  }
}

/** [H4] Waits for one wake or the linger; true when the linger has passed. The loser of the race is
 *  cancelled: an open timer would keep a finished instance Running (reference/durable.md §12.3). */
function* lingerPassed(
  context: OrchestrationContext,
  seconds: number,
): Generator<Task, boolean, unknown> {
  const wake = context.df.waitForExternalEvent(wakeName);
  const linger = timer(context, seconds * 1000);
  const winner = yield context.df.Task.any([wake, linger]);
  if (!linger.isCompleted) linger.cancel();
  return winner === linger;
}

function timer(context: OrchestrationContext, delayMs: number) {
  return context.df.createTimer(new Date(context.df.currentUtcDateTime.getTime() + delayMs));
}

df.app.orchestration(orchestratorName, convoy);
