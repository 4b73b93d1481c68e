// Starts the timer and Service Bus triggers of an app and joins them to the invoker; HTTP functions
// are started by requests, durable ones by the hub.
import { setImmediate as turn } from 'node:timers/promises';
import type { ServiceBusReceivedMessage } from '@azure/service-bus';
import type { Clock } from '../../../shared/clock.ts';
import type { Say } from './console.ts';
import type { HostFunction } from './functions.ts';
import type { Call } from './call.ts';
import type { Invoker } from './invoker.ts';
import { messageOf, unsupported } from './faults.ts';
import { withRetry, type RetryOptions } from './retry.ts';
import {
  adaptBatch,
  adaptMessage,
  batchDetails,
  triggerDetails,
  type AdaptedMessage,
} from './service-bus-adapter.ts';
import { listenToBatches, listenToSessionBatches } from './service-bus-batch.ts';
import {
  readBusTrigger,
  type BusTrigger,
  type Listener,
  type ListenerOptions,
} from './service-bus-trigger.ts';
import { listenToEntity, listenToSessions } from './service-bus.ts';
import type { HostSettings } from './host-json.ts';
import { connectionString } from './settings.ts';
import { startTimer, timerJson, type TimerStore } from './timer.ts';

export interface TriggersOptions {
  functions: readonly HostFunction[];
  settings: HostSettings;
  store: TimerStore;
  clock: Clock;
  say: Say;
  invoker: Invoker;
  /** The app's capability IncludeEmptyEntriesInMessagePayload. */
  keepsEmptyEntries: boolean;
}

export interface Triggers {
  /** Functions whose trigger cannot run here, with the reason. */
  refused: { name: string; reason: string }[];
  /** Nothing new is taken; resolves when every message taken is settled. */
  stop(): Promise<void>;
}

/** Starts all of them; one that cannot start does not keep the others. */
export function startTriggers(options: TriggersOptions): Triggers {
  const refused: { name: string; reason: string }[] = [];
  const started: { stop(): Promise<void> }[] = [];
  for (const fn of options.functions) {
    try {
      if (fn.kind === 'timer') started.push(startTimerOf(options, fn));
      if (fn.kind === 'serviceBus') started.push(startListenerOf(options, fn));
    } catch (error) {
      refused.push({
        name: fn.name,
        reason: messageOf(error),
      });
    }
  }
  let stopping: Promise<unknown> | undefined;
  return {
    refused,
    async stop() {
      await (stopping ??= Promise.all(started.map((one) => one.stop())));
    },
  };
}

type Started = { stop(): Promise<void> };

function startTimerOf(options: TriggersOptions, fn: HostFunction): Started {
  const { store, clock, say, invoker } = options;
  const stopping = new AbortController();
  const retrying = retryOptions(options, fn, stopping.signal);
  const fire = async (json: string, reason: string): Promise<void> => {
    await turn(); // a start-up run comes after the host has started
    await withRetry(retrying, (retryContext) =>
      invoker.run(fn, { data: { json }, reason, wantsResponse: false, retryContext }),
    );
  };
  const timer = startTimer({ fn, store, clock, say, fire });
  return {
    stop() {
      stopping.abort();
      return timer.stop();
    },
  };
}

function startListenerOf(options: TriggersOptions, fn: HostFunction): Started {
  const { clock, say, invoker } = options;
  const settings = options.settings.serviceBus;
  const trigger = readBusTrigger(fn, settings);
  const connection = connectionString(fn.trigger['connection']);
  if (fn.retry) {
    say('warning', `Soon retries will not be supported for function '${fn.name}'.`); // [FH 2.9]
  }
  const stopping = new AbortController();
  const retrying = retryOptions(options, fn, stopping.signal);
  const handle = async (messages: readonly ServiceBusReceivedMessage[]): Promise<void> => {
    const call = bind(options, { fn, trigger, messages });
    await withRetry(retrying, (retryContext) => invoker.run(fn, { ...call, retryContext }));
  };
  const listener = listen(trigger)({ fn, trigger, connection, settings, clock, say, handle });
  return {
    stop() {
      stopping.abort();
      return listener.stop();
    },
  };
}

function listen({ isSession, isBatch }: BusTrigger): (options: ListenerOptions) => Listener {
  if (isBatch) return isSession ? listenToSessionBatches : listenToBatches;
  return isSession ? listenToSessions : listenToEntity;
}

function retryOptions(
  { clock, say }: TriggersOptions,
  fn: HostFunction,
  signal: AbortSignal,
): RetryOptions {
  return { policy: fn.retry, clock, signal, note: (text) => say('information', text) };
}

interface Binding {
  fn: HostFunction;
  trigger: BusTrigger;
  messages: readonly ServiceBusReceivedMessage[];
}

/** What a handler gets; a body that cannot be bound fails before it [FH 2.4] and is said here. */
function bind({ say, keepsEmptyEntries }: TriggersOptions, binding: Binding): Call {
  const { fn, trigger, messages } = binding;
  const { dataType } = trigger;
  try {
    const [first] = messages;
    if (!trigger.isBatch && first) {
      const details = (): string => triggerDetails(first);
      return { ...messageCall(first, adaptMessage(first, dataType)), details };
    }
    const adapted = adaptBatch(messages, { dataType, keepsEmpty: keepsEmptyEntries });
    return {
      ...adapted,
      reason: '(null)',
      details: () => batchDetails(messages),
      wantsResponse: false,
    };
  } catch (error) {
    const what = `Exception while executing function: Functions.${fn.name}`;
    const why = `Exception binding parameter '${fn.triggerName}'`;
    say('error', `Executed 'Functions.${fn.name}' (Failed)\n${what}. ${why}. ${messageOf(error)}`);
    throw error;
  }
}

function messageCall(message: ServiceBusReceivedMessage, adapted: AdaptedMessage): Call {
  const trace =
    message.applicationProperties?.['Diagnostic-Id'] ??
    message.applicationProperties?.['traceparent'];
  return {
    ...adapted,
    reason: '(null)',
    wantsResponse: false,
    ...(typeof trace === 'string' ? { traceParent: trace } : {}),
  };
}

/** [FH 5.5] Runs a function with an input given by hand; throws when it cannot be. */
export function runByHand(invoker: Invoker, fn: HostFunction, input: string): Promise<unknown> {
  return invoker.run(fn, callByHand(fn, input));
}

function callByHand(fn: HostFunction, input: string): Call {
  const reason = 'This function was programmatically called via the host APIs.';
  if (fn.kind === 'timer') {
    return { data: { json: timerJson(undefined, undefined, false) }, reason, wantsResponse: false };
  }
  if (fn.kind === 'serviceBus') return busCallByHand(fn, { input, reason });
  if (fn.kind === 'warmup') return { data: { json: '{}' }, reason, wantsResponse: false };
  if (fn.kind === 'http') {
    const url = 'http://localhost/';
    const http = { method: 'POST', url, body: { bytes: Buffer.from(input) } };
    return { data: { http }, reason, wantsResponse: true };
  }
  throw unsupported(`running a ${fn.triggerType} function by hand`);
}

/** The input is the body; of the metadata little is known [FH 5.5]. */
function busCallByHand(fn: HostFunction, by: { input: string; reason: string }): Call {
  const body = Buffer.from(by.input);
  const message = { body, messageId: '', enqueuedTimeUtc: new Date() };
  const dataType = String(fn.trigger['dataType'] ?? '');
  const isBatch = /^many$/i.test(String(fn.trigger['cardinality']));
  const adapted = isBatch
    ? adaptBatch([message], { dataType, keepsEmpty: false })
    : adaptMessage(message, dataType);
  return { ...adapted, reason: by.reason, wantsResponse: false };
}
