// The two processes of a local stack, as they run: `convoy cloud` and `convoy host`.
//
// Owns:   the life of one process: ready, asked to stop, launcher gone.
// Leaves: order of ending and restarts to launcher.ts; the servers to cloud.ts and host/.
//
// P1. Under a launcher a signal is a wish passed on to it, never obeyed alone: the cloud must stay
//     until the host has drained, also when Ctrl-C reaches all three at once.
// P2. When the launcher is gone (its channel closes) the process ends within five seconds, the
//     cloud later than the host.
// P3. Nothing a child prints can kill it: the reader of its output may be gone.
import { realClock } from '../../shared/clock.ts';
import { ConvoyError, reasonOf } from '../../shared/errors.ts';
import type { ErrorCode } from '../../shared/errors.ts';
import type { CloudAddress, CloudUsage, StackPorts } from './address.ts';

/** What a launcher says to its processes. */
export type ToChild = { kind: 'stop'; drainMs?: number } | { kind: 'usage' };

/** What a process says to its launcher. */
export type FromChild =
  | ({ kind: 'cloudReady'; ports: Omit<StackPorts, 'http'> } & CloudAddress)
  | { kind: 'hostReady'; port: number; url: string; functions: number }
  | { kind: 'failed'; code?: ErrorCode; received: string }
  | ({ kind: 'usage' } & CloudUsage)
  | { kind: 'stopRequested'; signal: string };

/** Something that runs until it is closed. */
export interface Running {
  /** What the launcher, or the person at the terminal, is told. */
  ready: Extract<FromChild, { kind: 'cloudReady' | 'hostReady' }>;
  usage?: () => CloudUsage;
  /** `drainMs`: how long what is in flight may take; undefined = as long as the end allows. */
  close(drainMs?: number): Promise<void>;
}

export interface ChildOptions {
  start(isLaunched: boolean): Promise<Running>;
  /** Prints the ready line when no launcher listens. */
  announce(ready: Running['ready']): void;
  /** How long after the loss of the launcher the process begins to close, and when it is ended. */
  orphan: { closeAfterMs: number; endAfterMs: number };
}

/** Set by the launcher in the environment of its processes. */
export const launchedMark = 'CONVOY_LAUNCHED';

/** How long a process that was asked to stop may take before it ends anyway. */
const closeWithinMs = 9_000;

/** Runs one process of the stack to its end; resolves with its exit code. */
export async function runChild(options: ChildOptions): Promise<number> {
  const isLaunched = process.env[launchedMark] !== undefined;
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {}); // [P3]
  const ending = Promise.withResolvers<Ending>();
  listen(isLaunched, ending.resolve, options.orphan);
  let running: Running;
  try {
    running = await options.start(isLaunched);
  } catch (error) {
    if (!isLaunched) throw error;
    tell(failureOf(error));
    return 1;
  }
  process.on('message', (message: ToChild) => {
    if (message.kind === 'usage' && running.usage) tell({ kind: 'usage', ...running.usage() });
  });
  if (isLaunched) tell(running.ready);
  else options.announce(running.ready);
  const { closeAfterMs, endAfterMs, drainMs } = await ending.promise;
  realClock.after(endAfterMs, () => process.exit(1));
  await new Promise<void>((resolve) => void setTimeout(resolve, closeAfterMs));
  await running.close(drainMs);
  return 0;
}

interface Ending {
  closeAfterMs: number;
  endAfterMs: number;
  drainMs?: number | undefined;
}

type End = (how: Ending) => void;

function listen(isLaunched: boolean, end: End, orphan: ChildOptions['orphan']): void {
  const atOnce = { closeAfterMs: 0, endAfterMs: closeWithinMs };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => (isLaunched ? tell({ kind: 'stopRequested', signal }) : end(atOnce)));
  }
  if (!isLaunched) return;
  process.on('message', (message: ToChild) => {
    if (message.kind === 'stop') end({ ...atOnce, drainMs: message.drainMs });
  });
  process.on('disconnect', () => {
    // A process still starting has nothing to close; it must end all the same [P2].
    realClock.after(orphan.endAfterMs, () => process.exit(1));
    end(orphan);
  });
}

function tell(message: FromChild): void {
  if (process.connected) process.send?.(message, () => {});
}

function failureOf(error: unknown): FromChild {
  return error instanceof ConvoyError
    ? { kind: 'failed', code: error.code, received: error.received }
    : { kind: 'failed', received: error instanceof Error ? (error.stack ?? '') : reasonOf(error) };
}
