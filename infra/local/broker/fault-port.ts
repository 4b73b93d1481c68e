// Faults over the management port, for tests in another process. Only there when asked for.
//
//   GET    /faults           the rules, with how often each was met
//   POST   /faults           adds the rule of the JSON body → 201 {"number": n}
//   DELETE /faults[/{n}]     removes one rule or all → 204
//   POST   /faults/{deed}    drop-connections {} · lose-session-lock {queue, sessionId} ·
//                            lose-message-locks {queue} · detach-links {queue, condition?}
//                            → 200 {"count": n}
//
// A page in a browser cannot reach it: the content type must be JSON and the host a loopback name.
import type { IncomingMessage } from 'node:http';
import type { Answer } from './atom.ts';
import { errorOf, refusals } from './conditions.ts';
import type { Deeds } from './deeds.ts';
import { faultNames, stepKinds } from './faults.ts';
import type { FaultRule, Faults } from './faults.ts';

export interface FaultPort {
  faults: Faults;
  deeds: Deeds;
}

type Json = Record<string, unknown>;

const isText = (value: unknown): boolean => typeof value === 'string';
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 1;
const within = (most: number) => (value: unknown) =>
  typeof value === 'number' && value >= 0 && value <= most;

const members: Record<string, (value: unknown) => boolean> = {
  fault: (value) => faultNames.some((name) => name === value),
  kinds: (value) =>
    Array.isArray(value) && value.every((kind) => stepKinds.some((known) => known === kind)),
  queue: isText,
  sessionId: isText,
  messageId: isText,
  from: isCount,
  times: isCount,
  probability: within(1),
  perSecond: within(1_000_000),
  delayMs: within(3_600_000),
  condition: isText,
};

function objectOf(text: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw refusals.badRequest('The body is not JSON.');
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw refusals.badRequest('The body is not an object.');
  }
  return { ...value };
}

function isRule(rule: Json): rule is Json & FaultRule {
  for (const [name, value] of Object.entries(rule)) {
    const isValid = Object.hasOwn(members, name) ? members[name] : undefined;
    if (!isValid) throw refusals.badRequest(`A rule has no member '${name.slice(0, 40)}'.`);
    if (!isValid(value)) throw refusals.badRequest(`The '${name}' of the rule is not valid.`);
  }
  return 'fault' in rule;
}

function textOf(body: Json, name: string): string {
  const value = body[name];
  if (typeof value !== 'string') throw refusals.badRequest(`'${name}' is missing.`);
  return value;
}

function doDeed(deeds: Deeds, name: string, body: Json): number | undefined {
  switch (name) {
    case 'drop-connections':
      return deeds.dropConnections();
    case 'lose-session-lock':
      return Number(deeds.loseSessionLock(textOf(body, 'queue'), textOf(body, 'sessionId')));
    case 'lose-message-locks':
      return deeds.loseMessageLocks(textOf(body, 'queue'));
    case 'detach-links': {
      const condition = body['condition'] === undefined ? undefined : textOf(body, 'condition');
      return deeds.detachLinks(textOf(body, 'queue'), condition);
    }
    default:
      return undefined;
  }
}

const json = (status: number, value?: unknown): Answer => ({
  status,
  type: 'application/json',
  body: value === undefined ? '' : JSON.stringify(value),
});

function isLocal({ headers, method }: IncomingMessage): boolean {
  const isLoopback = /^(?:localhost|127\.0\.0\.1)(?::\d+)?$/.test(headers.host ?? '');
  const type = headers['content-type'] ?? '';
  return isLoopback && (method !== 'POST' || type.startsWith('application/json'));
}

/** Answers a request for `/faults…`; `path` is without the leading slash. */
export function answerFault(
  port: FaultPort,
  request: IncomingMessage,
  { path, body }: { path: string; body: string },
): Answer {
  const [, name, rest] = path.split('/');
  try {
    if (!isLocal(request)) throw refusals.badRequest('Only JSON, and only from this machine.');
    if (rest !== undefined) return json(404, { message: 'There is no such fault.' });
    if (request.method === 'GET' && name === undefined) return json(200, port.faults.list());
    if (request.method === 'DELETE') {
      if (name === undefined) port.faults.clear();
      else port.faults.remove(Number(name));
      return json(204);
    }
    if (request.method !== 'POST') return json(405, { message: 'GET, POST or DELETE.' });
    if (name === undefined) {
      const rule = objectOf(body);
      if (!isRule(rule)) throw refusals.badRequest(`'fault' is one of ${faultNames.join()}.`);
      return json(201, { number: port.faults.add(rule) });
    }
    const count = doDeed(port.deeds, name, objectOf(body));
    return count === undefined
      ? json(404, { message: 'There is no such fault.' })
      : json(200, { count });
  } catch (error) {
    return json(400, { message: errorOf(error).description });
  }
}
