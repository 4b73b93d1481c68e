// Which histories of a process are alike. Between two passes the code forgets what it read: what it
// still carries is written down here, and histories that carry the same become one node. Without
// this a drain that was refused twice would differ for ever from one that was refused once.
//
// This is the one thing the model knows of the inside of the engine; merge.test.ts runs the code
// along histories that were made one, and finds the same calls.
import type { OutboxItem, ProgressItem } from '../../shared/store/items.ts';
import type { StoreOperation } from '../../shared/store/store.ts';
import type { Program } from './automaton.ts';
import type { Answer, Call } from './script.ts';

/** What a drain carries from pass to pass (`Pass` in shared/engine/drain.ts). */
export interface Carried {
  /** Its own commit, as good as a read; undefined: the next pass reads progress. */
  progress: { item: ProgressItem; etag: number } | undefined;
  hasCommitted: boolean;
  /** Outbox items that the next batch removes. */
  ids: readonly string[];
  /** The outputs of so many commits are published. */
  commits: number;
  /** What it last read or wrote of progress and outbox, for `publish`. */
  current: ProgressItem | undefined;
  outbox: readonly OutboxItem[];
}

export const carriesNothing: Carried = {
  progress: undefined,
  hasCommitted: false,
  ids: [],
  commits: 0,
  current: undefined,
  outbox: [],
};

/** What a drain carries after this answer. */
export function carriedAfter(carried: Carried, call: Call, answer: Answer): Carried {
  if (answer.failed) return carried;
  switch (call.method) {
    case 'readProgress': {
      const read = answer.value as { item: ProgressItem } | undefined;
      return { ...carried, current: read?.item };
    }
    case 'readOutbox': {
      const outbox = answer.value as readonly OutboxItem[];
      // Nothing left to publish: then all is published, without a call.
      const all = outbox.length === 0 ? { commits: carried.current?.outputCommits ?? 0 } : {};
      return { ...carried, outbox, ...all };
    }
    case 'publish': {
      const ids = new Set([...carried.ids, ...carried.outbox.map(({ id }) => id)]);
      const commits = carried.current?.outputCommits ?? 0;
      return { ...carried, ids: [...ids].sort(), commits, outbox: [] };
    }
    case 'batch':
      return afterBatch(carried, call.args[1] as readonly StoreOperation[], answer);
    default:
      return carried;
  }
}

function afterBatch(
  carried: Carried,
  operations: readonly StoreOperation[],
  answer: Answer,
): Carried {
  const { applied, etags } = answer.value as { applied: boolean; etags?: string[] };
  if (operations.every(({ kind }) => kind === 'delete')) return { ...carried, ids: [] };
  if (!applied) return { ...carried, progress: undefined, current: undefined };
  const at = operations.findIndex((o) => 'item' in o && o.item.kind === 'progress');
  const operation = operations[at];
  const isRemoved = operations.some(({ kind }) => kind === 'delete');
  const ids = isRemoved ? [] : carried.ids;
  if (operation === undefined || !('item' in operation) || operation.item.kind !== 'progress')
    return { ...carried, ids };
  const { item } = operation;
  const etag = Number((etags?.[at] ?? '').split(' ')[1]);
  const created = operations.flatMap((o) =>
    o.kind === 'create' && o.item.kind === 'outbox' ? [o.item] : [],
  );
  const isCommit = operations.some(({ kind }) => kind === 'set');
  const all = isCommit && created.length === 0 ? { commits: item.outputCommits } : {};
  const own = { progress: { item, etag }, current: item, hasCommitted: true };
  return { ...carried, ids, ...own, ...all, outbox: isCommit ? created : carried.outbox };
}

/** The name of all histories that go on as this one does; undefined: none but itself. */
export function nameOfPass(
  program: Program,
  at: {
    call: Call | undefined;
    carried: Carried;
    last?: { call: Call; answer: Answer } | undefined;
  },
): string | undefined {
  const { call, carried, last } = at;
  if (call?.method !== 'readGate') return undefined;
  switch (program.role) {
    case 'intake': {
      // The gate is read once more for a duplicate: then what was found in `seen` still counts.
      const isDuplicate = last?.call.method === 'readSeen' && last.answer.value !== undefined;
      return isDuplicate ? undefined : JSON.stringify(program);
    }
    case 'drain': {
      const { progress, hasCommitted, ids, commits } = carried;
      const mayClose = program.request.mayClose && !hasCommitted;
      return JSON.stringify([program, progress?.item, mayClose, ids, commits]);
    }
    default:
      return undefined;
  }
}
