// One held session: receive one, run, settle, again - until it is idle, lost, or the host stops.
// What Azure's ServiceBusSessionProcessor does [FH 2.5].
//
// N1 One message at a time (maxConcurrentCallsPerSession, which is 1 where order matters); it is
//    settled, and that awaited, before the next is asked for.
// N2 A throw abandons; the same session goes on and the broker hands the same message out again.
// N3 No message for the idle time-out closes the session; a message that arrives while it closes
//    goes back uncounted, because it never reached a handler.
// N4 The renewal budget counts from the accept and is never restarted.
// N5 A lost lock stops nothing: the handler runs to its end, its settlement fails, that is said.
import type { ServiceBusReceivedMessage, ServiceBusSessionReceiver } from '@azure/service-bus';
import type { Clock, Timer } from '../../../shared/clock.ts';
import type { Say } from './console.ts';
import { HostFault } from './faults.ts';
import { codeOf, sayUnsettled } from './service-bus-faults.ts';
import type { ServiceBusSettings } from './host-json.ts';
import { createLeave, createSettleGate, within, type Leave } from './waits.ts';

export interface HoldOptions {
  receiver: ServiceBusSessionReceiver;
  entity: string;
  settings: ServiceBusSettings;
  autoComplete: boolean;
  clock: Clock;
  say: Say;
  /** Runs the handler; rejects with what it threw. */
  handle: (messages: readonly ServiceBusReceivedMessage[]) => Promise<void>;
}

export interface Hold {
  /** Resolves when the session has been given back. */
  ended: Promise<void>;
  /** Takes no further message; a running handler finishes first. */
  stop(): void;
}

/** Starts receiving on an accepted session. */
export function holdSession(options: HoldOptions): Hold {
  const { receiver, clock, settings } = options;
  let busy = 0;
  let isOver = false;
  let lastAt = clock.now();
  let idleTimer: Timer | undefined;
  let resolveOver = (): void => {};
  const over = new Promise<void>((resolve) => (resolveOver = resolve));
  const renewal = renewSession(options);
  const lost = createLeave();
  const settle = createSettleGate(); // calls of one session share a link

  const finish = (): void => {
    isOver = true;
    idleTimer?.cancel();
    if (busy === 0) resolveOver();
  };
  const watchIdle = (): void => {
    const leftMs = busy
      ? settings.sessionIdleTimeoutMs
      : lastAt + settings.sessionIdleTimeoutMs - clock.now();
    if (leftMs <= 0) finish();
    else if (!isOver) idleTimer = clock.after(leftMs, watchIdle);
  };
  const processMessage = async (message: ServiceBusReceivedMessage): Promise<void> => {
    if (isOver) return; // [N3]
    busy++;
    await handleAndSettle(options, message, { lost, settle });
    busy--;
    lastAt = clock.now();
    if (receiver.isClosed || isOver) finish();
  };
  // handler failures are settled above, so what comes here is the link's end
  const processError = async (): Promise<void> => {
    lost.now();
    finish();
  };

  receiver.subscribe(
    { processMessage, processError },
    { autoCompleteMessages: false, maxConcurrentCalls: settings.maxConcurrentCallsPerSession },
  );
  watchIdle();
  const ended = over.then(async () => {
    renewal.stop();
    if (receiver.isClosed) return; // closing a link again that is gone never ends
    await within(clock, closeMsMax, receiver.close()).catch(() => {
      // a lost link is closed already
    });
  });
  return { ended, stop: finish };
}

type Settle = ReturnType<typeof createSettleGate>;

async function handleAndSettle(
  options: HoldOptions,
  message: ServiceBusReceivedMessage,
  { lost, settle }: { lost: Leave; settle: Settle },
): Promise<void> {
  const { receiver } = options;
  let isDone = true;
  try {
    await options.handle([message]);
  } catch {
    isDone = false; // the invoker has said it
  }
  if (isDone && !options.autoComplete) return;
  const action = isDone ? 'Complete' : 'Abandon';
  try {
    const settling = settle(
      action,
      () =>
        isDone
          ? receiver.completeMessage(message) // [N1]
          : receiver.abandonMessage(message), // [N2]
    );
    // the client waits 60 s for an answer that a broken connection never brings
    if (!(await lost.orDone(settling))) throw new HostFault('SessionLockLost: the link is gone');
  } catch (error) {
    sayUnsettled(options, { message, action, error }); // [N5]
  }
}

const renewBufferMsMax = 10_000;
const closeMsMax = 5_000;

/** [N4] Renews shortly before expiry until the budget is spent; the real buffer is <= 10 s. */
function renewSession(options: HoldOptions): { stop(): void } {
  const { receiver, clock, say, settings } = options;
  const endsAt = clock.now() + settings.maxAutoLockRenewalMs;
  let timer: Timer | undefined;
  let isStopped = false;
  const arm = (): void => {
    const leftMs = Math.max(receiver.sessionLockedUntilUtc.getTime() - clock.now(), 0);
    const delayMs = leftMs - Math.min(leftMs / 2, renewBufferMsMax);
    if (isStopped || clock.now() + delayMs >= endsAt) return;
    timer = clock.after(delayMs, () => void renew());
  };
  const renew = async (): Promise<void> => {
    if (isStopped || receiver.isClosed) return;
    try {
      await receiver.renewSessionLock();
      arm();
    } catch (error) {
      if (isStopped || receiver.isClosed) return;
      const where = `EntityPath=${options.entity}, SessionId=${receiver.sessionId}`;
      say('warning', `Message processing error (Action=RenewLock, ${where}): ${codeOf(error)}`);
      // the real processor gives up on what is not transient
      if ((error as { retryable?: boolean }).retryable) arm();
    }
  };
  arm();
  return {
    stop: () => {
      isStopped = true;
      timer?.cancel();
    },
  };
}
