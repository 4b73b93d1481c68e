// The Service Bus trigger over the official client and nothing but a connection string. Here are
// cardinality one's session slots and plain entities; accepting is service-bus-accept.ts, one held
// session service-bus-session.ts, cardinality many service-bus-batch.ts, what a handler sees
// service-bus-adapter.ts.
//
// L1 At most maxConcurrentSessions slots per function.
// L2 On one link, settlements of different outcomes are never in flight together: the client may
//    merge them into one [SB 8.5].
import type { ServiceBusReceivedMessage } from '@azure/service-bus';
import { HostFault } from './faults.ts';
import { createAcceptor } from './service-bus-accept.ts';
import { openClient } from './service-bus-clients.ts';
import { createFaultLog, sayUnsettled } from './service-bus-faults.ts';
import { holdSession, type Hold } from './service-bus-session.ts';
import type { Listener, ListenerOptions } from './service-bus-trigger.ts';
import { createSettleGate, within } from './waits.ts';

/** Runs the session slots of one function. */
export function listenToSessions(options: ListenerOptions): Listener {
  const { settings, clock, say, handle } = options;
  const { entity, autoComplete } = options.trigger;
  const slots = settings.maxConcurrentSessions;
  const acceptor = createAcceptor(options, slots);
  const holds = new Set<Hold>();
  const runSlot = async (): Promise<void> => {
    while (!acceptor.isStopping) {
      const accepted = await acceptor.next();
      if (!accepted) continue;
      const { receiver, seat } = accepted;
      const hold = holdSession({ receiver, entity, settings, autoComplete, clock, say, handle });
      holds.add(hold);
      if (acceptor.isStopping) hold.stop();
      await hold.ended;
      holds.delete(hold);
      seat.release();
    }
  };
  const running = Array.from({ length: slots }, runSlot); // [L1]
  return {
    async stop() {
      acceptor.stop();
      for (const hold of holds) hold.stop();
      await Promise.all(running);
      await acceptor.close();
    },
  };
}

/** A settlement under way when a connection breaks is never answered; the client waits 60 s. */
const settleMsMax = 10_000;

/** A plain entity or a dead-letter queue, `maxConcurrentCalls` at a time. */
export function listenToEntity(options: ListenerOptions): Listener {
  const { settings, say, trigger } = options;
  const { entity } = trigger;
  const client = openClient(options.connection, settings);
  const receiver = client.createReceiver(entity, {
    skipParsingBodyAsJson: true,
    skipConvertingDate: true,
    // beyond ten years the client's dates overflow
    maxAutoLockRenewalDurationInMs: Math.min(settings.maxAutoLockRenewalMs, 3e11),
  });
  const fault = createFaultLog({ functionName: options.fn.name, say }, entity);
  const settle = createSettleGate(); // [L2]
  const inFlight = new Set<Promise<void>>();
  let isStopping = false;

  const run = async (message: ServiceBusReceivedMessage): Promise<void> => {
    let isDone = true;
    await options.handle([message]).catch(() => void (isDone = false));
    if (isDone && !trigger.autoComplete) return;
    const action = isDone ? 'Complete' : 'Abandon';
    const settled = settle(action, () =>
      isDone ? receiver.completeMessage(message) : receiver.abandonMessage(message),
    );
    try {
      if (await within(options.clock, settleMsMax, settled)) return;
      throw new HostFault(`no answer within ${settleMsMax / 1000} s`);
    } catch (error) {
      sayUnsettled({ entity, say }, { message, action, error });
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
