// PURE. Which write of the protocol a batch is, told by what it holds: the simulation knows nothing
// of who calls.
import type { StoreOperation } from '../../shared/store/store.ts';

export type Site =
  | 'admitFirst'
  | 'admit'
  | 'commit'
  | 'hold'
  | 'wait'
  | 'close'
  | 'rest'
  | 'reopen'
  | 'removePublished'
  | 'countRepeat'
  | 'dead'
  | 'quarantine'
  | 'markReplayed';

export function siteOf(operations: readonly StoreOperation[]): Site {
  const [first, second] = operations;
  if (first === undefined || first.kind === 'delete') return 'removePublished';
  if (first.kind === 'set') return first.id.startsWith('seen:') ? 'countRepeat' : 'markReplayed';
  const { item } = first;
  if (item.kind === 'dead' || item.kind === 'quarantine') return item.kind;
  if (item.kind === 'progress') return operations.length > 1 ? 'commit' : 'hold';
  if (item.kind !== 'gate') return 'commit';
  if (first.kind === 'create') return 'admitFirst';
  if (second === undefined || second.kind === 'delete') return 'wait';
  if ('item' in second && second.item.kind === 'progress') {
    if (item.phase === 'idle') return 'close';
    return item.phase === 'held' ? 'rest' : 'reopen';
  }
  return 'admit';
}
