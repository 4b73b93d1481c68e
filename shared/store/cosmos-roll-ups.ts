// The container `windows` in Azure Cosmos DB (H13): single items, each write sent once (Z1), each
// answer with the session token that makes a later read at least as new.
import type { ItemDefinition, ItemResponse, SqlQuerySpec } from '@azure/cosmos';
import { type Asking, type Connection, plainItem, withoutPlan } from './cosmos-client.ts';
import { assertItemAbsent, codeOf } from './cosmos-errors.ts';
import { itemIds, type WindowsItem } from './items.ts';
import { assertConvoyId, assertInstants } from './limits.ts';
import { assertLimit, idsUnder, pageOf, restOf } from './paging.ts';
import type { RollUpStore, WindowsRead, WindowsWrite } from './roll-ups.ts';
import { StoreRefused } from './store.ts';

type Kind = WindowsItem['kind'];
type ItemOf<K extends Kind> = Extract<WindowsItem, { kind: K }>;

const sessionHeader = 'x-ms-session-token';
const pageItemsMax = 1000;

export function rollUpsIn(connection: Connection): RollUpStore {
  const requests = new WindowsRequests(connection);
  return {
    readRollUp: (windowId, session) =>
      requests.read('head', { windowId, id: itemIds.head, session }),
    readContribution: (windowId, key) =>
      requests.read('contribution', { windowId, id: itemIds.contribution(key), session: '' }),
    createWindowsItem: (item) => requests.create(item),
    replaceWindowsItem: (item, ifMatch) => requests.replace(item, ifMatch),
    async listContributions(windowId, { session, limit, continuation }) {
      assertLimit(limit);
      const { from, below } = restOf(idsUnder('contribution'), continuation);
      const text =
        'SELECT * FROM c WHERE c.windowId = @windowId ' +
        'AND c.id >= @from AND c.id < @below ORDER BY c.id ASC';
      const query = queryOf(text, { windowId, from, below });
      const scope = { windowId, session, limit: limit + 1 };
      return pageOf(await requests.collect('contribution', query, scope), limit);
    },
    async rollUpsDue(range, limit) {
      assertLimit(limit);
      assertInstants(range);
      const { after, upTo } = range;
      const text = 'SELECT * FROM c WHERE c.dueAt > @after AND c.dueAt <= @upTo ORDER BY c.dueAt';
      return requests.collect('head', queryOf(text, { after, upTo }), { limit });
    },
    async listRollUps({ series, from, to, limit, continuation }) {
      assertLimit(limit);
      const after = continuation === undefined ? from - 1 : Number(continuation);
      assertInstants({ after, upTo: to });
      const text =
        'SELECT * FROM c WHERE c.series = @series AND c.start > @after AND c.start <= @to ' +
        'ORDER BY c.series ASC, c.start ASC';
      const query = queryOf(text, { series, after, to });
      const found = await requests.collect('head', query, { limit: limit + 1 });
      const items = found.slice(0, limit);
      const last = items.at(-1);
      return found.length > limit && last ? { items, continuation: String(last.start) } : { items };
    },
  };
}

function queryOf(query: string, parameters: Record<string, string | number>): SqlQuerySpec {
  const named = Object.entries(parameters).map(([name, value]) => ({ name: `@${name}`, value }));
  return { query, parameters: named };
}

class WindowsRequests {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async read<K extends Kind>(
    kind: K,
    at: { windowId: string; id: string; session: string },
  ): Promise<WindowsRead<ItemOf<K>>> {
    assertConvoyId(at.windowId);
    const doing = `read ${kind}`;
    return this.#connection.ask(doing, async ({ abortSignal, charge }) => {
      const item = this.#connection.windows.item(at.id, at.windowId);
      const response = await item.read<Record<string, unknown>>({
        abortSignal,
        ...(at.session && { sessionToken: at.session }),
      });
      charge(response.requestCharge);
      const session = sessionOf(response);
      if (response.statusCode === 404 || !response.resource) {
        assertItemAbsent(response.substatus, doing);
        return { found: undefined, session };
      }
      const found = itemOf(kind, response.resource);
      return { found: { item: found, etag: response.resource._etag }, session };
    });
  }

  create(item: WindowsItem): Promise<WindowsWrite> {
    return this.#write(`create ${item.kind}`, ({ abortSignal }) =>
      this.#connection.windows.items.create(item, {
        abortSignal,
      }),
    );
  }

  async replace(item: WindowsItem, ifMatch: string): Promise<WindowsWrite> {
    // An empty If-Match would be read as "no precondition".
    if (!ifMatch) throw new StoreRefused(400, 'replace without the etag to match');
    const { id, windowId } = item;
    return this.#write(`replace ${item.kind}`, ({ abortSignal }) =>
      this.#connection.windows.item(id, windowId).replace(item, {
        abortSignal,
        accessCondition: { type: 'IfMatch', condition: ifMatch },
      }),
    );
  }

  async collect<K extends Kind>(
    kind: K,
    query: SqlQuerySpec,
    scope: { windowId?: string; session?: string; limit: number },
  ): Promise<ItemOf<K>[]> {
    const { windowId, session, limit } = scope;
    if (windowId !== undefined) assertConvoyId(windowId);
    return this.#connection.ask(`query ${kind}`, async ({ abortSignal, charge }) => {
      const iterator = this.#connection.windows.items.query<Record<string, unknown>>(query, {
        abortSignal,
        maxItemCount: Math.min(limit, pageItemsMax),
        ...(windowId !== undefined && { partitionKey: windowId }),
        ...(session && { sessionToken: session }),
      });
      if (windowId !== undefined) withoutPlan(iterator);
      const found: ItemOf<K>[] = [];
      while (found.length < limit && iterator.hasMoreResults()) {
        const response = await iterator.fetchNext();
        charge(response.requestCharge);
        for (const resource of response.resources ?? []) found.push(itemOf(kind, resource));
      }
      return found.slice(0, limit);
    });
  }

  /** [Z1] A precondition that failed is an answer, not an error. */
  #write(
    doing: string,
    send: (at: Asking) => Promise<ItemResponse<ItemDefinition>>,
  ): Promise<WindowsWrite> {
    return this.#connection.ask(doing, async (at): Promise<WindowsWrite> => {
      try {
        const response = await send(at);
        at.charge(response.requestCharge);
        return { applied: true, etag: response.etag, session: sessionOf(response) };
      } catch (error) {
        const status = codeOf(error);
        if (status !== 404 && status !== 409 && status !== 412) throw error;
        assertItemAbsent(substatusOf(error), doing);
        return { applied: false, status };
      }
    });
  }
}

const sessionOf = (response: { headers: Record<string, unknown> }): string =>
  String(response.headers[sessionHeader] ?? '');

function substatusOf(error: unknown): number | undefined {
  const substatus = error instanceof Error && 'substatus' in error ? error.substatus : undefined;
  return typeof substatus === 'number' ? substatus : undefined;
}

// The edge where JSON becomes an item again.
function itemOf<K extends Kind>(kind: K, resource: Record<string, unknown>): ItemOf<K> {
  return plainItem(kind, resource) as unknown as ItemOf<K>;
}
