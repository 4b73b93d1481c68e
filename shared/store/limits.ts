// What a batch must look like before it leaves: the limits of Cosmos that both adapters share, so
// that a wrong batch fails alike in a simulation, on a laptop and in Azure.
//
// Owns the refusals that need no stored item. Leaves existence, etags and the 2 MB limit of the
// bytes on the wire to the adapters (memory counts them itself, Cosmos answers 413).
import type { ConvoyItem } from './items.ts';
import { StoreRefused, type InstantRange, type StoreOperation } from './store.ts';

/** Operations of one transactional batch [cosmos 11: 100 operations, 2 MB, 5 s]. */
export const operationsMax = 100;
/** Bytes of one item and of one batch. */
export const bytesMax = 2 * 1024 * 1024;
/** Fields of one patch. */
export const fieldsMax = 10;
/** Bytes of a partition key value (version 2). */
const partitionBytesMax = 2048;
const ttlSecondsMax = 2 ** 31 - 1;

// Item ids hold only these: the SDK does not check ids inside a batch, Azure does.
const idPattern = /^[A-Za-z0-9:_-]{1,255}$/;
const fixedFields = new Set(['id', 'convoyId', 'kind', '_rid', '_self', '_etag', '_attachments']);

/** The fields of a `set` that have a value: undefined ones vanish as in any JSON. */
export function fieldsToSet(fields: Record<string, unknown>): [string, unknown][] {
  return Object.entries(fields).filter(([, value]) => value !== undefined);
}

/** Throws StoreRefused when a batch can never succeed as it is. */
export function assertBatch(convoyId: string, operations: readonly StoreOperation[]): void {
  assertConvoyId(convoyId);
  if (operations.length === 0) throw new StoreRefused(400, 'a batch without operations');
  if (operations.length > operationsMax) {
    throw new StoreRefused(413, `a batch of ${operations.length} operations, 100 are allowed`);
  }
  for (const operation of operations) assertOperation(convoyId, operation);
}

export function assertConvoyId(convoyId: string): void {
  const bytes = Buffer.byteLength(convoyId);
  if (bytes === 0 || bytes > partitionBytesMax || !convoyId.isWellFormed()) {
    throw new StoreRefused(400, `a convoy id of ${bytes} bytes or with broken Unicode`);
  }
}

/** Infinity has no JSON: Cosmos would compare with null and find nothing. */
export function assertInstants({ after, upTo }: InstantRange): void {
  if (Number.isFinite(after) && Number.isFinite(upTo)) return;
  throw new StoreRefused(400, `instants ${after} to ${upTo}: both must be finite`);
}

function assertOperation(convoyId: string, operation: StoreOperation): void {
  switch (operation.kind) {
    case 'create':
    case 'put':
      return assertItem(convoyId, operation.item);
    case 'replace':
      // An empty If-Match would be read as "no precondition": the fence would be gone.
      if (!operation.ifMatch) throw new StoreRefused(400, 'replace without the etag to match');
      return assertItem(convoyId, operation.item);
    case 'set':
      assertId(operation.id);
      return assertFields(operation.fields);
    case 'delete':
      return assertId(operation.id);
    default:
      operation satisfies never;
  }
}

function assertItem(convoyId: string, item: ConvoyItem): void {
  assertId(item.id);
  if (item.convoyId !== convoyId) {
    throw new StoreRefused(400, `item ${item.id} belongs to another partition than its batch`);
  }
  if (item.id !== item.kind && !item.id.startsWith(`${item.kind}:`)) {
    throw new StoreRefused(400, `item ${item.id} is of kind ${item.kind}`);
  }
  if ('ttl' in item) assertTtl(item.ttl);
}

function assertId(id: string): void {
  if (!idPattern.test(id)) {
    throw new StoreRefused(400, `item id ${JSON.stringify(id)} holds more than [A-Za-z0-9:_-]`);
  }
}

function assertFields(fields: Record<string, unknown>): void {
  const entries = fieldsToSet(fields);
  if (entries.length === 0 || entries.length > fieldsMax) {
    throw new StoreRefused(400, `set of ${entries.length} fields, 1-${fieldsMax} are allowed`);
  }
  for (const [name, value] of entries) {
    if (fixedFields.has(name)) throw new StoreRefused(400, `field ${name} cannot be set`);
    if (name === 'ttl') assertTtl(value);
  }
}

function assertTtl(ttl: unknown): void {
  if (ttl === undefined || ttl === -1) return;
  if (typeof ttl === 'number' && Number.isInteger(ttl) && ttl > 0 && ttl <= ttlSecondsMax) return;
  throw new StoreRefused(400, `ttl ${JSON.stringify(ttl)} is neither -1 nor whole seconds above 0`);
}
