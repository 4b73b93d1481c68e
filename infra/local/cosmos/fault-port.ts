// Rules for faults over loopback HTTP, for tests in another process. Only open when asked for.
//
//   GET    /faults           the rules, with how often each was met
//   POST   /faults           adds the rule of the JSON body → 201 {"number": n}
//   DELETE /faults[/{n}]     removes one rule or all → 204
//
// A page in a browser cannot reach it: the content type must be JSON and the host a loopback name.

import { createServer, type IncomingMessage, type Server } from 'node:http';

import { faultNames, FaultRuleError, type FaultRule, type Faults } from './faults.ts';

const bytesMax = 16_384;
const kinds = ['read', 'create', 'replace', 'upsert', 'delete', 'patch', 'batch', 'query', 'other'];

interface Answer {
  status: number;
  body?: unknown;
}

const isText = (value: unknown): boolean => typeof value === 'string';
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 1;
const isMs = (value: unknown): boolean =>
  typeof value === 'number' && value >= 0 && value <= 3_600_000;

const members: Record<string, (value: unknown) => boolean> = {
  fault: (value) => faultNames.some((name) => name === value),
  isApplied: (value) => typeof value === 'boolean',
  kinds: (value) => Array.isArray(value) && value.every((kind) => kinds.includes(String(kind))),
  database: isText,
  container: isText,
  partitionKey: Array.isArray,
  id: isText,
  from: isCount,
  times: isCount,
  probability: (value) => typeof value === 'number' && value >= 0 && value <= 1,
  delayMs: isMs,
  retryAfterMs: isMs,
};

function ruleOf(text: string): FaultRule {
  let rule: unknown;
  try {
    rule = JSON.parse(text);
  } catch {
    throw new FaultRuleError('The body is not JSON.');
  }
  if (rule === null || typeof rule !== 'object') throw new FaultRuleError('A rule is an object.');
  for (const [name, value] of Object.entries(rule)) {
    const isValid = Object.hasOwn(members, name) ? members[name] : undefined;
    if (!isValid) throw new FaultRuleError(`A rule has no member '${name.slice(0, 40)}'.`);
    if (!isValid(value)) throw new FaultRuleError(`The '${name}' of the rule is not valid.`);
  }
  if (!('fault' in rule)) throw new FaultRuleError(`'fault' is one of ${faultNames.join()}.`);
  return rule as FaultRule;
}

async function bodyOf(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    if ((bytes += chunk.length) > bytesMax) throw new FaultRuleError('The body is too large.');
  }
  return Buffer.concat(chunks).toString();
}

function assertLocal({ headers, method }: IncomingMessage): void {
  if (!/^(?:localhost|127\.0\.0\.1)(?::\d+)?$/.test(headers.host ?? '')) {
    throw new FaultRuleError('The host must be localhost.');
  }
  const type = headers['content-type'] ?? '';
  if (method === 'POST' && !type.startsWith('application/json')) {
    throw new FaultRuleError('The content type must be application/json.');
  }
}

async function answer(faults: Faults, incoming: IncomingMessage): Promise<Answer> {
  assertLocal(incoming);
  const { method, url = '' } = incoming;
  const found = /^\/faults(?:\/(\d{1,9}))?$/.exec(url);
  if (!found) return { status: 404, body: { message: 'There is only /faults.' } };
  if (method === 'GET') return { status: 200, body: faults.list() };
  if (method === 'POST') {
    return { status: 201, body: { number: faults.add(ruleOf(await bodyOf(incoming))) } };
  }
  if (method !== 'DELETE') return { status: 405, body: { message: 'GET, POST or DELETE.' } };
  if (found[1] === undefined) faults.clear();
  else faults.remove(Number(found[1]));
  return { status: 204 };
}

/** Opens the port on loopback; 0 = any free. */
export function openFaultPort(faults: Faults, port: number): Promise<Server> {
  const server = createServer((incoming, outgoing) => {
    void answer(faults, incoming)
      .catch((error: unknown): Answer => {
        if (!(error instanceof FaultRuleError)) return { status: 500, body: String(error) };
        return { status: 400, body: { message: error.message } };
      })
      .then(({ status, body }) => {
        outgoing.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
        outgoing.end(body === undefined ? undefined : JSON.stringify(body));
      });
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
