// The Service Bus trigger, cardinality one: session slots and plain queues, over the official
// client and nothing but a connection string. Owns accepting, back-off and stopping; one held
// session is service-bus-session.ts, what a handler sees is service-bus-adapter.ts.
//
// L1 At most maxConcurrentSessions slots per function; accepts in flight at once are throttled to
//    min(slots, 2 x cores), each a long poll of the try time-out [FH 2.5 (1)].
// L2 A failed accept is said once per cause and retried with back-off: a slot never spins.
// L3 On one link, settlements of different outcomes are never in flight together: the client may
//    merge them into one [SB 8.5].
import { availableParallelism } from 'node:os';
import type { ServiceBusReceivedMessage, ServiceBusSessionReceiver } from '@azure/service-bus';
import { sleep, type Clock } from '../../../shared/clock.ts';
import type { Say } from './console.ts';
import type { HostFunction } from './functions.ts';
import { createClientPool, openClient, type Seat } from './service-bus-clients.ts';
import { codeOf, holdSession, sayUnsettled, type Hold } from './service-bus-session.ts';
import type { ServiceBusSettings } from './settings.ts';
import { createLeave, within } from './waits.ts';

export interface ListenerOptions {
  fn: HostFunction;
  connection: string;
  settings: ServiceBusSettings;
  clock: Clock;
  say: Say;
  handle: (message: ServiceBusReceivedMessage) => Promise<void>;
}

export interface Listener {
  /** Takes nothing new; resolves when what was taken is settled and the connections are closed. */
  stop(): Promise<void>;
}

/** What the trigger options ask for; throws on what this host cannot do, by name. */
export interface QueueTrigger {
  queue: string;
  isSession: boolean;
  autoComplete: boolean;
  dataType: string | undefined;
}

export function readQueueTrigger(fn: HostFunction, settings: ServiceBusSettings): QueueTrigger {
  const { trigger } = fn;
  const refuse = (what: string): Error => new Error(`${what} is not supported by the local host`);
  if (trigger['topicName'] !== undefined || trigger['subscriptionName'] !== undefined) {
    throw refuse('serviceBusTrigger on a topic');
  }
  const queue = trigger['queueName'];
  if (typeof queue !== 'string' || queue === '') throw new Error('queueName is missing');
  const cardinality = String(trigger['cardinality'] ?? 'one').toLowerCase();
  if (cardinality !== 'one') throw refuse(`serviceBusTrigger with cardinality '${cardinality}'`);
  const dataType = trigger['dataType'] === undefined ? undefined : String(trigger['dataType']);
  if (dataType?.toLowerCase() === 'stream') throw refuse("dataType 'stream'");
  const auto = trigger['autoCompleteMessages'] ?? settings.autoCompleteMessages;
  return {
    queue,
    isSession: String(trigger['isSessionsEnabled']).toLowerCase() === 'true',
    autoComplete: String(auto).toLowerCase() === 'true',
    dataType,
  };
}

/** Runs the session slots of one function. */
export function listenToSessions(options: ListenerOptions, trigger: QueueTrigger): Listener {
  const { settings, clock, say } = options;
  const pool = createClientPool(() => openClient(options.connection, settings));
  const stopping = new AbortController();
  const leave = createLeave();
  const holds = new Set<Hold>();
  const slots = settings.maxConcurrentSessions;
  const permits = createPermits(Math.min(slots, 2 * availableParallelism())); // [L1]
  const fault = createFaultLog(options, trigger.queue);

  const acceptNext = async (): Promise<[ServiceBusSessionReceiver, Seat] | undefined> => {
    await permits.take();
    const seat = pool.take();
    const startedAt = performance.now();
    try {
      if (stopping.signal.aborted) return undefined;
      // the client ignores an abort signal while its attach is pending: leave it behind instead
      const accepting = seat.client.acceptNextSession(trigger.queue, {
        maxAutoLockRenewalDurationInMs: 0, // our own renewal, by our clock
        skipParsingBodyAsJson: true,
        skipConvertingDate: true,
      });
      const outlasted = seat.outlasts(accepting);
      if (!(await leave.orDone(outlasted)) || !(await outlasted)) {
        void accepting.then((late) => late.close()).catch(() => {});
        seat.release();
        return undefined; // its waiter at the broker goes with the connection
      }
      fault.clear();
      return [await accepting, seat];
    } catch (error) {
      if (isConnectionFault(error)) seat.discard();
      else seat.release();
      if (stopping.signal.aborted) return undefined;
      const isEarly = performance.now() - startedAt < backOffMsMin;
      const waitMs = fault.note(error) || (isEarly ? backOffMsMin : 0);
      if (waitMs > 0) await sleep(clock, waitMs, stopping.signal); // [L2]
      return undefined;
    } finally {
      permits.give();
    }
  };
  const runSlot = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      const accepted = await acceptNext();
      if (!accepted) continue;
      const [receiver, seat] = accepted;
      const { queue, autoComplete } = trigger;
      const { handle } = options;
      const hold = holdSession({ receiver, queue, settings, autoComplete, clock, say, handle });
      holds.add(hold);
      if (stopping.signal.aborted) hold.stop();
      await hold.ended;
      holds.delete(hold);
      seat.release();
    }
  };
  const running = Array.from({ length: slots }, runSlot);
  return {
    async stop() {
      stopping.abort();
      permits.open();
      leave.now();
      for (const hold of holds) hold.stop();
      await Promise.all(running);
      await pool.close();
    },
  };
}

/** A settlement under way when a connection breaks is never answered; the client waits 60 s. */
const settleMsMax = 10_000;

/** A plain queue or a dead-letter queue, `maxConcurrentCalls` at a time. */
export function listenToQueue(options: ListenerOptions, trigger: QueueTrigger): Listener {
  const { settings, say } = options;
  const { queue } = trigger;
  const client = openClient(options.connection, settings);
  const receiver = client.createReceiver(queue, {
    skipParsingBodyAsJson: true,
    skipConvertingDate: true,
    // beyond ten years the client's dates overflow
    maxAutoLockRenewalDurationInMs: Math.min(settings.maxAutoLockRenewalMs, 3e11),
  });
  const fault = createFaultLog(options, queue);
  const settle = createSettleGate();
  const inFlight = new Set<Promise<void>>();
  let isStopping = false;

  const run = async (message: ServiceBusReceivedMessage): Promise<void> => {
    let isDone = true;
    await options.handle(message).catch(() => void (isDone = false));
    if (isDone && !trigger.autoComplete) return;
    const action = isDone ? 'Complete' : 'Abandon';
    const settled = settle(action, () =>
      isDone ? receiver.completeMessage(message) : receiver.abandonMessage(message),
    );
    try {
      if (await within(options.clock, settleMsMax, settled)) return;
      throw new Error(`no answer within ${settleMsMax / 1000} s`);
    } catch (error) {
      sayUnsettled({ queue, say }, { message, action, error });
    }
  };
  const subscription = receiver.subscribe(
    {
      processMessage: async (message) => {
        if (isStopping) return; // unsettled: the broker hands it out again
        fault.clear();
        const one = run(message);
        inFlight.add(one);
        await one;
        inFlight.delete(one);
      },
      processError: async ({ error }) => void fault.note(error),
    },
    { autoCompleteMessages: false, maxConcurrentCalls: settings.maxConcurrentCalls },
  );
  return {
    async stop() {
      isStopping = true;
      await subscription.close().catch(() => {});
      await Promise.all(inFlight);
      await receiver.close().catch(() => {});
      await client.close().catch(() => {});
    },
  };
}

/** [L3] Equal outcomes may overlap; another outcome waits until they are through. */
function createSettleGate(): (outcome: string, settle: () => Promise<void>) => Promise<void> {
  let current = '';
  let group: Promise<unknown> = Promise.resolve();
  let before: Promise<unknown> = Promise.resolve();
  return (outcome, settle) => {
    if (outcome !== current) {
      current = outcome;
      before = group;
    }
    const mine = before.then(settle);
    group = Promise.all([group, mine.catch(() => {})]);
    return mine;
  };
}

interface Permits {
  take(): Promise<void>;
  give(): void;
  /** From now on nobody waits for a turn. */
  open(): void;
}

function createPermits(count: number): Permits {
  let free = count;
  let waiting: (() => void)[] = [];
  return {
    take() {
      if (free-- > 0) return Promise.resolve();
      return new Promise((resolve) => waiting.push(resolve));
    },
    give() {
      free++;
      waiting.shift()?.();
    },
    open() {
      free = Infinity;
      waiting.forEach((resolve) => resolve());
      waiting = [];
    },
  };
}

const backOffMsMin = 100;
const backOffMsMax = 1_000;
const backOffMsPermanent = 15_000;

interface FaultLog {
  /** Says a new cause once; returns how long to wait before the next try. */
  note(error: unknown): number;
  clear(): void;
}

function createFaultLog(options: ListenerOptions, queue: string): FaultLog {
  let said = '';
  let backOffMs = 0;
  return {
    note(error) {
      const { code } = error as { code?: string };
      if (code === 'ServiceTimeout') {
        backOffMs = 0;
        return 0; // no session was free: the normal end of a long poll
      }
      const text = faultText(error);
      const cause = code ?? text;
      if (cause !== said) {
        said = cause;
        const what = `The listener for function 'Functions.${options.fn.name}' on '${queue}'`;
        options.say('error', `${what} cannot receive and keeps trying: ${text}`);
      }
      if (isPermanent(error)) return backOffMsPermanent;
      backOffMs = Math.min(Math.max(backOffMs * 2, backOffMsMin), backOffMsMax);
      return backOffMs;
    },
    clear() {
      backOffMs = 0;
      if (said) {
        options.say('warning', `The listener for 'Functions.${options.fn.name}' receives again.`);
      }
      said = '';
    },
  };
}

/** Without the broker's tracking tail; the client has no text for a connection that goes away. */
function faultText(error: unknown): string {
  const text = codeOf(error).replace(/ ?(TrackingId|SystemTracker|Timestamp):.*$/s, '');
  return text === 'Unknown error encountered.' ? 'the connection was lost' : text;
}

/** Waiting helps little: no such queue, wrong key, wrong kind of queue. */
function isPermanent(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string };
  return (
    code === 'MessagingEntityNotFound' ||
    code === 'MessagingEntityDisabled' ||
    code === 'UnauthorizedAccess' ||
    /InvalidOperationError|not-allowed/.test(message ?? '')
  );
}

function isConnectionFault(error: unknown): boolean {
  const { code, name } = error as { code?: string; name?: string };
  return (
    !isPermanent(error) &&
    name !== 'AbortError' &&
    code !== 'ServiceTimeout' &&
    code !== 'SessionCannotBeLocked'
  );
}
