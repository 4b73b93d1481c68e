// What Convoy relies on from Azure Cosmos DB, said through the official client. The same claims
// run on the local server and, with a target that opens an account of Azure, against the real
// service.
import {
  CosmosClient,
  type Container,
  type Database,
  type OperationInput,
  type PatchOperation,
} from '@azure/cosmos';
import { expect } from 'vitest';
import { type ClaimOf, type Contract as ContractOf, claimsOf } from './claims.ts';

/** An account where the claims may make a database. */
export interface Target {
  connectionString: string;
  databaseId: string;
  /** Lets time pass for the service. */
  pass(ms: number): Promise<void>;
  /** What time it is for the service. */
  nowMs(): number;
  close(): Promise<void>;
}

export type Contract = ContractOf<Target>;

export interface World {
  target: Target;
  client: CosmosClient;
  database: Database;
  /** Partition key `/pk`, TTL on without expiry. */
  container: Container;
}

export type Claim = ClaimOf<World>;

export const claimsFor = (contract: Contract): Claim =>
  claimsOf<Target, World>(contract, async (target, body) => {
    const client = new CosmosClient(target.connectionString);
    try {
      const { database } = await client.databases.createIfNotExists({ id: target.databaseId });
      const definition = { id: 'items', partitionKey: '/pk', defaultTtl: -1 };
      const { container } = await database.containers.createIfNotExists(definition);
      await body({ target, client, database, container });
    } finally {
      client.dispose();
    }
  });

/** The status a call is refused with; 0 when it is not. */
export async function statusOf(call: Promise<unknown>): Promise<number> {
  try {
    await call;
    return 0;
  } catch (error) {
    const { code, cause } = error as { code?: unknown; cause?: { code?: unknown } };
    const status = typeof code === 'number' ? code : cause?.code;
    if (typeof status === 'number') return status;
    throw error;
  }
}

export const ifMatch = (etag: string) =>
  ({ accessCondition: { type: 'IfMatch', condition: etag } }) as const;

/** A batch in partition `p`: the overall code and the code of each operation. */
export async function batchCodes(container: Container, operations: OperationInput[], pk = 'p') {
  const { code, result } = await container.items.batch(operations, pk);
  return { code, codes: result?.map((one) => one.statusCode) };
}

const create = (id: string, more: object = {}): OperationInput => ({
  operationType: 'Create',
  resourceBody: { id, pk: 'p', ...more },
});

export async function isThere(container: Container, id: string, pk = 'p'): Promise<boolean> {
  return (await container.item(id, pk).read()).statusCode === 200;
}

/** An item that was written twice: its old ETag and its current one. */
async function twice(container: Container, id: string) {
  const first = await container.items.upsert({ id, pk: 'p', n: 0 });
  const second = await container.items.upsert({ id, pk: 'p', n: 1 });
  return { stale: first.etag, current: second.etag };
}

/** Claims about single items: status, preconditions, keys, ids. */
export function itemClaims(claim: Claim): void {
  claim('an item is created once, read, replaced and deleted', async ({ container }) => {
    const created = await container.items.create({ id: 'a', pk: 'p', n: 1 });
    const again = await statusOf(container.items.create({ id: 'a', pk: 'p' }));
    const replaced = await container.item('a', 'p').replace({ id: 'a', pk: 'p', n: 2 });
    const read = await container.item('a', 'p').read();
    const deleted = await container.item('a', 'p').delete();
    const gone = await container.item('a', 'p').read();

    expect([created.statusCode, again, replaced.statusCode]).toEqual([201, 409, 200]);
    expect(read.resource).toMatchObject({ id: 'a', pk: 'p', n: 2, _etag: replaced.etag });
    expect(read.resource._rid).toBe(created.resource?._rid);
    expect(replaced.etag).not.toBe(created.etag);
    expect(replaced.etag).toMatch(/^"[^"]+"$/);
    expect([deleted.statusCode, gone.statusCode, gone.resource]).toEqual([204, 404, undefined]);
  });

  claim('a stale If-Match is refused by every write', async ({ container }) => {
    const { stale } = await twice(container, 'a');
    const item = container.item('a', 'p');
    const body = { id: 'a', pk: 'p', n: 9 };
    const set: PatchOperation[] = [{ op: 'set', path: '/n', value: 9 }];

    const refusals = [
      await statusOf(item.replace(body, ifMatch(stale))),
      await statusOf(container.items.upsert(body, ifMatch(stale))),
      await statusOf(item.patch(set, ifMatch(stale))),
      await statusOf(item.delete(ifMatch(stale))),
    ];

    expect(refusals).toEqual([412, 412, 412, 412]);
    expect((await item.read()).resource).toMatchObject({ n: 1 });
  });

  claim('the current If-Match passes once', async ({ container }) => {
    const { current } = await twice(container, 'a');
    const item = container.item('a', 'p');

    const first = await item.replace({ id: 'a', pk: 'p' }, ifMatch(current));
    const second = await statusOf(item.replace({ id: 'a', pk: 'p' }, ifMatch(current)));

    expect([first.statusCode, second]).toEqual([200, 412]);
  });

  claim('replace of a missing item is 404, upsert with If-Match creates it', async (world) => {
    const { container } = world;
    const replace = container.item('x', 'p').replace({ id: 'x', pk: 'p' }, ifMatch('"none"'));

    expect(await statusOf(replace)).toBe(404);
    const upsert = await container.items.upsert({ id: 'x', pk: 'p' }, ifMatch('"none"'));
    expect(upsert.statusCode).toBe(201);
  });

  claim('a read with the current ETag is 304', async ({ container }) => {
    const { current, stale } = await twice(container, 'a');
    const read = (etag: string) =>
      container.item('a', 'p').read({ accessCondition: { type: 'IfNoneMatch', condition: etag } });

    expect((await read(current)).statusCode).toBe(304);
    expect((await read(stale)).statusCode).toBe(200);
  });

  claim('keys of different types are different partitions', async ({ container }) => {
    const keys = [7, '7', 0, '', null, true, 'true'];
    for (const pk of keys) await container.items.create({ id: 'a', pk, typed: typeof pk });

    const read = await Promise.all(
      keys.map(async (pk) => (await container.item('a', pk).read()).resource?.typed),
    );

    expect(read).toEqual(keys.map((pk) => typeof pk));
  });

  claim('the key of the item must be the key of the request', async ({ container }) => {
    await container.items.create({ id: 'a', pk: 'p' });

    const moved = container.item('a', 'p').replace({ id: 'a', pk: 'q' });
    const patched = container.item('a', 'p').patch([{ op: 'set', path: '/pk', value: 'q' }]);

    expect([await statusOf(moved), await statusOf(patched)]).toEqual([400, 400]);
  });

  claim('ids keep any text but / and \\', async ({ container }) => {
    const ids = ['a b', 'é☃', 'a%20b', 'a+b', 'a:b', 'a"b', 'a?b', ' a ', 'x'.repeat(1023)];
    for (const id of ids) await container.items.create({ id, pk: 'p' });

    for (const id of ids) expect((await container.item(id, 'p').read()).resource?.id).toBe(id);
    expect(await statusOf(container.items.create({ id: 'x'.repeat(1024), pk: 'p' }))).toBe(400);
    for (const id of ['a/b', 'a\\b']) {
      const { codes } = await batchCodes(container, [create(id)]);
      expect([id, codes]).toEqual([id, [400]]);
    }
  });

  claim('an item may have 2 MB and no more', async ({ container }) => {
    const fits = await container.items.create({ id: 'a', pk: 'p', b: 'x'.repeat(2_095_000) });
    const tooLarge = container.items.create({ id: 'b', pk: 'p', b: 'x'.repeat(2_097_200) });

    expect(fits.statusCode).toBe(201);
    expect(await statusOf(tooLarge)).toBe(413);
  });

  claim('a hierarchical key needs all levels, a query may give a prefix', async ({ database }) => {
    const partitionKey = { paths: ['/t', '/u'], kind: 'MultiHash', version: 2 } as never;
    const { container } = await database.containers.create({ id: 'two', partitionKey });
    for (const [t, u] of ['AB', 'AC', 'ZB']) await container.items.create({ id: '1', t, u });

    const wrong = await statusOf(container.item('1', ['A', 'Z']).delete());
    const read = await container.item('1', ['A', 'C']).read();
    const query = container.items.query('SELECT VALUE c.u FROM c', { partitionKey: ['A'] });

    expect([wrong, read.resource?.u]).toEqual([404, 'C']);
    expect(new Set((await query.fetchAll()).resources)).toEqual(new Set(['B', 'C']));
  });

  claim('a unique key holds within its partition', async ({ database }) => {
    const uniqueKeyPolicy = { uniqueKeys: [{ paths: ['/mail'] }] };
    const definition = { id: 'unique', partitionKey: '/pk', uniqueKeyPolicy };
    const { container } = await database.containers.create(definition);
    await container.items.create({ id: '1', pk: 'p', mail: 'm' });

    const same = container.items.create({ id: '2', pk: 'p', mail: 'm' });

    expect(await statusOf(same)).toBe(409);
    expect((await container.items.create({ id: '2', pk: 'q', mail: 'm' })).statusCode).toBe(201);
    await container.item('1', 'p').replace({ id: '1', pk: 'p', mail: 'n' });
    expect((await container.items.create({ id: '2', pk: 'p', mail: 'm' })).statusCode).toBe(201);
  });

  claim('what is missing is 404', async ({ client, database }) => {
    const missing = database.container('none');
    expect(await statusOf(client.database('none').read())).toBe(404);
    expect(await statusOf(missing.read())).toBe(404);
    expect(await statusOf(missing.items.create({ id: 'a', pk: 'p' }))).toBe(404);
    expect(await statusOf(missing.items.batch([create('a')], 'p'))).toBe(404);
  });
}

/** Claims about the transactional batch. */
export function batchClaims(claim: Claim): void {
  claim('a batch applies whole', async ({ container }) => {
    const operations: OperationInput[] = [
      create('a', { n: 1 }),
      { operationType: 'Replace', id: 'a', resourceBody: { id: 'a', pk: 'p', n: 2 } },
      { operationType: 'Upsert', resourceBody: { id: 'b', pk: 'p' } },
      { operationType: 'Read', id: 'a' },
      {
        operationType: 'Patch',
        id: 'a',
        resourceBody: { operations: [{ op: 'incr', path: '/n', value: 5 }] },
      },
      { operationType: 'Delete', id: 'b' },
    ];

    const { code, result } = await container.items.batch(operations, 'p');

    expect([code, ...(result ?? []).map((one) => one.statusCode)]).toEqual([
      200, 201, 200, 201, 200, 200, 204,
    ]);
    expect(result?.[3]?.resourceBody).toMatchObject({ n: 2 });
    const { resource } = await container.item('a', 'p').read();
    expect(resource).toMatchObject({ n: 7, _etag: result?.[4]?.eTag });
    expect(await isThere(container, 'b')).toBe(false);
  });

  claim('a batch that fails leaves nothing, wherever it fails', async ({ container }) => {
    await container.items.create({ id: 'old', pk: 'p', n: 1 });
    const fails = create('old');
    const before = [
      create('x'),
      { operationType: 'Upsert', resourceBody: { id: 'old', pk: 'p', n: 9 } },
      { operationType: 'Delete', id: 'old' },
    ] satisfies OperationInput[];

    expect(await batchCodes(container, [fails, create('x')])).toEqual({
      code: 207,
      codes: [409, 424],
    });
    expect(await batchCodes(container, [before[0]!, before[1]!, fails])).toEqual({
      code: 207,
      codes: [424, 424, 409],
    });
    const missing = { operationType: 'Replace', id: 'no', resourceBody: { id: 'no', pk: 'p' } };
    expect(
      await batchCodes(container, [before[2]!, missing as OperationInput, create('x')]),
    ).toEqual({ code: 207, codes: [424, 404, 424] });
    expect(await isThere(container, 'x')).toBe(false);
    expect((await container.item('old', 'p').read()).resource).toMatchObject({ n: 1 });
  });

  claim('each operation of a batch has its own If-Match', async ({ container }) => {
    const { stale, current } = await twice(container, 'a');
    const replace = (etag: string): OperationInput => ({
      operationType: 'Replace',
      id: 'a',
      ifMatch: etag,
      resourceBody: { id: 'a', pk: 'p', n: 5 },
    });

    expect(await batchCodes(container, [create('x'), replace(stale)])).toEqual({
      code: 207,
      codes: [424, 412],
    });
    expect(await batchCodes(container, [create('x'), replace(current)])).toEqual({
      code: 200,
      codes: [201, 200],
    });
  });

  claim('a batch stays in one partition and within its bounds', async ({ container }) => {
    const foreign = container.items.batch([create('a'), create('b', { pk: 'q' })], 'p');
    const large = Array.from({ length: 3 }, (_, at) => create(`l${at}`, { b: 'x'.repeat(8e5) }));
    const hundred = Array.from({ length: 100 }, (_, at) => create(`h${at}`));

    expect(await statusOf(foreign)).toBe(400);
    expect(await statusOf(container.items.batch(large, 'p'))).toBe(413);
    expect((await batchCodes(container, hundred)).code).toBe(200);
    expect([await isThere(container, 'a'), await isThere(container, 'l0')]).toEqual([false, false]);
  });
}
