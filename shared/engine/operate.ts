// [H8] An operator's action on one key: one batch, If-Match on both items, hold changed, gate
// active, epoch + 1 on both; then H2. Conditional on what the operator saw; recorded with who and
// why.
import { assertHandoff, reopen } from '../convoy/handoff.ts';
import { type Gate, type Hold, type Progress, noHold } from '../convoy/state.ts';
import { ConvoyError } from '../errors.ts';
import { convoyIdOf } from '../keys.ts';
import { ensureStarted } from './ensure-started.ts';
import { gateItem, progressItem } from './placed.ts';
import type { Engine } from './ports.ts';

export const operatorActions = ['pause', 'resume', 'retry', 'skip'] as const;
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
  const progress = await store.readProgress(convoyId);
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
  const changed = changeOf(request, { gate: gate.item, progress: progress.item, at });
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

function changeOf(
  request: OperatorRequest,
  { gate, progress, at }: { gate: Gate; progress: Progress; at: number },
): Pick<Progress, 'hold' | 'skip'> {
  const { hold } = progress;
  const refuse = (needs: string): ConvoyError =>
    new ConvoyError(
      'CVY_CONFLICT',
      `${request.action} needs a key that is ${needs}; it is ${gate.phase}, hold ${hold.kind}`,
    );
  switch (request.action) {
    case 'pause': {
      if (hold.kind === 'paused') throw refuse('not paused');
      const by = request.by === undefined ? '' : ` (${request.by})`;
      const paused: Hold = {
        kind: 'paused',
        code: 'CVY_PAUSED',
        reason: `${request.reason}${by}`,
        since: at,
      };
      return { hold: paused, skip: progress.skip };
    }
    case 'resume':
      if (hold.kind !== 'paused') throw refuse('paused');
      return { hold: noHold, skip: progress.skip };
    case 'retry':
      if (hold.kind !== 'blocked' && hold.kind !== 'retrying') throw refuse('blocked or retrying');
      return { hold: noHold, skip: null };
    case 'skip':
      if (hold.kind !== 'blocked' && hold.kind !== 'retrying') throw refuse('blocked or retrying');
      if (hold.position === undefined) throw refuse('held by a message');
      return { hold: noHold, skip: hold.position };
  }
}
