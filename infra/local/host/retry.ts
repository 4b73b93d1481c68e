// Function-level retry policies [FH 2.9]: the loop of WebJobs, in memory, within one trigger event.
//
// Y1 Timers retry as documented; a Service Bus trigger still does in the extension's code, with a
//    warning at start-up, and each attempt is one delivery.
// Y2 Every attempt is an invocation of its own; from the second on it has a retryContext.
// Y3 A stop ends the waiting: the attempt that failed last is the outcome.
import { sleep, type Clock } from '../../../shared/clock.ts';
import { HostFault, messageOf } from './faults.ts';
import type { RpcDuration, RpcRetryContext, RpcRetryOptions } from './rpc.ts';

export interface RetryPolicy {
  /** -1 = for ever. */
  retriesMax: number;
  /** The pause before the n-th retry, from 1, milliseconds. */
  delayMs(retry: number): number;
}

/** Reads the policy of a function; throws when it is incomplete. */
export function readRetryPolicy(options: RpcRetryOptions | undefined): RetryPolicy | undefined {
  if (!options) return undefined;
  const retriesMax = options.maxRetryCount ?? 0;
  if (!Number.isInteger(retriesMax) || retriesMax < -1) {
    throw new HostFault(`retry.maxRetryCount ${String(options.maxRetryCount)}`);
  }
  const span = (key: 'delayInterval' | 'minimumInterval' | 'maximumInterval'): number => {
    const duration: RpcDuration | undefined = options[key];
    if (!duration) throw new HostFault(`retry.${key} is missing`);
    return Number(duration.seconds ?? 0) * 1000;
  };
  if (options.retryStrategy === 'fixedDelay') {
    const delay = span('delayInterval');
    return { retriesMax, delayMs: () => delay };
  }
  if (options.retryStrategy !== 'exponentialBackoff') {
    throw new HostFault(`retry.strategy '${options.retryStrategy}'`);
  }
  const least = span('minimumInterval');
  const most = span('maximumInterval');
  // WebJobs adds up to 20 % at random to what it doubles; here it is the middle.
  const doubled = (retry: number): number => (retry < 2 ? 0 : least * 2 ** (retry - 2));
  return { retriesMax, delayMs: (retry) => Math.min(least + doubled(retry), most) };
}

export interface RetryOptions {
  policy: RetryPolicy | undefined;
  clock: Clock;
  signal: AbortSignal;
  note: (message: string) => void;
}

/** Runs attempts until one succeeds, the policy is spent, or the host stops [Y2, Y3]. */
export async function withRetry<T>(
  { policy, clock, signal, note }: RetryOptions,
  attempt: (retryContext: RpcRetryContext | undefined) => Promise<T>,
): Promise<T> {
  let context: RpcRetryContext | undefined;
  for (let retry = 1; ; retry++) {
    try {
      return await attempt(context);
    } catch (error) {
      if (!policy || (policy.retriesMax !== -1 && retry > policy.retriesMax)) throw error;
      const delayMs = policy.delayMs(retry);
      const most = policy.retriesMax === -1 ? 'unlimited' : String(policy.retriesMax);
      note(`Waiting for \`${delayMs} ms\` before retrying function execution. (${retry}/${most})`);
      await sleep(clock, delayMs, signal);
      if (signal.aborted) throw error;
      context = {
        retryCount: retry,
        maxRetryCount: policy.retriesMax,
        exception: { message: messageOf(error) },
      };
    }
  }
}
