// PURE. The ATOM texts of the management API: entries, feeds and errors [SB 16.3-16.6].
import { errorOf } from './conditions.ts';
import { escapeXml } from './xml.ts';

export const entryType = 'application/atom+xml;type=entry;charset=utf-8';
export const feedType = 'application/atom+xml;type=feed;charset=utf-8';
const connect = 'http://schemas.microsoft.com/netservices/2010/10/servicebus/connect';

export interface Answer {
  status: number;
  type: string;
  body: string;
}

/** An entity as ATOM shows it. */
export interface AtomEntry {
  /** Below the namespace, with its slashes. */
  path: string;
  /** In milliseconds. */
  updatedAt: number;
  /** The name and the content of the description. */
  root: string;
  content: string;
}

/** An element with a text. */
export const element = (name: string, value: string | number | boolean): string =>
  `<${name}>${escapeXml(String(value))}</${name}>`;

export const instant = (ms: number): string => new Date(ms).toISOString();

/** The clients read the name of an entity out of the path of its id [SB 16.5]. */
function encodeEntry({ path, updatedAt, root, content }: AtomEntry, base: string): string {
  const id = escapeXml(`${base}/${encodeURI(path)}?api-version=2021-05`);
  return (
    `<entry xmlns="http://www.w3.org/2005/Atom"><id>${id}</id>` +
    `<title type="text">${escapeXml(path)}</title><updated>${instant(updatedAt)}</updated>` +
    `<content type="application/xml"><${root} xmlns="${connect}" ` +
    `xmlns:i="http://www.w3.org/2001/XMLSchema-instance">${content}</${root}></content></entry>`
  );
}

export function entryAnswer(status: number, entry: AtomEntry, base: string): Answer {
  return { status, type: entryType, body: encodeEntry(entry, base) };
}

/** A page of a list; `next` is the query of the following one. The clients look at the links only
 *  when there are several. */
export function feedAnswer(
  entries: readonly AtomEntry[],
  { base, path, next }: { base: string; path: string; next: string | undefined },
): Answer {
  const self = escapeXml(`${base}/${encodeURI(path)}`);
  const link = (rel: string, href: string): string => `<link rel="${rel}" href="${href}"/>`;
  const body =
    `<feed xmlns="http://www.w3.org/2005/Atom"><title type="text">${escapeXml(path)}</title>` +
    `<id>${self}</id>${link('self', self)}` +
    (next === undefined ? '' : link('next', `${self}?${escapeXml(next)}`)) +
    `${entries.map((entry) => encodeEntry(entry, base)).join('')}</feed>`;
  return { status: 200, type: feedType, body };
}

const statusOf: Record<string, number> = {
  'amqp:not-found': 404,
  'com.microsoft:entity-already-exists': 409,
  'com.microsoft:argument-error': 400,
  'amqp:resource-limit-exceeded': 403,
  'amqp:not-implemented': 501,
  'amqp:unauthorized-access': 401,
};

/** The body from which the clients take the message of their error [SB 16.6]. */
export function errorAnswer(thrown: unknown): Answer {
  const { condition, description } = errorOf(thrown);
  const status = statusOf[condition] ?? 500;
  return {
    status,
    type: 'application/xml; charset=utf-8',
    body: `<Error>${element('Code', status)}${element('Detail', description)}</Error>`,
  };
}
