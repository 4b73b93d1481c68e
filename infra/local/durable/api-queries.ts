// Reading and removing instances over HTTP: status, lists, purge [reference/durable.md 9.2, 10].
import { json, missing, nextPage, pageDefault, pageOf, refuse, timesOf } from './api-call.ts';
import type { ApiCall } from './api-call.ts';
import { parsePlayed } from './generation.ts';
import type { HubResponse } from './parts.ts';
import { isTerminal } from './instances.ts';
import { statusPayload, type StatusFlags } from './status.ts';
import type { InstanceFilter, InstanceItem } from './storage.ts';

function flagsOf(query: URLSearchParams): StatusFlags {
  const isOn = (name: string) => query.get(name)?.toLowerCase() === 'true';
  return {
    showInput: query.get('showInput')?.toLowerCase() !== 'false',
    showHistory: isOn('showHistory'),
    showHistoryOutput: isOn('showHistoryOutput'),
  };
}

export function show({ parts, request, links }: ApiCall, id: string): HubResponse {
  parts.usage.storageTransactions++;
  const item = parts.storage.shownInstance(id);
  if (!item) return missing(id);
  const flags = flagsOf(request.query);
  const history = flags.showHistory ? parsePlayed(parts.storage.chunks(id).join(',')) : [];
  const body = statusPayload(item, flags, history);
  if (!isTerminal(item.status)) {
    return json(202, body, { location: links(id).statusQueryGetUri, 'retry-after': '5' });
  }
  const onFailure = request.query.get('returnInternalServerErrorOnFailure') === 'true';
  return json(item.status === 'Failed' && onFailure ? 500 : 200, body);
}

const statusNames = [
  'Pending',
  'Running',
  'Suspended',
  'Completed',
  'Failed',
  'Terminated',
  'ContinuedAsNew',
  'Canceled',
];

/** The filter of a query, or why it is malformed. */
function filterOf(query: URLSearchParams): Omit<InstanceFilter, 'after' | 'limit'> | string {
  const created = timesOf(query, 'createdTime');
  if (typeof created === 'string') return created;
  const statuses: string[] = [];
  for (const given of query.getAll('runtimeStatus').join(',').split(',')) {
    if (given.trim() === '') continue;
    const found = statusNames.find((name) => name.toLowerCase() === given.trim().toLowerCase());
    if (!found) return `runtimeStatus '${given}' is unknown.`;
    statuses.push(found);
  }
  const prefix = query.get('instanceIdPrefix') ?? '';
  return { createdFrom: created.from, createdTo: created.to, statuses, prefix };
}

export function list({ parts, request }: ApiCall): HubResponse {
  const { query } = request;
  const filter = filterOf(query);
  if (typeof filter === 'string') return refuse(400, filter);
  const page = pageOf(request);
  if (typeof page === 'string') return refuse(400, page);
  const found = parts.storage.listInstances({ ...filter, ...page });
  parts.usage.storageTransactions++;
  const flags = { ...flagsOf(query), showHistory: false };
  const body = found.map((item) => statusPayload(item, flags, []));
  return json(200, body, nextPage(found, page));
}

/** Entities are never terminal, and go all the same. */
export async function purgeOne({ parts }: ApiCall, id: string): Promise<HubResponse> {
  const { storage } = parts;
  parts.usage.storageTransactions += 4;
  return storage.commit(() => {
    const item = storage.shownInstance(id);
    if (!item) return missing(id);
    if (id.startsWith('@')) storage.entities.drop(id);
    else if (isTerminal(item.status)) storage.dropInstance(id);
    else return refuse(412, `The instance '${id}' has not ended: ${item.status}.`);
    return json(200, { instancesDeleted: 1 });
  });
}

export async function purgeMany({ parts, request }: ApiCall): Promise<HubResponse> {
  const { storage } = parts;
  if (!request.query.has('createdTimeFrom')) {
    return refuse(400, "Please provide value for 'createdTimeFrom' parameter.");
  }
  const filter = filterOf(request.query);
  if (typeof filter === 'string') return refuse(400, filter);
  let deleted = 0;
  let after = '';
  for (;;) {
    const page: InstanceItem[] = await storage.commit(() => {
      const found = storage.listInstances({ ...filter, after, limit: pageDefault });
      for (const item of found) {
        if (!isTerminal(item.status)) continue;
        storage.dropInstance(item.id);
        deleted++;
      }
      return found;
    });
    after = page.at(-1)?.id ?? '';
    if (page.length < pageDefault) break;
  }
  parts.usage.storageTransactions += 1 + 3 * deleted;
  if (deleted === 0) return refuse(404, 'No instance matches.');
  return json(200, { instancesDeleted: deleted });
}
