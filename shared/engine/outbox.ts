// [H11] Publishing: after each commit, all of the key's outbox, lowest first, one awaited batch at a
// time; entries are removed only after the broker's acknowledgement. Any epoch, and any zombie attempt,
// publishes what it finds: a repeat carries the same message id.
import type { Hold } from '../convoy/state.ts';
import { noHold } from '../convoy/state.ts';
import type { OutboxItem, ProgressItem } from '../store/items.ts';
import type { Versioned } from '../store/store.ts';
import { type Drain, holdKey } from './drain-context.ts';

const unpublishedMax = 200;

/** Publishes what earlier drains left. Returns the progress to go on with. */
export async function publishOutbox(drain: Drain): Promise<Versioned<ProgressItem>> {
  const left = await drain.engine.store.readOutbox(drain.convoyId);
  await publishCommitted(drain, left);
  const { item, etag } = drain.progress;
  // `publishing` ends here; the next commit or close writes it down.
  const hold = item.hold.kind === 'publishing' ? noHold : item.hold;
  return { item: { ...item, hold }, etag };
}

/** Publishes the items of one commit and removes them. Rejects when the broker does not accept. */
export async function publishCommitted(drain: Drain, items: OutboxItem[]): Promise<void> {
  if (items.length === 0) return;
  const { engine, request, convoyId } = drain;
  const outputs = items.flatMap((item) => item.outputs);
  try {
    await engine.publisher.publish(request.convoy, request.key, outputs);
  } catch (error) {
    if (outputs.length > unpublishedMax)
      await holdKey(drain, publishingHold(drain, outputs.length));
    throw error;
  }
  await removePublished(drain, items);
  engine.log.info('published', { convoyId, outputs: outputs.length });
}

function publishingHold(drain: Drain, count: number): Hold {
  return {
    kind: 'publishing',
    code: 'CVY_PUBLISH',
    reason: `${count} outputs wait for the broker`,
    since: drain.engine.clock.now(),
  };
}

/** A zombie attempt may have removed some: then each is removed by itself, absence being success. */
async function removePublished(drain: Drain, items: OutboxItem[]): Promise<void> {
  const { store } = drain.engine;
  const remove = items.map((item) => ({ kind: 'delete' as const, id: item.id }));
  for (let from = 0; from < remove.length; from += 90) {
    const some = remove.slice(from, from + 90);
    const result = await store.batch(drain.convoyId, some);
    if (result.applied) continue;
    for (const one of some) await store.batch(drain.convoyId, [one]);
  }
}
