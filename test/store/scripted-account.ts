// A Cosmos account that answers what a test says, for answers that no healthy server gives.
import http from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ScriptedRequest {
  method: string;
  path: string;
  headers: http.IncomingHttpHeaders;
  body: unknown;
}

/** `reset` destroys the socket; `hang` never answers. */
export type ScriptedAnswer =
  { status: number; body?: unknown; headers?: Record<string, string> } | 'reset' | 'hang';

export interface ScriptedAccount extends AsyncDisposable {
  connectionString: string;
  /** Everything asked so far, but the account document. */
  requests: ScriptedRequest[];
}

/** What `GET /` answers by default: one write region. */
export function accountDocument(regions: string[], port: number): Record<string, unknown> {
  const locations = regions.map((name) => ({
    name,
    databaseAccountEndpoint: `http://127.0.0.1:${port}/`,
  }));
  return {
    id: 'scripted',
    writableLocations: locations,
    readableLocations: locations,
    enableMultipleWriteLocations: regions.length > 1,
    userConsistencyPolicy: { defaultConsistencyLevel: 'Session' },
  };
}

const definitions: Record<string, unknown> = {
  '/dbs/convoys/colls/convoys': {
    id: 'convoys',
    partitionKey: { paths: ['/convoyId'], kind: 'Hash', version: 2 },
    defaultTtl: -1,
  },
  '/dbs/convoys/colls/windows': {
    id: 'windows',
    partitionKey: { paths: ['/windowId'], kind: 'Hash', version: 2 },
    defaultTtl: -1,
  },
};

/** Starts an account; where `answer` says nothing, containers exist and all else is absent. */
export async function startAccount(
  answer: (request: ScriptedRequest) => ScriptedAnswer | undefined,
  regions: string[] = ['West Europe'],
): Promise<ScriptedAccount> {
  const requests: ScriptedRequest[] = [];
  const server = http.createServer((request, response) => {
    void respond(request, response);
  });
  async function respond(request: http.IncomingMessage, response: http.ServerResponse) {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const path = decodeURIComponent(request.url ?? '');
    const body: unknown = text === '' ? undefined : JSON.parse(text);
    const asked = { method: request.method ?? '', path, headers: request.headers, body };
    if (path !== '/') requests.push(asked);
    const said = answer(asked) ?? byDefault(path);
    if (said === 'hang') return;
    if (said === 'reset') return void request.socket.destroy();
    const fallback = said.status >= 400 ? { message: `scripted ${said.status}` } : {};
    response.writeHead(said.status, { 'content-type': 'application/json', ...said.headers });
    response.end(JSON.stringify(said.body ?? fallback));
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  function byDefault(path: string): ScriptedAnswer {
    if (path === '/') return { status: 200, body: accountDocument(regions, port) };
    const body = definitions[path];
    return body === undefined ? { status: 404 } : { status: 200, body };
  }
  const key = Buffer.from('scripted').toString('base64');
  return {
    connectionString: `AccountEndpoint=http://127.0.0.1:${port}/;AccountKey=${key};`,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export const isBatch = ({ headers }: ScriptedRequest): boolean =>
  headers['x-ms-cosmos-is-batch-request'] !== undefined;

export const isQuery = ({ headers }: ScriptedRequest): boolean =>
  headers['x-ms-documentdb-isquery'] !== undefined;

export const isPlan = ({ headers }: ScriptedRequest): boolean =>
  headers['x-ms-cosmos-is-query-plan-request'] !== undefined;
