// PURE. Date and time functions of queries. Azure's text form is `YYYY-MM-DDThh:mm:ss.fffffffZ`;
// here the last four digits are zero, since the Clock counts milliseconds.

import type { Value } from './json.ts';

interface DateFunction {
  least: number;
  most: number;
  apply(list: readonly Value[], nowMs: number): Value;
}

const msOfPart: Record<string, number> = { week: 604_800_000, day: 86_400_000, hour: 3_600_000 };
msOfPart['minute'] = 60_000;
msOfPart['second'] = 1000;
msOfPart['millisecond'] = 1;

const partNames: Record<string, string> = {
  year: 'year',
  yyyy: 'year',
  yy: 'year',
  month: 'month',
  mm: 'month',
  m: 'month',
  week: 'week',
  wk: 'week',
  ww: 'week',
  day: 'day',
  dd: 'day',
  d: 'day',
  hour: 'hour',
  hh: 'hour',
  minute: 'minute',
  mi: 'minute',
  n: 'minute',
  second: 'second',
  ss: 'second',
  s: 'second',
  millisecond: 'millisecond',
  ms: 'millisecond',
  weekday: 'weekday',
  dw: 'weekday',
  w: 'weekday',
};

const partOf = (value: Value): string | undefined =>
  typeof value === 'string' ? partNames[value.toLowerCase()] : undefined;

/** Milliseconds of an ISO instant; undefined for anything else. */
function instant(value: Value): number | undefined {
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\d(T[\d:.]+Z?)?$/.test(value)) return undefined;
  const hasTime = value.includes('T');
  // Beyond milliseconds the digits are cut; a time without Z is UTC here, as in Azure.
  const text = value.replace(/(\.\d{3})\d+/, '$1').replace(/Z$/, '') + (hasTime ? 'Z' : '');
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
}

function dateText(ms: number): Value {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString().replace('Z', '0000Z');
}

function add([unit, count, from]: readonly Value[]): Value {
  const part = partOf(unit);
  const ms = instant(from);
  if (!part || ms === undefined || typeof count !== 'number') return undefined;
  if (part !== 'year' && part !== 'month') {
    const step = msOfPart[part];
    return step === undefined ? undefined : dateText(ms + Math.trunc(count) * step);
  }
  const date = new Date(ms);
  const day = date.getUTCDate();
  date.setUTCDate(1);
  date.setUTCMonth(date.getUTCMonth() + Math.trunc(count) * (part === 'year' ? 12 : 1));
  const last = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
  date.setUTCDate(Math.min(day, last));
  return dateText(date.getTime());
}

function difference([unit, start, end]: readonly Value[]): Value {
  const part = partOf(unit);
  const from = instant(start);
  const to = instant(end);
  if (!part || from === undefined || to === undefined) return undefined;
  if (part === 'year' || part === 'month') {
    const a = new Date(from);
    const b = new Date(to);
    const years = b.getUTCFullYear() - a.getUTCFullYear();
    return part === 'year' ? years : years * 12 + b.getUTCMonth() - a.getUTCMonth();
  }
  const step = msOfPart[part];
  return step === undefined ? undefined : Math.trunc((to - from) / step);
}

function partValue([unit, at]: readonly Value[]): Value {
  const ms = instant(at);
  if (ms === undefined) return undefined;
  const date = new Date(ms);
  switch (partOf(unit)) {
    case 'year':
      return date.getUTCFullYear();
    case 'month':
      return date.getUTCMonth() + 1;
    case 'day':
      return date.getUTCDate();
    case 'hour':
      return date.getUTCHours();
    case 'minute':
      return date.getUTCMinutes();
    case 'second':
      return date.getUTCSeconds();
    case 'millisecond':
      return date.getUTCMilliseconds();
    case 'weekday':
      return date.getUTCDay() + 1;
    default:
      return undefined;
  }
}

function bin([at, unit, size = 1]: readonly Value[]): Value {
  const ms = instant(at);
  const step = msOfPart[partOf(unit) ?? ''];
  if (ms === undefined || step === undefined || typeof size !== 'number' || size < 1) {
    return undefined;
  }
  const width = step * Math.trunc(size);
  return dateText(Math.floor(ms / width) * width);
}

const ticksPerMs = 10_000;
const define = (least: number, most: number, apply: DateFunction['apply']): DateFunction => ({
  least,
  most,
  apply,
});
const now = define(0, 0, (_, nowMs) => nowMs);
const nowText = define(0, 0, (_, nowMs) => dateText(nowMs));
const nowTicks = define(0, 0, (_, nowMs) => nowMs * ticksPerMs);

/** By upper-case name. */
export const dateFunctions: Record<string, DateFunction> = {
  GETCURRENTTIMESTAMP: now,
  GETCURRENTTIMESTAMPSTATIC: now,
  GETCURRENTDATETIME: nowText,
  GETCURRENTDATETIMESTATIC: nowText,
  GETCURRENTTICKS: nowTicks,
  GETCURRENTTICKSSTATIC: nowTicks,
  DATETIMEADD: define(3, 3, add),
  DATETIMEDIFF: define(3, 3, difference),
  DATETIMEPART: define(2, 2, partValue),
  DATETIMEBIN: define(2, 3, bin),
  DATETIMETOTIMESTAMP: define(1, 1, ([at]) => instant(at)),
  DATETIMETOTICKS: define(1, 1, ([at]) => {
    const ms = instant(at);
    return ms === undefined ? undefined : ms * ticksPerMs;
  }),
  TIMESTAMPTODATETIME: define(1, 1, ([ms]) => (typeof ms === 'number' ? dateText(ms) : undefined)),
  TICKSTODATETIME: define(1, 1, ([ticks]) =>
    typeof ticks === 'number' ? dateText(Math.trunc(ticks / ticksPerMs)) : undefined,
  ),
};
