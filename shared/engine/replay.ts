// Replay by an operator of what never became a message of its key: what the broker gave up on
// (`dead`), and what came without a usable key (quarantine). Both are admitted directly by H1,
// never through the queue [H10].
//
// Crash points: before the admit – nothing happened; after it, before the mark – the repeat finds
// `seen`, takes no new position and marks; after the mark – the repeat passes it over. Two
// operators at a time admit in the same order: each admits an item only after the one before it.
import { sleep } from '../clock.ts';
import { hostParsed, parseEnvelope } from '../envelope.ts';
import { ConvoyError } from '../errors.ts';
import { convoyIdOf, keyFault } from '../keys.ts';
import { type DeadItem, type QuarantineItem, itemIds } from '../store/items.ts';
import type { AdmitResult } from './admit.ts';
import { admitFitting } from './intake.ts';
import { messageOf } from './placed.ts';
import type { Engine } from './ports.ts';

export interface ReplayRequest {
  convoy: string;
  key: string;
  reason: string;
  by?: string;
  /** What the operator saw; when it has changed since, nothing is done. */
  expectedCursor?: number;
  perSecond: number;
}

export interface ReplayReport {
  /** Admitted by this call. */
  replayed: number;
  /** Found admitted already: by an earlier replay that died, or sent again meanwhile. */
  duplicates: number;
  /** Some are left: call again. */
  hasMore: boolean;
}

const pageSize = 100;

/** Admits the key's dead-lettered messages in the order of the broker's numbers, until `untilAt`.
 *  Throws CVY_NOT_FOUND, CVY_CONVOY_UNKNOWN and CVY_CONFLICT. */
export async function replayDead(
  engine: Engine,
  request: ReplayRequest,
  untilAt: number,
): Promise<ReplayReport> {
  const { store, clock, log } = engine;
  const { convoy, key, reason, by } = request;
  const convoyId = convoyIdOf(convoy, key);
  await assertReplayable(engine, request);
  const report: ReplayReport = { replayed: 0, duplicates: 0, hasMore: false };
  let continuation: string | undefined;
  do {
    const page = await store.listDead(convoyId, {
      limit: pageSize,
      ...(continuation !== undefined && { continuation }),
    });
    for (const item of page.items) {
      if (item.replayedAt !== undefined) continue;
      if (clock.now() >= untilAt) return { ...report, hasMore: true };
      const admitted = await admitDead(engine, request, item);
      await mark(engine, { request, item, admitted });
      if (admitted.kind === 'admitted') report.replayed += 1;
      else report.duplicates += 1;
      await sleep(clock, 1000 / request.perSecond);
    }
    continuation = page.continuation;
  } while (continuation !== undefined);
  const about = { convoyId, action: 'replay', source: 'dead', reason, by: by ?? 'unknown' };
  log.info('operator', { ...about, ...report });
  return report;
}

async function assertReplayable(engine: Engine, request: ReplayRequest): Promise<void> {
  const { convoy, key, expectedCursor } = request;
  assertKnown(engine, convoy);
  const convoyId = convoyIdOf(convoy, key);
  const progress = await engine.store.readProgress(convoyId);
  const { items } = await engine.store.listDead(convoyId, { limit: 1 });
  if (!progress && items.length === 0) {
    throw new ConvoyError('CVY_NOT_FOUND', `no convoy '${convoy}' with key '${key}'`);
  }
  const cursor = progress?.item.cursor ?? 0;
  if (expectedCursor !== undefined && expectedCursor !== cursor) {
    const received = `expected cursor ${expectedCursor}, the key stands at ${cursor}`;
    throw new ConvoyError('CVY_CONFLICT', received);
  }
}

function assertKnown(engine: Engine, convoy: string): void {
  if (engine.definitions.has(convoy)) return;
  throw new ConvoyError('CVY_CONVOY_UNKNOWN', `no convoy '${convoy}' is registered`);
}

function admitDead(engine: Engine, place: ReplayRequest, item: DeadItem): Promise<AdmitResult> {
  const { convoy, key } = place;
  return admitFitting(engine, { convoy, key, message: messageOf(item), sequence: item.sequence });
}

/** From here on the item is history and expires like a settled message [H12]. */
async function mark(
  engine: Engine,
  done: {
    request: Pick<ReplayRequest, 'convoy' | 'key' | 'reason' | 'by'>;
    item: DeadItem | QuarantineItem;
    admitted: AdmitResult;
  },
): Promise<void> {
  const { request, item, admitted } = done;
  const fields = {
    replayedAt: engine.clock.now(),
    position: admitted.position,
    replayedBy: request.by ?? 'unknown',
    replayReason: request.reason,
    ...(item.kind === 'quarantine' && { replayedKey: request.key }),
    ttl: engine.definitions.get(request.convoy)?.retentionSeconds,
  };
  await engine.store.batch(item.convoyId, [{ kind: 'set', id: item.id, fields }]);
}

export interface QuarantineReplay {
  convoy: string;
  /** Of the item, without the kind in front. */
  id: string;
  /** The key that the message came without. */
  key: string;
  reason: string;
  by?: string;
}

export interface QuarantineReplayed {
  messageId: string;
  position: number;
  /** It had been admitted under this key before. */
  isDuplicate: boolean;
}

/** Admits one quarantined message under a key. Throws CVY_NOT_FOUND, CVY_KEY_INVALID,
 *  CVY_CONVOY_UNKNOWN, and CVY_CONFLICT when its body was not kept or another key has it. */
export async function replayQuarantined(
  engine: Engine,
  request: QuarantineReplay,
): Promise<QuarantineReplayed> {
  const { convoy, id, key, reason, by } = request;
  assertKnown(engine, convoy);
  const fault = keyFault(key);
  if (fault !== undefined) throw new ConvoyError('CVY_KEY_INVALID', fault);
  const item = await engine.store.readQuarantine(convoy, itemIds.quarantined(id));
  if (!item)
    throw new ConvoyError('CVY_NOT_FOUND', `no quarantined message '${id}' of '${convoy}'`);
  if (item.replayedKey !== undefined && item.replayedKey !== key) {
    const received = `the message was replayed under the key '${item.replayedKey}' already`;
    throw new ConvoyError('CVY_CONFLICT', received);
  }
  if (item.isBodyLost) {
    throw new ConvoyError('CVY_CONFLICT', 'the body of the message did not fit and was not kept');
  }
  const parsed = parseEnvelope({
    body: Buffer.from(item.bodyBase64, 'base64'),
    metadata: {
      ...recordIn(item.metadata),
      sessionId: hostParsed(key),
      applicationProperties: { ...recordIn(item.applicationProperties), convoyKey: key },
    },
  });
  if (parsed.kind === 'quarantine') throw new ConvoyError(parsed.code, parsed.reason);
  const { message, sequence } = parsed;
  const admitted = await admitFitting(engine, { convoy, key, message, sequence });
  await mark(engine, { request, item, admitted });
  const { position } = admitted;
  const fields = { convoy, key, id, position, reason, by: by ?? 'unknown' };
  engine.log.info('operator', { action: 'replay', source: 'quarantine', ...fields });
  return { messageId: message.messageId, position, isDuplicate: admitted.kind === 'duplicate' };
}

function recordIn(text: string): Record<string, unknown> {
  const value: unknown = JSON.parse(text);
  return typeof value === 'object' && value !== null ? { ...value } : {};
}
