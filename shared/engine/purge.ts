// Purge: finished instances leave the durable hub, so that its history does not grow for ever. An
// instance id is never used again (H3), so nothing can need what is purged.
//
// The hub deletes everything that matches a range of creation times in one request. The ranges go
// from the oldest on, each half as wide as the one before, so that the requests stay bounded in
// number, the first run over a long history ends somewhere, and the next one goes on there.
import { type Clock } from '../clock.ts';
import { ConvoyError } from '../errors.ts';

/** Created from `fromAt` (inclusive) to `toAt`, epoch milliseconds. */
export interface PurgeRange {
  fromAt: number;
  toAt: number;
}

const dayMs = 86_400_000;
/** Older than this is one range: 256 days before what is kept. */
const daysInRanges = 256;
export const historyDaysDefault = 7;

/** `CONVOY_HISTORY_DAYS`; throws CVY_SETTINGS when it is none. */
export function historyDaysIn(env: Readonly<Record<string, string | undefined>>): number {
  const text = env['CONVOY_HISTORY_DAYS'];
  if (text === undefined || text === '') return historyDaysDefault;
  const days = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (days >= 0 && days <= 36_500) return days;
  throw new ConvoyError('CVY_SETTINGS', `CONVOY_HISTORY_DAYS is '${text}', not 0 to 36500 days`);
}

/** Oldest first, without gaps, up to what is kept. */
export function purgeRanges(now: number, historyDays: number): PurgeRange[] {
  const keptFrom = now - historyDays * dayMs;
  const ranges: PurgeRange[] = [];
  let fromAt = 0;
  for (let days = daysInRanges; days >= 1; days /= 2) {
    const toAt = keptFrom - days * dayMs;
    if (toAt > fromAt) {
      ranges.push({ fromAt, toAt });
      fromAt = toAt;
    }
  }
  if (keptFrom > fromAt) ranges.push({ fromAt, toAt: keptFrom });
  return ranges;
}

/** Purges range by range until `untilAt`; answers how many instances went. */
export async function purgeHistory(
  purge: (range: PurgeRange) => Promise<number>,
  options: { clock: Clock; historyDays: number; untilAt: number },
): Promise<number> {
  const { clock, historyDays, untilAt } = options;
  let purged = 0;
  for (const range of purgeRanges(clock.now(), historyDays)) {
    if (clock.now() >= untilAt) break;
    purged += await purge(range);
  }
  return purged;
}
