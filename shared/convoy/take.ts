// PURE. Which message is next: what is being healed, then what was taken and is free to go, then
// the run from the broker.
//
// Invariants:
//   O1  with the sender's order nothing settles before every senderPosition below it has settled,
//       was gone on without (a gap), or came too late (stale).
//   O2  while a lane is parked nothing but replays settles; what comes is taken, in its order.
//   O3  what is healed settles before anything that waits behind it.
//   L4  in a retired lane nothing behind its tail has an effect, whatever the policies say.
import type { ConvoyDefinition } from './definition.ts';
import type { Candidate, Draft, SettleInput } from './draft.ts';
import type { Admitted, Hold, Progress } from './state.ts';

export type Next =
  | ({ kind: 'settle' } & Candidate)
  /** Settles without the handler: an older version, or one without a senderPosition. */
  | ({ kind: 'refuse'; outcome: 'invalid' | 'skipped'; code: string; reason: string } & Candidate)
  | { kind: 'take'; admitted: Admitted }
  | { kind: 'full'; admitted: Admitted }
  /** The body of this position is not loaded: the next pass loads it. */
  | { kind: 'load' }
  | { kind: 'none' };

/** The entry of `taken` that may settle now. */
function freeToGo(definition: ConvoyDefinition, progress: Progress): number | undefined {
  const [first] = progress.taken;
  if (first === undefined || progress.laneParked !== null) return undefined;
  if (definition.order === 'broker') return first.position;
  return (first.senderPosition ?? 0) <= progress.nextSender ? first.position : undefined;
}

/** Work that needs no new message: something to heal, or something taken that is free to go. */
export function hasHeldWork(definition: ConvoyDefinition, progress: Progress): boolean {
  return progress.healing.length > 0 || freeToGo(definition, progress) !== undefined;
}

/** Positions outside the run that settling may need, in the order of need, at most `limit`. */
export function positionsToLoad(
  definition: ConvoyDefinition,
  progress: Progress,
  { run, limit }: { run: readonly Admitted[]; limit: number },
): number[] {
  if (progress.healing.length > 0) return progress.healing.slice(0, limit);
  if (progress.laneParked !== null || progress.taken.length === 0) return [];
  if (definition.order === 'broker')
    return progress.taken.slice(0, limit).map(({ position }) => position);
  // What the run and the entries before it lead up to, without a gap.
  const coming = new Set(run.map(({ senderPosition }) => senderPosition));
  const positions: number[] = [];
  let next = progress.nextSender;
  for (const { position, senderPosition = 0 } of progress.taken) {
    while (next < senderPosition && coming.has(next)) next += 1;
    if (senderPosition > next || positions.length === limit) break;
    positions.push(position);
    next = Math.max(next, senderPosition + 1);
  }
  return positions;
}

export function nextOf(input: SettleInput, draft: Draft): Next {
  const { definition, messages } = input;
  const { progress } = draft;
  const loaded = (position: number): Admitted | undefined =>
    input.held.get(position) ?? messages[position - input.progress.cursor - 1];
  const [toHeal] = progress.healing;
  const free = toHeal ?? freeToGo(definition, progress);
  if (free !== undefined) {
    const admitted = loaded(free);
    if (admitted === undefined) return { kind: 'load' };
    return { kind: 'settle', admitted, source: toHeal === undefined ? 'taken' : 'parked' };
  }
  const admitted = messages[progress.cursor - input.progress.cursor];
  if (admitted === undefined) return { kind: 'none' };
  // L4: what came too late for its lane waits for nothing: it is parked.
  if (isTooLate(progress, admitted.position)) return { kind: 'settle', admitted, source: 'run' };
  if (definition.order === 'sender') return nextInSendersOrder(input, progress, admitted);
  if (progress.laneParked === null) return { kind: 'settle', admitted, source: 'run' };
  const isFull = progress.taken.length >= input.limits.parkedMax;
  return { kind: isFull ? 'full' : 'take', admitted };
}

/** [L4] Admitted after a newer generation of lanes had taken over. */
export function isTooLate({ retired }: Progress, position: number): boolean {
  return retired !== null && position > retired.tail;
}

function nextInSendersOrder(input: SettleInput, progress: Progress, admitted: Admitted): Next {
  const { senderPosition } = admitted;
  const { nextSender, taken, laneParked } = progress;
  const refuse = (outcome: 'invalid' | 'skipped', code: string, reason: string): Next => ({
    kind: 'refuse',
    admitted,
    source: 'run',
    outcome,
    code,
    reason,
  });
  if (senderPosition === undefined) {
    return refuse('invalid', 'CVY_SENDER_POSITION', 'the message has no senderPosition');
  }
  if (senderPosition < nextSender) {
    const reason = `senderPosition ${senderPosition} came after ${nextSender - 1} had settled`;
    return refuse('skipped', 'CVY_STALE', reason);
  }
  if (taken.some((other) => other.senderPosition === senderPosition)) {
    const reason = `senderPosition ${senderPosition} is waiting already, under another message id`;
    return refuse('skipped', 'CVY_STALE', reason);
  }
  if (senderPosition === nextSender && laneParked === null) {
    return { kind: 'settle', admitted, source: 'run' };
  }
  const max = laneParked === null ? input.definition.gap.messagesMax : input.limits.parkedMax;
  return { kind: taken.length >= max ? 'full' : 'take', admitted };
}

/** The gap before what is taken, if there is one: the positions that are missing. */
export function gapOf(
  definition: ConvoyDefinition,
  progress: Progress,
): { from: number; to: number } | undefined {
  const [first] = progress.taken;
  if (definition.order !== 'sender' || first === undefined || progress.laneParked !== null)
    return undefined;
  const { nextSender } = progress;
  const { senderPosition = nextSender } = first;
  return senderPosition > nextSender ? { from: nextSender, to: senderPosition - 1 } : undefined;
}

/** When the gap before what is taken is judged; null = there is none, or it is not waited for
 *  yet. */
export function gapDueAt(definition: ConvoyDefinition, progress: Progress): number | null {
  if (progress.gapSince === null || gapOf(definition, progress) === undefined) return null;
  return progress.gapSince + definition.gap.waitSeconds * 1000;
}

export function gapHold(gap: { from: number; to: number }, progress: Progress, at: number): Hold {
  const missing = gap.from === gap.to ? `${gap.from}` : `${gap.from} to ${gap.to}`;
  return {
    kind: 'blocked',
    code: 'CVY_GAP',
    reason: `senderPosition ${missing} did not come; waiting for it: ${progress.taken.length}`,
    ...(progress.taken[0] && { position: progress.taken[0].position }),
    since: at,
  };
}
