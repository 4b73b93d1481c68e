// Parsed queries by their text: applications send the same few texts again and again.

import { parseQuery } from './query-parse.ts';
import type { Query } from './query-tree.ts';

const queriesMax = 256;
const charactersMax = 8192;
const parsed = new Map<string, Query>();

/** The syntax tree of a query; nobody may change it. */
export function parsedQuery(text: string): Query {
  const known = parsed.get(text);
  if (known) return known;
  const query = parseQuery(text);
  if (text.length > charactersMax) return query;
  const [oldest] = parsed.size >= queriesMax ? parsed.keys() : [];
  if (oldest !== undefined) parsed.delete(oldest);
  parsed.set(text, query);
  return query;
}
