// Pages over one or several sources of the store, filled up after filtering.
//
// P1. A page never holds more than `limit` items; it may hold fewer although more follow: only a
//     missing continuation means the end.
// P2. A continuation belongs to its filters: with others it is refused, never misread.
// P3. A call reads at most `roundsMax` store pages, however few items pass the filter.
import { ConvoyError } from '../../shared/errors.ts';
import { hexHash } from '../../shared/keys.ts';
import { type Page, StoreRefused } from '../../shared/store/store.ts';

/** Reads the next page of one source. */
export type Source<Item> = (limit: number, continuation?: string) => Promise<Page<Item>>;

const roundsMax = 20;

interface Place {
  source: number;
  continuation: string | undefined;
}

export interface PageRequest {
  limit: number;
  /** The caller's continuation, or null for the first page. */
  continuation: string | null;
  /** Whatever selects the items: route and parameters without limit and continuation. */
  filters: string;
}

/** Walks the sources one after the other until the page is full. */
export async function pageOf<Item>(
  sources: readonly Source<Item>[],
  request: PageRequest,
): Promise<Page<Item>> {
  const items: Item[] = [];
  let place: Place | undefined = placeOf(request, sources.length);
  for (let round = 0; round < roundsMax && place && items.length < request.limit; round++) {
    const source: Source<Item> | undefined = sources[place.source];
    if (!source) break;
    const page = await readPage(source, request, { place, left: request.limit - items.length });
    items.push(...page.items);
    place = following(place, page.continuation, sources.length);
  }
  return place ? { items, continuation: tokenOf(place, request.filters) } : { items };
}

/** Anybody can make a token: what the store refuses because of it is the caller's fault. */
async function readPage<Item>(
  source: Source<Item>,
  { continuation: token }: PageRequest,
  { place, left }: { place: Place; left: number },
): Promise<Page<Item>> {
  try {
    return await source(left, place.continuation);
  } catch (error) {
    const isRefused = error instanceof StoreRefused && error.status === 400;
    if (isRefused && token !== null) throw notOurs(token, error);
    throw error;
  }
}

function following(
  place: Place,
  continuation: string | undefined,
  sources: number,
): Place | undefined {
  if (continuation !== undefined) return { source: place.source, continuation };
  const next = place.source + 1;
  return next < sources ? { source: next, continuation: undefined } : undefined;
}

const fingerprint = (filters: string): string => hexHash(filters).slice(0, 12);

function tokenOf({ source, continuation }: Place, filters: string): string {
  const parts = [fingerprint(filters), source, continuation ?? null];
  return Buffer.from(JSON.stringify(parts)).toString('base64url');
}

function placeOf({ continuation: token, filters }: PageRequest, sources: number): Place {
  if (token === null) return { source: 0, continuation: undefined };
  const [print, source, continuation] = partsOf(token);
  const isOurs =
    typeof source === 'number' && Number.isInteger(source) && source >= 0 && source < sources;
  if (!isOurs || (continuation !== null && typeof continuation !== 'string')) throw notOurs(token);
  if (print !== fingerprint(filters)) {
    throw new ConvoyError('CVY_BAD_REQUEST', 'the continuation was given for other filters');
  }
  return { source, continuation: continuation ?? undefined };
}

function partsOf(token: string): unknown[] {
  try {
    const parts: unknown = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
    if (Array.isArray(parts) && parts.length === 3) return parts;
  } catch {
    // Refused below like any other text that is not ours.
  }
  throw notOurs(token);
}

function notOurs(token: string, cause?: unknown): ConvoyError {
  return new ConvoyError(
    'CVY_BAD_REQUEST',
    `continuation=${token.slice(0, 40)} was not given out by this API`,
    { cause },
  );
}
