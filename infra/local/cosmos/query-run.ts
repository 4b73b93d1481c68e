// A query over a container: which items to read, in which order, and one page of the result.
//
// Owns:    paging and continuation tokens, what Azure refuses for lack of an index.
// Leaves:  meaning to query-select.ts, the SQL to query-statement.ts and query-pushdown.ts.
//
// Invariants:
//   1. A page resumes after the last item returned, by position (order values, partition key,
//      id), so items written or deleted between pages neither repeat nor hide others.
//   2. Groups, DISTINCT and JOIN with ORDER BY are computed whole; their pages resume by count.
//   3. A page holds at most the asked count and about 4 MB.

import { createHash } from 'node:crypto';

import { queryCharge } from './charge.ts';
import { badRequest } from './errors.ts';
import { isObject, type Json, type Value } from './json.ts';
import { compile, type Context, type Evaluate, type Scope } from './query-compile.ts';
import { assertOrderServed } from './query-order.ts';
import { statementFor } from './query-statement.ts';
import { compareKeys, compileSelect, finish, usesName, type Selection } from './query-select.ts';
import type { Expression, Query } from './query-tree.ts';
import { selected } from './query-aggregate.ts';
import type { Container, Storage } from './storage.ts';

export interface QueryRequest {
  storage: Storage;
  container: Container;
  query: Query;
  text: string;
  context: Context;
  /** Partition key values of the header, or a prefix of them; undefined = all partitions. */
  keyValues: Json[] | undefined;
  /** Leaves out partition keys of other ranges than the one asked for; undefined = takes all. */
  isIncluded: ((pk: string) => boolean) | undefined;
  continuation: string | undefined;
  countMax: number;
  nowMs: number;
}

export interface Page {
  /** The results as the JSON text of a list, and how many they are. */
  text: string;
  count: number;
  continuation: string | undefined;
  charge: number;
  itemsLoaded: number;
}

const pageBytesMax = 4 * 1024 * 1024;
const scopesMax = 2_000_000;

/** Where a page ended. Order values are wrapped: `[]` is undefined, `[v]` is v. */
interface Position {
  /** Fingerprint of the query it belongs to. */
  of: string;
  /** Results given so far, for TOP and LIMIT; alone for results that are computed whole. */
  done: number;
  pk?: string;
  id?: string;
  /** Set when equals go by number. */
  number?: number;
  /** Results given of the item at (pk, id): JOIN gives several per item. */
  within?: number;
  keys?: Json[][];
}

interface Found {
  scope: Scope;
  pk: string;
  id: string;
  number: number;
  body: string;
  keys: Value[];
  within: number;
}

function readPosition(token: string | undefined, of: string): Position | undefined {
  if (token === undefined || token === '') return undefined;
  let read: unknown;
  try {
    read = JSON.parse(Buffer.from(token, 'base64url').toString());
  } catch {
    throw badRequest('Invalid Continuation Token.');
  }
  if (!isObject(read)) throw badRequest('Invalid Continuation Token.');
  const isValid =
    Number.isSafeInteger(read['done']) &&
    (read['number'] === undefined || Number.isSafeInteger(read['number'])) &&
    ['pk', 'id'].every((name) => read[name] === undefined || typeof read[name] === 'string') &&
    (read['keys'] === undefined ||
      (Array.isArray(read['keys']) && read['keys'].every(Array.isArray)));
  if (!isValid) throw badRequest('Invalid Continuation Token.');
  if (read['of'] !== of) throw badRequest('The continuation token belongs to another query.');
  return read as unknown as Position;
}

/** How items are bound: the name they are under, and what FROM makes of them. */
interface Root {
  name: string;
  /** `FROM c`: the item itself may be filtered in SQL. */
  isWhole: boolean;
  bind(item: Json): Scope[];
}

function rootVariable(expression: Expression): string | undefined {
  if (expression.kind === 'variable') return expression.name;
  return expression.kind === 'member' ? rootVariable(expression.target) : undefined;
}

function rootOf(query: Query, context: Context): Root {
  const { from } = query;
  const source = from?.each ?? from?.one;
  if (!from || !source) return { name: '', isWhole: false, bind: () => [{ names: {} }] };
  const name = rootVariable(source);
  if (name === undefined)
    throw badRequest('FROM (subquery) is not supported at the top of a query.');
  if (from.one?.kind === 'variable') {
    const alias = from.name;
    return { name: alias, isWhole: true, bind: (item) => [{ names: { [alias]: item } }] };
  }
  const evaluate: Evaluate = compile(source, { ...context, names: new Set([name]) });
  const bind = (item: Json): Scope[] => {
    const value = evaluate({ names: { [name]: item } });
    const values = from.each ? (Array.isArray(value) ? value : []) : [value];
    return values
      .filter((one) => one !== undefined)
      .map((one) => ({ names: { [from.name]: one } }));
  };
  return { name: from.name, isWhole: false, bind };
}

const isValueNeeded = (query: Query, name: string): boolean =>
  query.where !== undefined ||
  query.joins.length > 0 ||
  query.isDistinct ||
  [...selected(query), ...(query.group ?? []), ...(query.order ?? []).map(({ by }) => by)].some(
    (expression) => usesName(expression, name),
  );

/** One run of a query. */
class Run {
  readonly #request: QueryRequest;
  readonly #root: Root;
  readonly #selection: Selection;
  readonly #from: Position | undefined;
  readonly #of: string;
  #loaded = 0;
  #scopes = 0;
  /** Whether `#found` gives items in the order of the query. */
  #isOrdered = false;
  #isByNumber = false;

  constructor(request: QueryRequest) {
    const { query, context } = request;
    this.#request = request;
    this.#root = rootOf(query, context);
    this.#selection = compileSelect(query, context, query.from ? [query.from.name] : []);
    assertOrderServed(query, this.#root.name, request.container.policy);
    const scope = JSON.stringify(request.keyValues ?? null);
    this.#of = createHash('sha256').update(scope).update(request.text).digest('hex').slice(0, 16);
    this.#from = readPosition(request.continuation, this.#of);
  }

  page(): Page {
    const { query } = this.#request;
    if (!query.from) return this.#whole([{ names: {} }]);
    const isWhole = this.#selection.grouping || query.isDistinct;
    if (isWhole) return this.#whole(this.#scopesOf(this.#found(undefined, true)));
    return this.#stream();
  }

  *#scopesOf(found: Iterable<Found>): Generator<Scope> {
    for (const one of found) yield one.scope;
  }

  /** What passes FROM, JOIN and WHERE, read lazily; the body of an item only when it is needed. */
  *#found(resume: Position | undefined, isWhole = false): Generator<Found> {
    const { storage, container, query } = this.#request;
    const isValue = !this.#root.isWhole || isValueNeeded(query, this.#root.name);
    const isText = isValue || query.select.kind === 'all';
    const alias = this.#root.isWhole ? this.#root.name : undefined;
    const options = { ...this.#request, alias, resume, isWhole, isText };
    const { text: sql, values, isOrdered, isByNumber, count } = statementFor(options);
    this.#isOrdered = isOrdered;
    this.#isByNumber = isByNumber;
    const { isIncluded } = this.#request;
    if (count && !isIncluded && !isValueNeeded({ ...query, where: undefined }, this.#root.name)) {
      const [found] = storage.iterate(count.sql, count.values);
      yield* this.#copies(Number(found?.['n']));
      return;
    }
    const { bodyOf } = container.statements;
    const order = this.#selection.order ?? [];
    for (const entry of storage.iterate(sql, values)) {
      if (isIncluded && !isIncluded(String(entry['pk']))) continue;
      this.#loaded++;
      const text = entry['body'] ?? (isText && bodyOf.get(Number(entry['number']))?.['body']);
      const body = typeof text === 'string' ? text : '';
      const item: Json = isValue ? (JSON.parse(body) as Json) : {};
      let within = 0;
      for (const bound of this.#root.bind(item)) {
        for (const scope of this.#selection.expand(bound)) {
          if (++this.#scopes > scopesMax) throw badRequest('The query joins too many elements.');
          const keys = order.map(({ by }) => by(scope));
          const { pk, id, number } = entry as { pk: string; id: string; number: number };
          yield { scope, pk, id, number, body, keys, within: within++ };
        }
      }
    }
  }

  // No part of the query looks into an item: their number is all there is to know.
  *#copies(count: number): Generator<Found> {
    const [scope = { names: {} }] = this.#root.bind({});
    const one: Found = { scope, pk: '', id: '', number: 0, body: '', keys: [], within: 0 };
    for (let at = 0; at < count; at++) yield one;
  }

  #compare(one: Found, other: Omit<Found, 'scope' | 'body'>): number {
    const order = this.#selection.order ?? [];
    const byKeys = compareKeys(one.keys, other.keys, order);
    if (byKeys !== 0) return byKeys;
    if (this.#isByNumber) return one.number - other.number || one.within - other.within;
    const direction = order[0]?.isDescending ? -1 : 1;
    const byKey = Buffer.compare(Buffer.from(one.pk), Buffer.from(other.pk));
    if (byKey !== 0) return byKey * direction;
    const byId = Buffer.compare(Buffer.from(one.id), Buffer.from(other.id));
    return byId !== 0 ? byId * direction : one.within - other.within;
  }

  *#after(resume: Position | undefined): Generator<Found> {
    const last = resume?.pk !== undefined && {
      pk: resume.pk,
      id: resume.id ?? '',
      number: resume.number ?? 0,
      within: resume.within ?? 0,
      keys: (resume.keys ?? []).map(([value]) => value),
    };
    const isLater = (one: Found): boolean => !last || this.#compare(one, last) > 0;
    const found = this.#found(resume);
    const start = found.next();
    if (start.done) return;
    if (!this.#isOrdered) {
      const all = isLater(start.value) ? [start.value] : [];
      const most = this.#readAhead();
      for (const one of found) {
        if (isLater(one)) all.push(one);
        // Memory follows the page, not the container.
        if (all.length >= 2 * most) all.sort((a, b) => this.#compare(a, b)).splice(most);
      }
      yield* all.sort((one, other) => this.#compare(one, other));
      return;
    }
    if (isLater(start.value)) yield start.value;
    for (const one of found) if (isLater(one)) yield one;
  }

  /** Items beyond a page are needed only to know that there are some. */
  #readAhead(): number {
    const { countMax } = this.#request;
    return Math.max(countMax + (this.#from ? 0 : this.#selection.offset) + 1, 1000);
  }

  #stream(): Page {
    const { top, limit, offset, project } = this.#selection;
    const most = Math.min(top ?? Infinity, limit ?? Infinity) - (this.#from?.done ?? 0);
    const countMax = Math.min(this.#request.countMax, most);
    const texts: string[] = [];
    const isCopied = this.#root.isWhole && this.#request.query.select.kind === 'all';
    let skip = this.#from ? 0 : offset;
    let bytes = 0;
    let taken = 0;
    let last: Found | undefined;
    let isMore = false;
    for (const one of most > 0 ? this.#after(this.#from) : []) {
      if (skip-- > 0) continue;
      if (taken >= countMax || bytes > pageBytesMax) {
        isMore = taken < most;
        break;
      }
      last = one;
      taken++;
      bytes += one.body.length;
      const value = isCopied ? null : project(one.scope);
      if (value !== undefined) texts.push(isCopied ? one.body : JSON.stringify(value));
    }
    const done = (this.#from?.done ?? 0) + taken;
    return this.#pageOf(texts, isMore && last ? this.#positionOf(last, done) : undefined);
  }

  #positionOf(last: Found, done: number): Position {
    const keys = last.keys.map((value): Json[] => (value === undefined ? [] : [value]));
    const { pk, id, within, number } = last;
    const by = this.#isByNumber ? { number } : {};
    return { of: this.#of, done, pk, id, ...by, within, ...(keys.length > 0 && { keys }) };
  }

  #whole(scopes: Iterable<Scope>): Page {
    const all = finish(this.#request.query, this.#selection, scopes);
    const start = this.#from?.done ?? 0;
    const items = all.slice(start, start + this.#request.countMax);
    const done = start + items.length;
    return this.#pageOf(
      items.map((item) => JSON.stringify(item)),
      done < all.length ? { of: this.#of, done } : undefined,
    );
  }

  #pageOf(texts: readonly string[], position: Position | undefined): Page {
    const token = position && Buffer.from(JSON.stringify(position)).toString('base64url');
    const text = `[${texts.join(',')}]`;
    const bytesReturned = texts.length === 0 ? 0 : text.length;
    const charge = queryCharge({ itemsLoaded: this.#loaded, bytesReturned });
    const itemsLoaded = this.#loaded;
    return { text, count: texts.length, continuation: token, charge, itemsLoaded };
  }
}

/** One page of a query's result. */
export function runQuery(request: QueryRequest): Page {
  return new Run(request).page();
}
