// Request units of a run that was made in virtual time: what the engine asked of its store is asked
// again, in the same order, of the local Cosmos server through the real client. The server charges
// by the documented model [cosmos 11].
import { startCosmos } from '../../infra/local/cosmos/server.ts';
import { createCosmosStore } from '../../shared/store/cosmos.ts';
import type { BatchResult, ConvoyStore, StoreOperation } from '../../shared/store/store.ts';

/** Asks one thing of a store; `etags` translates those of the first run. */
type Asked = (store: ConvoyStore, etags: Map<string, string>) => Promise<unknown>;

export interface Recorder {
  /** The store to run with. */
  store: ConvoyStore;
  requestUnits(): Promise<number>;
}

/** Records what the hand-off, the drain and the outbox ask. */
export function recorder(store: ConvoyStore): Recorder {
  const asked: Asked[] = [];
  const recorded: ConvoyStore = {
    ...store,
    readGate(id) {
      asked.push((to) => to.readGate(id));
      return store.readGate(id);
    },
    readProgress(id) {
      asked.push((to) => to.readProgress(id));
      return store.readProgress(id);
    },
    readSeen(id, messageId) {
      asked.push((to) => to.readSeen(id, messageId));
      return store.readSeen(id, messageId);
    },
    readInbox(id, range) {
      asked.push((to) => to.readInbox(id, range));
      return store.readInbox(id, range);
    },
    readOutbox(id) {
      asked.push((to) => to.readOutbox(id));
      return store.readOutbox(id);
    },
    async batch(id, operations) {
      // Asked when it was answered: that is when it took its place.
      const result = await store.batch(id, operations);
      asked.push((to, etags) => again(to, { id, operations, result }, etags));
      return result;
    },
  };
  return { store: recorded, requestUnits: () => charge(asked) };
}

async function again(
  store: ConvoyStore,
  before: { id: string; operations: StoreOperation[]; result: BatchResult },
  etags: Map<string, string>,
): Promise<void> {
  const operations = before.operations.map((operation) =>
    operation.kind === 'replace'
      ? { ...operation, ifMatch: etags.get(operation.ifMatch) ?? operation.ifMatch }
      : operation,
  );
  const result = await store.batch(before.id, operations);
  if (result.applied !== before.result.applied) throw new Error('the runs have gone apart');
  if (!result.applied || !before.result.applied) return;
  for (const [at, etag] of before.result.etags.entries()) etags.set(etag, result.etags[at] ?? '');
}

async function charge(asked: readonly Asked[]): Promise<number> {
  const server = await startCosmos({ file: ':memory:', port: 0 });
  try {
    const store = await createCosmosStore({ connectionString: server.connectionString });
    const opened = server.usage().requestUnits;
    const etags = new Map<string, string>();
    for (const ask of asked) await ask(store, etags);
    store.close();
    return server.usage().requestUnits - opened;
  } finally {
    await server.close();
  }
}
