// Faults on demand, each met by the real client library.
import { request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CosmosClient, type Container } from '@azure/cosmos';
import { afterEach, expect, test } from 'vitest';
import { openFaultPort } from '../../infra/local/cosmos/fault-port.ts';
import { Faults, type FaultName, type FaultRule } from '../../infra/local/cosmos/faults.ts';
import { realClock } from '../../shared/clock.ts';
import { closeAll, containerOf, start } from './server-under-test.ts';

afterEach(closeAll);

/** Longer than a busy machine takes to answer, shorter than a test may take. */
const requestTimeout = 1500;

interface Met {
  faults: Faults;
  container: Container;
  client: CosmosClient;
}

/** A client that retries what is throttled, and nothing else. */
async function meeting(seed = 1): Promise<Met> {
  const faults = new Faults({ clock: realClock, seed });
  const server = await start({ faults });
  const prepared = await containerOf(server);
  await prepared.items.create({ id: 'old', pk: 'p' });
  const client = new CosmosClient({
    connectionString: server.connectionString,
    connectionPolicy: { requestTimeout },
  });
  return { faults, client, container: client.database('d').container('items') };
}

async function failureOf(request: Promise<unknown>): Promise<string | undefined> {
  try {
    await request;
    return undefined;
  } catch (error) {
    const { code, name } = error as { code?: unknown; name?: unknown };
    return String(code ?? name);
  }
}

const exists = async ({ faults, container }: Met, id: string): Promise<boolean> => {
  faults.clear();
  return (await container.item(id, 'p').read()).statusCode === 200;
};

const lost: [FaultName, string][] = [
  ['unavailable', '503'],
  ['timedOut', '408'],
  ['retryWith', '449'],
  ['reset', 'ECONNRESET'],
  ['silent', 'TimeoutError'],
];

test.each(lost)('%s before the write: an error, and nothing is written', async (fault, code) => {
  const met = await meeting();
  met.faults.add({ fault, kinds: ['create'] });

  expect(await failureOf(met.container.items.create({ id: 'a', pk: 'p' }))).toBe(code);
  expect(met.faults.list()[0]?.met).toBeGreaterThan(0);
  expect(await exists(met, 'a')).toBe(false);
  met.client.dispose();
});

test.each(lost)('%s after the write: an error, and it is written', async (fault, code) => {
  const met = await meeting();
  met.faults.add({ fault, kinds: ['create'], isApplied: true, times: 1 });
  met.faults.add({ fault, kinds: ['create'] });

  expect(await failureOf(met.container.items.create({ id: 'a', pk: 'p' }))).toBe(code);
  expect(await exists(met, 'a')).toBe(true);
  met.client.dispose();
});

test('throttled: the client library waits as told, tries again and succeeds', async () => {
  const met = await meeting();
  met.faults.add({ fault: 'throttled', kinds: ['create'], times: 3, retryAfterMs: 20 });

  const { statusCode, diagnostics } = await met.container.items.create({ id: 'a', pk: 'p' });

  expect(statusCode).toBe(201);
  const { failedAttempts } = diagnostics.clientSideRequestStatistics.retryDiagnostics;
  expect(failedAttempts.map((attempt) => attempt.statusCode)).toEqual([429, 429, 429]);
  met.client.dispose();
});

test('slow: the answer is late and right', async () => {
  const met = await meeting();
  met.faults.add({ fault: 'slow', kinds: ['read'], delayMs: 60 });
  const began = performance.now();

  expect((await met.container.item('old', 'p').read()).statusCode).toBe(200);

  expect(performance.now() - began).toBeGreaterThan(55);
  met.client.dispose();
});

const elsewhere: Partial<FaultRule>[] = [
  { kinds: ['batch', 'query'] },
  { container: 'other' },
  { database: 'other' },
  { partitionKey: ['q'] },
  { id: 'new' },
  { kinds: ['read'], from: 2 },
  { times: 0 },
  { probability: 0 },
];

test.each(elsewhere)('a rule for %j does not meet the read of another item', async (place) => {
  const met = await meeting();
  met.faults.add({ fault: 'timedOut', ...place });

  expect((await met.container.item('old', 'p').read()).statusCode).toBe(200);
  met.client.dispose();
});

test('a rule for one place meets what is there', async () => {
  const met = await meeting();
  const place = {
    kinds: ['read'],
    database: 'd',
    container: 'items',
    partitionKey: ['p'],
  } as const;
  met.faults.add({ fault: 'retryWith', ...place, id: 'old', from: 2, times: 1 });
  const read = () => failureOf(met.container.item('old', 'p').read());

  expect([await read(), await read(), await read()]).toEqual([undefined, '449', undefined]);
  met.client.dispose();
});

test('the same seed gives the same faults, about as many as the probability says', async () => {
  const runOf = async (seed: number): Promise<string> => {
    const met = await meeting(seed);
    met.faults.add({ fault: 'retryWith', kinds: ['read'], probability: 0.3 });
    const read = async () => ((await failureOf(met.container.item('old', 'p').read())) ? 'x' : '.');
    let marks = '';
    for (let at = 0; at < 100; at++) marks += await read();
    met.client.dispose();
    return marks;
  };
  const marks = await runOf(7);

  expect(await runOf(7)).toBe(marks);
  expect(await runOf(8)).not.toBe(marks);
  expect(marks.replaceAll('.', '').length).toBeGreaterThan(15);
  expect(marks.replaceAll('.', '').length).toBeLessThan(45);
});

interface Told {
  status: number;
  body: unknown;
}

function tell(port: number, [method, path, body]: [string, string, string?]): Promise<Told> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const options = { host: '127.0.0.1', port, method, path, headers };
    const request = httpRequest(options, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += String(chunk)));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: text && JSON.parse(text) }),
      );
    });
    request.on('error', reject);
    request.end(body);
  });
}

test('rules come and go over the fault port; what is no rule is refused by name', async () => {
  const met = await meeting();
  const server = await openFaultPort(met.faults, 0);
  const { port } = server.address() as AddressInfo;
  const rule = { fault: 'retryWith', kinds: ['read'], times: 1 };

  const added = await tell(port, ['POST', '/faults', JSON.stringify(rule)]);
  expect(added).toEqual({ status: 201, body: { number: 1 } });
  expect(await failureOf(met.container.item('old', 'p').read())).toBe('449');
  const listed = await tell(port, ['GET', '/faults']);
  expect(listed.body).toEqual([{ number: 1, rule, seen: 1, met: 1 }]);
  expect((await tell(port, ['DELETE', '/faults/1'])).status).toBe(204);
  expect((await tell(port, ['DELETE', '/faults/1'])).status).toBe(400);
  const wrong = ['{', '[]', 'null', '{}', '{"fault":"x"}', '{"fault":"slow","x":1}'];
  for (const text of [...wrong, '{"fault":"slow","from":0}', '{"__proto__":1}']) {
    const refused = await tell(port, ['POST', '/faults', text]);
    expect([text, refused.status]).toEqual([text, 400]);
  }
  expect(met.faults.list()).toEqual([]);
  server.close();
  met.client.dispose();
});
