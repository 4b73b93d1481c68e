// PURE. Session tokens: how far in the write order a client has seen.

import { badRequest, CosmosError } from './errors.ts';
import { header, type Request } from './request.ts';

interface Reader {
  storage: { lsn: number };
  request: Request;
}

/** The token of an answer; every range here shares one write order. */
export const sessionToken = (lsn: number): string => `0:-1#${lsn}`;

/**
 * A client that has seen a later write than this server knows (its data was reset) must not be told
 * of an older state: Azure answers 404/1002. A token may hold several ranges: `0:-1#5,1:-1#7`.
 */
export function assertSession({ storage, request }: Reader): void {
  const token = header(request, 'x-ms-session-token');
  if (token === undefined) return;
  for (const part of token.split(',')) {
    const lsn = /^[^:]*:(?:-?\d+#)?(-?\d+)/.exec(part.trim())?.[1];
    if (lsn === undefined) {
      throw badRequest(`The session token '${token.slice(0, 80)}' is invalid.`);
    }
    if (Number(lsn) <= storage.lsn) continue;
    throw new CosmosError(404, 'The read session is not available for the input session token.', {
      substatus: 1002,
    });
  }
}
