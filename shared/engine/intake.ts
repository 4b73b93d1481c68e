// What intake and the dead-letter trigger record that is not an admission: a message without a
// usable key goes to quarantine, a message the broker gave up on under its key as `dead`.
import type { MessageToAdmit, MessageToQuarantine, Received } from '../envelope.ts';
import { errorRegistry } from '../errors.ts';
import { convoyIdOf, hexHash } from '../keys.ts';
import { StoreRefused } from '../store/store.ts';
import { type AdmitRequest, type AdmitResult, admitMessage } from './admit.ts';
import { type DeadItem, type QuarantineItem, itemIds } from '../store/items.ts';
import { type Engine, defaultSettings } from './ports.ts';

/** Recording needs no hub. */
type Recorder = Pick<Engine, 'store' | 'clock' | 'log'>;

/** [H10] How long an invocation keeps trying: function time-out − 30 s. */
export function intakeDeadline(now: number): number {
  return now + (defaultSettings.functionTimeoutSeconds - 30) * 1000;
}

/** Admits; a body that does not fit one item is left out, and its place is poison CVY_TOO_LARGE. */
export async function admitFitting(engine: Engine, request: AdmitRequest): Promise<AdmitResult> {
  try {
    return await admitMessage(engine, request);
  } catch (error) {
    if (!(error instanceof StoreRefused && error.status === 413)) throw error;
    const { bodyText: _, bodyBase64: __, ...message } = request.message;
    const reason = 'the body does not fit one item of the store';
    const fault = { code: 'CVY_TOO_LARGE', reason };
    return admitMessage(engine, { ...request, message: { ...message, fault } });
  }
}

/** Recorded in the partition `<convoy>:`, which no key can produce; repeats find it there (409). */
export async function quarantine(
  engine: Recorder,
  entry: { convoy: string; parsed: MessageToQuarantine; received: Received },
): Promise<void> {
  const { convoy, parsed, received } = entry;
  const { code, reason, messageId, sessionId, sequence } = parsed;
  const item: QuarantineItem = {
    id: itemIds.quarantine(parsed.identity),
    convoyId: convoyIdOf(convoy, ''),
    kind: 'quarantine',
    convoy,
    code,
    reason,
    remedy: errorRegistry[code].remedy,
    messageId,
    sessionId,
    bodyBase64: received.body.toString('base64'),
    applicationProperties: JSON.stringify(received.metadata['applicationProperties'] ?? {}),
    sequence,
    recordedAt: engine.clock.now(),
  };
  try {
    await engine.store.batch(item.convoyId, [{ kind: 'create', item }]);
  } catch (error) {
    if (!(error instanceof StoreRefused && error.status === 413)) throw error;
    const withoutBody = { ...item, bodyBase64: '', reason: `${reason}; the body did not fit` };
    await engine.store.batch(item.convoyId, [{ kind: 'create', item: withoutBody }]);
  }
  engine.log.warn('quarantined', { convoy, code, reason });
}

/** [H10] `dead:<sequence>` under the key, unless the message was admitted after all (`seen`). */
export async function recordDead(
  engine: Recorder,
  entry: { convoy: string; parsed: MessageToAdmit; reason: string },
): Promise<'recorded' | 'admitted'> {
  const { convoy, parsed, reason } = entry;
  const convoyId = convoyIdOf(convoy, parsed.key);
  const { messageId, type, bodyText, bodyBase64 } = parsed.message;
  if (await engine.store.readSeen(convoyId, messageId)) return 'admitted';
  const sequence = parsed.sequence ?? 0;
  const item: DeadItem = {
    id: itemIds.dead(sequence),
    convoyId,
    kind: 'dead',
    messageId,
    type,
    ...(bodyText !== undefined && { bodyText }),
    ...(bodyBase64 !== undefined && { bodyBase64 }),
    sequence,
    reason,
    recordedAt: engine.clock.now(),
  };
  const result = await engine.store.batch(convoyId, [{ kind: 'create', item }]);
  if (!result.applied) {
    // Recorded before; or, after the queue was re-created, another message with the same number.
    const known = await engine.store.listDead(convoyId, 500);
    if (!known.some((dead) => dead.messageId === messageId)) {
      const id = `${item.id}:${hexHash(messageId).slice(0, 12)}`;
      await engine.store.batch(convoyId, [{ kind: 'create', item: { ...item, id } }]);
    }
  }
  engine.log.warn('dead-lettered', { convoyId, messageId, reason });
  return 'recorded';
}
