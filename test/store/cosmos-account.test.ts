import { describe, expect, test } from 'vitest';
import { ConvoyError } from '../../shared/errors.ts';
import { convoysContainer } from '../../shared/store/cosmos-container.ts';
import { cosmosSettings } from '../../shared/store/cosmos-settings.ts';
import { createCosmosStore } from '../../shared/store/cosmos.ts';
import { StoreUnavailable } from '../../shared/store/store.ts';
import { startAccount, type ScriptedAnswer, type ScriptedRequest } from './scripted-account.ts';

const isContainer = ({ method, path }: ScriptedRequest): boolean =>
  method === 'GET' && path === '/dbs/convoys/colls/convoys';

async function openingOf(
  answer: (request: ScriptedRequest) => ScriptedAnswer | undefined,
): Promise<{ outcome: unknown; requests: ScriptedRequest[] }> {
  await using account = await startAccount(answer);
  const { connectionString, requests } = account;
  const outcome = await createCosmosStore({ connectionString }).then(
    (store) => (store.close(), 'opened'),
    (error: unknown) => error,
  );
  return { outcome, requests };
}

describe('the containers', () => {
  test('K1: what exists is read and nothing is created', async () => {
    const { outcome, requests } = await openingOf(() => undefined);

    expect(outcome).toBe('opened');
    expect(requests.map(({ method }) => method)).toEqual(['GET', 'GET']);
  });

  test('what is missing is created with its partition key, TTL and index', async () => {
    const created: unknown[] = [];
    const { outcome } = await openingOf((asked) => {
      if (asked.method === 'GET' && asked.path.startsWith('/dbs/')) return { status: 404 };
      if (asked.method !== 'POST') return undefined;
      created.push(asked.body);
      return asked.path === '/dbs' ? { status: 409 } : { status: 201, body: asked.body };
    });

    expect(outcome).toBe('opened');
    expect(created).toContainEqual(
      expect.objectContaining({
        id: 'convoys',
        partitionKey: { paths: ['/convoyId'], kind: 'Hash', version: 2 },
        defaultTtl: -1,
        indexingPolicy: convoysContainer.indexingPolicy,
      }),
    );
    expect(created).toContainEqual(expect.objectContaining({ id: 'windows' }));
  });

  test('a container that another process creates first is no fault', async () => {
    const { outcome } = await openingOf((asked) => {
      if (asked.method === 'POST') return { status: 409 };
      return asked.path.startsWith('/dbs/') ? { status: 404 } : undefined;
    });

    expect(outcome).toBe('opened');
  });

  test('where creation is forbidden the error says what to deploy', async () => {
    const { outcome } = await openingOf((asked) => {
      if (asked.method === 'POST') return { status: 403 };
      return asked.path.startsWith('/dbs/') ? { status: 404 } : undefined;
    });

    expect(outcome).toBeInstanceOf(ConvoyError);
    expect(outcome).toMatchObject({ code: 'CVY_SETTINGS' });
    expect(String(outcome)).toContain('windows of database convoys does not exist');
    expect(String(outcome)).toContain('/windowId');
  });

  test('an identity that may not read is told which role it lacks', async () => {
    const { outcome } = await openingOf((asked) =>
      isContainer(asked) ? { status: 403 } : undefined,
    );

    expect(outcome).toMatchObject({ code: 'CVY_SETTINGS' });
    expect(String(outcome)).toContain('Data Contributor');
  });

  test.each([
    ['another partition key', { partitionKey: { paths: ['/id'] }, defaultTtl: -1 }],
    ['K2: a TTL that deletes gates', { partitionKey: { paths: ['/convoyId'] }, defaultTtl: 60 }],
    ['K2: TTL off', { partitionKey: { paths: ['/convoyId'] } }],
  ])('a container with %s is refused', async (_, body) => {
    const { outcome } = await openingOf((asked) =>
      isContainer(asked) ? { status: 200, body } : undefined,
    );

    expect(outcome).toMatchObject({ code: 'CVY_SETTINGS' });
  });

  test('an account that cannot answer now is unavailable, not wrong', async () => {
    const { outcome } = await openingOf((asked) =>
      isContainer(asked) ? { status: 429 } : undefined,
    );

    expect(outcome).toBeInstanceOf(StoreUnavailable);
  });
});

describe('H14', () => {
  test('an account with several write regions is refused', async () => {
    await using account = await startAccount(() => undefined, ['West Europe', 'North Europe']);
    const store = await createCosmosStore({ connectionString: account.connectionString });
    const outcome = await store.check().catch((error: unknown) => error);
    store.close();

    expect(outcome).toMatchObject({ code: 'CVY_ENVIRONMENT' });
    expect(String(outcome)).toContain('West Europe,North Europe');
  });

  test('an account with one write region is accepted', async () => {
    await using account = await startAccount(() => undefined);
    const store = await createCosmosStore({ connectionString: account.connectionString });
    await expect(store.check()).resolves.toBeUndefined();
    store.close();
  });
});

describe('settings', () => {
  const connectionString =
    'AccountEndpoint=https://a.documents.azure.com:443/;AccountKey=c2VjcmV0;';

  test.each([
    ['a connection string', { CosmosConnection: connectionString }, { connectionString }],
    [
      'an endpoint',
      { CosmosConnection__accountEndpoint: 'https://a.documents.azure.com' },
      { endpoint: 'https://a.documents.azure.com' },
    ],
    [
      'an endpoint with an identity',
      {
        CosmosConnection__accountEndpoint: 'https://a.documents.azure.com',
        CosmosConnection__clientId: 'id-1',
      },
      { endpoint: 'https://a.documents.azure.com', clientId: 'id-1' },
    ],
  ])('%s is an address', (_, env, address) => {
    expect(cosmosSettings(env)).toEqual(address);
  });

  test.each([
    ['nothing', {}, 'neither CosmosConnection nor CosmosConnection__accountEndpoint'],
    ['no key', { CosmosConnection: 'AccountEndpoint=https://a/;' }, 'lacks AccountKey'],
    ['no endpoint', { CosmosConnection: 'AccountKey=c2VjcmV0;' }, 'lacks AccountEndpoint'],
    [
      'no address',
      { CosmosConnection__accountEndpoint: 'a b' },
      'CosmosConnection__accountEndpoint',
    ],
  ])('%s is refused by name', (_, env, text) => {
    expect(() => cosmosSettings(env)).toThrow(ConvoyError);
    expect(() => cosmosSettings(env)).toThrow(text);
  });

  test('no secret is in an error', async () => {
    const bad = 'AccountEndpoint=not an address;AccountKey=c2VjcmV0;';
    const outcome = await createCosmosStore({ connectionString: bad }).catch(
      (error: unknown) => error,
    );

    expect(outcome).toMatchObject({ code: 'CVY_SETTINGS' });
    expect(String(outcome)).not.toContain('c2VjcmV0');
    expect(() => cosmosSettings({ CosmosConnection: 'AccountKey=c2VjcmV0' })).not.toThrow(
      'c2VjcmV0',
    );
  });
});
