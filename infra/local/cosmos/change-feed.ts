// The change feed, latest-version mode: the newest version of every item, in the order of writing.
// Deletions and versions in between do not appear; an item written again moves to the end [CO
// 12.7].

import type { SQLInputValue } from 'node:sqlite';

import { readCharge } from './charge.ts';
import { badRequest, notSupported } from './errors.ts';
import type { Json } from './json.ts';
import { header, pageSize, type Reply, type Request } from './request.ts';
import type { Container, Storage } from './storage.ts';

const pageMax = 1000;
const pageBytesMax = 4 * 1024 * 1024;

function startOf(request: Request, lsn: number): number {
  const token = header(request, 'if-none-match');
  if (token === undefined) return 0;
  if (token === '*') return lsn;
  const from = Number(token.replaceAll('"', ''));
  if (!Number.isSafeInteger(from) || from < 0) throw badRequest('Invalid Continuation Token.');
  return from;
}

function sinceSeconds(request: Request): number | undefined {
  const since = header(request, 'if-modified-since');
  if (since === undefined || header(request, 'if-none-match') !== undefined) return undefined;
  const ms = Date.parse(since);
  if (Number.isNaN(ms)) throw badRequest('If-Modified-Since is not a date.');
  return Math.floor(ms / 1000);
}

export interface ChangeFeed {
  request: Request;
  keyValues: Json[] | undefined;
  /** Leaves out partition keys of other ranges than the one asked for; undefined = takes all. */
  isIncluded: ((pk: string) => boolean) | undefined;
}

function assertMode(request: Request): void {
  if (header(request, 'a-im')?.toLowerCase() === 'incremental feed') return;
  if (header(request, 'if-none-match') === undefined) {
    throw badRequest(
      'Change feed mode AllVersionsAndDeletes cannot start from the beginning. You must read the ' +
        'change feed from within the retention period.',
    );
  }
  throw notSupported('Change feed mode AllVersionsAndDeletes');
}

/** One page of the feed; 304 with the position when there is nothing new. */
export function readFeed(storage: Storage, container: Container, feed: ChangeFeed): Reply {
  const { request, keyValues, isIncluded } = feed;
  assertMode(request);
  const from = startOf(request, storage.lsn);
  const conditions = ['lsn>?', '(expires IS NULL OR expires>?)'];
  const values: SQLInputValue[] = [from, Math.floor(request.nowMs / 1000)];
  const since = sinceSeconds(request);
  if (since !== undefined) {
    conditions.push('ts>=?');
    values.push(since);
  }
  if (keyValues) {
    const key = JSON.stringify(keyValues);
    const isFull = keyValues.length === container.paths.length;
    conditions.push(isFull ? 'pk=?' : 'pk>=? AND pk<?');
    const prefix = `${key.slice(0, -1)},`;
    values.push(...(isFull ? [key] : [prefix, `${prefix}\u{10ffff}`]));
  }
  const countMax = Math.min(pageSize(request), pageMax);
  // With a filter beyond SQL nobody knows how many must be read for a page.
  const readMax = isIncluded ? -1 : countMax;
  const sql = `SELECT lsn,pk,body FROM items_${container.number}
    WHERE ${conditions.join(' AND ')} ORDER BY lsn LIMIT ?`;
  const items: string[] = [];
  let charge = 0;
  let bytes = 0;
  let last = from;
  for (const entry of storage.iterate(sql, [...values, readMax])) {
    const body = String(entry['body']);
    last = Number(entry['lsn']);
    if (isIncluded && !isIncluded(String(entry['pk']))) continue;
    items.push(`${body.slice(0, -1)},"_lsn":${last}}`);
    charge += readCharge(body.length);
    if (items.length === countMax || (bytes += body.length) > pageBytesMax) break;
  }
  const etag = `"${last}"`;
  if (items.length === 0) return { status: 304, charge: 1, etag };
  const count = String(items.length);
  const list = `"Documents":[${items.join(',')}],"_count":${count}`;
  const text = `{"_rid":"${container.rid}",${list}}`;
  return { status: 200, charge, etag, text, headers: ['x-ms-item-count', count] };
}
