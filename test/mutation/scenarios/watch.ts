// The observer at the store: it sees every write that was applied and says which of them no order
// of events allows. It knows DESIGN §4 and the shapes of items, nothing of the engine.
import type { GateItem, OutboxItem, ProgressItem } from '../../../shared/store/items.ts';
import type { BatchResult, ConvoyStore, StoreOperation } from '../../../shared/store/store.ts';

export interface Watch {
  readonly wrong: { oracle: string; message: string }[];
  /** Waits that were announced. */
  readonly waits: number;
  /** Batches that were applied. */
  readonly writes: number;
  /** How often a key was opened again by operator or sweeper. */
  readonly reopened: number;
}

interface Key {
  gate: GateItem | undefined;
  progress: ProgressItem | undefined;
  outbox: Map<string, OutboxItem>;
}

export interface Watched {
  store: ConvoyStore;
  watch: Watch;
}

/** `isPublished` tells whether the broker has this output of a key. */
export function watchStore(
  store: ConvoyStore,
  onWritten: ((operations: readonly StoreOperation[]) => void) | undefined,
  isPublished: (convoyId: string, output: { position: number; n: number }) => boolean,
): Watched {
  const keys = new Map<string, Key>();
  const watch = { wrong: [] as Watch['wrong'], waits: 0, writes: 0, reopened: 0 };
  const say = (oracle: string, message: string): void => void watch.wrong.push({ oracle, message });

  function see(convoyId: string, operations: readonly StoreOperation[]): void {
    const key = keys.get(convoyId) ?? { gate: undefined, progress: undefined, outbox: new Map() };
    keys.set(convoyId, key);
    watch.writes += 1;
    let { gate, progress } = key;
    for (const operation of operations) {
      if (operation.kind === 'delete') removed(key, convoyId, operation.id);
      if (!('item' in operation)) continue;
      const { item } = operation;
      if (item.kind === 'gate') gate = item;
      if (item.kind === 'progress') progress = item;
      if (item.kind === 'outbox') key.outbox.set(item.id, item);
    }
    if (gate !== key.gate) watch.waits += gate?.waiting && !key.gate?.waiting ? 1 : 0;
    if (gate && progress) judge(key, gate, progress);
    Object.assign(key, { gate, progress });
    const outputs = operations.flatMap((o) =>
      'item' in o && o.item.kind === 'outbox' ? o.item.outputs : [],
    );
    // A window that an amendment closes has a cause.
    const due = outputs.filter((o) => o.type === 'window.closed' && o.causationId === '');
    if (due.length > 40) say('H5 bounds', `${due.length} due windows in one commit`);
  }

  function removed(key: Key, convoyId: string, id: string): void {
    for (const output of key.outbox.get(id)?.outputs ?? []) {
      if (isPublished(convoyId, output)) continue;
      say('H11 removal', `${id} was removed, ${output.position}:${output.n} is not published`);
    }
    key.outbox.delete(id);
  }

  function judge(before: Key, gate: GateItem, progress: ProgressItem): void {
    const rises = (name: string, was: number | undefined, is: number): void => {
      if (was !== undefined && is < was) say('rises', `${name} went from ${was} back to ${is}`);
    };
    rises('gate.epoch', before.gate?.epoch, gate.epoch);
    rises('gate.tail', before.gate?.tail, gate.tail);
    rises('progress.epoch', before.progress?.epoch, progress.epoch);
    rises('progress.cursor', before.progress?.cursor, progress.cursor);
    rises('progress.outputCommits', before.progress?.outputCommits, progress.outputCommits);
    rises('progress.settled', before.progress?.settled, progress.settled);
    if (progress.cursor > gate.tail) say('H7 tail', `cursor ${progress.cursor} of ${gate.tail}`);
    const fence = `${gate.phase} gate of epoch ${gate.epoch}, progress of ${progress.epoch}`;
    if (gate.phase === 'active' && progress.epoch !== gate.epoch) say('H5 fence', fence);
    if (gate.phase !== 'active' && progress.epoch <= gate.epoch) say('H6 fence', fence);
    transition(before, gate, progress);
  }

  function transition(before: Key, gate: GateItem, progress: ProgressItem): void {
    const from = before.gate?.phase ?? 'idle';
    const isNew = gate.epoch !== before.gate?.epoch;
    if (from !== 'active' && gate.phase === 'active' && !isNew)
      say('H3 epoch', `${from} gate opened again in epoch ${gate.epoch}`);
    if (from === 'held' && gate.phase === 'active' && before.progress === progress)
      say('H8 held', `an admit opened a held gate in epoch ${gate.epoch}`);
    if (
      before.progress !== progress &&
      gate !== before.gate &&
      gate.phase === 'active' &&
      before.gate
    ) {
      watch.reopened += 1;
      if (!isNew) say('H3 epoch', `reopened within epoch ${gate.epoch}`);
    }
    if (from === 'active' && gate.phase === 'idle') {
      const open = progress.cursor !== gate.tail || progress.hold.kind !== 'none';
      const left = before.outbox.size;
      if (open)
        say('H6 close', `closed at ${progress.cursor} of ${gate.tail}, ${progress.hold.kind}`);
      if (left > 0) say('H6 close', `closed with ${left} items in the outbox`);
    }
    if (gate.phase === 'held') {
      const isSame = gate.cursor === progress.cursor && gate.hold.kind === progress.hold.kind;
      if (!isSame) say('H8 copies', `gate says ${gate.hold.kind} at ${gate.cursor}`);
    }
    retried(before, gate, progress);
  }

  /** [H8] The message is not tried again before its time, unless an operator opened a new epoch. */
  function retried(before: Key, gate: GateItem, progress: ProgressItem): void {
    const hold = before.progress?.hold;
    if (hold?.kind !== 'retrying' || before.progress === progress) return;
    if (progress.epoch !== before.progress?.epoch || gate !== before.gate) return;
    const early = (hold.nextAttemptAt ?? 0) - progress.writtenAt;
    if (early > 0) say('H8 retry', `tried again ${early} ms before its time`);
  }

  async function batch(convoyId: string, operations: StoreOperation[]): Promise<BatchResult> {
    const result = await store.batch(convoyId, operations);
    if (!result.applied) return result;
    see(convoyId, operations);
    onWritten?.(operations);
    return result;
  }

  return { store: { ...store, batch }, watch };
}
