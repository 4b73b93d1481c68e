// The table of everything the server answers; the rest is refused by name.

import {
  accountOf,
  createContainer,
  createDatabase,
  databaseNamed,
  deleteContainer,
  deleteDatabase,
  listContainers,
  listDatabases,
  replaceContainer,
} from './account.ts';
import { badRequest, methodNotAllowed, notFound, notSupported, ownerNotFound } from './errors.ts';
import { itemAction, partitionDelete } from './item-routes.ts';
import { isObject, type JsonObject } from './json.ts';
import { listOffers, offerNamed, replaceOffer, throughputOf } from './offers.ts';
import { rangesOf } from './partition-range.ts';
import { readParameters } from './query-compile.ts';
import { parseQuery } from './query-parse.ts';
import { contextOf, runOver } from './query-select.ts';
import { header, isQuery, type Action, type Reply, type Request } from './request.ts';
import type { Container, Storage } from './storage.ts';

function definitionReply(status: number, definition: JsonObject): Reply {
  const etag = String(definition['_etag']);
  return { status, charge: 1, text: JSON.stringify(definition), etag };
}

/** A list of definitions, or what a query over them selects. */
function listReply(feed: string, all: readonly JsonObject[], request: Request): Reply {
  const { body } = request;
  const text = isQuery(request) && isObject(body) ? body['query'] : undefined;
  if (isQuery(request) && typeof text !== 'string') {
    throw badRequest('The request payload has no query text.');
  }
  const parameters = readParameters(isObject(body) ? body['parameters'] : undefined);
  const context = contextOf(parameters, request.nowMs);
  const items = typeof text === 'string' ? runOver(parseQuery(text), context, all) : all;
  const reply = { _rid: '', [feed]: items, _count: items.length };
  return { status: 200, charge: 1, text: JSON.stringify(reply) };
}

const action = (info: Action['info'], run: Action['run']): Action => ({ info, run });

function databasesAction(storage: Storage, request: Request): Action {
  const info = { kind: 'other' } as const;
  if (request.method === 'GET' || (request.method === 'POST' && isQuery(request))) {
    return action(info, () => listReply('Databases', listDatabases(storage), request));
  }
  if (request.method !== 'POST') throw methodNotAllowed();
  const throughput = throughputOf(request);
  const { body, nowMs } = request;
  return action(info, async () => {
    const create = (): JsonObject => createDatabase(storage, { body, throughput, nowMs });
    return definitionReply(201, await storage.write(create));
  });
}

function databaseAction(storage: Storage, request: Request, id: string): Action {
  const info = { kind: 'other', database: id } as const;
  if (request.method === 'GET') {
    return action(info, () => {
      const definition = databaseNamed(storage, id);
      if (!definition) throw notFound();
      return definitionReply(200, definition);
    });
  }
  if (request.method !== 'DELETE') throw methodNotAllowed();
  return action(info, async () => {
    await storage.write(() => deleteDatabase(storage, id));
    return { status: 204, charge: 1 };
  });
}

function containersAction(storage: Storage, request: Request, database: string): Action {
  const info = { kind: 'other', database } as const;
  const assertOwner = (): void => {
    if (!databaseNamed(storage, database)) throw ownerNotFound();
  };
  if (request.method === 'GET' || (request.method === 'POST' && isQuery(request))) {
    return action(info, () => {
      assertOwner();
      return listReply('DocumentCollections', listContainers(storage, database), request);
    });
  }
  if (request.method !== 'POST') throw methodNotAllowed();
  const throughput = throughputOf(request);
  const { body, nowMs } = request;
  return action(info, async () => {
    const create = (): JsonObject =>
      createContainer(storage, { database, body, throughput, nowMs });
    return definitionReply(201, await storage.write(create));
  });
}

/** Indexes are there with the write that makes them: nobody ever waits for one. */
const indexed = ['x-ms-documentdb-collection-index-transformation-progress', '100'];

function containerAction(storage: Storage, request: Request, container: Container): Action {
  const { database, id, definition } = container;
  const info = { kind: 'other', database, container: id } as const;
  const { body, nowMs, method } = request;
  if (method === 'GET') {
    return action(info, () => ({ ...definitionReply(200, definition), headers: indexed }));
  }
  if (method === 'PUT') {
    return action(info, async () => {
      const replace = (): JsonObject =>
        replaceContainer(storage, storage.current(container), { body, nowMs });
      return definitionReply(200, await storage.write(replace));
    });
  }
  if (method !== 'DELETE') throw methodNotAllowed();
  return action(info, async () => {
    await storage.write(() => deleteContainer(storage, database, id));
    return { status: 204, charge: 1 };
  });
}

function rangesReply(container: Container): Reply {
  const { rid, rangeCount } = container;
  const ranges = rangesOf(container).map(({ id, min, max }) => ({
    id,
    minInclusive: min,
    maxExclusive: max,
    _rid: rid,
    ridPrefix: Number(id),
    throughputFraction: 1 / rangeCount,
    status: 'online',
    parents: [],
  }));
  const reply = { _rid: rid, PartitionKeyRanges: ranges, _count: rangeCount };
  return { status: 200, charge: 0, etag: '"1"', text: JSON.stringify(reply) };
}

/** The range list never changes: a client that polls it with its ETag gets 304. */
function rangesAction(request: Request, container: Container): Action {
  if (request.method !== 'GET') throw methodNotAllowed();
  const isKnown = header(request, 'if-none-match') === '"1"';
  const { database, id } = container;
  return action({ kind: 'other', database, container: id }, () =>
    isKnown ? { status: 304, charge: 0, etag: '"1"' } : rangesReply(container),
  );
}

const refusedNames: Record<string, string> = {
  sprocs: 'Stored procedures',
  triggers: 'Triggers',
  udfs: 'User-defined functions',
  users: 'Users and permissions',
  clientencryptionkeys: 'Client encryption keys',
  operations: 'Operations on containers',
};

/** With one region to write in, no write ever conflicts with another: the feed is empty. */
function conflictsAction(request: Request): Action {
  const isList = request.method === 'GET' || (request.method === 'POST' && isQuery(request));
  if (!isList) throw methodNotAllowed();
  return action({ kind: 'other' }, () => listReply('Conflicts', [], request));
}

function offersAction(storage: Storage, request: Request, id: string | undefined): Action {
  const info = { kind: 'other' } as const;
  const { method } = request;
  if (id === undefined) {
    const isList = method === 'GET' || (method === 'POST' && isQuery(request));
    if (!isList) throw methodNotAllowed();
    return action(info, () => listReply('Offers', listOffers(storage), request));
  }
  if (method === 'GET') return action(info, () => definitionReply(200, offerNamed(storage, id)));
  if (method !== 'PUT') throw methodNotAllowed();
  return action(info, async () => {
    const replace = (): JsonObject => replaceOffer(storage, id, request);
    return definitionReply(200, await storage.write(replace));
  });
}

function refused(name: string): Error {
  return Object.hasOwn(refusedNames, name) ? notSupported(refusedNames[name]!) : notFound();
}

/** Understands a request; throws when there is no such thing. */
export function resolveAction(storage: Storage, request: Request): Action {
  const { segments, method } = request;
  const [root, database, colls, id, feed] = segments;
  if (root === undefined) {
    if (method !== 'GET') throw methodNotAllowed();
    const text = JSON.stringify(accountOf(request.endpoint));
    return action({ kind: 'other' }, () => ({ status: 200, charge: 0, text }));
  }
  if (root === 'offers' && segments.length <= 2) return offersAction(storage, request, database);
  if (root !== 'dbs') throw notFound();
  if (database === undefined) return databasesAction(storage, request);
  if (colls === undefined) return databaseAction(storage, request, database);
  if (colls !== 'colls') throw refused(colls);
  if (id === undefined) return containersAction(storage, request, database);
  const container = storage.container(database, id);
  if (!container) throw segments.length === 4 ? notFound() : ownerNotFound();
  if (feed === undefined) return containerAction(storage, request, container);
  if (feed === 'pkranges') return rangesAction(request, container);
  if (feed === 'conflicts') return conflictsAction(request);
  if (feed === 'operations' && segments[5] === 'partitionkeydelete') {
    if (method !== 'POST') throw methodNotAllowed();
    return partitionDelete({ storage, container, request });
  }
  if (feed !== 'docs') throw refused(feed);
  if (segments.length > 6) throw notFound();
  return itemAction({ storage, container, request });
}
