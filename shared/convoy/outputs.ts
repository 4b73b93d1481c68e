// PURE. Limits of one transaction, and the outputs of a commit: what the handler emitted and the
// windows that closed, each with its position and its number at that position (CONTRACT §3).
import type { Admitted, ClosedWindow, Output } from './state.ts';
import type { CalendarDefinition } from './window-definition.ts';
import { synchronous } from './json.ts';
import { aggregateOf, averageOf } from './window.ts';

export interface Limits {
  /** Operations of one batch, 90 of Cosmos' 100 (H5). */
  operationsMax: number;
  /** Bytes of one batch, 1.5 of Cosmos' 2 MB (H5). */
  bytesMax: number;
  /** Windows closed in one commit (H5). */
  closesMax: number;
  /** An emitted body larger than this is poison at emit (CONTRACT §3). */
  outputBytesMax: number;
  /** Outputs packed into one outbox item (H5). */
  outputsPerItem: number;
  /** Messages set aside at most, in a parked lane or parked one by one; then the key blocks. */
  parkedMax: number;
}

export const defaultLimits: Limits = {
  operationsMax: 90,
  bytesMax: 1_500_000,
  closesMax: 40,
  outputBytesMax: 240_000,
  outputsPerItem: 20,
  parkedMax: 1_000,
};

/** What the pure core may not make itself. */
export interface Tools {
  now: number;
  hash(text: string): string;
  iso(ms: number): string;
  bytes(text: string): number;
  /** The day, week or month of a calendar that holds `at`, `[start, end)` in epoch ms. */
  calendar(calendar: Required<CalendarDefinition>, at: number): { start: number; end: number };
}

/** Whose output it is: the same for every output of a commit. */
export interface Origin {
  convoy: string;
  key: string;
  epoch: number;
  limits: Limits;
  tools: Tools;
}

export function bytesOf(origin: Pick<Origin, 'tools'>, outputs: readonly Output[]): number {
  return outputs.reduce((sum, output) => sum + origin.tools.bytes(output.bodyText) + 400, 0);
}

/** Consumers and roll-ups take these for what a window said. */
const windowTypes = new Set(['window.closed', 'window.early', 'window.rolledUp']);

const isType = (type: unknown): type is string =>
  typeof type === 'string' && type.length > 0 && type.length <= 128 && type.isWellFormed();

export function outputOf(
  origin: Origin,
  entry: { type: string; body: unknown; position: number; n: number; admitted: Admitted },
): Output {
  const { type, body, position, n, admitted } = entry;
  if (!isType(type)) {
    throw new TypeError('emit: the type must be a text of 1-128 characters, well-formed');
  }
  if (windowTypes.has(type)) throw new TypeError(`emit('${type}'): the type is the windows' own`);
  synchronous(body, `emit('${type}')`);
  const bodyText = JSON.stringify(body ?? null) as string | undefined;
  if (bodyText === undefined) throw new TypeError(`emit('${type}'): the body is not a JSON value`);
  if (origin.tools.bytes(bodyText) > origin.limits.outputBytesMax) {
    throw new RangeError(`emit('${type}'): the body is larger than the broker accepts`);
  }
  return {
    position,
    n,
    type,
    bodyText,
    causationId: admitted.messageId,
    epoch: origin.epoch,
    ...(admitted.traceparent !== undefined && { traceparent: admitted.traceparent }),
  };
}

/** CONTRACT §3: the body of `window.closed` and, not final, of `window.early`. A window closed by
 *  time has no cause. */
export function windowOutput(
  origin: Origin,
  window: Omit<ClosedWindow, 'closedAt'>,
  place: { position: number; n: number; admitted?: Admitted | undefined; isEarly?: boolean },
): Output {
  const isFinal = place.isEarly !== true;
  const body = {
    convoy: origin.convoy,
    key: origin.key,
    window: window.window,
    start: origin.tools.iso(window.start),
    end: origin.tools.iso(window.end),
    ...aggregateOf(window),
    average: averageOf(window),
    revision: window.revision,
    final: isFinal,
    ...(window.result !== undefined && { result: window.result }),
  };
  return {
    position: place.position,
    n: place.n,
    type: isFinal ? 'window.closed' : 'window.early',
    bodyText: JSON.stringify(body),
    causationId: place.admitted?.messageId ?? '',
    epoch: origin.epoch,
  };
}

/** [W4] A session that was emitted and became part of another: nothing is left of it. */
export function takenBackOutput(
  origin: Origin,
  session: Omit<ClosedWindow, 'closedAt'> & { mergedInto: number },
  place: { position: number; n: number; admitted: Admitted },
): Output {
  const { iso } = origin.tools;
  const body = {
    convoy: origin.convoy,
    key: origin.key,
    window: session.window,
    start: iso(session.start),
    end: iso(session.end),
    ...{ count: 0, sum: 0, min: null, max: null, first: null, last: null, average: null },
    revision: session.revision,
    final: true,
    mergedInto: iso(session.mergedInto),
  };
  const { position, n, admitted } = place;
  const about = { causationId: admitted.messageId, epoch: origin.epoch };
  return { position, n, type: 'window.closed', bodyText: JSON.stringify(body), ...about };
}
