// Accepting the next free session: what the slots of cardinality one and the loop of cardinality
// many share.
//
// G1 Accepts in flight at once are throttled to min(slots, 2 x cores), each a long poll of the try
//    time-out [FH 2.5 (1)].
// G2 A failed accept is said once per cause and retried with back-off: a slot never spins.
import { availableParallelism } from 'node:os';
import type { ServiceBusSessionReceiver } from '@azure/service-bus';
import { sleep } from '../../../shared/clock.ts';
import { createClientPool, openClient, type Seat } from './service-bus-clients.ts';
import { backOffMsMin, createFaultLog, isConnectionFault } from './service-bus-faults.ts';
import type { ListenerOptions } from './service-bus-trigger.ts';
import { createLeave } from './waits.ts';

export interface Accepted {
  receiver: ServiceBusSessionReceiver;
  seat: Seat;
}

export interface Acceptor {
  /** Undefined when none came in time, or after `stop`. */
  next(): Promise<Accepted | undefined>;
  readonly isStopping: boolean;
  /** Ends every accept under way. */
  stop(): void;
  /** Closes the connections; after the sessions are given back. */
  close(): Promise<void>;
}

export function createAcceptor(options: ListenerOptions, slots: number): Acceptor {
  const { settings, clock, trigger } = options;
  const { entity } = trigger;
  const pool = createClientPool(() => openClient(options.connection, settings));
  const stopping = new AbortController();
  const leave = createLeave();
  const permits = createPermits(Math.min(slots, 2 * availableParallelism())); // [G1]
  const fault = createFaultLog({ functionName: options.fn.name, say: options.say }, entity);

  const next = async (): Promise<Accepted | undefined> => {
    await permits.take();
    const seat = pool.take();
    const startedAt = performance.now();
    try {
      if (stopping.signal.aborted) return undefined;
      // the client ignores an abort signal while its attach is pending: leave it behind instead
      const accepting = seat.client.acceptNextSession(entity, {
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
      return { receiver: await accepting, seat };
    } catch (error) {
      if (isConnectionFault(error)) seat.discard();
      else seat.release();
      if (stopping.signal.aborted) return undefined;
      const isEarly = performance.now() - startedAt < backOffMsMin;
      const waitMs = fault.note(error) || (isEarly ? backOffMsMin : 0);
      if (waitMs > 0) await sleep(clock, waitMs, stopping.signal); // [G2]
      return undefined;
    } finally {
      permits.give();
    }
  };
  return {
    next,
    get isStopping() {
      return stopping.signal.aborted;
    },
    stop() {
      stopping.abort();
      permits.open();
      leave.now();
    },
    close: () => pool.close(),
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
