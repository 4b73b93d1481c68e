// Zone arithmetic for business calendars, by the host's own time zone data (Intl). The pure core is
// handed this function: it may not know zones itself.
import type { CalendarDefinition } from './convoy/window-definition.ts';

interface Local {
  year: number;
  month: number;
  day: number;
}

const dayMs = 86_400_000;
const formats = new Map<string, Intl.DateTimeFormat>();
const formatsMax = 100;

/** Throws RangeError for an unknown time zone. */
function formatOf(timeZone: string): Intl.DateTimeFormat {
  const known = formats.get(timeZone);
  if (known) return known;
  const made = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    era: 'short',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  if (formats.size >= formatsMax) formats.clear();
  formats.set(timeZone, made);
  return made;
}

/** What a clock in the zone shows, as if it were UTC. */
function localMs(timeZone: string, at: number): number {
  const parts = new Map(
    formatOf(timeZone)
      .formatToParts(at)
      .map(({ type, value }) => [type, value]),
  );
  const of = (type: Intl.DateTimeFormatPartTypes): number => Number(parts.get(type));
  const year = parts.get('era') === 'BC' ? 1 - of('year') : of('year');
  const shown = utc({ year, month: of('month'), day: of('day') });
  return shown + ((of('hour') * 60 + of('minute')) * 60 + of('second')) * 1000;
}

/** Date.UTC, which takes the years 0 to 99 for 1900 to 1999. */
function utc({ year, month, day }: Local): number {
  return new Date(0).setUTCFullYear(year, month - 1, day);
}

/** The first instant at which the zone's clock shows `wanted`; where summer time skips it, the
 *  instant after the skip. */
function instantOf(timeZone: string, wanted: number): number {
  const offsets = [wanted - dayMs, wanted + dayMs].map((at) => localMs(timeZone, at) - at);
  const instants = offsets.map((offset) => wanted - offset).sort((a, b) => a - b);
  const exact = instants.find((at) => localMs(timeZone, at) === wanted);
  // Skipped: by the offset before the change the same clock time lies just after it.
  return exact ?? wanted - (offsets[0] ?? 0);
}

/** The day, week or month of the calendar that holds `at`, `[start, end)` in epoch milliseconds.
 *  Where the clock shows the boundary twice the first counts; where it skips it, the instant after
 *  the skip. Throws RangeError for a time zone that the host does not know. */
export function calendarWindow(
  calendar: Required<CalendarDefinition>,
  at: number,
): { start: number; end: number } {
  const { timeZone, unit, startsAt } = calendar;
  const [hours = 0, minutes = 0] = startsAt.split(':').map(Number);
  const boundaryMs = (hours * 60 + minutes) * 60_000;
  const shownDay = Math.floor((localMs(timeZone, at) - boundaryMs) / dayMs) * dayMs;
  // Around a change of the clock the shown day may be one off: look at its neighbours too.
  const starts = new Set<number>();
  for (const day of [shownDay - dayMs, shownDay, shownDay + dayMs]) {
    let first = firstDay(day, unit);
    for (let n = 0; n < 3; n += 1) {
      starts.add(instantOf(timeZone, first + boundaryMs));
      first = firstDay(nextUnit(first, unit), unit);
    }
  }
  const sorted = [...starts].sort((a, b) => a - b);
  const index = sorted.findLastIndex((start) => start <= at);
  return { start: sorted[index] ?? at, end: sorted[index + 1] ?? at };
}

function firstDay(day: number, unit: 'day' | 'week' | 'month'): number {
  const date = new Date(day);
  if (unit === 'week') return day - ((date.getUTCDay() + 6) % 7) * dayMs;
  if (unit === 'month') return day - (date.getUTCDate() - 1) * dayMs;
  return day;
}

function nextUnit(first: number, unit: 'day' | 'week' | 'month'): number {
  return first + (unit === 'day' ? 1 : unit === 'week' ? 7 : 31) * dayMs;
}
