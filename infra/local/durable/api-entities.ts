// Entities over HTTP: signal, read, list [reference/durable.md 10].
import { randomUUID } from 'node:crypto';
import { accepted, hasJsonType, json, jsonText, nextPage, pageOf, refuse } from './api-call.ts';
import { refuseArgument, timesOf, type ApiCall } from './api-call.ts';
import { deliver } from './delivery.ts';
import { postRequest } from './entity-messages.ts';
import type { EntityItem } from './entity-storage.ts';
import { nameOf } from './entities.ts';
import { entityIdOf, type EntityRequest } from './history.ts';
import type { HubResponse } from './parts.ts';
import { isoMs } from './instances.ts';

const emptyKey = '$';

export async function onEntity(call: ApiCall): Promise<HubResponse> {
  const { method } = call.request;
  const [, name = '', givenKey] = call.path;
  if (method === 'GET' && givenKey === undefined) return list(call, name);
  if (name === '') return refuse(404, 'No entity name.');
  const key = givenKey === emptyKey ? '' : (givenKey ?? '');
  const id = entityIdOf({ name, key });
  if (method === 'GET') return read(call, id);
  if (method === 'POST') return signal(call, id, call.request.query.get('op') ?? '');
  if (method === 'DELETE') return signal(call, id, 'delete');
  return refuse(404, `No such route: ${method} ${call.request.path}`);
}

function read({ parts }: ApiCall, id: string): HubResponse {
  parts.usage.storageTransactions++;
  const item = parts.storage.entities.entity(id);
  if (!item?.doesExist) return refuse(404, `No entity ${id}.`);
  return { ...json(200, null), body: item.state ?? 'null' };
}

async function signal({ parts, request }: ApiCall, id: string, op: string): Promise<HubResponse> {
  const { storage, runner, clock } = parts;
  const { name } = nameOf(id);
  if (runner.kindOf(name) !== 'entity') {
    const text = `The function '${name}' doesn't exist, is disabled, or is not an entity function.`;
    return refuseArgument(text);
  }
  const input = hasJsonType(request) ? jsonText(request.body) : JSON.stringify(request.body);
  if (input === undefined) return refuse(400, 'Could not parse JSON content.');
  const isEmpty = input === null || request.body === '';
  const message: EntityRequest = {
    op,
    signal: true,
    ...(isEmpty ? {} : { input }),
    id: randomUUID(),
  };
  await deliver(parts, async () => {
    await storage.commit(() =>
      postRequest(storage, { entityId: id, request: message }, clock.now()),
    );
    parts.usage.storageTransactions += 2;
    parts.wakeEntity(id);
  });
  return accepted();
}

function list({ parts, request }: ApiCall, name: string): HubResponse {
  const times = timesOf(request.query, 'lastOperationTime');
  if (typeof times === 'string') return refuse(400, times);
  const page = pageOf(request);
  if (typeof page === 'string') return refuse(400, page);
  const prefix = name === '' ? '' : `@${name.toLowerCase()}@`;
  const range = { updatedFrom: times.from, updatedTo: times.to };
  const found = parts.storage.entities.list({ ...page, ...range, prefix });
  parts.usage.storageTransactions++;
  const withState = request.query.get('fetchState')?.toLowerCase() === 'true';
  return json(
    200,
    found.map((item) => shown(item, withState)),
    nextPage(found, page),
  );
}

function shown(item: EntityItem, withState: boolean): object {
  const state = withState ? { state: JSON.parse(item.state ?? 'null') as unknown } : {};
  return { entityId: nameOf(item.id), lastOperationTime: isoMs(item.updatedAt), ...state };
}
