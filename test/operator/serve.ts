// The API and the board over plain HTTP on loopback, for the browser test: no host needed.
import { createServer } from 'node:http';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { boardResponse } from '../../functions/operator/routes.ts';
import { dispatch, type World } from './world.ts';

export interface Served extends AsyncDisposable {
  url: string;
}

/** `hostKey`: every route but the board answers 401 without it, as the real host does. */
export async function serve(world: World, options: { hostKey?: string } = {}): Promise<Served> {
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const headers = Object.fromEntries(
      Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
    );
    const isBoard = url.pathname === '/api/board';
    if (!isBoard && options.hostKey && headers['x-functions-key'] !== options.hostKey) {
      response.writeHead(401).end();
      return;
    }
    const given = { method: request.method ?? 'GET', url, headers, text: await text(request) };
    const answer = isBoard ? boardResponse() : await dispatch(world, given);
    response.writeHead(answer.status ?? 200, answer.headers as Record<string, string>);
    response.end(String(answer.body));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (!address || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://127.0.0.1:${address.port}/api/board`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
