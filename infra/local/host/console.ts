// What the host says, in the format of `func start` [FH 5.3]: every line stamped, quiet below the
// chosen level. Never prints a setting's value.
import type { Clock } from '../../../shared/clock.ts';
import type { LogLevel } from './rpc.ts';

export const logLevels = ['debug', 'information', 'warning', 'error'] as const;
export type HostLogLevel = (typeof logLevels)[number];

/** Logs one message; lines of it are stamped singly. */
export type Say = (level: HostLogLevel, message: string) => void;

/** A `Say` that drops what is below `least` and hands lines to `write`. */
export function createSay(least: HostLogLevel, clock: Clock, write: (line: string) => void): Say {
  const from = logLevels.indexOf(least);
  return (level, message) => {
    if (logLevels.indexOf(level) < from) return;
    const stamp = `[${new Date(clock.now()).toISOString()}] `;
    for (const line of message.split('\n')) write(stamp + line);
  };
}

/** The levels of the library, folded into ours. */
export function hostLevel(level: LogLevel): HostLogLevel {
  if (level === 'trace' || level === 'debug' || level === 'none') return 'debug';
  if (level === 'critical' || level === 'error') return 'error';
  return level;
}
