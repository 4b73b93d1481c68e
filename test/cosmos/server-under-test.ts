// Servers and clients of a test, and requests as no client library would send them.
import { request as httpRequest, type OutgoingHttpHeaders } from 'node:http';
import { CosmosClient, type Container } from '@azure/cosmos';
import {
  startCosmos,
  type CosmosOptions,
  type CosmosServer,
} from '../../infra/local/cosmos/server.ts';

const opened: { close(): Promise<void> | void }[] = [];

/** Ends what a test has started; to be called after each. */
export async function closeAll(): Promise<void> {
  for (const one of opened.splice(0).toReversed()) await one.close();
}

export async function start(options: Partial<CosmosOptions> = {}): Promise<CosmosServer> {
  const server = await startCosmos({ file: ':memory:', port: 0, ...options });
  opened.push(server);
  return server;
}

export function clientOf(server: CosmosServer, key?: string): CosmosClient {
  const connectionString = key
    ? `AccountEndpoint=http://localhost:${server.port}/;AccountKey=${key};`
    : server.connectionString;
  const client = new CosmosClient(connectionString);
  opened.push({ close: () => client.dispose() });
  return client;
}

export async function containerOf(server: CosmosServer, more: object = {}): Promise<Container> {
  const { database } = await clientOf(server).databases.createIfNotExists({ id: 'd' });
  const definition = { id: 'items', partitionKey: '/pk', ...more };
  return (await database.containers.createIfNotExists(definition)).container;
}

export interface Raw {
  status: number;
  text: string;
  headers: NodeJS.Dict<string | string[]>;
}

export interface Sent {
  method: string;
  path: string;
  headers?: OutgoingHttpHeaders;
  body?: string;
}

/** A request as no client library would send it. */
export function raw(
  server: CosmosServer,
  { method, path, headers = {}, body }: Sent,
): Promise<Raw> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: server.port, method, path, headers };
    const request = httpRequest(options, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += String(chunk)));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text, headers: response.headers }),
      );
    });
    request.on('error', reject);
    request.end(body);
  });
}

export const items = '/dbs/d/colls/items/docs';
export const inP = { 'x-ms-documentdb-partitionkey': '["p"]' };
export const asQuery = {
  'content-type': 'application/query+json',
  'x-ms-documentdb-isquery': 'true',
  'x-ms-documentdb-query-enablecrosspartition': 'true',
};
export const asBatch = {
  ...inP,
  'x-ms-cosmos-is-batch-request': 'true',
  'x-ms-cosmos-batch-atomic': 'true',
};
