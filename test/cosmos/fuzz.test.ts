// Whatever arrives: below 500 (or 501 by name), with a message, in time that follows its length,
// and nothing that is stored changes. SEED=n repeats a run, CASES=n makes it longer.
import type { OutgoingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import type { Container } from '@azure/cosmos';
import { afterEach, expect, test } from 'vitest';
import type { CosmosServer } from '../../infra/local/cosmos/server.ts';
import { prng, type Prng } from '../support/prng.ts';
import {
  bodies,
  grammar,
  large,
  methods,
  names,
  noise,
  paths,
  segments,
  values,
} from './fuzz-input.ts';
import {
  asBatch,
  asQuery,
  closeAll,
  containerOf,
  inP,
  items,
  raw,
  start,
  type Sent,
} from './server-under-test.ts';

afterEach(closeAll);

const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const cases = Number(process.env['CASES'] ?? 250);

interface Target {
  server: CosmosServer;
  container: Container;
  random: Prng;
  pick<T>(list: readonly T[]): T;
}

async function targetOf(salt: number): Promise<Target> {
  const server = await start();
  const container = await containerOf(server);
  await container.items.create({ id: 'a', pk: 'p', n: 1, list: [1, 'x', { y: 2 }] });
  await container.items.create({ id: 'b', pk: 'q', text: 'Köln', deep: { x: { y: null } } });
  const random = prng(seed + salt);
  return { server, container, random, pick: (list) => list[random.below(list.length)]! };
}

/** Sends it, and names the seed of what the server should not have answered. */
async function answered(target: Target, sent: Sent, at: number): Promise<number> {
  const where = `seed=${seed} at=${at} ${JSON.stringify(sent).slice(0, 600)}`;
  const began = performance.now();
  const { status, text } = await raw(target.server, sent).catch((error: unknown) => {
    throw new Error(`${where}: ${String(error)}`);
  });
  if (status >= 500 && status !== 501) throw new Error(`${where} → ${status} ${text}`);
  // Far above any answer, far below a blow-up.
  if (performance.now() - began > 20_000) throw new Error(`${where} took too long`);
  if (status >= 400 && !/"message":"[^"]/.test(text))
    throw new Error(`${where} → ${status} ${text}`);
  return status;
}

async function assertIntact({ container }: Target): Promise<void> {
  const { resources } = await container.items.query('SELECT c.id, c.pk FROM c').fetchAll();
  expect(resources, `seed=${seed}`).toEqual([
    { id: 'a', pk: 'p' },
    { id: 'b', pk: 'q' },
  ]);
  expect((await container.item('a', 'p').read()).resource.list).toEqual([1, 'x', { y: 2 }]);
  expect(Object.keys(Object.prototype)).toEqual([]);
  expect(Reflect.get({}, 'polluted')).toBeUndefined();
}

function produce(symbol: string, target: Target, left: number): string {
  const options = grammar[symbol]!;
  const short = options.filter((option) => !option.includes(`<${symbol}>`));
  const option = target.pick(left > 0 ? options : short.length > 0 ? short : options);
  return option.replace(/<(\w+)>/g, (whole, name: string) =>
    grammar[name] ? (left < -4 ? '1' : produce(name, target, left - 1)) : whole,
  );
}

/** Cuts, doubles, swaps and pollutes. */
function mutated(text: string, { random, pick }: Target): string {
  const at = random.below(text.length + 1);
  const length = random.below(12);
  const choice = random.below(4);
  if (choice === 0) return text.slice(0, at) + text.slice(at + length);
  if (choice === 1)
    return text.slice(0, at) + text.slice(at, at + length).repeat(3) + text.slice(at);
  if (choice === 2) return text.slice(0, at) + pick(noise) + text.slice(at);
  return text.slice(0, at) + pick(noise) + text.slice(at + length);
}

// As a client library asks that merges the answers of several ranges.
const inRange = { 'x-ms-documentdb-partitionkeyrangeid': '0' };

test('queries of a grammar, right ones and mutated ones', async () => {
  const target = await targetOf(1);
  const { random, pick } = target;
  let accepted = 0;
  for (let at = 0; at < cases * 4; at++) {
    let query = produce('query', target, 4);
    for (let turns = random.below(3); turns > 0; turns--) query = mutated(query, target);
    const parameters = [{ name: '@p', value: pick([1, 'x', null, [1], { a: 1 }, -0]) }];
    const headers = { ...asQuery, ...pick([inP, inRange, {}]) };
    const body = JSON.stringify({ query, parameters });
    const status = await answered(target, { method: 'POST', path: items, headers, body }, at);
    if (status === 200) accepted++;
  }
  // A generator that only makes garbage would prove little.
  expect(accepted, `seed=${seed}`).toBeGreaterThan(cases / 4);
  await assertIntact(target);
});

function strange(target: Target): Sent {
  const { random, pick } = target;
  let path = pick(paths);
  for (let turns = random.below(3); turns > 0; turns--) {
    const parts = path.split('/');
    parts.splice(1 + random.below(parts.length), random.below(2), pick(segments));
    path = parts.join('/') || '/';
  }
  if (!path.startsWith('/')) path = `/${path}`;
  const headers: OutgoingHttpHeaders = { ...pick([{}, inP, asQuery, asBatch]) };
  for (let turns = random.below(3); turns > 0; turns--) headers[pick(names)] = pick(values);
  const method = pick(methods);
  let body = pick(bodies);
  if (random.chance(0.3)) body = mutated(body, target);
  path = path.replace(/[^\x21-\x7e\x80-\xff]/g, '%20');
  return { method, path, headers, ...(method !== 'GET' && method !== 'HEAD' && { body }) };
}

test('strange paths, headers and bodies', async () => {
  const target = await targetOf(2);
  for (let at = 0; at < cases * 4; at++) {
    const sent = strange(target);
    // HEAD has no body to carry a message.
    if (sent.method === 'HEAD') continue;
    const status = await answered(target, sent, at);
    // What was well formed after all must not be there for the check at the end.
    if (status === 201) {
      const { container, server } = target;
      const { resources } = await container.items.query('SELECT c.id, c.pk FROM c').fetchAll();
      for (const { id, pk } of resources as { id: string; pk: string }[]) {
        if (id !== 'a' && id !== 'b') await container.item(id, pk).delete();
      }
      if (sent.path === '/dbs/d/colls') {
        await raw(server, { method: 'DELETE', path: '/dbs/d/colls/c2' });
      }
    }
  }
  await assertIntact(target);
});

/** Bytes as they are; gives the status line. */
function sendBytes(port: number, bytes: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.end(bytes));
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString('latin1')));
    socket.on('error', () => resolve('closed'));
    socket.on('close', () => resolve(text.split('\r\n', 1)[0] || 'closed'));
  });
}

test('bytes that are no UTF-8, no HTTP, or cut off', async () => {
  const target = await targetOf(3);
  const { random, server } = target;
  const body = Buffer.from('{"id":"zz","pk":"p","t":"abc"}');
  const key = 'x-ms-documentdb-partitionkey: ["p"]';
  const head = `POST ${items} HTTP/1.1\r\nhost: localhost\r\n${key}\r\n`;
  for (let at = 0; at < cases; at++) {
    const bytes = Buffer.from(body);
    for (let turns = 1 + random.below(4); turns > 0; turns--) {
      bytes[random.below(bytes.length)] = random.below(256);
    }
    const length = random.chance(0.8) ? bytes.length : random.below(60);
    const whole = Buffer.concat([
      Buffer.from(`${head}connection: close\r\ncontent-length: ${length}\r\n\r\n`),
      bytes,
    ]);
    const sent = random.chance(0.8) ? whole : whole.subarray(0, random.below(whole.length));
    const line = await sendBytes(server.port, sent);
    if (!/^(closed|HTTP\/1\.1 (201|4\d\d) )/.test(line)) {
      throw new Error(`seed=${seed} at=${at} ${sent.toString('latin1')} → ${line}`);
    }
  }
  const { container } = target;
  const { resources } = await container.items.query('SELECT c.id, c.pk FROM c').fetchAll();
  for (const { id, pk } of resources as { id: string; pk: string }[]) {
    if (id !== 'a' && id !== 'b') await container.item(id, pk).delete();
  }
  await assertIntact(target);
});

test.each(large)('a query made large by %s is answered, and soon', async (_, make) => {
  const target = await targetOf(4);
  for (const size of [50, 3000, 60_000]) {
    const body = JSON.stringify({ query: make(size) });
    await answered(target, { method: 'POST', path: items, headers: asQuery, body }, size);
  }
  await assertIntact(target);
});
