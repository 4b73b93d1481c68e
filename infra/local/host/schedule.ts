// When a timer trigger is due: six-field NCRONTAB, a TimeSpan, or five fields. PURE.
// Source: functions-host.md 1.10. cron-parser finds the instants; where its cron differs from
// NCRONTAB we decide: day of month and day of week must BOTH fit (Unix cron: either).
import { HostFault } from './faults.ts';
import { CronExpressionParser } from 'cron-parser';
import { parseTimeSpan } from './timespan.ts';

export interface Schedule {
  /** The first due instant after `afterMs` (Unix milliseconds). */
  next(afterMs: number): number;
  /** Cron schedules move with the clocks of their zone; intervals do not. */
  isCron: boolean;
}

const field =
  /^(?:[0-9*,/-]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC|SUN|MON|TUE|WED|THU|FRI|SAT)+$/i;
const daysTriedMax = 40_000; // a century: 29 February on a Monday comes every 28 years

/** Reads the `schedule` option; throws naming what is wrong with it. */
export function parseSchedule(text: string, timeZone: string): Schedule {
  const interval = parseTimeSpan(text);
  if (interval !== undefined && interval > 0) {
    return { isCron: false, next: (afterMs) => afterMs + interval };
  }
  const fields = text.trim().split(/\s+/);
  if (fields.length === 5) fields.unshift('0');
  if (fields.length !== 6 || !fields.every((one) => field.test(one))) {
    throw new HostFault(unrecognized(text));
  }
  return { isCron: true, next: cronNext(fields, { text, timeZone }) };
}

const unrecognized = (text: string): string =>
  `The schedule expression '${text}' was not recognized as a valid cron expression.`;

function cronNext(
  fields: string[],
  { text, timeZone }: { text: string; timeZone: string },
): (afterMs: number) => number {
  const [, , , dayOfMonth = '*', , dayOfWeek = '*'] = fields;
  const isBoth = !dayOfMonth.startsWith('*') && !dayOfWeek.startsWith('*');
  const parse = (list: string[], afterMs: number) =>
    CronExpressionParser.parse(list.join(' '), { currentDate: new Date(afterMs), tz: timeZone });
  const weekdays = new Set<number>();
  try {
    for (const day of parse(fields, 0).fields.dayOfWeek.values) weekdays.add(Number(day) % 7);
  } catch (cause) {
    throw new HostFault(unrecognized(text), { cause });
  }
  if (!isBoth) return (afterMs) => parse(fields, afterMs).next().getTime();
  const anyWeekday = [...fields.slice(0, 5), '*'];
  return (afterMs) => {
    const instants = parse(anyWeekday, afterMs);
    for (let tried = 0; tried < daysTriedMax; tried++) {
      const at = instants.next();
      if (weekdays.has(at.getDay())) return at.getTime();
    }
    throw new HostFault(`The schedule expression '${text}' is never due.`);
  };
}

/** [FH 1.10] Below one minute nothing is remembered: looks at the next five intervals. */
export function isFrequent(schedule: Schedule, nowMs: number): boolean {
  let at = schedule.next(nowMs);
  for (let i = 0; i < 5; i++) {
    const next = schedule.next(at);
    if (next - at < 60_000) return true;
    at = next;
  }
  return false;
}
