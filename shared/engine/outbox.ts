// [H11] Publishing: after each commit, all of the key's outbox, lowest first, one awaited batch at
// a time; entries are removed only after the broker's acknowledgement. Any epoch, and any zombie
// attempt, publishes what it finds: a repeat carries the same message id.
import type { Hold } from '../convoy/state.ts';
import type { OutboxItem } from '../store/items.ts';
import { type Drain, holdKey } from './drain-context.ts';
import { contributeOutputs } from './roll-up.ts';

const unpublishedMax = 200;

/** Publishes what earlier drains left. */
export async function publishOutbox(drain: Drain): Promise<void> {
  await publishItems(drain, await drain.engine.store.readOutbox(drain.convoyId));
}

/** Publishes outbox items and marks them for removal. Rejects when the broker does not accept. */
export async function publishItems(drain: Drain, items: OutboxItem[]): Promise<void> {
  const { engine, request, convoyId, progress, published } = drain;
  const outputs = items.flatMap((item) => item.outputs);
  try {
    if (outputs.length > 0) await engine.publisher.publish(request.convoy, request.key, outputs);
    // H13: before the entries count as published, so that a repeat finishes what a death left.
    await contributeOutputs(engine, { ...request, definition: drain.definition }, outputs);
  } catch (error) {
    if (outputs.length > unpublishedMax) {
      await holdKey(drain, publishingHold(drain, outputs.length));
    }
    throw error;
  }
  for (const { id } of items) published.ids.add(id);
  published.commits = progress.item.outputCommits;
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
