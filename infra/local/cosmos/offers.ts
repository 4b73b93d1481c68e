// Throughput as resources: an offer per container or database. A container without one of its own,
// in a database without one, has Azure's default.
//
// The default is shown but not enforced: only a throughput somebody asked for is (throttle.ts).

import { badRequest, notFound, notSupported } from './errors.ts';
import { isObject, type JsonObject } from './json.ts';
import { header, type Request } from './request.ts';
import type { Storage } from './storage.ts';

const throughputDefault = 400;
const manualStep = 100;
const manualMin = 400;
const autoscaleStep = 1000;
const autoscaleMin = 1000;
/** One physical partition serves this much; beyond it Azure starts with more, smaller ones. */
const throughputOfOneRange = 10_000;
const throughputPerRange = 6_000;
const rangesMax = 100;

export interface Throughput {
  /** Request units per second; with autoscale the most. */
  most: number;
  isAutoscale: boolean;
}

function checked(value: unknown, isAutoscale: boolean): Throughput {
  const most = Number(value);
  const [least, step] = isAutoscale ? [autoscaleMin, autoscaleStep] : [manualMin, manualStep];
  if (!Number.isInteger(most) || most < least || most % step !== 0) {
    throw badRequest(
      `The offer should have valid throughput values between ${least} and 1000000 inclusive ` +
        `in increments of ${step}.`,
    );
  }
  return { most, isAutoscale };
}

/** The throughput that the headers of a create request ask for. */
export function throughputOf(request: Request): Throughput | undefined {
  const manual = header(request, 'x-ms-offer-throughput');
  const autoscale = header(request, 'x-ms-cosmos-offer-autopilot-settings');
  if (autoscale === undefined) return manual === undefined ? undefined : checked(manual, false);
  if (manual !== undefined) {
    throw badRequest('Manual throughput and autoscale cannot be asked for together.');
  }
  let settings: unknown;
  try {
    settings = JSON.parse(autoscale);
  } catch {
    throw badRequest('The autoscale settings are not valid JSON.');
  }
  return checked(isObject(settings) ? settings['maxThroughput'] : undefined, true);
}

const contentOf = ({ most, isAutoscale }: Throughput): JsonObject => ({
  offerThroughput: isAutoscale ? most / 10 : most,
  offerIsRUPerMinuteThroughputEnabled: false,
  ...(isAutoscale && { offerAutopilotSettings: { maxThroughput: most } }),
});

/** Makes the offer of a database or container; `undefined` is the default. Inside a write. */
export function createOffer(
  storage: Storage,
  definition: JsonObject,
  throughput: Throughput | undefined,
): void {
  const owner = String(definition['_rid']);
  const asked = throughput ?? { most: throughputDefault, isAutoscale: false };
  const isOne = asked.most <= throughputOfOneRange;
  const ranges = isOne ? 1 : Math.min(rangesMax, Math.ceil(asked.most / throughputPerRange));
  const insert = storage.sql.prepare('INSERT INTO offers(owner,ranges,body) VALUES(?,?,?)');
  const number = Number(insert.run(owner, ranges, '{}').lastInsertRowid);
  const id = `of${number.toString(36).padStart(2, '0')}`;
  const offer: JsonObject = {
    id,
    _rid: id,
    _self: `offers/${id}/`,
    _etag: definition['_etag'] ?? '',
    _ts: definition['_ts'] ?? 0,
    resource: definition['_self'] ?? '',
    offerResourceId: owner,
    offerVersion: 'V2',
    offerType: 'Invalid',
    content: contentOf(asked),
  };
  storage.sql.prepare('UPDATE offers SET body=? WHERE number=?').run(JSON.stringify(offer), number);
}

/** Whether a database or container has an offer of its own. */
export function hasOffer(storage: Storage, definition: JsonObject): boolean {
  const find = storage.sql.prepare('SELECT 1 FROM offers WHERE owner=?');
  return find.get(String(definition['_rid'])) !== undefined;
}

/** Inside a write. */
export function deleteOffer(storage: Storage, definition: JsonObject): void {
  storage.sql.prepare('DELETE FROM offers WHERE owner=?').run(String(definition['_rid']));
}

export function listOffers(storage: Storage): JsonObject[] {
  const all = storage.sql.prepare('SELECT body FROM offers ORDER BY number').all();
  return all.map((found) => JSON.parse(String(found['body'])) as JsonObject);
}

/** Throws 404 when there is none. */
export function offerNamed(storage: Storage, id: string): JsonObject {
  const offer = listOffers(storage).find((one) => one['id'] === id);
  if (!offer) throw notFound();
  return offer;
}

/** Changes a throughput; in force from the next request on. Inside a write. */
export function replaceOffer(storage: Storage, id: string, request: Request): JsonObject {
  const before = offerNamed(storage, id);
  const { body } = request;
  const content = isObject(body) ? body['content'] : undefined;
  if (!isObject(body) || !isObject(content)) throw badRequest('An offer needs its content.');
  if (body['id'] !== id || body['_rid'] !== before['_rid']) {
    throw badRequest('The id of an offer cannot be changed.');
  }
  const settings = content['offerAutopilotSettings'];
  const isAutoscale = isObject(settings);
  const was = before['content'];
  if (isAutoscale !== (isObject(was) && isObject(was['offerAutopilotSettings']))) {
    throw notSupported('Changing between manual and autoscale throughput');
  }
  const asked = checked(
    isAutoscale ? settings['maxThroughput'] : content['offerThroughput'],
    isAutoscale,
  );
  const offer = { ...before, content: contentOf(asked), _ts: Math.floor(request.nowMs / 1000) };
  const owner = String(before['offerResourceId']);
  storage.sql.prepare('UPDATE offers SET body=? WHERE owner=?').run(JSON.stringify(offer), owner);
  const find = `SELECT number,database,id FROM containers WHERE json_extract(body,'$._rid')=?`;
  const container = storage.sql.prepare(find).get(owner);
  if (container) {
    storage.sql
      .prepare('UPDATE containers SET throughput=? WHERE number=?')
      .run(asked.most, Number(container['number']));
    storage.forget(String(container['database']), String(container['id']));
  } else storage.forgetAll();
  return offer;
}
