// Sockets of the host: loopback only, IPv4 and, where it is free, IPv6.
import { createServer, type RequestListener, type Server } from 'node:http';

export interface Listening {
  port: number;
  /** Takes no connection any more and cuts the idle ones; resolves when all are gone. */
  close(): Promise<void>;
}

/** A busy port rejects with `code: 'EADDRINUSE'` and the `port`. */
export async function listenOnLoopback(
  port: number,
  onRequest: RequestListener,
): Promise<Listening> {
  const servers = [await listen(createServer(onRequest), port, '127.0.0.1')];
  const bound = portOf(servers[0]);
  try {
    servers.push(await listen(createServer(onRequest), bound, '::1'));
  } catch {
    // no IPv6 here, or another program has it: IPv4 is enough
  }
  return {
    port: bound,
    close: async () => {
      await Promise.all(servers.map(closeServer));
    },
  };
}

function listen(server: Server, port: number, host: string): Promise<Server> {
  // a handler may run as long as the function time-out allows
  server.requestTimeout = 0;
  server.headersTimeout = 60_000;
  // longer than the clients of the durable API keep an idle connection
  server.keepAliveTimeout = 75_000;
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(Object.assign(error, { port })));
    server.listen({ port, host, ipv6Only: host === '::1' }, () => resolve(server));
  });
}

function portOf(server: Server | undefined): number {
  const address = server?.address();
  return typeof address === 'object' && address ? address.port : 0;
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
