// What the pure core is handed: this instant, SHA-256, ISO text, UTF-8 length and the calendar.
import { calendarWindow } from '../calendar.ts';
import { isoInstant } from '../clock.ts';
import type { Tools } from '../convoy/outputs.ts';
import { hexHash } from '../keys.ts';

export function toolsAt(now: number): Tools {
  return {
    now,
    hash: hexHash,
    iso: isoInstant,
    bytes: (text) => Buffer.byteLength(text, 'utf8'),
    calendar: calendarWindow,
  };
}
