// What the host says, in the format of `func start` [FH 5.3]: every line stamped, coloured by level
// on a terminal, quiet below the chosen level. Never prints a setting's value.
//
// K1 A host that is asked to be quiet (level 'warning' or 'error') drops everything below.
// K2 At 'information' the categories of host.json decide about functions, the longest first, then
//    `default`, then 'information'. At 'debug' everything is shown.
import type { Clock } from '../../../shared/clock.ts';
import type { LogLevel } from './rpc.ts';

export const logLevels = ['debug', 'information', 'warning', 'error'] as const;
export type HostLogLevel = (typeof logLevels)[number];

/**
 * Logs one message; lines of it are stamped singly. The category is `Function.<name>`,
 * `Function.<name>.User`, or none for what the host itself has to say.
 */
export type Say = (level: HostLogLevel, message: string, category?: string) => void;

export interface SayOptions {
  least: HostLogLevel;
  clock: Clock;
  write: (line: string) => void;
  isColoured?: boolean;
  /** `logging.logLevel` of host.json, once it is read. */
  levels: () => Readonly<Record<string, HostLogLevel | 'none'>>;
}

const colours: Record<HostLogLevel, string> = {
  debug: '\u001B[2m',
  information: '',
  warning: '\u001B[33m',
  error: '\u001B[31m',
};
const grey = '\u001B[90m';
const plain = '\u001B[0m';

export function createSay({ least, clock, write, isColoured, levels }: SayOptions): Say {
  const rank = (level: HostLogLevel): number => logLevels.indexOf(level);
  const leastOf = (category: string | undefined): HostLogLevel | 'none' => {
    if (least !== 'information' || category === undefined) return least; // [K1]
    return configured(levels(), category) ?? 'information'; // [K2]
  };
  return (level, message, category) => {
    const wanted = leastOf(category);
    if (wanted === 'none' || rank(level) < rank(wanted)) return;
    const at = `[${new Date(clock.now()).toISOString()}] `;
    const stamp = isColoured ? `${grey}${at}${plain}` : at;
    for (const line of message.split('\n')) {
      write(stamp + (isColoured ? `${colours[level]}${line}${plain}` : line));
    }
  };
}

/** The level of the longest category that is the given one or a part of it before a dot. */
function configured(
  levels: Readonly<Record<string, HostLogLevel | 'none'>>,
  category: string,
): HostLogLevel | 'none' | undefined {
  const parts = category.split('.');
  for (let length = parts.length; length > 0; length--) {
    const prefix = parts.slice(0, length).join('.').toLowerCase();
    const found = Object.keys(levels).find((name) => name.toLowerCase() === prefix);
    if (found !== undefined) return levels[found];
  }
  return levels['default'];
}

/** The levels of the library, folded into ours. */
export function hostLevel(level: LogLevel): HostLogLevel {
  if (level === 'trace' || level === 'debug' || level === 'none') return 'debug';
  if (level === 'critical' || level === 'error') return 'error';
  return level;
}
