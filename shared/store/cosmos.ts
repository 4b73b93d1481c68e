// The store in Azure Cosmos DB, through @azure/cosmos and nothing else.
//
// Owns:   how each method of the port becomes requests, and what the answers mean.
// Leaves: retrying to the callers (the SDK's own retries are turned down), containers to
//         cosmos-container.ts, statuses to cosmos-errors.ts, requests to cosmos-client.ts.
//
//   Z1. A write is one transactional batch, sent once: it is never repeated here, because a lost
//       answer leaves the outcome unknown and only the caller can look. (A throttled one was not
//       done, and Azure says so.)
//   Z2. Compare-and-swap is replace with If-Match; an upsert with If-Match would create [cosmos 4].
//   Z3. Every query of one key names the key in its text as well as in the option: the SDK drops
//       the option when it takes the detour over a query plan.
import type { JSONObject, OperationInput } from '@azure/cosmos';
import { noCounts } from '../convoy/state.ts';
import { ConvoyError } from '../errors.ts';
import { connect, type Connection, type CosmosStoreOptions } from './cosmos-client.ts';
import { batchResultOf, storeError, wholeBatchFailure } from './cosmos-errors.ts';
import type { CosmosAddress } from './cosmos-settings.ts';
import { asideIn, itemsInRange, type RangeReader } from './cosmos-aside.ts';
import { rollUpsIn } from './cosmos-roll-ups.ts';
import { itemIds, type ConvoyItem, type GateItem, type InboxItem } from './items.ts';
import { assertBatch, assertConvoyId, assertInstants, fieldsToSet } from './limits.ts';
import { assertLimit, idsUnder, pageOf, restOf } from './paging.ts';
import { StoreRefused, StoreUnavailable } from './store.ts';
import type { BatchResult, ConvoyStore, GateFilter, StoreOperation, Totals } from './store.ts';

/** The port, and what only this adapter knows. */
export interface CosmosStore extends ConvoyStore {
  /** Request units of all answers so far. */
  requestUnits(): number;
  /** Lets go of the client; no method may be called afterwards. */
  close(): void;
}

/** Opens database and containers, creating what is missing. Rejects with StoreUnavailable when the
 *  account cannot be reached, with ConvoyError CVY_SETTINGS when it is not as it must be. */
export async function createCosmosStore(
  address: CosmosAddress,
  options: CosmosStoreOptions = {},
): Promise<CosmosStore> {
  const connection = await connect(address, options);
  return {
    ...pointReads(connection),
    ...sweeps(connection),
    ...listsOfKeys(connection),
    ...listsOfKey(connection),
    ...asideIn(connection),
    ...rollUpsIn(connection),
    batch: (convoyId, operations) => sendBatch(connection, convoyId, operations),
    totals: () => totals(connection),
    check: () => check(connection),
    requestUnits: () => connection.requestUnits(),
    close: () => connection.close(),
  };
}

type PointReads = Pick<
  ConvoyStore,
  'readGate' | 'readProgress' | 'readSeen' | 'readWindow' | 'progressOf'
>;

/** 500 point reads cost 500 RU and are exact; so many run at a time. */
const readsAtOnce = 16;

function pointReads(connection: Connection): PointReads {
  const readProgress: PointReads['readProgress'] = (convoyId) =>
    connection.read(convoyId, 'progress', itemIds.progress);
  return {
    readGate: (convoyId) => connection.read(convoyId, 'gate', itemIds.gate),
    readProgress,
    async readSeen(convoyId, messageId) {
      return (await connection.read(convoyId, 'seen', itemIds.seen(messageId)))?.item;
    },
    async readWindow(convoyId, name, start) {
      return (await connection.read(convoyId, 'window', itemIds.window(name, start)))?.item;
    },
    async progressOf(convoyIds) {
      const found = [];
      for (let at = 0; at < convoyIds.length; at += readsAtOnce) {
        const some = convoyIds.slice(at, at + readsAtOnce);
        found.push(...(await Promise.all(some.map(readProgress))));
      }
      return found.flatMap((progress) => progress?.item ?? []);
    },
  };
}

/** [Z1] */
async function sendBatch(
  connection: Connection,
  convoyId: string,
  operations: StoreOperation[],
): Promise<BatchResult> {
  assertBatch(convoyId, operations);
  try {
    const { results, requestUnits } = await connection.batch(convoyId, operations.map(inputOf));
    const result = batchResultOf(results, operations);
    return result.applied ? { ...result, requestUnits } : result;
  } catch (error) {
    const failure = wholeBatchFailure(error);
    if (failure) return failure;
    assertJson(operations);
    throw storeError(error, 'batch');
  }
}

// Only asked after a failure: the SDK stringifies once already, and tells nothing of why it failed.
function assertJson(operations: StoreOperation[]): void {
  try {
    JSON.stringify(operations);
  } catch (cause) {
    throw new StoreRefused(400, 'an item that is not JSON (a bigint or a cycle)', { cause });
  }
}

function inputOf(operation: StoreOperation): OperationInput {
  switch (operation.kind) {
    case 'create':
      return { operationType: 'Create', resourceBody: jsonOf(operation.item) };
    case 'put':
      return { operationType: 'Upsert', resourceBody: jsonOf(operation.item) };
    case 'replace': {
      const { item, ifMatch } = operation;
      return { operationType: 'Replace', id: item.id, ifMatch, resourceBody: jsonOf(item) };
    }
    case 'set': {
      const operations = fieldsToSet(operation.fields).map(([name, value]) => ({
        op: 'set' as const,
        path: `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`,
        value,
      }));
      return { operationType: 'Patch', id: operation.id, resourceBody: { operations } };
    }
    case 'delete':
      return { operationType: 'Delete', id: operation.id };
  }
}

// The SDK's word for what JSON.stringify takes; it is stringified there and not looked at.
function jsonOf(item: ConvoyItem): JSONObject {
  return item as unknown as JSONObject;
}

function sweeps(
  connection: Connection,
): Pick<ConvoyStore, 'gatesUnwritten' | 'gatesDue' | 'gatesHeldDue'> {
  const gates = (
    phase: GateItem['phase'],
    field: 'writtenAt' | 'dueAt',
  ): ConvoyStore['gatesDue'] => {
    const text =
      `SELECT * FROM c WHERE c.kind = 'gate' AND c.phase = '${phase}' ` +
      `AND c.${field} > @after AND c.${field} <= @upTo ` +
      `ORDER BY c.kind ASC, c.phase ASC, c.${field} ASC`;
    return async (range, limit) => {
      assertLimit(limit);
      assertInstants(range);
      const parameters = { after: range.after, upTo: range.upTo };
      return connection.collect('gate', { text, parameters }, limit);
    };
  };
  return {
    gatesUnwritten: gates('active', 'writtenAt'),
    gatesDue: gates('idle', 'dueAt'),
    gatesHeldDue: gates('held', 'dueAt'),
  };
}

function listsOfKeys(
  connection: Connection,
): Pick<ConvoyStore, 'listGates' | 'listHeld' | 'listAside' | 'listBusy'> {
  const select = (
    kind: 'gate' | 'progress',
    filter: GateFilter & { hold?: string; isAside?: boolean; busyUpTo?: number },
  ) => {
    const { convoy, phase, hold, isAside, busyUpTo } = filter;
    const conditions = [`c.kind = '${kind}'`];
    if (hold !== undefined) conditions.push('c.hold.kind = @hold');
    if (isAside === true) conditions.push('c.asideCount > 0');
    if (busyUpTo !== undefined) conditions.push('c.busy.since <= @busyUpTo');
    if (convoy !== undefined) conditions.push('c.convoy = @convoy');
    if (phase !== undefined) conditions.push('c.phase = @phase');
    const text = `SELECT * FROM c WHERE ${conditions.join(' AND ')}`;
    return { text, parameters: { hold, convoy, phase, busyUpTo } };
  };
  return {
    async listGates(filter) {
      assertLimit(filter.limit);
      return connection.page('gate', select('gate', filter), filter);
    },
    async listHeld(kind, filter) {
      assertLimit(filter.limit);
      return connection.page('progress', select('progress', { ...filter, hold: kind }), filter);
    },
    async listBusy(busyUpTo, filter) {
      assertLimit(filter.limit);
      const query = select('gate', { ...filter, phase: 'active', busyUpTo });
      return connection.page('gate', query, filter);
    },
    async listAside(filter) {
      assertLimit(filter.limit);
      return connection.page('progress', select('progress', { ...filter, isAside: true }), filter);
    },
  };
}

type ListsOfKey = Pick<
  ConvoyStore,
  | 'readInbox'
  | 'readInboxAt'
  | 'readSessions'
  | 'readOutbox'
  | 'listMessages'
  | 'listWindows'
  | 'countRepeats'
>;

const outboxItemsMax = 1000;

function listsOfKey(connection: Connection): ListsOfKey {
  const inRange: RangeReader = (kind, range) => itemsInRange(connection, kind, range);
  return {
    async readInbox(convoyId, { from, to, limit }) {
      assertLimit(limit);
      if (from > to) return [];
      if (from === to) {
        const only = await connection.read(convoyId, 'inbox', itemIds.inbox(from));
        return only ? [only.item] : [];
      }
      const range = { from: itemIds.inbox(from), below: `${itemIds.inbox(to)}!` };
      return inRange('inbox', { convoyId, ...range, limit: Math.min(limit, to - from + 1) });
    },
    readInboxAt: (convoyId, positions) => readInboxAt(connection, convoyId, positions),
    async readSessions(convoyId, name, span) {
      const and = 'AND c.start <= @spanEnd AND c["end"] >= @spanStart ';
      const places = { spanStart: span.start, spanEnd: span.end };
      const range = { convoyId, ...idsUnder(`window:${name}`), and, ...places, limit: 100 };
      const found = await inRange('window', range);
      return found.sort((a, b) => a.start - b.start);
    },
    readOutbox: async (convoyId) =>
      inRange('outbox', { convoyId, ...idsUnder('outbox'), limit: outboxItemsMax }),
    async listMessages(convoyId, { from, outcome, limit, continuation }) {
      assertLimit(limit);
      const rest = restOf({ ...idsUnder('inbox'), from: itemIds.inbox(from) }, continuation);
      const only = outcome === undefined ? {} : { outcome, and: 'AND c.outcome = @outcome ' };
      return pageOf(
        await inRange('inbox', { convoyId, ...rest, ...only, limit: limit + 1 }),
        limit,
      );
    },
    async listWindows(convoyId, { window, limit, continuation }) {
      assertLimit(limit);
      const range = idsUnder(window === undefined ? 'window' : `window:${window}`);
      const rest = restOf(range, continuation);
      return pageOf(await inRange('window', { convoyId, ...rest, limit: limit + 1 }), limit);
    },
    async countRepeats(convoyId) {
      assertConvoyId(convoyId);
      const { from, below } = idsUnder('seen');
      const text =
        'SELECT VALUE SUM(c.repeats) FROM c WHERE c.convoyId = @convoyId ' +
        'AND c.id >= @from AND c.id < @below AND IS_DEFINED(c.repeats)';
      const query = { text, parameters: { convoyId, from, below }, convoyId };
      // A page may hold a part of the sum; without any item there is none.
      const parts = await connection.values(query);
      return parts.reduce<number>((sum, part) => sum + (typeof part === 'number' ? part : 0), 0);
    },
  };
}

/** One query for all of them, or a point read for one. */
async function readInboxAt(
  connection: Connection,
  convoyId: string,
  positions: readonly number[],
): Promise<InboxItem[]> {
  assertConvoyId(convoyId);
  assertLimit(positions.length);
  const [only] = positions;
  if (positions.length === 1 && only !== undefined) {
    const read = await connection.read(convoyId, 'inbox', itemIds.inbox(only));
    return read ? [read.item] : [];
  }
  const ids = Object.fromEntries(positions.map((at, i) => [`id${i}`, itemIds.inbox(at)]));
  const list = Object.keys(ids).map((name) => `@${name}`);
  const text =
    'SELECT * FROM c WHERE c.convoyId = @convoyId ' +
    `AND c.id IN (${list.join(', ')}) ORDER BY c.id ASC`;
  const parameters = { convoyId, ...ids };
  return connection.collect('inbox', { text, parameters, convoyId }, positions.length);
}

/** An operator's question: two grouped queries over all gates and all progress items. */
async function totals(connection: Connection): Promise<Totals> {
  const answer: Totals = { convoys: 0, perPhase: {}, admitted: 0, counts: {}, holds: {} };
  const names = Object.keys(noCounts);
  const gates = await connection.values({
    text:
      'SELECT c.phase AS name, COUNT(1) AS keys, SUM(c.tail) AS admitted ' +
      "FROM c WHERE c.kind = 'gate' GROUP BY c.phase",
    parameters: {},
  });
  for (const group of gates) {
    const keys = numberIn(group, 'keys');
    answer.convoys += keys;
    answer.admitted += numberIn(group, 'admitted');
    add(answer.perPhase, textIn(group, 'name'), keys);
  }
  const sums = names.map((name) => `, SUM(c.counts.${name}) AS ${name}`).join('');
  const progresses = await connection.values({
    text:
      `SELECT c.hold.kind AS name, COUNT(1) AS keys${sums} ` +
      "FROM c WHERE c.kind = 'progress' GROUP BY c.hold.kind",
    parameters: {},
  });
  for (const group of progresses) {
    add(answer.holds, textIn(group, 'name'), numberIn(group, 'keys'));
    for (const name of names) add(answer.counts, name, numberIn(group, name));
  }
  return answer;
}

function add(sums: Record<string, number>, name: string, n: number): void {
  sums[name] = (sums[name] ?? 0) + n;
}

function fieldIn(group: unknown, name: string): unknown {
  return typeof group === 'object' && group !== null ? Reflect.get(group, name) : undefined;
}

function numberIn(group: unknown, name: string): number {
  const value = fieldIn(group, name);
  return typeof value === 'number' ? value : 0;
}

function textIn(group: unknown, name: string): string {
  return String(fieldIn(group, name) ?? 'unknown');
}

/** [H14] One write region: with several, two writers could both see their If-Match hold. */
async function check(connection: Connection): Promise<void> {
  const account = await connection.account();
  const regions = account.writableLocations.length;
  if (regions > 1 || account.hasMultipleWriteRegions) {
    throw new ConvoyError(
      'CVY_ENVIRONMENT',
      `the Cosmos account takes writes in ${regions} regions (${account.writableLocations.join()})`,
    );
  }
  if (regions === 0) throw new StoreUnavailable('the Cosmos account names no write region');
}
