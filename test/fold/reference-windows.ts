// The windows of one key as the reference sees them: each keeps everything that was counted in it,
// so that an aggregate is a plain fold over a list. Written from DESIGN §5, CONTRACT §3 and the
// README; of shared/convoy only types are used.
//
//   open / closed   a window is closed when end + grace <= watermark, the largest event time of an
//                   applied message (or what quiet time or completion raised it to).
//   late            what an event adds to a closed window: by the window's policy.
//   session         messages whose spans [t, t + gap] touch are one session. With `amend` that
//                   holds for what has been emitted too: sessions that turn out to be one are
//                   emitted as one, under the earliest start, and the others are taken back (count
//                   0).
import type { ConvoyDefinition, Message } from '../../shared/convoy/definition.ts';
import type { CheckedWindow } from '../../shared/convoy/window-definition.ts';
import { isoOf, localBoundaries } from './reference-time.ts';

export interface Span {
  start: number;
  end: number;
}

interface Entry {
  value: number | bigint;
  message: Message<unknown>;
  before: unknown;
}

export interface RefWindow extends Span {
  window: string;
  entries: Entry[];
  /** Of the last emission; -1 before the first. */
  revision: number;
  writtenAt: number;
}

export interface WindowOutput {
  type: 'window.closed' | 'window.early';
  body: Record<string, unknown>;
  isLate: boolean;
}

export type Entered =
  { kind: 'entered'; outputs: WindowOutput[]; late: number } | { kind: 'park'; code: string };

interface Origin {
  convoy: string;
  key: string;
}

export class Windows {
  open: RefWindow[] = [];
  closed: RefWindow[] = [];
  watermark: number | null = null;
  /** Every value the watermark ever had, and since when. */
  readonly #history: { at: number; watermark: number | null }[] = [];
  readonly #origin: Origin;

  constructor(origin: Origin) {
    this.#origin = origin;
  }

  copy(): Windows {
    const copy = new Windows(this.#origin);
    const copied = (window: RefWindow) => ({ ...window, entries: [...window.entries] });
    copy.open = this.open.map(copied);
    copy.closed = this.closed.map(copied);
    copy.watermark = this.watermark;
    copy.#history.push(...this.#history);
    return copy;
  }

  /** Enters one applied message into every window of the definition. Throws what the window's own
   *  functions throw; the caller then drops this copy. */
  enter(
    definition: ConvoyDefinition,
    entry: { message: Message<unknown>; before: unknown; isReplay: boolean; now: number },
  ): Entered {
    const { message, before, isReplay, now } = entry;
    const outputs: WindowOutput[] = [];
    let late = 0;
    for (const window of definition.windows) {
      const value = window.value(message, before);
      if (value === undefined) continue;
      if (typeof value === 'number' && !Number.isFinite(value)) throw new TypeError('not finite');
      const policy = window.late === 'park' && isReplay ? 'amend' : window.late;
      const added = {
        window,
        policy,
        isReplay,
        entry: { value, message, before },
        now,
        definition,
      };
      const entered =
        window.kind === 'session' ? this.#enterSession(added) : this.#enterFixed(added);
      if (entered.kind === 'park') return entered;
      outputs.push(...entered.outputs);
      late += entered.late;
    }
    const watermark = Math.max(this.watermark ?? message.occurredAt, message.occurredAt);
    if (definition.windows.length > 0) this.raise(watermark, now);
    return { kind: 'entered', outputs, late };
  }

  raise(watermark: number | null, now: number): void {
    this.watermark = watermark;
    this.#history.push({ at: now, watermark });
  }

  #isPast(window: CheckedWindow | undefined, end: number, watermark = this.watermark): boolean {
    return watermark !== null && end + (window?.graceSeconds ?? 0) * 1000 <= watermark;
  }

  #enterFixed(added: Added): Entered {
    const { window, policy, entry } = added;
    const outputs: WindowOutput[] = [];
    const spans = spansOf(window, entry.message.occurredAt);
    const past = spans.filter((span) => this.#isPast(window, span.end));
    if (past.length > 0 && policy === 'park') return { kind: 'park', code: 'CVY_LATE' };
    for (const span of spans) {
      if (!past.includes(span)) outputs.push(...this.#addOpen(added, span));
      else if (policy === 'amend') {
        const amended = this.#amend(added, span);
        if (amended.kind === 'park') return amended;
        outputs.push(...amended.outputs);
      }
    }
    // Once, and only when no window that is still open has it.
    if (policy === 'next' && past.length === spans.length) {
      outputs.push(...this.#addOpen(added, this.#firstOpen(window)));
    }
    return { kind: 'entered', outputs, late: past.length };
  }

  /** The first window, walking on from the first instant that may still be open. */
  #firstOpen(window: CheckedWindow): Span {
    const from = (this.watermark ?? 0) - window.graceSeconds * 1000;
    const open = spansOf(window, from).find((span) => !this.#isPast(window, span.end));
    if (open === undefined) throw new Error('no window is open');
    return open;
  }

  #addOpen({ window, entry, now }: Added, span: Span): WindowOutput[] {
    let open = this.open.find((w) => w.window === window.name && w.start === span.start);
    if (open === undefined) {
      open = { window: window.name, ...span, entries: [], revision: -1, writtenAt: now };
      this.open.push(open);
    }
    open.entries.push(entry);
    return this.#early(window, open);
  }

  #early(window: CheckedWindow, open: RefWindow): WindowOutput[] {
    resultOf(window, open.entries); // a reducer that throws is the message's fault
    const every = window.earlyEvery;
    if (every === undefined || open.entries.length % every !== 0) return [];
    const body = this.#bodyOf(window, { ...open, revision: open.revision + 1 }, false);
    return [{ type: 'window.early', body, isLate: false }];
  }

  #amend(added: Added, span: Span): Entered {
    const { window, entry, now, definition } = added;
    let closed = this.#kept(definition, window, now).find((w) => w.start === span.start);
    if (closed === undefined) {
      if (this.#isForgotten(added, span)) return this.#forgotten(added);
      closed = { window: window.name, ...span, entries: [], revision: -1, writtenAt: now };
      this.closed.push(closed);
    }
    closed.entries.push(entry);
    return { kind: 'entered', outputs: [this.#emit(window, closed, now)], late: 1 };
  }

  /** A replay is the operator's will: applied, not counted. */
  #forgotten({ isReplay }: Added): Entered {
    if (!isReplay) return { kind: 'park', code: 'CVY_WINDOW_FORGOTTEN' };
    return { kind: 'entered', outputs: [], late: 1 };
  }

  #isForgotten({ window, now, definition }: Added, span: Span): boolean {
    const keptFrom = now - definition.retentionSeconds * 1000;
    const then = this.#history.findLast(({ at }) => at <= keptFrom)?.watermark ?? null;
    return this.#isPast(window, span.end, then);
  }

  #kept(definition: ConvoyDefinition, window: CheckedWindow, now: number): RefWindow[] {
    const keptMs = definition.retentionSeconds * 1000;
    return this.closed.filter(
      (closed) => closed.window === window.name && now - closed.writtenAt < keptMs,
    );
  }

  #enterSession(added: Added): Entered {
    const { window, policy, entry, now, definition } = added;
    const at = entry.message.occurredAt;
    let span: Span = { start: at, end: at + window.seconds * 1000 };
    const own = (w: RefWindow): boolean => w.window === window.name && touch(w, span);
    const open = this.open.filter(own);
    const isLate = this.#isPast(window, span.end) && open.length === 0;
    if (isLate && policy === 'park') return { kind: 'park', code: 'CVY_LATE' };
    if (isLate && policy === 'drop') return { kind: 'entered', outputs: [], late: 1 };
    if (isLate && policy === 'next') {
      const start = (this.watermark ?? 0) - window.graceSeconds * 1000;
      span = { start, end: start + window.seconds * 1000 };
      return { ...this.#join(added, span, this.open.filter(own)), late: 1 };
    }
    const closed = policy === 'amend' ? this.#kept(definition, window, now).filter(own) : [];
    if (isLate && closed.length === 0 && this.#isForgotten(added, span))
      return this.#forgotten(added);
    const late = isLate || closed.length > 0 ? 1 : 0;
    return { ...this.#join(added, span, [...open, ...closed]), late };
  }

  /** One session out of all that touch; what had been emitted under another start is taken back. */
  #join(
    added: Added,
    span: Span,
    touched: RefWindow[],
  ): { kind: 'entered'; outputs: WindowOutput[] } {
    const { window, entry, now } = added;
    const inTime = [...touched].sort((a, b) => a.start - b.start);
    const start = Math.min(span.start, ...touched.map((w) => w.start));
    const end = Math.max(span.end, ...touched.map((w) => w.end));
    const outputs: WindowOutput[] = [];
    for (const gone of inTime) {
      if (gone.start === start || gone.revision < 0) continue;
      const body = {
        ...this.#bodyOf(window, { ...gone, entries: [], revision: gone.revision + 1 }),
      };
      outputs.push({
        type: 'window.closed',
        body: { ...body, mergedInto: isoOf(start) },
        isLate: true,
      });
    }
    const joined: RefWindow = {
      ...{ window: window.name, start, end, writtenAt: now },
      entries: [...inTime.flatMap(({ entries }) => entries), entry],
      revision: inTime.find((w) => w.start === start)?.revision ?? -1,
    };
    this.open = this.open.filter((w) => !touched.includes(w));
    this.closed = this.closed.filter((w) => !touched.includes(w));
    if (this.#isPast(window, end)) {
      this.closed.push(joined);
      outputs.push(this.#emit(window, joined, now));
    } else {
      this.open.push(joined);
      outputs.push(...this.#early(window, joined));
    }
    return { kind: 'entered', outputs };
  }

  #emit(window: CheckedWindow, closed: RefWindow, now: number): WindowOutput {
    closed.revision += 1;
    closed.writtenAt = now;
    return { type: 'window.closed', body: this.#bodyOf(window, closed), isLate: true };
  }

  /** Closes what the watermark has passed, oldest end first. */
  closeDue(definition: ConvoyDefinition, now: number): WindowOutput[] {
    const windowOf = (open: RefWindow) =>
      definition.windows.find(({ name }) => name === open.window);
    const due = this.open
      .filter((open) => this.#isPast(windowOf(open), open.end))
      .sort((a, b) => a.end - b.end || a.start - b.start || (a.window < b.window ? -1 : 1));
    this.open = this.open.filter((open) => !due.includes(open));
    this.closed = [
      ...this.closed.filter((w) => !due.some((d) => d.window === w.window && d.start === w.start)),
      ...due,
    ];
    return due.map((open) => {
      const window = windowOf(open);
      if (window === undefined) throw new Error('no window definition');
      return { ...this.#emit(window, open, now), isLate: false };
    });
  }

  /** The watermark with which everything that is open has closed; of silence only what has a quiet
   *  time. */
  watermarkOfEnd(definition: ConvoyDefinition, isSilence: boolean): number | null {
    let { watermark } = this;
    for (const open of this.open) {
      const window = definition.windows.find(({ name }) => name === open.window);
      if (window === undefined || (isSilence && window.quietSeconds === undefined)) continue;
      const past = open.end + window.graceSeconds * 1000;
      watermark = watermark === null ? past : Math.max(watermark, past);
    }
    return watermark;
  }

  #bodyOf(window: CheckedWindow, from: RefWindow, isFinal = true): Record<string, unknown> {
    const result = from.entries.length === 0 ? undefined : resultOf(window, from.entries);
    return {
      ...this.#origin,
      window: from.window,
      start: isoOf(from.start),
      end: isoOf(from.end),
      ...aggregateOf(from.entries.map(({ value }) => value)),
      revision: from.revision,
      final: isFinal,
      ...(result !== undefined && { result }),
    };
  }
}

interface Added {
  window: CheckedWindow;
  policy: CheckedWindow['late'];
  isReplay: boolean;
  entry: Entry;
  now: number;
  definition: ConvoyDefinition;
}

const touch = (a: Span, b: Span): boolean => a.start <= b.end && b.start <= a.end;

/** The tumbling, hopping or calendar windows that hold an instant, oldest first. */
function spansOf(window: CheckedWindow, at: number): Span[] {
  const { calendar } = window;
  if (calendar !== undefined) return [localBoundaries(calendar, at)];
  const length = window.seconds * 1000;
  const every = window.kind === 'hopping' ? window.everySeconds * 1000 : length;
  const spans: Span[] = [];
  // Multiples of `every` from well before to well after: those whose [start, end) holds the
  // instant.
  const first = (Math.floor((at - length) / every) - 1) * every;
  for (let start = first; start <= at; start += every) {
    if (start <= at && at < start + length) spans.push({ start, end: start + length });
  }
  return spans;
}

function aggregateOf(values: (number | bigint)[]): Record<string, unknown> {
  const count = values.length;
  if (count === 0) {
    const none = { sum: 0, min: null, max: null, first: null, last: null };
    return { count, ...none, average: null };
  }
  const shown = (value: number | bigint) => (typeof value === 'bigint' ? value.toString() : value);
  const sorted = values.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const isBig = values.some((value) => typeof value === 'bigint');
  const sum = isBig
    ? values.reduce<bigint>((total, value) => total + BigInt(value), 0n)
    : values.reduce<number>((total, value) => total + Number(value), 0);
  const at = (list: (number | bigint)[], i: number) => shown(list.at(i) ?? 0);
  const ends = { first: at(values, 0), last: at(values, -1) };
  const average = Number(sum) / count;
  return { count, sum: shown(sum), min: at(sorted, 0), max: at(sorted, -1), ...ends, average };
}

function resultOf({ reduce }: CheckedWindow, entries: Entry[]): unknown {
  if (reduce === undefined) return undefined;
  return entries.reduce<unknown>((result, { message, before }) => {
    return JSON.parse(
      JSON.stringify(reduce.add(JSON.parse(JSON.stringify(result)), message, before)),
    );
  }, reduce.initial);
}

/** What an observer sees of a window: aggregates by name. */
export function shownWindow(
  definition: ConvoyDefinition,
  from: RefWindow,
): Record<string, unknown> {
  const window = definition.windows.find(({ name }) => name === from.window);
  const result = window && resultOf(window, from.entries);
  const { average: _, ...aggregate } = aggregateOf(from.entries.map(({ value }) => value));
  const { window: name, start, end } = from;
  return { window: name, start, end, ...aggregate, ...(result !== undefined && { result }) };
}
