// PURE. The master-key signature of a request: HMAC-SHA256 over verb, resource type, resource
// link and date, as the client library computes it.

import { type KeyObject, createHmac, timingSafeEqual } from 'node:crypto';

import { CosmosError } from './errors.ts';

/** A signature is good for this long, before and after its date. */
const dateSlackMs = 15 * 60_000;

/**
 * The emulator's well-known key: public by design, for connection strings without a key of one's
 * own.
 */
export const emulatorKey =
  'C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==';

export interface SignedRequest {
  method: string;
  /** Decoded path segments. */
  segments: readonly string[];
  date: string | undefined;
  authorization: string | undefined;
  /** What the date may not be far from; undefined = any date. */
  nowMs: number | undefined;
  dateMs: number;
}

// A link with an even number of segments names a resource, an odd one the feed of its owner.
function resourceOf(all: readonly string[]): { type: string; link: string } {
  if (all[0] === 'offers' && all.length === 2) return { type: 'offers', link: all[1] ?? '' };
  // What is done to a whole container is signed as the container.
  const segments = all[4] === 'operations' ? all.slice(0, 4) : all;
  const isFeed = segments.length % 2 === 1;
  const type = (isFeed ? segments.at(-1) : segments.at(-2)) ?? '';
  return { type, link: (isFeed ? segments.slice(0, -1) : segments).join('/') };
}

const refused = (): CosmosError =>
  new CosmosError(
    401,
    "The input authorization token can't serve the request. The wrong key is being used or the " +
      'expected payload is not built as per the protocol.',
  );

/** Refuses a request whose signature was not made with this key: a KeyObject, made once, because a
 *  raw key would be made one at every request. */
export function assertSigned(request: SignedRequest, key: KeyObject): void {
  if (request.authorization === undefined || request.date === undefined) throw refused();
  let token: string;
  try {
    token = decodeURIComponent(request.authorization);
  } catch {
    throw refused();
  }
  const signature = /^type=master&ver=1\.0&sig=(.+)$/.exec(token)?.[1];
  if (!signature) throw refused();
  const { type, link } = resourceOf(request.segments);
  const text = [request.method.toLowerCase(), type.toLowerCase(), link, request.date.toLowerCase()];
  const expected = createHmac('sha256', key)
    .update(`${text.join('\n')}\n\n`)
    .digest();
  const given = Buffer.from(signature, 'base64');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw refused();
  const { nowMs, dateMs } = request;
  if (nowMs === undefined || Math.abs(nowMs - dateMs) <= dateSlackMs) return;
  throw new CosmosError(
    403,
    'The authorization token is not valid at the current time. Please create another token and ' +
      'retry.',
  );
}
