import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { virtualClock, type VirtualClock } from '../../shared/clock.ts';
import { CosmosFault, type CosmosIntercept } from '../../infra/local/cosmos/intercept.ts';
import { startCosmos, type CosmosServer } from '../../infra/local/cosmos/server.ts';
import { createCosmosStore, type CosmosStore } from '../../shared/store/cosmos.ts';
import { StoreUnavailable } from '../../shared/store/store.ts';
import { create, freshId, gateItem, inboxItem, progressItem } from '../contract/store-items.ts';
import { timedClaims } from '../contract/store-claims.ts';
import { storeContract } from '../contract/store.contract.ts';

interface Scene extends AsyncDisposable {
  server: CosmosServer;
  store: CosmosStore;
  clock: VirtualClock;
}

async function open(intercept?: CosmosIntercept): Promise<Scene> {
  const clock = virtualClock();
  const server = await startCosmos({
    file: ':memory:',
    port: 0,
    clock,
    ...(intercept ? { intercept } : {}),
  });
  const store = await createCosmosStore({ connectionString: server.connectionString });
  return {
    server,
    store,
    clock,
    async [Symbol.asyncDispose]() {
      store.close();
      await server.close();
    },
  };
}

storeContract({
  name: 'the local Cosmos server',
  open: async () => {
    const scene = await open();
    return {
      store: scene.store,
      advance: (byMs) => scene.clock.advance(byMs),
      close: async () => scene[Symbol.asyncDispose](),
    };
  },
});

const account = process.env['COSMOS_CONNECTION'];
if (account !== undefined) {
  storeContract({
    name: 'a Cosmos account',
    open: async () => {
      const store = await createCosmosStore(
        { connectionString: account },
        { database: 'convoys-contract' },
      );
      return { store, close: async () => store.close() };
    },
    skip: [{ reason: 'time is real there', tests: timedClaims }],
  });
}

describe('what requests cost on the local server', () => {
  const requestsOf = async (server: CosmosServer, work: () => Promise<unknown>) => {
    const before = server.usage().requests;
    await work();
    return server.usage().requests - before;
  };

  test('every read and write of the hot path is one request', async () => {
    await using scene = await open();
    const { server, store } = scene;
    const id = freshId();
    await create(store, [gateItem(id), progressItem(id), inboxItem(id, 1), inboxItem(id, 2)]);
    const range = { from: 1, to: 9, limit: 9 };

    expect(await requestsOf(server, () => store.readGate(id))).toBe(1);
    expect(await requestsOf(server, () => store.readProgress(id))).toBe(1);
    expect(await requestsOf(server, () => store.readInbox(id, range))).toBe(1);
    expect(await requestsOf(server, () => store.readInbox(id, { ...range, to: 1 }))).toBe(1);
    expect(await requestsOf(server, () => store.readOutbox(id))).toBe(1);
    expect(await requestsOf(server, () => create(store, [inboxItem(id, 3)]))).toBe(1);
  });

  test('request units are those that the server charged', async () => {
    await using scene = await open();
    const { server, store } = scene;
    const id = freshId();
    const before = { server: server.usage().requestUnits, store: store.requestUnits() };
    await create(store, [gateItem(id), progressItem(id), inboxItem(id, 1)]);
    await store.readGate(id);
    await store.readInbox(id, { from: 1, to: 2, limit: 2 });
    await store.batch(id, [{ kind: 'create', item: gateItem(id) }]);

    const charged = server.usage().requestUnits - before.server;
    expect(charged).toBeGreaterThan(10);
    expect(store.requestUnits() - before.store).toBeCloseTo(charged, 1);
  });
});

describe('faults of the server', () => {
  test('a lost answer leaves a write that happened, told as unavailable', async () => {
    let isLossy = false;
    await using scene = await open({
      after: ({ kind }) => {
        if (isLossy && kind === 'batch') throw new CosmosFault(503, { reset: true });
      },
    });
    const id = freshId();
    isLossy = true;
    const outcome = await create(scene.store, [gateItem(id)]).catch((error: unknown) => error);
    isLossy = false;

    expect(outcome).toBeInstanceOf(StoreUnavailable);
    expect((await scene.store.readGate(id))?.item).toEqual(gateItem(id));
  });

  test('a throttled write did not happen and says how long to wait', async () => {
    let isThrottled = false;
    await using scene = await open({
      before: ({ kind }) => {
        if (isThrottled && kind === 'batch') throw new CosmosFault(429, { retryAfterMs: 25 });
      },
    });
    const id = freshId();
    isThrottled = true;
    const outcome = await create(scene.store, [gateItem(id)]).catch((error: unknown) => error);
    isThrottled = false;

    expect(outcome).toBeInstanceOf(StoreUnavailable);
    expect(outcome).toMatchObject({ retryAfterMs: 25 });
    expect(await scene.store.readGate(id)).toBeUndefined();
  });

  test('the store goes on when the server comes back on its port', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'convoy-store-'));
    const file = join(folder, 'cosmos.sqlite');
    const first = await startCosmos({ file, port: 0 });
    const { port, connectionString } = first;
    const store = await createCosmosStore({ connectionString });
    const id = freshId();
    const [etag = ''] = await create(store, [gateItem(id)]);
    await first.close();
    const item = gateItem(id, { tail: 1 });
    const operations = [{ kind: 'replace' as const, item, ifMatch: etag }];
    const outcome = await store.batch(id, operations).catch((error: unknown) => error);
    const second = await startCosmos({ file, port });
    const again = await store.batch(id, operations);
    const read = await store.readGate(id);
    store.close();
    await second.close();
    rmSync(folder, { recursive: true });

    expect(outcome).toBeInstanceOf(StoreUnavailable);
    expect(again).toMatchObject({ applied: true });
    expect(read?.item.tail).toBe(1);
  });
});
