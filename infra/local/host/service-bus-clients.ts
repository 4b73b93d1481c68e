// The AMQP connections of the session listeners. The client walks every AMQP session of a
// connection on every tick [SB 19.8], so many sessions are spread over several clients.
//
// B1 A seat is held from before an accept until its session is closed; a client has at most
//    `sessionsPerClientMax` seats.
// B2 A client whose connection failed gets no new seat and is closed with its last one.
// B3 When one call says that the connection failed, the others on it are not waited for: a claim
//    that was under way is never answered and never rejected, and the client waits 60 s for it.
import { ServiceBusClient } from '@azure/service-bus';
import type { ServiceBusSettings } from './host-json.ts';
import { createLeave, type Leave } from './waits.ts';

export const sessionsPerClientMax = 50;

/** One place on a shared client. */
export interface Seat {
  client: ServiceBusClient;
  /** Whether the call was done, false when the connection failed under it [B3]. */
  outlasts(call: Promise<unknown>): Promise<boolean>;
  release(): void;
  /** The connection failed: open another for whoever comes next [B2]. */
  discard(): void;
}

export interface ClientPool {
  take(): Seat;
  /** Closes all connections; pending accepts end with them. */
  close(): Promise<void>;
}

/** A client with the retry settings of host.json, mapped to what the JavaScript client has. */
export function openClient(connection: string, settings: ServiceBusSettings): ServiceBusClient {
  const { retry, tryTimeoutMs } = settings;
  return new ServiceBusClient(connection, {
    retryOptions: {
      maxRetries: retry.maxRetries,
      retryDelayInMs: retry.delayMs,
      maxRetryDelayInMs: retry.maxDelayMs,
      timeoutInMs: tryTimeoutMs,
      mode: retry.mode === 'fixed' ? 1 : 0, // RetryMode.Fixed : RetryMode.Exponential
    },
  });
}

interface Entry {
  client: ServiceBusClient;
  seats: number;
  isStale: boolean;
  lost: Leave;
}

export function createClientPool(open: () => ServiceBusClient): ClientPool {
  const entries = new Set<Entry>();
  const drop = (entry: Entry): Promise<void> => {
    entries.delete(entry);
    return entry.client.close().catch(() => {
      // a connection that is gone already cannot be closed better
    });
  };
  return {
    take() {
      let entry = [...entries].find((one) => !one.isStale && one.seats < sessionsPerClientMax);
      if (!entry) {
        entry = { client: open(), seats: 0, isStale: false, lost: createLeave() };
        entries.add(entry);
      }
      const taken = entry;
      taken.seats++;
      let isReleased = false;
      const release = (): void => {
        if (isReleased) return;
        isReleased = true;
        taken.seats--;
        if (taken.isStale && taken.seats === 0) void drop(taken);
      };
      return {
        client: taken.client,
        outlasts: (call) => taken.lost.orDone(call),
        release,
        discard: () => {
          taken.isStale = true;
          taken.lost.now();
          release();
        },
      };
    },
    async close() {
      await Promise.all([...entries].map(drop));
    },
  };
}
