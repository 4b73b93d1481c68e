import { describe, expect, test } from 'vitest';
import { virtualClock, type Clock } from '../../shared/clock.ts';
import { createCosmosStore, type CosmosStore } from '../../shared/store/cosmos.ts';
import { StoreRefused, StoreUnavailable } from '../../shared/store/store.ts';
import type { StoreOperation } from '../../shared/store/store.ts';
import { freshId, gateItem, inboxItem } from '../contract/store-items.ts';
import {
  isBatch,
  isPlan,
  isQuery,
  startAccount,
  type ScriptedAccount,
  type ScriptedAnswer,
  type ScriptedRequest,
} from './scripted-account.ts';

const id = freshId();
const two: StoreOperation[] = [
  { kind: 'create', item: gateItem(id) },
  { kind: 'create', item: inboxItem(id, 1) },
];

interface Scene extends AsyncDisposable {
  account: ScriptedAccount;
  store: CosmosStore;
  /** The pause that each throttled request was asked for. */
  throttled: number[];
}

async function open(
  answer: (request: ScriptedRequest) => ScriptedAnswer | undefined,
  clock?: Clock,
): Promise<Scene> {
  const account = await startAccount(answer);
  const { connectionString } = account;
  const throttled: number[] = [];
  const onThrottled = (retryAfterMs: number): void => void throttled.push(retryAfterMs);
  const options = { onThrottled, ...(clock && { clock }) };
  const store = await createCosmosStore({ connectionString }, options);
  return {
    account,
    throttled,
    store,
    async [Symbol.asyncDispose]() {
      store.close();
      await account[Symbol.asyncDispose]();
    },
  };
}

const thrownBy = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    (value) => ({ accepted: value }),
    (error: unknown) => error,
  );

const operationResults = (...codes: number[]): ScriptedAnswer => ({
  status: codes.every((code) => code < 300) ? 200 : 207,
  body: codes.map((statusCode) => ({ statusCode, requestCharge: 1, eTag: `"${statusCode}"` })),
});

describe('what a batch makes of an answer', () => {
  test('etags of the operations when all succeeded', async () => {
    await using scene = await open((asked) =>
      isBatch(asked) ? operationResults(201, 200) : undefined,
    );

    const result = await scene.store.batch(id, two);
    expect(result).toMatchObject({ applied: true, etags: ['"201"', '"200"'] });
  });

  test.each([404, 409, 412])('an operation answered %i failed its precondition', async (code) => {
    await using scene = await open((asked) =>
      isBatch(asked) ? operationResults(424, code) : undefined,
    );

    expect(await scene.store.batch(id, two)).toEqual({ applied: false, failed: 1, status: code });
  });

  test.each([404, 409, 412])('a batch answered %i as a whole failed at its head', async (code) => {
    await using scene = await open((asked) => (isBatch(asked) ? { status: code } : undefined));

    expect(await scene.store.batch(id, two)).toEqual({ applied: false, failed: 0, status: code });
  });

  test.each([408, 410, 429, 449, 500, 503])(
    'an operation answered %i: the store is unavailable',
    async (code) => {
      await using scene = await open((asked) =>
        isBatch(asked) ? operationResults(424, code) : undefined,
      );

      expect(await thrownBy(scene.store.batch(id, two))).toBeInstanceOf(StoreUnavailable);
    },
  );

  test.each([401, 408, 410, 449, 500, 503])(
    'a batch answered %i: the store is unavailable, and it was asked once',
    async (status) => {
      await using scene = await open((asked) => (isBatch(asked) ? { status } : undefined));

      expect(await thrownBy(scene.store.batch(id, two))).toBeInstanceOf(StoreUnavailable);
      expect(scene.account.requests.filter(isBatch)).toHaveLength(1);
    },
  );

  test.each([400, 403, 413])('a batch answered %i is refused for good', async (status) => {
    await using scene = await open((asked) => (isBatch(asked) ? { status } : undefined));
    const error = await thrownBy(scene.store.batch(id, two));

    expect(error).toBeInstanceOf(StoreRefused);
    expect(error).toMatchObject({ status });
  });

  test.each([400, 413])('an operation answered %i is refused for good', async (status) => {
    await using scene = await open((asked) =>
      isBatch(asked) ? operationResults(status, 424) : undefined,
    );
    const error = await thrownBy(scene.store.batch(id, two));

    expect(error).toBeInstanceOf(StoreRefused);
    expect(error).toMatchObject({ status });
  });

  test('R4: a throttled batch is sent again as asked; each refusal is told', async () => {
    const headers = { 'x-ms-retry-after-ms': '37' };
    let refusals = 2;
    await using scene = await open((asked) => {
      if (!isBatch(asked)) return undefined;
      return refusals-- > 0 ? { status: 429, headers } : operationResults(201, 201);
    });

    expect(await scene.store.batch(id, two)).toMatchObject({ applied: true });
    expect(scene.throttled).toEqual([37, 37]);
    expect(scene.account.requests.filter(isBatch)).toHaveLength(3);
  });

  test('R4: in the end a throttled batch tells how long to wait', async () => {
    const headers = { 'x-ms-retry-after-ms': '37' };
    await using scene = await open((asked) =>
      isBatch(asked) ? { status: 429, headers } : undefined,
    );

    const error = await thrownBy(scene.store.batch(id, two));
    expect(error).toMatchObject({ retryAfterMs: 37, isThrottled: true });
    expect(scene.throttled).toEqual([37, 37, 37, 37]);
  });

  test('R4: a pause longer than a caller should wait is left to the caller', async () => {
    const headers = { 'x-ms-retry-after-ms': '5000' };
    await using scene = await open((asked) =>
      isBatch(asked) ? { status: 429, headers } : undefined,
    );

    expect(await thrownBy(scene.store.batch(id, two))).toMatchObject({ retryAfterMs: 5000 });
    expect(scene.throttled).toEqual([5000]);
  });

  test('R4: an operation that is throttled throttles its batch', async () => {
    await using scene = await open((asked) =>
      isBatch(asked) ? operationResults(429, 424) : undefined,
    );

    const error = await thrownBy(scene.store.batch(id, two));
    expect(error).toMatchObject({ isThrottled: true });
    expect(scene.throttled).toHaveLength(4);
  });

  test('a batch whose connection is lost has an unknown outcome and was asked once', async () => {
    await using scene = await open((asked) => (isBatch(asked) ? 'reset' : undefined));

    expect(await thrownBy(scene.store.batch(id, two))).toBeInstanceOf(StoreUnavailable);
    expect(scene.account.requests.filter(isBatch)).toHaveLength(1);
  });

  test('R1: a batch without an answer ends by its deadline', async () => {
    const clock = virtualClock();
    const asked = Promise.withResolvers<void>();
    await using scene = await open((request) => {
      if (!isBatch(request)) return undefined;
      asked.resolve();
      return 'hang';
    }, clock);
    const outcome = thrownBy(scene.store.batch(id, two));
    await asked.promise;
    await clock.advance(60_000);

    expect(await outcome).toBeInstanceOf(StoreUnavailable);
  });

  test('an answer that is not JSON leaves the outcome unknown', async () => {
    await using scene = await open((asked) =>
      isBatch(asked) ? { status: 200, body: 'no list' } : undefined,
    );

    expect(await thrownBy(scene.store.batch(id, two))).toBeInstanceOf(StoreUnavailable);
  });
});

describe('what a point read makes of an answer', () => {
  const isItem = ({ path }: ScriptedRequest): boolean => path.endsWith('/docs/gate');

  test('an item that is absent is undefined', async () => {
    await using scene = await open(() => undefined);

    expect(await scene.store.readGate(id)).toBeUndefined();
  });

  test.each([
    ['no replica is up to date enough', '1002'],
    ['the container is gone', '1003'],
  ])('a 404 because %s is not an absent item', async (_, substatus) => {
    const headers = { 'x-ms-substatus': substatus };
    await using scene = await open((asked) =>
      isItem(asked) ? { status: 404, headers } : undefined,
    );

    expect(await thrownBy(scene.store.readGate(id))).toBeInstanceOf(StoreUnavailable);
  });

  test.each([408, 449, 500])('%i: the store is unavailable, asked once', async (status) => {
    await using scene = await open((asked) => (isItem(asked) ? { status } : undefined));

    expect(await thrownBy(scene.store.readGate(id))).toBeInstanceOf(StoreUnavailable);
    expect(scene.account.requests.filter(isItem)).toHaveLength(1);
  });

  test('R4: a throttled request costs what its answer says, each time it is sent', async () => {
    const headers = { 'x-ms-request-charge': '0.38' };
    await using scene = await open(({ path }) =>
      path.includes('/docs') ? { status: 429, headers } : undefined,
    );
    await thrownBy(scene.store.readGate(id));
    await thrownBy(scene.store.batch(id, two));
    await thrownBy(scene.store.readOutbox(id));

    expect(scene.store.requestUnits()).toBeCloseTo(3 * 4 * 0.38, 5);
  });

  test('an item of another kind under the id is refused', async () => {
    const body = { ...inboxItem(id, 1), id: 'gate', _etag: '"1"' };
    await using scene = await open((asked) => (isItem(asked) ? { status: 200, body } : undefined));

    expect(await thrownBy(scene.store.readGate(id))).toMatchObject({ status: 500 });
  });

  test('a server that is not there: the store is unavailable', async () => {
    const scene = await open(() => undefined);
    await scene.account[Symbol.asyncDispose]();

    expect(await thrownBy(scene.store.readGate(id))).toBeInstanceOf(StoreUnavailable);
    expect(await thrownBy(scene.store.batch(id, two))).toBeInstanceOf(StoreUnavailable);
    scene.store.close();
  });
});

describe('what a query makes of its pages', () => {
  const page = (items: unknown[], continuation?: string): ScriptedAnswer => ({
    status: 200,
    body: { Documents: items, _count: items.length },
    headers: {
      'x-ms-request-charge': '2.5',
      ...(continuation === undefined ? {} : { 'x-ms-continuation': continuation }),
    },
  });

  test('R2: a query of one partition is one request, scoped twice, without a plan', async () => {
    await using scene = await open((asked) =>
      isQuery(asked) ? page([inboxItem(id, 1), inboxItem(id, 2)]) : undefined,
    );
    const before = scene.account.requests.length;
    const found = await scene.store.readInbox(id, { from: 1, to: 5, limit: 5 });

    const asked = scene.account.requests.slice(before);
    expect(found.map(({ position }) => position)).toEqual([1, 2]);
    expect(asked).toHaveLength(1);
    expect(asked[0]?.headers['x-ms-documentdb-partitionkey']).toBe(JSON.stringify([id]));
    expect(asked[0]?.body).toMatchObject({
      query: expect.stringContaining('c.convoyId = @convoyId'),
      parameters: expect.arrayContaining([{ name: '@convoyId', value: id }]),
    });
  });

  test('pages without items are read on, and the charge of each is counted', async () => {
    const pages = [page([], 'a'), page([inboxItem(id, 1)], 'b'), page([], 'c'), page([])];
    await using scene = await open((asked) => (isQuery(asked) ? pages.shift() : undefined));
    const found = await scene.store.readInbox(id, { from: 1, to: 9, limit: 9 });

    expect(found.map(({ position }) => position)).toEqual([1]);
    expect(scene.store.requestUnits()).toBe(10);
  });

  test('what was asked for is not asked again, whatever the continuation says', async () => {
    await using scene = await open((asked) =>
      isQuery(asked) ? page([inboxItem(id, 1), inboxItem(id, 2)], 'more') : undefined,
    );
    await scene.store.readInbox(id, { from: 1, to: 2, limit: 100 });

    expect(scene.account.requests.filter(isQuery)).toHaveLength(1);
  });

  test('a list across partitions hands its continuation through', async () => {
    await using scene = await open((asked) => {
      if (isPlan(asked)) return { status: 200, body: {} };
      if (!isQuery(asked)) return undefined;
      return asked.headers['x-ms-continuation'] === 'next'
        ? page([])
        : page([gateItem(id)], 'next');
    });
    const first = await scene.store.listGates({ limit: 1 });
    const second = await scene.store.listGates({ limit: 1, continuation: 'next' });

    expect(first).toEqual({ items: [gateItem(id)], continuation: 'next' });
    expect(second).toEqual({ items: [] });
  });

  test.each([429, 500])('%i: the store is unavailable', async (status) => {
    await using scene = await open((asked) => (isQuery(asked) ? { status } : undefined));

    expect(await thrownBy(scene.store.readInbox(id, { from: 1, to: 2, limit: 2 }))).toBeInstanceOf(
      StoreUnavailable,
    );
    expect(await thrownBy(scene.store.listGates({ limit: 2 }))).toBeInstanceOf(StoreUnavailable);
  });
});
