// The reference's own calendar: it looks at a clock on the wall, minute by minute.
import type { CalendarDefinition } from '../../shared/convoy/window-definition.ts';

const minuteMs = 60_000;
const days = new Map<string, { start: number; end: number }[]>();
const clocks = new Map<string, Intl.DateTimeFormat>();

/** ISO-8601 with Z, without milliseconds when these are zero. */
export function isoOf(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}

/** The business day around an instant: from one minute that shows `startsAt` to the next. */
export function localBoundaries(
  calendar: Required<CalendarDefinition>,
  at: number,
): { start: number; end: number } {
  if (calendar.unit !== 'day') throw new Error('the reference knows days only');
  const name = `${calendar.timeZone} ${calendar.startsAt}`;
  const known = days.get(name)?.find(({ start, end }) => start <= at && at < end);
  if (known) return known;
  const minute = Math.floor(at / minuteMs) * minuteMs;
  let start = minute;
  while (shown(calendar.timeZone, start) !== calendar.startsAt) start -= minuteMs;
  let end = minute + minuteMs;
  while (shown(calendar.timeZone, end) !== calendar.startsAt) end += minuteMs;
  days.set(name, [...(days.get(name) ?? []), { start, end }]);
  return { start, end };
}

function shown(timeZone: string, at: number): string {
  let clock = clocks.get(timeZone);
  if (clock === undefined) {
    const options = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const;
    clock = new Intl.DateTimeFormat('en-GB', { timeZone, ...options });
    clocks.set(timeZone, clock);
  }
  return clock.format(at);
}
