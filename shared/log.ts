// One line per fact: instant, level, fact, fields. Written to the console, which the Functions host
// captures; never a body, a key of an account or a connection string.
export type LogLevel = 'info' | 'warn';

export interface Log {
  info(fact: string, fields?: Record<string, unknown>): void;
  warn(fact: string, fields?: Record<string, unknown>): void;
}

/** `level` info writes everything; warn (the default) only what needs attention. */
export function createLog(
  level: LogLevel,
  write: (line: string) => void = (line) => console.warn(line),
): Log {
  const line = (kind: LogLevel, fact: string, fields: Record<string, unknown> = {}): void =>
    write(`convoy ${kind}: ${fact} ${JSON.stringify(fields)}`);
  return {
    info: (fact, fields) => void (level === 'info' && line('info', fact, fields)),
    warn: (fact, fields) => line('warn', fact, fields),
  };
}
