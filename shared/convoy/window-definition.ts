// PURE. The vocabulary of windows by event time.
import type { Message } from './definition.ts';

/** A business calendar as window boundary: whole days, weeks or months of a time zone. */
export interface CalendarDefinition {
  /** IANA name, for instance `Europe/Berlin`; summer time is the zone's. */
  timeZone: string;
  /** Default `day`. A week starts on Monday, a month on its first day. */
  unit?: 'day' | 'week' | 'month';
  /** Local time of the boundary, `HH:MM`. Default `00:00`; `14:00` = from 2 PM to 2 PM. */
  startsAt?: string;
}

/** A fold of one's own beside count, sum, min, max, first and last; emitted as `result`. */
export interface ReduceDefinition<State = unknown, Body = unknown> {
  /** A JSON value. */
  initial: unknown;
  /** Pure: the next result. `before` is the state before the message. */
  add(result: unknown, message: Message<Body>, before: State): unknown;
  /** Pure: the result of two neighbouring session windows that become one. */
  merge?(earlier: unknown, later: unknown): unknown;
}

export type LatePolicy = 'amend' | 'drop' | 'next' | 'park';

export interface WindowDefinition<State = unknown, Body = unknown> {
  name: string;
  /** `tumbling`: end to end. `hopping`: overlapping, one begins each `everySeconds`. `session`:
   *  ends `gapSeconds` after its last message. */
  kind: 'tumbling' | 'hopping' | 'session';
  /** Length; aligned to the Unix epoch, `[start, end)` by event time. */
  seconds?: number;
  /** Hopping only. */
  everySeconds?: number;
  /** Session only. */
  gapSeconds?: number;
  /** Tumbling only, instead of `seconds`. */
  calendar?: CalendarDefinition;
  /** What the message adds; undefined = not counted. `before` is the state before this message. */
  value(message: Message<Body>, before: State): number | bigint | undefined;
  reduce?: ReduceDefinition<State, Body>;
  /** How long after its end, by event time, a window stays open for stragglers. Default 0. */
  graceSeconds?: number;
  /** Wall-clock silence of the key after which its open windows close. Default: never. */
  quietSeconds?: number;
  /** What becomes of a message for a closed window. `amend` (default): emitted again with
   *  revision + 1; sessions that it joins are one from then on, and what was emitted under another
   *  start than theirs is taken back (`count: 0`, `mergedInto`). `drop`: applied, not counted.
   *  `next`: counted, once, in the first window still open. `park`: the message is set aside. */
  late?: LatePolicy;
  /** Emits `window.early` (final: false) after every so many messages of an open window. */
  earlyEvery?: number;
  /** Joins the closed windows of all keys into one batch per window. Not for session windows. */
  rollUp?: {
    /** How long after the first key's window the batch waits for the others. Default 60. */
    delaySeconds?: number;
  };
}

/** A window with every default filled in. */
export interface CheckedWindow {
  readonly name: string;
  readonly kind: 'tumbling' | 'hopping' | 'session';
  /** Length, or the gap of a session; 0 with a calendar. */
  readonly seconds: number;
  readonly everySeconds: number;
  readonly calendar: Required<CalendarDefinition> | undefined;
  readonly value: (message: Message<unknown>, before: unknown) => number | bigint | undefined;
  readonly reduce: ReduceDefinition | undefined;
  readonly graceSeconds: number;
  readonly quietSeconds: number | undefined;
  readonly late: LatePolicy;
  readonly earlyEvery: number | undefined;
  readonly rollUp: { readonly delaySeconds: number } | undefined;
}
