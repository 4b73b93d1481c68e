// Starts the timer and Service Bus triggers of an app and joins them to the invoker; HTTP functions
// are started by requests, durable ones by the hub.
import { setImmediate as turn } from 'node:timers/promises';
import type { ServiceBusReceivedMessage } from '@azure/service-bus';
import type { Clock } from '../../../shared/clock.ts';
import type { Say } from './console.ts';
import type { HostFunction } from './functions.ts';
import type { Call, Invoker } from './invoker.ts';
import { adaptMessage, triggerDetails } from './service-bus-adapter.ts';
import { listenToQueue, listenToSessions, readQueueTrigger } from './service-bus.ts';
import { connectionString, type HostSettings } from './settings.ts';
import { startTimer, timerJson, type TimerStore } from './timer.ts';

export interface TriggersOptions {
  functions: readonly HostFunction[];
  settings: HostSettings;
  store: TimerStore;
  clock: Clock;
  say: Say;
  invoker: Invoker;
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
        reason: error instanceof Error ? error.message : String(error),
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

function startTimerOf(options: TriggersOptions, fn: HostFunction): { stop(): Promise<void> } {
  const { store, clock, say, invoker } = options;
  const fire = async (json: string, reason: string): Promise<void> => {
    await turn(); // a start-up run comes after the host has started
    await invoker.run(fn, { data: { json }, reason, wantsResponse: false });
  };
  return startTimer({ fn, store, clock, say, fire });
}

function startListenerOf(options: TriggersOptions, fn: HostFunction): { stop(): Promise<void> } {
  const { clock, say, invoker } = options;
  const settings = options.settings.serviceBus;
  const trigger = readQueueTrigger(fn, settings);
  const connection = connectionString(fn.trigger['connection']);
  const handle = async (message: ServiceBusReceivedMessage): Promise<void> => {
    await invoker.run(fn, messageCall(message, trigger.dataType));
  };
  const listen = trigger.isSession ? listenToSessions : listenToQueue;
  return listen({ fn, connection, settings, clock, say, handle }, trigger);
}

function messageCall(message: ServiceBusReceivedMessage, dataType: string | undefined): Call {
  const { data, triggerMetadata } = adaptMessage(message, dataType);
  const trace =
    message.applicationProperties?.['Diagnostic-Id'] ??
    message.applicationProperties?.['traceparent'];
  return {
    data,
    triggerMetadata,
    reason: '(null)',
    details: () => triggerDetails(message),
    wantsResponse: false,
    ...(typeof trace === 'string' ? { traceParent: trace } : {}),
  };
}

/** POST /admin/functions/{name}: starts a run with an input given by hand [FH 5.5]. */
export async function runByHand(invoker: Invoker, fn: HostFunction, input: string): Promise<void> {
  const call = callByHand(fn, input);
  // 202 is answered now; the invoker says how it ends
  void invoker.run(fn, call).catch(() => {});
}

function callByHand(fn: HostFunction, input: string): Call {
  const reason = 'This function was programmatically called via the host APIs.';
  if (fn.kind === 'timer') {
    return { data: { json: timerJson(undefined, undefined, false) }, reason, wantsResponse: false };
  }
  if (fn.kind === 'serviceBus') {
    const now = new Date();
    const message = { body: Buffer.from(input), messageId: '', enqueuedTimeUtc: now };
    const { data, triggerMetadata } = adaptMessage(message, String(fn.trigger['dataType'] ?? ''));
    return { data, triggerMetadata, reason, wantsResponse: false };
  }
  if (fn.kind === 'http') {
    const url = 'http://localhost/';
    const http = { method: 'POST', url, body: { bytes: Buffer.from(input) } };
    return { data: { http }, reason, wantsResponse: true };
  }
  throw new Error(
    `running a ${fn.triggerType} function by hand is not supported by the local host`,
  );
}
