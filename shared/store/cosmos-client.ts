// The requests of the store: the only place that calls the client of Cosmos DB.
//
// Owns:   client options, deadlines, the count of request units, paging of queries.
// Leaves: what is asked, and why, to cosmos.ts.
//
//   R1. Every call ends within its deadline, whatever the SDK retries inside: lost reads up to the
//       deadline (the SDK would go on for minutes), throttled requests not at all.
//   R2. A query of one partition is one request. The SDK sends a query plan request along with
//       each query, for a detour that such a query never takes.
//   R3. Every rejection is a StoreUnavailable or a StoreRefused; creation may reject with
//       ConvoyError CVY_SETTINGS.
//   R4. A throttled request was not done. It is sent again here after the pause that Azure asks
//       for, a few times, and every refusal is told: the SDK's own retries would hide them.
import { CosmosClient } from '@azure/cosmos';
import type { Container, FeedOptions, OperationInput, QueryIterator } from '@azure/cosmos';
import { realClock, sleep, type Clock } from '../clock.ts';
import { ConvoyError } from '../errors.ts';
import { convoysContainer, openContainer, windowsContainer } from './cosmos-container.ts';
import { assertItemAbsent, assertNotThrottled, chargeOf, storeError } from './cosmos-errors.ts';
import { pauseOfThrottled, type OperationResult } from './cosmos-errors.ts';
import { credentialOf, type CosmosAddress } from './cosmos-settings.ts';
import type { ConvoyItem } from './items.ts';
import { assertConvoyId } from './limits.ts';
import { StoreRefused, StoreUnavailable, type Page, type Versioned } from './store.ts';

export interface CosmosStoreOptions {
  /** Default `convoys`. */
  database?: string;
  /** Default `convoys`. */
  container?: string;
  /** Default `windows`. */
  windowsContainer?: string;
  /** Measures the deadlines of calls. */
  clock?: Clock;
  /** [R4] Called for every request that Azure throttled, also for those that succeed later. */
  onThrottled?: (retryAfterMs: number) => void;
}

/** [R4] How often one request is sent again, and how long that may take. */
const throttledRetriesMax = 3;
const throttledMsMax = 2_000;
const requestMsMax = 10_000;
const callMsMax = 15_000;
/** For a query, whose pages are requests of their own. */
const queryMsMax = 60_000;
const pageItemsMax = 1000;
/** Azure may answer pages without items; so many in a row are read before the caller is asked. */
const emptyPagesMax = 20;

type Kind = ConvoyItem['kind'];
type ItemOf<K extends Kind> = Extract<ConvoyItem, { kind: K }>;

/** `convoyId` scopes the query to its partition; undefined parameters are left out. */
export interface Query {
  text: string;
  parameters: Record<string, string | number | undefined>;
  convoyId?: string;
}

/** What a request is handed while it runs. */
export interface Asking {
  abortSignal: AbortSignal;
  charge(units: unknown): void;
}

export interface Connection {
  read<K extends Kind>(
    convoyId: string,
    kind: K,
    id: string,
  ): Promise<Versioned<ItemOf<K>> | undefined>;
  batch(
    convoyId: string,
    operations: OperationInput[],
  ): Promise<{ results: readonly OperationResult[]; requestUnits: number }>;
  /** The first `limit` items in the order of the query. */
  collect<K extends Kind>(kind: K, query: Query, limit: number): Promise<ItemOf<K>[]>;
  /** One page in the order of the account, with a continuation of the account. */
  page<K extends Kind>(
    kind: K,
    query: Query,
    at: { limit: number; continuation?: string },
  ): Promise<Page<ItemOf<K>>>;
  /** All answers of an aggregate. */
  values(query: Query): Promise<unknown[]>;
  account(): Promise<{ writableLocations: string[]; hasMultipleWriteRegions: boolean }>;
  /** The container `windows`, whose items have another partition key [H13]. */
  windows: Container;
  /** [R1] [R3] Runs a request; `charge` counts its request units. */
  ask<Answer>(doing: string, work: (at: Asking) => Promise<Answer>): Promise<Answer>;
  requestUnits(): number;
  close(): void;
}

/** Opens the account and its two containers. */
export async function connect(
  address: CosmosAddress,
  options: CosmosStoreOptions,
): Promise<Connection> {
  const client = await openClient(address);
  const clock = options.clock ?? realClock;
  const onThrottled = options.onThrottled ?? (() => undefined);
  const databaseId = options.database ?? 'convoys';
  const convoys = {
    databaseId,
    containerId: options.container ?? 'convoys',
    definition: convoysContainer,
  };
  const windows = {
    databaseId,
    containerId: options.windowsContainer ?? 'windows',
    definition: windowsContainer,
  };
  try {
    const containers = await within(clock, queryMsMax, async () => ({
      windows: await openContainer(client, windows),
      container: await openContainer(client, convoys),
    }));
    return new CosmosConnection({ client, ...containers, clock, onThrottled });
  } catch (error) {
    client.dispose();
    const pauseMs = pauseOfThrottled(error);
    if (pauseMs !== undefined) onThrottled(pauseMs);
    if (error instanceof ConvoyError) throw error;
    throw storeError(error, 'opening the containers');
  }
}

async function openClient(address: CosmosAddress): Promise<CosmosClient> {
  const account =
    'connectionString' in address
      ? address
      : { endpoint: address.endpoint, aadCredentials: await credentialOf(address) };
  try {
    return new CosmosClient({
      ...account,
      // Also what makes the SDK send session tokens: a process reads its own writes.
      consistencyLevel: 'Session',
      connectionPolicy: {
        requestTimeout: requestMsMax,
        // [R1] A throttled request goes back to the caller with the pause Azure asks for.
        retryOptions: {
          maxRetryAttemptCount: 0,
          fixedRetryIntervalInMilliseconds: 0,
          maxWaitTimeInSeconds: 0,
        },
        // One region [H14]: nothing to fail over to, and no timer that outlives the store.
        enableBackgroundEndpointRefreshing: false,
        enablePartitionLevelFailover: false,
        useMultipleWriteLocations: false,
      },
    });
  } catch (cause) {
    // The SDK quotes the connection string in some messages: only the fact is told.
    throw new ConvoyError('CVY_SETTINGS', 'the Cosmos address is malformed', { cause });
  }
}

class CosmosConnection implements Connection {
  readonly #client: CosmosClient;
  readonly #container: Container;
  readonly windows: Container;
  readonly #clock: Clock;
  readonly #onThrottled: (retryAfterMs: number) => void;
  #requestUnits = 0;

  constructor(parts: {
    client: CosmosClient;
    container: Container;
    windows: Container;
    clock: Clock;
    onThrottled: (retryAfterMs: number) => void;
  }) {
    this.#client = parts.client;
    this.#container = parts.container;
    this.windows = parts.windows;
    this.#clock = parts.clock;
    this.#onThrottled = parts.onThrottled;
  }

  async read<K extends Kind>(
    convoyId: string,
    kind: K,
    id: string,
  ): Promise<Versioned<ItemOf<K>> | undefined> {
    assertConvoyId(convoyId);
    const response = await this.#ask(
      { doing: `read ${kind}`, withinMs: callMsMax },
      (abortSignal) =>
        this.#container.item(id, convoyId).read<Record<string, unknown>>({ abortSignal }),
    );
    this.#charge(response.requestCharge);
    if (response.statusCode === 404 || !response.resource) {
      // The SDK does not throw here, also when it is the container that is missing.
      assertItemAbsent(response.substatus, `read ${kind}`);
      return undefined;
    }
    return { item: itemOf(kind, response.resource), etag: response.resource._etag };
  }

  async batch(convoyId: string, operations: OperationInput[]) {
    // [Z1] Errors stay as they are: a precondition that failed is an answer, not an error.
    try {
      const response = await this.#patiently(callMsMax, async (abortSignal) => {
        const answer = await this.#container.items.batch(operations, convoyId, {
          abortSignal,
          contentResponseOnWriteEnabled: false,
        });
        assertNotThrottled(answer.result ?? []);
        return answer;
      });
      const requestUnits = this.#charge(response.headers?.['x-ms-request-charge']);
      return { results: response.result ?? [], requestUnits };
    } catch (error) {
      this.#requestUnits += chargeOf(error);
      throw error;
    }
  }

  async collect<K extends Kind>(kind: K, query: Query, limit: number): Promise<ItemOf<K>[]> {
    return this.#ask({ doing: `query ${kind}`, withinMs: queryMsMax }, async (abortSignal) => {
      const maxItemCount = Math.min(limit, pageItemsMax);
      const iterator = this.#query(query, { abortSignal, maxItemCount });
      if (query.convoyId !== undefined) withoutPlan(iterator);
      const found: ItemOf<K>[] = [];
      while (found.length < limit && iterator.hasMoreResults()) {
        const response = await iterator.fetchNext();
        this.#charge(response.requestCharge);
        for (const resource of response.resources ?? []) found.push(itemOf(kind, resource));
      }
      return found.slice(0, limit);
    });
  }

  async page<K extends Kind>(
    kind: K,
    query: Query,
    at: { limit: number; continuation?: string },
  ): Promise<Page<ItemOf<K>>> {
    assertContinuation(at.continuation);
    return this.#ask({ doing: `list ${kind}`, withinMs: queryMsMax }, async (abortSignal) => {
      const iterator = this.#query(query, {
        abortSignal,
        maxItemCount: at.limit,
        ...(at.continuation === undefined ? {} : { continuationToken: at.continuation }),
      });
      for (let pages = 1; ; pages++) {
        const response = await iterator.fetchNext();
        this.#charge(response.requestCharge);
        const items = (response.resources ?? []).map((resource) => itemOf(kind, resource));
        const continuation = response.continuationToken;
        if (!continuation) return { items };
        if (items.length > 0 || pages === emptyPagesMax) return { items, continuation };
      }
    });
  }

  async values(query: Query): Promise<unknown[]> {
    return this.#ask({ doing: 'query of sums', withinMs: queryMsMax }, async (abortSignal) => {
      const iterator = this.#query(query, { abortSignal, maxItemCount: pageItemsMax });
      const values: unknown[] = [];
      while (iterator.hasMoreResults()) {
        const response = await iterator.fetchNext();
        this.#charge(response.requestCharge);
        values.push(...(response.resources ?? []));
      }
      return values;
    });
  }

  async account(): Promise<{ writableLocations: string[]; hasMultipleWriteRegions: boolean }> {
    return this.#ask({ doing: 'read of the account', withinMs: callMsMax }, async (abortSignal) => {
      const { resource } = await this.#client.getDatabaseAccount({ abortSignal });
      return {
        writableLocations: (resource?.writableLocations ?? []).map(({ name }) => name),
        hasMultipleWriteRegions: resource?.enableMultipleWritableLocations ?? false,
      };
    });
  }

  ask<Answer>(doing: string, work: (at: Asking) => Promise<Answer>): Promise<Answer> {
    const charge = (units: unknown): void => void this.#charge(units);
    // Not sent again: what was asked may be more than one request.
    const once = { doing, withinMs: queryMsMax, retriesMax: 0 };
    return this.#ask(once, (abortSignal) => work({ abortSignal, charge }));
  }

  requestUnits(): number {
    return this.#requestUnits;
  }

  close(): void {
    this.#client.dispose();
  }

  #query(query: Query, options: FeedOptions): QueryIterator<Record<string, unknown>> {
    const parameters = Object.entries(query.parameters).flatMap(([name, value]) =>
      value === undefined ? [] : { name: `@${name}`, value },
    );
    const scope = query.convoyId === undefined ? {} : { partitionKey: query.convoyId };
    return this.#container.items.query({ query: query.text, parameters }, { ...options, ...scope });
  }

  /** [R1] [R3] */
  async #ask<Answer>(
    { doing, withinMs, retriesMax }: { doing: string; withinMs: number; retriesMax?: number },
    work: (abortSignal: AbortSignal) => Promise<Answer>,
  ): Promise<Answer> {
    try {
      return await this.#patiently(withinMs, work, retriesMax);
    } catch (error) {
      this.#requestUnits += chargeOf(error);
      throw storeError(error, doing);
    }
  }

  /** [R1] [R4] */
  #patiently<Answer>(
    withinMs: number,
    work: (abortSignal: AbortSignal) => Promise<Answer>,
    retriesMax = throttledRetriesMax,
  ): Promise<Answer> {
    return within(this.#clock, withinMs, async (abortSignal) => {
      for (let retries = 0, waitedMs = 0; ; retries += 1) {
        try {
          return await work(abortSignal);
        } catch (error) {
          const pauseMs = pauseOfThrottled(error);
          if (pauseMs === undefined) throw error;
          this.#onThrottled(pauseMs);
          waitedMs += pauseMs;
          if (retries >= retriesMax || waitedMs > throttledMsMax) throw error;
          this.#charge(chargeOf(error));
          await sleep(this.#clock, pauseMs, abortSignal);
        }
      }
    });
  }

  #charge(units: unknown): number {
    const requestUnits = Number(units) || 0;
    this.#requestUnits += requestUnits;
    return requestUnits;
  }
}

/** [R1] Rejects when the work takes longer, even where the SDK does not look at the signal. */
async function within<Answer>(
  clock: Clock,
  withinMs: number,
  work: (abortSignal: AbortSignal) => Promise<Answer>,
): Promise<Answer> {
  const controller = new AbortController();
  const late = Promise.withResolvers<never>();
  const timer = clock.after(withinMs, () => {
    late.reject(new StoreUnavailable(`Cosmos DB did not answer within ${withinMs} ms`));
    controller.abort();
  });
  try {
    return await Promise.race([work(controller.signal), late.promise]);
  } finally {
    timer.cancel();
  }
}

/** [R2] Sets the member that would hold the promised plan. Should the SDK rename it, the plan is
 *  only asked for again: a test counts the requests. */
export function withoutPlan(iterator: QueryIterator<Record<string, unknown>>): void {
  const noPlan = new StoreUnavailable('Cosmos DB asked for a plan of a query of one partition');
  Object.assign(iterator, { queryPlanPromise: Promise.resolve(noPlan) });
}

/** It travels in a header; what the account never gave out is refused before the SDK throws. */
function assertContinuation(continuation: string | undefined): void {
  if (continuation === undefined || /^[\x20-\x7e]{1,8192}$/.test(continuation)) return;
  throw new StoreRefused(400, 'the continuation is not one of the account');
}

/** An item without what Cosmos adds to it. The edge where JSON becomes an item again. */
function itemOf<K extends Kind>(kind: K, resource: Record<string, unknown>): ItemOf<K> {
  return plainItem(kind, resource) as unknown as ItemOf<K>;
}

/** Throws StoreRefused when the item is of another kind. */
export function plainItem(kind: string, resource: Record<string, unknown>): object {
  const { _rid, _self, _etag, _ts, _attachments, ...item } = resource;
  if (item['kind'] !== kind) {
    throw new StoreRefused(500, `an item of kind ${String(item['kind'])}, not ${kind}`);
  }
  return item;
}
