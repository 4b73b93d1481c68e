// PURE. ISO-8601 durations, as configuration files and the management API write them.

/** TimeSpan.MaxValue: how the service says "never" [SB 12.4]. */
export const forever = 'P10675199DT2H48M5.4775807S';

/** Seconds of a duration such as `PT1M` or `P1DT0.5S`; undefined when it is none. */
export function secondsOfDuration(text: string): number | undefined {
  const match = /^P(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$/.exec(text);
  if (!match || text === 'P') return undefined;
  const [days, hours, minutes, seconds] = match.slice(1).map((part) => Number(part ?? 0));
  return (days ?? 0) * 86_400 + (hours ?? 0) * 3_600 + (minutes ?? 0) * 60 + (seconds ?? 0);
}

/** The form in which the service writes a number of seconds. */
export function durationOfSeconds(total: number): string {
  const days = Math.floor(total / 86_400);
  const hours = Math.floor((total % 86_400) / 3_600);
  const minutes = Math.floor((total % 3_600) / 60);
  const seconds = Math.round((total % 60) * 1000) / 1000;
  const time = [hours && `${hours}H`, minutes && `${minutes}M`, seconds && `${seconds}S`]
    .filter(Boolean)
    .join('');
  if (!time) return days ? `P${days}D` : 'PT0S';
  return `P${days ? `${days}D` : ''}T${time}`;
}
