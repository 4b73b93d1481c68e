// Runs entities: one batch of an entity at a time, many entities at once.
//
// Owns:    batches and their commit.
// Leaves:  when an entity runs to serial.ts, messages and their shapes to entity-messages.ts.
//
// Invariants:
//   B1. At most one batch of an entity runs; its state, its answers, its signals and the end of its
//       operations are one change: a batch that dies leaves no trace and runs again.
//   B2. A locked entity serves its holder only, everybody else in order of arrival afterwards.
//   B3. A function that throws as a whole fails every operation of the batch and changes no state.
import { randomUUID } from 'node:crypto';
import { postRequest, postResponse, type EntityResponse } from './entity-messages.ts';
import type { EntityItem, OperationItem } from './entity-storage.ts';
import { textOf } from './fault.ts';
import { entityIdOf, type EntityName, type EntityRequest } from './history.ts';
import type { HubParts } from './parts.ts';
import { isTerminal } from './instances.ts';
import { SerialWork } from './serial.ts';

const batchMaxDefault = 5_000; // maxEntityOperationBatchSize

interface Operation {
  sequence: number;
  request: EntityRequest;
}
interface OperationResult {
  isError: boolean;
  result?: string;
}
/** What an entity function returns [reference/durable.md 8.1]. */
interface BatchResult {
  results: (OperationResult | undefined)[];
  signals: { target: EntityName; name: string; input?: string }[];
  entityExists: boolean;
  entityState?: string | null;
}
interface Batch {
  id: string;
  operations: Operation[];
  /** Stands behind the operations; undefined when none does. */
  lock: Operation | undefined;
}

export class Entities {
  readonly #parts: HubParts;
  readonly #work: SerialWork;

  constructor(parts: HubParts, concurrentMax: number) {
    this.#parts = parts;
    const perform = (entityId: string): Promise<boolean> => this.#runBatch(entityId);
    this.#work = new SerialWork({ parts, concurrentMax, what: 'batch', perform });
  }

  start(): void {
    this.#work.start();
  }

  drain(): Promise<void> {
    return this.#work.drain();
  }

  get isBusy(): boolean {
    return this.#work.isBusy;
  }

  /** The entity may have something to do. */
  wake(entityId: string): void {
    this.#work.wake(entityId);
  }

  /** True when there may be more to do. */
  async #runBatch(id: string): Promise<boolean> {
    const { storage, intercept } = this.#parts;
    const item = storage.entities.entity(id);
    if (!item) return false;
    const batchMax = this.#parts.settings.entityBatchMax ?? batchMaxDefault;
    const found = storage.entities.operations(id, batchMax, item.lockedBy);
    const batch = batchOf(id, found);
    if (batch.operations.length === 0 && !batch.lock) return false;
    const step = { instanceId: id, name: nameOf(id).name };
    await intercept({ kind: 'entity-start', ...step });
    const result = batch.operations.length > 0 ? await this.#call(item, batch) : undefined;
    await intercept({ kind: 'entity-finished', ...step });
    const woken = await storage.commit(() => this.#commit(batch, result));
    this.#parts.usage.storageTransactions += 4 + found.length;
    for (const entityId of woken.entities) this.wake(entityId);
    for (const instanceId of woken.instances) this.#parts.wake(instanceId);
    return batch.lock !== undefined || found.length === batchMax;
  }

  async #call(item: EntityItem, { id, operations }: Batch): Promise<BatchResult> {
    const { runner } = this.#parts;
    const self = nameOf(id);
    const unchanged = { entityExists: item.doesExist, entityState: item.state, signals: [] };
    const allFailed = (text: string): BatchResult => ({
      ...unchanged,
      results: operations.map(() => ({ isError: true, result: JSON.stringify(text) })),
    });
    if (runner.kindOf(self.name) !== 'entity') {
      const text =
        `The function '${self.name}' doesn't exist, is disabled, ` +
        'or is not an entity function.';
      this.#parts.log('warning', `${id}: ${text}`);
      return allFailed(text);
    }
    const batch = operations.map(({ request }) => ({
      name: request.op ?? '',
      input: request.input ?? null,
      isSignal: request.signal === true,
    }));
    const payload = { self, exists: item.doesExist, state: item.state, batch };
    try {
      const { result } = await runner.run(self.name, { string: JSON.stringify(payload) });
      return result as BatchResult;
    } catch (error) {
      this.#parts.log('error', `entity ${id} failed as a whole: ${textOf(error)}`);
      return allFailed(textOf(error)); // [B3]
    }
  }

  /** [B1] */
  #commit(
    batch: Batch,
    result: BatchResult | undefined,
  ): { entities: string[]; instances: string[] } {
    const { storage, clock } = this.#parts;
    const nowMs = clock.now();
    const woken = { entities: [] as string[], instances: [] as string[] };
    const item = storage.entities.entity(batch.id);
    if (!item) return woken; // purged meanwhile, with all its operations
    if (result) {
      // A lock may have been given back while the function ran: only the state is ours.
      const { entityExists, entityState = null } = result;
      Object.assign(item, { doesExist: entityExists, state: entityState, updatedAt: nowMs });
    }
    batch.operations.forEach(({ sequence, request }, at) => {
      storage.entities.dropOperation(batch.id, sequence);
      if (request.signal || request.parent === undefined) return;
      if (postResponse(storage, { request, response: responseOf(result?.results[at]) }, nowMs)) {
        woken.instances.push(request.parent);
      }
    });
    for (const { target, name, input } of result?.signals ?? []) {
      const text = input ? { input } : {};
      const signal = {
        op: name,
        signal: true,
        ...text,
        id: randomUUID(),
        parent: batch.id,
      } as const;
      postRequest(storage, { entityId: entityIdOf(target), request: signal }, nowMs);
      woken.entities.push(entityIdOf(target));
    }
    if (batch.lock) this.#lock(item, batch.lock, woken);
    storage.entities.put(item);
    return woken;
  }

  #lock(
    item: EntityItem,
    { sequence, request }: Operation,
    woken: { entities: string[]; instances: string[] },
  ): void {
    const { storage, clock } = this.#parts;
    storage.entities.dropOperation(item.id, sequence);
    const { parent = '', parentExecution, lockset = [], pos = 0 } = request;
    const holder = storage.instance(parent);
    if (!holder || holder.executionId !== parentExecution || isTerminal(holder.status)) return;
    item.lockedBy = parent;
    const next = lockset[pos + 1];
    if (!next) {
      const response = { result: 'Lock Acquisition Completed' };
      const isWaiting = postResponse(storage, { request, response }, clock.now());
      if (isWaiting) woken.instances.push(parent);
      return;
    }
    const forwarded = { ...request, pos: pos + 1 };
    postRequest(storage, { entityId: entityIdOf(next), request: forwarded }, clock.now());
    woken.entities.push(entityIdOf(next));
  }
}

function responseOf(result: OperationResult | undefined): EntityResponse {
  const { isError = false, result: text = null } = result ?? {};
  return isError ? { result: text, exceptionType: 'Error' } : { result: text };
}

/** [B2] Operations up to the first lock request. */
function batchOf(id: string, found: readonly OperationItem[]): Batch {
  const operations: Operation[] = [];
  for (const { sequence, request: text } of found) {
    const request = JSON.parse(text) as EntityRequest;
    if (request.lockset) return { id, operations, lock: { sequence, request } };
    operations.push({ sequence, request });
  }
  return { id, operations, lock: undefined };
}

/** `@name@key`; the key may hold more of them. */
export function nameOf(entityId: string): EntityName {
  const at = entityId.indexOf('@', 1);
  return { name: entityId.slice(1, at), key: entityId.slice(at + 1) };
}
