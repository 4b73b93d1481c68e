// What intake and the dead-letter timer do with one delivery: a message is admitted, one without a
// usable key goes to quarantine, one that the broker gave up on becomes a `dead` item of its key.
import type { Clock } from '../clock.ts';
import {
  type MessageToAdmit,
  type MessageToQuarantine,
  type Received,
  identityOf,
  parseEnvelope,
} from '../envelope.ts';
import { ConvoyError, errorRegistry } from '../errors.ts';
import { convoyIdOf, hexHash } from '../keys.ts';
import { StoreRefused } from '../store/store.ts';
import { type AdmitRequest, type AdmitResult, admitMessage } from './admit.ts';
import { type DeadItem, type QuarantineItem, itemIds } from '../store/items.ts';
import { assertLane } from './lane.ts';
import { passFence } from './lane-fence.ts';
import { persist } from './patience.ts';
import { type Engine, defaultSettings } from './ports.ts';

/** Recording needs no hub. */
type Recorder = Pick<Engine, 'store' | 'clock' | 'log'>;

/** [H10] How long an invocation keeps trying: function time-out − 30 s. */
export function intakeDeadline(now: number): number {
  return now + (defaultSettings.functionTimeoutSeconds - 30) * 1000;
}

export interface Delivery {
  convoy: string;
  /** The one it came by. */
  queue: string;
  received: Received;
  clock: Clock;
  /** The engine of this process; asked anew for every try. */
  open(): Promise<Engine>;
  onFailure?(error: unknown, failures: number): void;
}

/** [H10] Records one delivery, whatever it takes; resolves only when it may be completed. Rejects
 *  with the last failure shortly before the invocation has to end. */
export async function takeIn(delivery: Delivery): Promise<void> {
  const { convoy, queue, received, clock, open, onFailure } = delivery;
  const parsed = parseEnvelope(received);
  const deadlineAt = intakeDeadline(clock.now());
  await persist(clock, { deadlineAt, ...(onFailure && { onFailure }) }, async () => {
    const engine = await open();
    if (parsed.kind === 'quarantine') return quarantine(engine, { convoy, parsed, received });
    for (const { code, reason } of parsed.warnings) engine.log.warn(code, { convoy, reason });
    await receiveMessage(engine, { convoy, queue, parsed, received });
  });
}

/** [H10] Records one dead letter of the broker. Rejects when it could not: it stays where it is. */
export async function takeDead(
  engine: Recorder,
  entry: { convoy: string; received: Received; reason: string },
): Promise<void> {
  const { convoy, received, reason } = entry;
  const parsed = parseEnvelope(received);
  if (parsed.kind === 'quarantine') return quarantine(engine, { convoy, parsed, received });
  if (parsed.fence !== undefined) return; // who waits for it sends another
  await recordDead(engine, { convoy, parsed, reason });
}

/** One message as it came by a queue of the convoy: admitted, or a fence that has come through, or
 *  quarantined. */
export async function receiveMessage(
  engine: Engine,
  entry: { convoy: string; queue: string; parsed: MessageToAdmit; received: Received },
): Promise<void> {
  const { convoy, queue, parsed, received } = entry;
  const { key, message, sequence, fence } = parsed;
  if (fence !== undefined) return passFence(engine, { convoy, key }, fence);
  try {
    await assertLane(engine, { convoy, key }, { laneKey: message.laneKey, queue });
  } catch (error) {
    if (!(error instanceof ConvoyError && error.code === 'CVY_LANE_UNKNOWN')) throw error;
    return quarantine(engine, { convoy, parsed: withoutLane(parsed, received, error), received });
  }
  await admitFitting(engine, { convoy, key, message, sequence });
}

function withoutLane(
  { key, message, sequence }: MessageToAdmit,
  received: Received,
  { code, received: reason }: ConvoyError,
): MessageToQuarantine {
  const { messageId } = message;
  const place = { messageId, sessionId: key, sequence: sequence ?? 0 };
  return { kind: 'quarantine', code, reason, identity: identityOf(received), ...place };
}

/** Admits; a body that does not fit one item is left out, and its place is poison CVY_TOO_LARGE. */
export async function admitFitting(engine: Engine, request: AdmitRequest): Promise<AdmitResult> {
  try {
    return await admitMessage(engine, request);
  } catch (error) {
    if (!(error instanceof StoreRefused && error.status === 413)) throw error;
    const { bodyText: _, bodyBase64: __, ...message } = request.message;
    return admitMessage(engine, { ...request, message: { ...message, fault: bodyTooLarge } });
  }
}

const bodyTooLarge = {
  code: 'CVY_TOO_LARGE',
  reason: 'the body does not fit one item of the store',
};

/** Recorded in the partition `<convoy>:`, which no key can produce; repeats find it there (409). */
export async function quarantine(
  engine: Recorder,
  entry: { convoy: string; parsed: MessageToQuarantine; received: Received },
): Promise<void> {
  const { convoy, parsed, received } = entry;
  const { code, reason, messageId, sessionId, sequence } = parsed;
  const { applicationProperties, ...rest } = received.metadata;
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
    applicationProperties: JSON.stringify(applicationProperties ?? {}),
    metadata: JSON.stringify(Object.fromEntries(metadataKept.map((name) => [name, rest[name]]))),
    sequence,
    recordedAt: engine.clock.now(),
  };
  try {
    await engine.store.batch(item.convoyId, [{ kind: 'create', item }]);
  } catch (error) {
    if (!(error instanceof StoreRefused && error.status === 413)) throw error;
    const lost = { bodyBase64: '', isBodyLost: true as const };
    const withoutBody = { ...item, ...lost, reason: `${reason}; the body did not fit` };
    await engine.store.batch(item.convoyId, [{ kind: 'create', item: withoutBody }]);
  }
  engine.log.warn('quarantined', { convoy, code, reason });
}

/** What parseEnvelope reads beside key and application properties. */
const metadataKept = ['messageId', 'subject', 'label', 'enqueuedTime', 'sequenceNumber'];

/** [H10] `dead:<sequence>` under the key, unless the message was admitted after all (`seen`). */
export async function recordDead(
  engine: Recorder,
  entry: { convoy: string; parsed: MessageToAdmit; reason: string },
): Promise<'recorded' | 'admitted'> {
  const { convoy, parsed, reason } = entry;
  const convoyId = convoyIdOf(convoy, parsed.key);
  const { messageId } = parsed.message;
  if (await engine.store.readSeen(convoyId, messageId)) return 'admitted';
  const sequence = parsed.sequence ?? 0;
  const item: DeadItem = {
    ...parsed.message,
    id: itemIds.dead(sequence),
    convoyId,
    kind: 'dead',
    sequence,
    reason,
    recordedAt: engine.clock.now(),
  };
  if (!(await createDead(engine, item))) {
    // Recorded before; or, after the queue was re-created, another message with the same number.
    const known = await engine.store.readDead(convoyId, item.id);
    if (known?.messageId !== messageId) {
      await createDead(engine, { ...item, id: `${item.id}:${hexHash(messageId).slice(0, 12)}` });
    }
  }
  engine.log.warn('dead-lettered', { convoyId, messageId, reason });
  return 'recorded';
}

/** False when it is there already. A body that does not fit is left out, as admitFitting does. */
async function createDead(engine: Recorder, item: DeadItem): Promise<boolean> {
  const create = async (one: DeadItem): Promise<boolean> =>
    (await engine.store.batch(one.convoyId, [{ kind: 'create', item: one }])).applied;
  try {
    return await create(item);
  } catch (error) {
    if (!(error instanceof StoreRefused && error.status === 413)) throw error;
    const { bodyText: _, bodyBase64: __, ...rest } = item;
    return create({ ...rest, fault: bodyTooLarge });
  }
}
