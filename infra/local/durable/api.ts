// The durable HTTP API that the durable client calls [reference/durable.md 9.2, 10].
//
// Owns:    routes, parameters, status codes, the checks at the door (404, 409, 410, 412).
// Leaves:  sockets, keys and base paths to the host.
//
// Invariants:
//   R1. A check and the write it guards are one change: what was answered 202 was accepted by an
//       instance that was not terminal at that moment. It may still be lost later, as on Azure.
//   R2. What is not offered is refused by name with 501.
import { parsePlayed } from './generation.ts';
import { textOf } from './fault.ts';
import { eventType, type InboundEvent } from './history.ts';
import type { HubParts, HubRequest, HubResponse } from './hub.ts';
import { instanceIdFault, isoMs, isTerminal, newExecutionId } from './instances.ts';
import { postMessage, startInstance } from './instances.ts';
import { managementUrls, statusPayload, type BindingUrls } from './status.ts';
import type { InstanceFilter, InstanceItem } from './storage.ts';

export interface Api {
  handle(request: HubRequest): Promise<HubResponse>;
  /** The addresses that answers should name. */
  publishAt(urls: BindingUrls): void;
  close(): void;
}

interface Call {
  parts: HubParts;
  request: HubRequest;
  /** Decoded path segments. */
  path: string[];
  links: (id: string) => ReturnType<typeof managementUrls>;
}

const pageDefault = 100;
const pageMax = 1_000;
const continuationHeader = 'x-ms-continuation-token';

function json(status: number, body: unknown, headers: Record<string, string> = {}): HubResponse {
  const type = { 'content-type': 'application/json; charset=utf-8' };
  return { status, headers: { ...type, ...headers }, body: JSON.stringify(body) };
}

const refuse = (status: number, text: string): HubResponse => json(status, { Message: text });
const accepted = (): HubResponse => ({ status: 202, headers: {}, body: '' });
const missing = (id: string): HubResponse => refuse(404, `No instance with ID '${id}' was found.`);

export function openApi(parts: HubParts, taskHubName: string): Api {
  let urls: BindingUrls | undefined;
  let isClosed = false;
  return {
    publishAt(published) {
      urls = published;
    },
    close() {
      isClosed = true;
    },
    async handle(request) {
      if (isClosed) return refuse(503, 'The task hub is stopping.');
      const host = headerOf(request, 'host') ?? 'localhost';
      const webhookBaseUrl = `http://${host}/runtime/webhooks/durabletask`;
      const known = urls ?? { rpcBaseUrl: '', webhookBaseUrl };
      try {
        const path = request.path.split('?')[0]?.split('/').map(decodeURIComponent) ?? [];
        while (path.length > 1 && path.at(-1) === '') path.pop();
        const links = (id: string) => managementUrls(taskHubName, known, id);
        return await route({ parts, request, path, links });
      } catch (error) {
        if (error instanceof URIError) return refuse(400, 'The path is not well encoded.');
        parts.log('error', `durable API ${request.method} ${request.path}: ${textOf(error)}`);
        return refuse(500, textOf(error));
      }
    },
  };
}

function headerOf(request: HubRequest, name: string): string | undefined {
  return Object.entries(request.headers).find(([key]) => key.toLowerCase() === name)?.[1];
}

async function route(call: Call): Promise<HubResponse> {
  const { method } = call.request;
  const [area, first, verb] = call.path;
  const shape = `${method} ${area}/${call.path.length - 1}`;
  if (area === 'entities') return refuse(501, 'Entities are not supported by the local hub.');
  if (shape === 'POST orchestrators/1' || shape === 'POST orchestrators/2') return start(call);
  if (shape === 'GET instances/0') return list(call);
  if (shape === 'DELETE instances/0') return purgeMany(call);
  if (shape === 'GET instances/1' && first !== undefined) return show(call, first);
  if (shape === 'DELETE instances/1' && first !== undefined) return purgeOne(call, first);
  if (method === 'POST' && area === 'instances' && first !== undefined) {
    if (verb === 'raiseEvent' && call.path.length === 4) return raise(call, first);
    if (verb === 'terminate') return control(call, first, eventType.executionTerminated);
    if (verb === 'suspend') return control(call, first, eventType.executionSuspended);
    if (verb === 'resume') return control(call, first, eventType.executionResumed);
    if (verb === 'rewind' || verb === 'restart') {
      return refuse(501, `${verb} is not supported by the local hub.`);
    }
  }
  return refuse(404, `No such route: ${method} ${call.request.path}`);
}

/** JSON text as given, null when the body is empty; undefined when it is not JSON. */
function jsonText(body: string): string | null | undefined {
  if (body.trim() === '') return null;
  try {
    JSON.parse(body);
    return body.trim();
  } catch {
    return undefined;
  }
}

async function start({ parts, request, path, links }: Call): Promise<HubResponse> {
  const [, name = '', givenId] = path;
  const { storage, runner, clock } = parts;
  if (runner.kindOf(name) !== 'orchestration') {
    return refuse(
      400,
      `The function '${name}' doesn't exist, is disabled, or is not an orchestrator function.`,
    );
  }
  if (request.query.has('timeout')) {
    return refuse(501, 'create-and-wait is not supported by the local hub.');
  }
  const id = givenId ?? newExecutionId();
  const fault = instanceIdFault(id);
  if (fault) return refuse(400, fault);
  const input = jsonText(request.body);
  if (input === undefined) return refuse(400, 'Invalid JSON content.');
  const version = request.query.get('version') ?? '';
  const isStarted = await storage.commit(() =>
    startInstance(storage, { id, name, version, input, parent: null }, clock.now()),
  );
  parts.usage.storageTransactions += isStarted ? 4 : 1;
  if (!isStarted) {
    return refuse(409, `An Orchestration instance with the ID ${id} already exists.`);
  }
  parts.wake(id);
  await parts.intercept({ kind: 'instance-started', instanceId: id, name });
  const payload = links(id);
  return json(202, payload, { location: payload.statusQueryGetUri, 'retry-after': '10' });
}

async function raise(call: Call, id: string): Promise<HubResponse> {
  const { parts, request, path } = call;
  const name = path[3] ?? '';
  const type = headerOf(request, 'content-type')?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json') {
    return refuse(400, 'Only application/json request content is supported');
  }
  const input = jsonText(request.body);
  if (input === undefined || input === null) return refuse(400, 'Invalid JSON content.');
  if (/^\d+$/.test(name)) {
    // The SDK keeps tasks and events under one key space: "0" would complete task 0.
    return refuse(400, `The local hub refuses the numeric event name '${name}'.`);
  }
  const event: InboundEvent = {
    EventType: eventType.eventRaised,
    EventId: -1,
    Timestamp: isoMs(parts.clock.now()),
    Name: name,
    Input: input,
  };
  try {
    await parts.intercept({ kind: 'event-accepted', instanceId: id, name });
  } catch {
    return accepted(); // a test loses it, as a queue of Azure may
  }
  const refused = await post(call, id, event);
  if (refused) return refused;
  await parts.intercept({ kind: 'event-raised', instanceId: id, name });
  return accepted();
}

/** [R1] */
async function post(
  { parts }: Call,
  id: string,
  event: InboundEvent,
): Promise<HubResponse | undefined> {
  const { storage } = parts;
  const refused = await storage.commit(() => {
    const item = storage.instance(id);
    if (!item) return missing(id);
    if (isTerminal(item.status)) {
      return refuse(410, `The instance '${id}' has ended: ${item.status}.`);
    }
    const isSuspended = item.status === 'Suspended';
    if (event.EventType === eventType.executionSuspended && isSuspended) {
      return refuse(500, `Cannot suspend orchestration instance in the Suspended state.`);
    }
    if (event.EventType === eventType.executionResumed && !isSuspended) {
      return refuse(500, `Cannot resume orchestration instance in the ${item.status} state.`);
    }
    postMessage(storage, id, event);
    return undefined;
  });
  parts.usage.storageTransactions += refused ? 1 : 3;
  if (!refused) parts.wake(id);
  else if (refused.status === 410) {
    const what = event.EventType === eventType.eventRaised ? `event ${event.Name}` : 'a request';
    parts.log('warning', `${what} to ${id} is lost: the instance has ended (the SDK hides this)`);
  }
  return refused;
}

async function control(
  call: Call,
  id: string,
  type: 3 | typeof eventType.executionSuspended | typeof eventType.executionResumed,
): Promise<HubResponse> {
  const reason = call.request.query.get('reason') ?? '';
  const stamp = { EventId: -1, Timestamp: isoMs(call.parts.clock.now()) };
  const refused = await post(call, id, {
    EventType: type,
    ...stamp,
    Input: JSON.stringify(reason),
  });
  return refused ?? accepted();
}

function flagsOf(query: URLSearchParams) {
  const isOn = (name: string) => query.get(name)?.toLowerCase() === 'true';
  return {
    showInput: query.get('showInput')?.toLowerCase() !== 'false',
    showHistory: isOn('showHistory'),
    showHistoryOutput: isOn('showHistoryOutput'),
  };
}

function show({ parts, request, links }: Call, id: string): HubResponse {
  parts.usage.storageTransactions++;
  const item = parts.storage.instance(id);
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
  const createdFrom = Date.parse(query.get('createdTimeFrom') ?? '1970-01-01');
  const createdTo = Date.parse(query.get('createdTimeTo') ?? '9999-12-31');
  if (Number.isNaN(createdFrom) || Number.isNaN(createdTo)) return 'createdTime… is no instant.';
  const statuses: string[] = [];
  for (const given of (query.get('runtimeStatus') ?? '').split(',')) {
    if (given.trim() === '') continue;
    const found = statusNames.find((name) => name.toLowerCase() === given.trim().toLowerCase());
    if (!found) return `runtimeStatus '${given}' is unknown.`;
    statuses.push(found);
  }
  return { createdFrom, createdTo, statuses, prefix: query.get('instanceIdPrefix') ?? '' };
}

function list({ parts, request }: Call): HubResponse {
  const { query } = request;
  const filter = filterOf(query);
  if (typeof filter === 'string') return refuse(400, filter);
  const top = Number(query.get('top') ?? pageDefault);
  if (!Number.isInteger(top) || top < 1) return refuse(400, 'top is no positive integer.');
  const limit = Math.min(top, pageMax);
  const token = headerOf(request, continuationHeader) ?? '';
  const after = Buffer.from(token, 'base64').toString('utf8');
  const found = parts.storage.listInstances({ ...filter, after, limit });
  parts.usage.storageTransactions++;
  const flags = { ...flagsOf(query), showHistory: false };
  const body = found.map((item) => statusPayload(item, flags, []));
  const last = found.length === limit ? found.at(-1) : undefined;
  const next = last ? { [continuationHeader]: Buffer.from(last.id).toString('base64') } : {};
  return json(200, body, next);
}

async function purgeOne({ parts }: Call, id: string): Promise<HubResponse> {
  const { storage } = parts;
  parts.usage.storageTransactions += 4;
  return storage.commit(() => {
    const item = storage.instance(id);
    if (!item) return missing(id);
    if (!isTerminal(item.status)) {
      return refuse(412, `The instance '${id}' has not ended: ${item.status}.`);
    }
    storage.dropInstance(id);
    return json(200, { instancesDeleted: 1 });
  });
}

async function purgeMany({ parts, request }: Call): Promise<HubResponse> {
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
