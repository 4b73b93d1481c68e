// [H8] An operator's action on one key: one batch, If-Match on both items, hold changed, gate
// active, epoch + 1 on both; then H2. Conditional on what the operator saw; recorded with who and
// why.
import type { ConvoyDefinition } from '../convoy/definition.ts';
import { assertHandoff, isFenced, reopen } from '../convoy/handoff.ts';
import { type Gate, type Hold, type Progress, noHold } from '../convoy/state.ts';
import { withoutGap } from '../convoy/step.ts';
import { watermarkOfEnd } from '../convoy/window.ts';
import { ConvoyError } from '../errors.ts';
import { convoyIdOf } from '../keys.ts';
import { ensureStarted } from './ensure-started.ts';
import { moveLate } from './lane-replay.ts';
import { gateItem, progressItem, readProgress } from './placed.ts';
import type { Engine } from './ports.ts';

export const operatorActions = [
  'pause',
  'resume',
  'retry',
  'skip',
  'park',
  'replay',
  'cancel',
] as const;
export type OperatorAction = (typeof operatorActions)[number];

export interface OperatorRequest {
  convoy: string;
  key: string;
  action: OperatorAction;
  reason: string;
  by?: string;
  /** What the operator saw; when it has changed since, nothing is done. */
  expectedCursor?: number;
}

/** Throws CVY_NOT_FOUND for an unknown key and CVY_CONFLICT when the key is not as the action needs
 *  it. */
export async function operate(engine: Engine, request: OperatorRequest): Promise<void> {
  const { store, clock, log } = engine;
  const { convoy, key, action, reason, by } = request;
  const convoyId = convoyIdOf(convoy, key);
  const gate = await store.readGate(convoyId);
  const progress = await readProgress(store, convoyId);
  if (!gate || !progress)
    throw new ConvoyError('CVY_NOT_FOUND', `no convoy '${convoy}' with key '${key}'`);
  const { cursor } = progress.item;
  if (request.expectedCursor !== undefined && request.expectedCursor !== cursor) {
    const expected = request.expectedCursor;
    throw new ConvoyError(
      'CVY_CONFLICT',
      `expected cursor ${expected}, the key stands at ${cursor}`,
    );
  }
  const at = clock.now();
  const definition = engine.definitions.get(convoy);
  const seen: Seen = { gate: gate.item, progress: progress.item, at, definition };
  if (isFenced(gate.item)) throw refusal(request, seen, 'not behind its fence');
  const changed = changeOf(request, seen);
  if (request.action === 'replay' && definition)
    changed.healing = await moveLate(
      engine,
      { convoy, key },
      { progress: seen.progress, definition },
    );
  const after = reopen(gate.item, { ...progress.item, ...changed }, { at });
  assertHandoff(after.gate, after.progress);
  const place = { convoy, key };
  const result = await store.batch(convoyId, [
    { kind: 'replace', item: gateItem(place, after.gate), ifMatch: gate.etag },
    { kind: 'replace', item: progressItem(place, after.progress), ifMatch: progress.etag },
  ]);
  if (!result.applied) throw new ConvoyError('CVY_CONFLICT', `${convoyId} was written meanwhile`);
  log.info('operator', { convoyId, action, reason, by: by ?? 'unknown', cursor });
  await ensureStarted(engine, place, { gate: after.gate, wake: false, duplicate: false }); // H2
}

interface Seen {
  gate: Gate;
  progress: Progress;
  at: number;
  definition: ConvoyDefinition | undefined;
}

function changeOf(request: OperatorRequest, seen: Seen): Partial<Progress> {
  const { hold, verdict } = seen.progress;
  switch (request.action) {
    case 'pause':
      if (hold.kind === 'paused') throw refusal(request, seen, 'not paused');
      return { hold: pausedHold(request, seen.at) };
    case 'resume':
      if (hold.kind !== 'paused') throw refusal(request, seen, 'paused');
      return { hold: noHold };
    case 'retry':
      assertStopped(request, seen);
      // A gap is waited for once more.
      return { hold: noHold, verdict: null, gapSince: seen.progress.gapSince && seen.at };
    case 'skip':
    case 'park':
      return decided(request, seen);
    case 'replay':
      return replayed(request, seen);
    case 'cancel':
      return {
        hold: hold.kind === 'paused' ? hold : noHold,
        verdict,
        ...completion(request, seen),
      };
  }
}

function pausedHold({ reason, by }: OperatorRequest, since: number): Hold {
  const who = by === undefined ? '' : ` (${by})`;
  return { kind: 'paused', code: 'CVY_PAUSED', reason: `${reason}${who}`, since };
}

/** The message that holds the key is skipped or set aside; a gap is gone on without. */
function decided(request: OperatorRequest, seen: Seen): Partial<Progress> {
  assertStopped(request, seen);
  const { hold } = seen.progress;
  if (hold.position === undefined) throw refusal(request, seen, 'held by a message');
  if (hold.code === 'CVY_GAP') {
    if (request.action === 'park') throw refusal(request, seen, 'held by a message, not by a gap');
    return { ...withoutGap(seen.progress), hold: noHold };
  }
  const as = request.action === 'park' ? 'park' : 'skip';
  const verdict = { position: hold.position, as, reason: request.reason } as const;
  return { hold: noHold, verdict };
}

/** What is parked settles in order; what comes meanwhile waits behind it [O3]. */
function replayed(request: OperatorRequest, seen: Seen): Partial<Progress> {
  const { parked, laneParked, hold } = seen.progress;
  if (parked.length === 0 && laneParked === null)
    throw refusal(request, seen, 'holding parked messages');
  const inLane = laneParked?.position;
  const isStopped = hold.kind === 'blocked' && hold.code === 'CVY_PARKED_FULL';
  return {
    healing: [...parked],
    laneParked: null,
    verdict: inLane === undefined ? seen.progress.verdict : null,
    hold: isStopped ? noHold : hold,
  };
}

/** As if the handler had called context.complete() at the cursor. */
function completion(request: OperatorRequest, seen: Seen): Partial<Progress> {
  const { progress, at, definition } = seen;
  if (progress.completed !== null) throw refusal(request, seen, 'not completed');
  const watermark = watermarkOfEnd(progress, definition?.windows ?? []);
  return { completed: { position: progress.cursor, at }, watermark };
}

function assertStopped(request: OperatorRequest, seen: Seen): void {
  const { kind } = seen.progress.hold;
  if (kind !== 'blocked' && kind !== 'retrying')
    throw refusal(request, seen, 'blocked or retrying');
}

function refusal(request: OperatorRequest, { gate, progress }: Seen, needs: string): ConvoyError {
  const is = `it is ${gate.phase}, hold ${progress.hold.kind}`;
  return new ConvoyError('CVY_CONFLICT', `${request.action} needs a key that is ${needs}; ${is}`);
}
