// Cardinality many [FH 2.6]: one loop per function that receives, invokes, settles, and again.
//
// M1 One batch at a time per function; the batch of a session entity is of one session, in order,
//    and the session is kept until a receive comes back empty.
// M2 Success completes and a throw abandons every message of the batch, in parallel.
// M3 No lock is renewed in this mode: a batch must end within the lock duration.
// M4 A batch is what is there when the first message comes. The client would wait a second for
//    more, so the first message and its companions are received apart.
import type { ServiceBusReceivedMessage, ServiceBusReceiver } from '@azure/service-bus';
import { sleep } from '../../../shared/clock.ts';
import { HostFault } from './faults.ts';
import { createAcceptor } from './service-bus-accept.ts';
import { openClient } from './service-bus-clients.ts';
import { backOffMsMin, createFaultLog, sayUnsettled } from './service-bus-faults.ts';
import type { Listener, ListenerOptions } from './service-bus-trigger.ts';
import { within } from './waits.ts';

const companionsMs = 10;
const settleMsMax = 10_000;
const closeMsMax = 5_000;

/** A session entity: one session at a time [M1]. */
export function listenToSessionBatches(options: ListenerOptions): Listener {
  const { clock, settings } = options;
  const acceptor = createAcceptor(options, 1);
  const stopping = new AbortController();
  const run = async (): Promise<void> => {
    while (!acceptor.isStopping) {
      const accepted = await acceptor.next();
      if (!accepted) continue;
      const { receiver, seat } = accepted;
      const waitMs = settings.sessionIdleTimeoutMs;
      const drained = drainBatches(options, { receiver, waitMs, signal: stopping.signal });
      // a lock that is lost ends the hold; the next accept says what is wrong, if it lasts
      await drained.catch(() => {});
      if (!receiver.isClosed) {
        await within(clock, closeMsMax, receiver.close()).catch(() => {});
      }
      seat.release();
    }
  };
  const running = run();
  return {
    async stop() {
      stopping.abort();
      acceptor.stop();
      await running;
      await acceptor.close();
    },
  };
}

/** An entity without sessions, or a dead-letter queue. */
export function listenToBatches(options: ListenerOptions): Listener {
  const { settings, clock, say, trigger, fn } = options;
  const client = openClient(options.connection, settings);
  const receiver = client.createReceiver(trigger.entity, {
    skipParsingBodyAsJson: true,
    skipConvertingDate: true,
    maxAutoLockRenewalDurationInMs: 0, // [M3]
  });
  const fault = createFaultLog({ functionName: fn.name, say }, trigger.entity);
  const stopping = new AbortController();
  const { signal } = stopping;
  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        await drainBatches(options, { receiver, waitMs: settings.tryTimeoutMs, signal });
        fault.clear();
      } catch (error) {
        if (signal.aborted) return;
        await sleep(clock, fault.note(error) || backOffMsMin, signal);
      }
    }
  };
  const running = run();
  return {
    async stop() {
      stopping.abort();
      await running;
      await receiver.close().catch(() => {});
      await client.close().catch(() => {});
    },
  };
}

interface Source {
  receiver: ServiceBusReceiver;
  /** How long the first message of a batch is waited for. */
  waitMs: number;
  signal: AbortSignal;
}

/** Batch after batch until a receive comes back empty; rejects when it cannot receive. */
async function drainBatches(options: ListenerOptions, source: Source): Promise<void> {
  while (!source.signal.aborted) {
    const batch = await gather(options, source);
    if (batch.length === 0) return;
    let isDone = true;
    await options.handle(batch).catch(() => void (isDone = false)); // the invoker has said it
    if (isDone && !options.trigger.autoComplete) continue;
    await settleAll(options, { batch, isDone, receiver: source.receiver });
  }
}

/** At least minMessageBatchSize messages, unless maxBatchWaitTime is over or no more come. */
async function gather(
  { settings, trigger, clock }: ListenerOptions,
  source: Source,
): Promise<ServiceBusReceivedMessage[]> {
  const sizeMax = trigger.maxMessageBatchSize;
  const sizeMin = Math.min(settings.batch.minMessages, sizeMax);
  const batch = await receive(source, sizeMax);
  const until = clock.now() + settings.batch.maxWaitMs;
  while (batch.length > 0 && batch.length < sizeMin && !source.signal.aborted) {
    const leftMs = until - clock.now();
    if (leftMs <= 0) break;
    const waitMs = Math.min(leftMs, source.waitMs);
    const more = await receive({ ...source, waitMs }, sizeMax - batch.length);
    if (more.length === 0) break;
    batch.push(...more);
  }
  return batch;
}

async function receive(
  { receiver, waitMs, signal }: Source,
  countMax: number,
): Promise<ServiceBusReceivedMessage[]> {
  const first = await receiver
    .receiveMessages(1, { maxWaitTimeInMs: waitMs, abortSignal: signal })
    .catch((error: unknown) => {
      if (signal.aborted) return [];
      throw error;
    });
  if (first.length === 0 || countMax === 1) return first;
  const companions = await receiver.receiveMessages(countMax - 1, {
    maxWaitTimeInMs: companionsMs, // [M4]
  });
  return [...first, ...companions];
}

async function settleAll(
  { say, clock, trigger }: ListenerOptions,
  settling: { batch: ServiceBusReceivedMessage[]; isDone: boolean; receiver: ServiceBusReceiver },
): Promise<void> {
  const { batch, isDone, receiver } = settling;
  const action = isDone ? 'Complete' : 'Abandon';
  await Promise.all(
    batch.map(async (message) => {
      try {
        const settled = isDone
          ? receiver.completeMessage(message)
          : receiver.abandonMessage(message); // [M2]
        if (await within(clock, settleMsMax, settled)) return;
        throw new HostFault(`no answer within ${settleMsMax / 1000} s`);
      } catch (error) {
        sayUnsettled({ entity: trigger.entity, say }, { message, action, error });
      }
    }),
  );
}
