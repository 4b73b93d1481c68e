// The sender's wire: one call at a time per queue, tried again until its time is over.
//
// Owns:   the Service Bus client, its senders, time limits and pauses, what a failure is called.
// Leaves: what is sent, and in which order, to sender.ts.
import type {
  ServiceBusClient,
  ServiceBusMessageBatch,
  ServiceBusSender,
} from '@azure/service-bus';
import { realClock, sleep } from './clock.ts';
import type { Clock } from './clock.ts';
import { ConvoyError, reasonOf } from './errors.ts';
import { brokerBusy, openServiceBusClient, serviceBusFault } from './service-bus.ts';
import type { ServiceBusAddress, ServiceBusFault } from './service-bus.ts';
import type { Refused } from './throttling.ts';

export interface WireOptions {
  /** How long a batch is tried again before the send fails. Default 60 s. */
  retryForMs?: number;
  /** The same until the broker has answered once: a wrong address shows early. */
  connectWithinMs?: number;
  /** How long the first try of a batch may take; each further one has twice as long, to 60 s. */
  attemptWithinMs?: number;
  clock?: Clock;
  /** Called for every try that the broker refused for its rate or the size of the queue. */
  onThrottled?: (refused: Refused) => void;
}

const retryForMsDefault = 60_000;
const firstPauseMs = 100;
const longestPauseMs = 5_000;
const attemptWithinMsDefault = 5_000;
const attemptMsMax = 60_000;

export interface Wire {
  /** Runs one call at a time per queue [N1]. */
  inTurn<T>(queue: string, call: () => Promise<T>): Promise<T>;
  newBatch(queue: string): Promise<ServiceBusMessageBatch>;
  /** Not after `until`, by the clock; default: as long as `retryForMs` says. */
  transmit(queue: string, batch: ServiceBusMessageBatch, until?: number): Promise<void>;
  close(): Promise<void>;
}

export function createWire(address: ServiceBusAddress, options: WireOptions): Wire {
  const clock = options.clock ?? realClock;
  const retryForMs = options.retryForMs ?? retryForMsDefault;
  const turns = new Map<string, Promise<unknown>>();
  const senders = new Map<string, ServiceBusSender>();
  const closed = new AbortController();
  let opening: Promise<ServiceBusClient> | undefined;
  let answeredOnce = false;

  async function senderOf(queue: string): Promise<ServiceBusSender> {
    // The client's own retries wait 30 s and reorder nothing of ours; we try again ourselves.
    opening ??= openServiceBusClient(address, { retryOptions: { maxRetries: 0 } });
    const client = await opening;
    const known = senders.get(queue);
    if (known) return known;
    const sender = client.createSender(queue);
    senders.set(queue, sender);
    return sender;
  }

  async function persistently<T>(queue: string, attempt: Attempt<T>, until = Infinity): Promise<T> {
    const startedAt = clock.now();
    let last: unknown = new AttemptTooLong('its time was over before the first try');
    let pauseMs = firstPauseMs;
    let attemptMs = options.attemptWithinMs ?? attemptWithinMsDefault;
    for (;;) {
      if (closed.signal.aborted) throw new ConvoyError('CVY_UNREACHABLE', 'the sender is closed');
      const sender = await senderOf(queue);
      const leftMs = until - clock.now();
      if (leftMs <= 0) throw refusal(queue, last);
      try {
        const limitMs = Math.min(attemptMs, leftMs);
        const result = await within(clock, limitMs, (signal) => attempt(sender, signal));
        answeredOnce = true;
        return result;
      } catch (error) {
        const limitMs = answeredOnce ? retryForMs : (options.connectWithinMs ?? retryForMs);
        const busy = brokerBusy(error);
        if (busy !== undefined) options.onThrottled?.(busy);
        const waitMs = Math.max(pauseMs, busy?.retryAfterMs ?? 0);
        const isLate = clock.now() - startedAt + waitMs > limitMs;
        if (faultOf(error) !== 'transient' || isLate) throw refusal(queue, error);
        last = error;
        await pause(clock, waitMs, closed.signal);
      }
      pauseMs = Math.min(pauseMs * 2, longestPauseMs);
      attemptMs = Math.min(attemptMs * 2, attemptMsMax);
    }
  }

  return {
    inTurn(queue, call) {
      const turn = (turns.get(queue) ?? Promise.resolve()).then(call);
      turns.set(
        queue,
        turn.catch(() => {}),
      );
      return turn;
    },
    newBatch: (queue) =>
      persistently(queue, (sender, abortSignal) => sender.createMessageBatch({ abortSignal })),
    transmit: (queue, batch, until) =>
      persistently(
        queue,
        (sender, abortSignal) => sender.sendMessages(batch, { abortSignal }),
        until,
      ),
    async close() {
      closed.abort();
      await (await opening)?.close();
    },
  };
}

type Attempt<T> = (sender: ServiceBusSender, signal: AbortSignal) => Promise<T>;

/** One try took too long; whether the broker has stored it is not known. */
class AttemptTooLong extends Error {}

/**
 * One try with a time limit of its own. The client notices neither that its connection was lost
 * under a send in flight nor gives up on it before its own 60 s; a try that was stored after all
 * makes a repeat with the same id, which does no harm.
 */
async function within<T>(
  clock: Clock,
  limitMs: number,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const timer = clock.after(limitMs, () => limit.abort());
  try {
    return await call(limit.signal);
  } catch (error) {
    if (!limit.signal.aborted) throw error;
    throw new AttemptTooLong(`no answer within ${limitMs} ms`, { cause: error });
  } finally {
    timer.cancel();
  }
}

function faultOf(error: unknown): ServiceBusFault {
  return error instanceof AttemptTooLong ? 'transient' : serviceBusFault(error);
}

/** Waits and keeps the process alive meanwhile: with the broker away nothing else would. */
async function pause(clock: Clock, pauseMs: number, signal: AbortSignal): Promise<void> {
  const anchor = setInterval(() => {}, 60_000);
  try {
    await sleep(clock, pauseMs, signal);
  } finally {
    clearInterval(anchor);
  }
}

/** What the sender of the message is told when the broker will not have it. */
function refusal(queue: string, error: unknown): ConvoyError {
  const because = { cause: error };
  switch (faultOf(error)) {
    case 'notFound':
      return new ConvoyError('CVY_CONVOY_UNKNOWN', `there is no queue ${queue}`, because);
    case 'tooLarge':
      return new ConvoyError('CVY_BODY_TOO_LARGE', reasonOf(error), because);
    case 'unauthorized':
      return new ConvoyError('CVY_SETTINGS', 'the broker refuses the key or identity', because);
    case 'transient':
      if (brokerBusy(error))
        return new ConvoyError('CVY_THROTTLED', `queue ${queue}: ${reasonOf(error)}`, because);
      return new ConvoyError('CVY_UNREACHABLE', `queue ${queue}: ${reasonOf(error)}`, because);
    case 'permanent':
      return new ConvoyError('CVY_BAD_REQUEST', `queue ${queue}: ${reasonOf(error)}`, because);
  }
}
