// Runs a host function: builds the request, fills durable clients, says Executing/Executed, counts
// what is in flight and watches the function time-out. Triggers hand in data and get an outcome.
//
// V1 Every run is in flight from before the worker sees it until its answer: a drain waits for it.
// V2 A run longer than functionTimeout ends the process: the real host restarts the worker and
//    with it every other run [FH 1.14, 2.15 (9)].
import { randomBytes, randomUUID } from 'node:crypto';
import type { Clock, Timer } from '../../../shared/clock.ts';
import type { Call } from './call.ts';
import { hostLevel, type Say } from './console.ts';
import type { HostFunction } from './functions.ts';
import type { Outputs } from './outputs.ts';
import type { InvocationRequest, TraceContext } from './rpc.ts';
import { invoke, type InvocationOutcome, type LoadedApp } from './worker.ts';

export interface Invoker {
  run(fn: HostFunction, call: Call): Promise<InvocationOutcome>;
  /** Resolves when nothing is in flight. */
  settled(): Promise<void>;
  /** Names of functions in flight. */
  running(): string[];
  readonly invocations: number;
  close(): void;
}

export interface InvokerOptions {
  app: LoadedApp;
  clock: Clock;
  say: Say;
  functionTimeoutMs: number;
  functionTimeoutText: string;
  durableClient: () => string;
  outputs: Outputs;
  onFatal: (reason: string) => void;
}

interface Run {
  name: string;
  startedAt: number;
}

export function createInvoker(options: InvokerOptions): Invoker {
  const { app, clock, say } = options;
  const runs = new Map<string, Run>();
  let waiting: (() => void)[] = [];
  let invocations = 0;
  const watch = watchTimeouts(options, runs);

  const finish = (id: string): void => {
    runs.delete(id);
    if (runs.size > 0) return;
    waiting.forEach((resolve) => resolve());
    waiting = [];
  };

  return {
    async run(fn, call) {
      const id = randomUUID();
      const startedAt = clock.now();
      runs.set(id, { name: fn.name, startedAt }); // [V1]
      invocations++;
      watch.arm();
      const label = `'Functions.${fn.name}'`;
      const category = `Function.${fn.name}`;
      say('information', `Executing ${label} (Reason='${call.reason}', Id=${id})`, category);
      call.onStart?.(id);
      if (call.details) say('information', `Trigger Details: ${call.details()}`, category);
      const took = (): string => `Duration=${clock.now() - startedAt}ms)`;
      try {
        const outcome = await invoke(app, fn.registered, {
          request: buildRequest(fn, call, {
            invocationId: id,
            durableClient: options.durableClient,
          }),
          log: (level, kind, message) => {
            if (kind === 'user') say(hostLevel(level), message, `${category}.User`);
            else if (level === 'error' || level === 'warning') say(level, message, category);
            else say('debug', message);
          },
          ...(call.onContext ? { onContext: call.onContext } : {}),
          wantsResponse: call.wantsResponse || fn.outputs.length > 0,
        });
        if (outcome.response) await options.outputs.send(fn, call, outcome.response);
        say('information', `Executed ${label} (Succeeded, Id=${id}, ${took()}`, category);
        return outcome;
      } catch (error) {
        // an orchestrator that fails, fails by its own protocol: its hub reports it
        const level = fn.kind === 'orchestration' ? 'debug' : 'error';
        const failed = `Executed ${label} (Failed, Id=${id}, ${took()}`;
        say(level, `${failed}\n${failureText(fn, error)}`, category);
        throw error;
      } finally {
        finish(id);
      }
    },
    settled: () =>
      runs.size === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve)),
    running: () => [...new Set([...runs.values()].map((run) => run.name))],
    get invocations() {
      return invocations;
    },
    close: watch.stop,
  };
}

function buildRequest(
  fn: HostFunction,
  call: Call,
  from: { invocationId: string; durableClient: () => string },
): InvocationRequest {
  const inputData = [{ name: fn.triggerName, data: call.data }];
  for (const name of fn.durableClients) {
    inputData.push({ name, data: { string: from.durableClient() } });
  }
  return {
    invocationId: from.invocationId,
    functionId: fn.registered.metadata.functionId,
    inputData,
    traceContext: traceContext(call.traceParent),
    ...(call.triggerMetadata ? { triggerMetadata: call.triggerMetadata } : {}),
    ...(call.retryContext ? { retryContext: call.retryContext } : {}),
  };
}

/** One timer for all runs: they start in order, so the first one is the oldest. */
function watchTimeouts(
  options: InvokerOptions,
  runs: Map<string, Run>,
): { arm(): void; stop(): void } {
  const { clock, say, functionTimeoutMs } = options;
  let timer: Timer | undefined;
  let isStopped = false;
  const arm = (): void => {
    const [oldest] = runs.entries();
    if (timer || isStopped || !oldest || functionTimeoutMs === Infinity) return;
    const [id, run] = oldest;
    const leftMs = run.startedAt + functionTimeoutMs - clock.now();
    timer = clock.after(Math.max(leftMs, 0), () => {
      timer = undefined;
      if (runs.has(id)) expire(id, run.name);
      else arm();
    });
  };
  const expire = (id: string, name: string): void => {
    const reason =
      `Timeout value of ${options.functionTimeoutText} exceeded by function 'Functions.${name}' ` +
      `(Id: '${id}'). Initiating cancellation.`;
    say('error', reason);
    options.onFatal(reason); // [V2]
  };
  const stop = (): void => {
    isStopped = true;
    timer?.cancel();
  };
  return { arm, stop };
}

function failureText(fn: HostFunction, error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  return (
    `System.Private.CoreLib: Exception while executing function: Functions.${fn.name}. ` +
    `System.Private.CoreLib: Result: Failure\nException: ${message}\nStack: ${stack}`
  );
}

/** Of this process, as the admin endpoints show it too. */
export const hostInstanceId = randomUUID();

const traceParentPattern = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})$/;

/** A new span, in the caller's trace when it names one. */
function traceContext(parent: string | undefined): TraceContext {
  const match = parent === undefined ? undefined : traceParentPattern.exec(parent);
  const random = randomBytes(24).toString('hex');
  const traceId = match?.[1] ?? random.slice(16);
  return {
    traceParent: `00-${traceId}-${random.slice(0, 16)}-${match?.[2] ?? '00'}`,
    traceState: '',
    attributes: { ProcessId: String(process.pid), HostInstanceId: hostInstanceId },
  };
}
