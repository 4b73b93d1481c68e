// [H13] The publisher's side: due heads, one after the other. It may run anywhere, late, twice at a
// time, and die between any two lines; the next tick repeats what is not finished.
//
// Crash points: after the closing write – the repeat closes again (attempt + 1) and scans anew;
// after the seal – the repeat finds the same content and publishes the same revision with the same
// message ids, or another content and seals the next revision; after some parts – the same; before
// the last write – the same. So a revision that a reader sees in part is either completed later
// with exactly this content, or followed by a higher one: readers take the highest whole revision.
import {
  type RollUpHead,
  assertRollUp,
  close,
  forget,
  hasNews,
  isForgotten,
  publish,
  seal,
} from '../convoy/roll-up.ts';
import { reasonOf } from '../errors.ts';
import { hexHash, rollUpMessageId } from '../keys.ts';
import type { RollUpItem } from '../store/items.ts';
import { StoreUnavailable } from '../store/store.ts';
import type { Engine } from './ports.ts';
import { type Content, type Scan, partsOf, readContent, rollUpBody } from './roll-up-parts.ts';
import { rollUpItem, rollUpOf } from './roll-up.ts';

export interface RollUpPart {
  messageId: string;
  window: string;
  revision: number;
  part: number;
  parts: number;
  bodyText: string;
}

export interface RollUpPublisher {
  /** Resolves when the broker has accepted the part; rejects when that is not known. */
  publishPart(convoy: string, part: RollUpPart): Promise<void>;
}

export interface RollUpReport {
  published: number;
  unchanged: number;
  failed: number;
}

type RollUpEngine = Pick<Engine, 'store' | 'clock' | 'log' | 'definitions' | 'limits'> & {
  publisher: RollUpPublisher;
};

/** An attempt that has written nothing for so long is taken for dead. */
const repeatAfterMs = 60_000;
const renewAfterMs = 20_000;
const headsMax = 100;
const conflictsMax = 20;

/** Another publisher has closed the head since: it is that one's now. */
class Overtaken extends Error {}

/** Publishes due heads until `deadlineAt`; one that is begun is ended. Never rejects for a head. */
export async function publishRollUps(
  engine: RollUpEngine,
  deadlineAt: number,
): Promise<RollUpReport> {
  const report: RollUpReport = { published: 0, unchanged: 0, failed: 0 };
  const { store, clock } = engine;
  let after = -1;
  while (clock.now() < deadlineAt) {
    const due = await store.rollUpsDue({ after, upTo: clock.now() }, headsMax);
    for (const { windowId } of due) {
      if (clock.now() >= deadlineAt) return report;
      await publishInto(report, engine, windowId);
    }
    after = due.at(-1)?.dueAt ?? 0;
    if (due.length < headsMax) break;
  }
  return report;
}

async function publishInto(
  report: RollUpReport,
  engine: RollUpEngine,
  windowId: string,
): Promise<void> {
  try {
    const outcome = await publishRollUp(engine, windowId);
    if (outcome !== 'notDue') report[outcome] += 1;
  } catch (error) {
    if (error instanceof Overtaken) return;
    report.failed += 1; // a later tick repeats
    engine.log.warn('roll-up failed', { windowId, reason: reasonOf(error) });
  }
}

async function publishRollUp(
  engine: RollUpEngine,
  windowId: string,
): Promise<'published' | 'unchanged' | 'notDue'> {
  const { store, clock, log } = engine;
  const { found } = await store.readRollUp(windowId, '');
  const now = clock.now();
  if (!found || found.item.dueAt === null || found.item.dueAt > now) return 'notDue';
  if (isForgotten(found.item, now)) {
    await store.replaceWindowsItem(rollUpItem(forget(found.item)), found.etag);
    log.warn('CVY_ROLL_UP_FORGOTTEN', { windowId });
    return 'unchanged';
  }
  const attempt = await Attempt.begin(engine, { head: found.item, etag: found.etag });
  const scan: Scan = {
    store,
    windowId,
    session: attempt.session,
    bytesMax: engine.limits.outputBytesMax,
    tick: () => attempt.renew(),
  };
  const content = await readContent(scan);
  const { totals } = content;
  if (!totals) throw new StoreUnavailable(`no contribution to ${windowId} can be read`);
  await attempt.write((head) => seal(head, content.digest));
  const isNew = hasNews(attempt.head);
  if (isNew) await publishParts(engine, { attempt, scan, content });
  const definition = engine.definitions.get(attempt.head.convoy);
  const delayMs = (definition && rollUpOf(definition, attempt.head.window)?.delayMs) ?? 0;
  await attempt.write((head) =>
    publish(head, { totals, parts: content.parts.length }, { now: clock.now(), delayMs }),
  );
  const { revision } = attempt.head;
  log.info('rolled up', { windowId, revision, keys: totals.keys, parts: content.parts.length });
  return isNew ? 'published' : 'unchanged';
}

/** One awaited part at a time, each only if it is what the digest was made of. */
async function publishParts(
  engine: RollUpEngine,
  work: { attempt: Attempt; scan: Scan; content: Content },
): Promise<void> {
  const { attempt, scan, content } = work;
  const head = rollUpItem(attempt.head);
  let index = 0;
  for await (const text of content.kept ?? partsOf(scan)) {
    if (hexHash(text) !== content.parts[index]) throw changed(head);
    const { convoy, window, revision } = head;
    await engine.publisher.publishPart(convoy, {
      messageId: rollUpMessageId(head, { revision, part: index }),
      bodyText: rollUpBody(head, content, { index, text }),
      parts: content.parts.length,
      part: index,
      window,
      revision,
    });
    index += 1;
    await attempt.renew();
  }
  if (index !== content.parts.length) throw changed(head);
}

/** Not an error of anybody: the next tick publishes the next revision. */
function changed({ windowId }: RollUpItem): StoreUnavailable {
  return new StoreUnavailable(`${windowId} was amended while it was published`);
}

/** [R5] One publisher's hold on a head. Contributors may mark it dirty meanwhile: then it is read
 *  again and written with their mark; another attempt's number ends this one. */
class Attempt {
  readonly #engine: RollUpEngine;
  #head: RollUpHead;
  #etag: string;
  #writtenAt: number;
  /** Of the closing write. */
  readonly session: string;

  private constructor(
    engine: RollUpEngine,
    written: { head: RollUpHead; etag: string; session: string },
  ) {
    this.#engine = engine;
    this.#head = written.head;
    this.#etag = written.etag;
    this.#writtenAt = engine.clock.now();
    this.session = written.session;
  }

  /** Head → closing, If-Match: of two publishers one begins. */
  static async begin(
    engine: RollUpEngine,
    read: { head: RollUpHead; etag: string },
  ): Promise<Attempt> {
    const head = close(read.head, engine.clock.now(), repeatAfterMs);
    assertRollUp(head);
    const written = await engine.store.replaceWindowsItem(rollUpItem(head), read.etag);
    if (!written.applied) throw new Overtaken();
    return new Attempt(engine, { head, etag: written.etag, session: written.session });
  }

  get head(): RollUpHead {
    return this.#head;
  }

  async renew(): Promise<void> {
    if (this.#engine.clock.now() < this.#writtenAt + renewAfterMs) return;
    await this.write((head) => head);
  }

  async write(change: (head: RollUpHead) => RollUpHead): Promise<void> {
    const { store, clock } = this.#engine;
    for (let conflicts = 0; conflicts < conflictsMax; conflicts += 1) {
      const now = clock.now();
      const next = change({ ...this.#head, dueAt: now + repeatAfterMs });
      assertRollUp(next);
      const item = rollUpItem(next);
      const written = await store.replaceWindowsItem(item, this.#etag);
      if (written.applied) {
        this.#head = next;
        this.#etag = written.etag;
        this.#writtenAt = now;
        return;
      }
      const { found } = await store.readRollUp(item.windowId, this.session);
      if (found?.item.attempt !== this.#head.attempt) throw new Overtaken();
      const { dirty, missed } = found.item;
      this.#head = { ...this.#head, dirty, missed };
      this.#etag = found.etag;
    }
    throw new StoreUnavailable(`head of ${rollUpItem(this.#head).windowId}: too many conflicts`);
  }
}
