// A handler that throws: its key stops at the message, says why, and takes nothing past it, through
// a `kill -9` of the host too; every other key goes on. The cloud runs in this process, the host is
// a real one.
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { hostSettings } from '../../infra/local/address.ts';
import { startCloud } from '../../infra/local/cloud.ts';
import type { Cloud } from '../../infra/local/cloud.ts';
import { createSender } from '../../shared/sender.ts';
import type { Sender } from '../../shared/sender.ts';
import { startCli, tempFolder } from '../cli/processes.ts';
import type { Cli } from '../cli/processes.ts';
import { Api, Queues, until } from '../support/doors.ts';
import type { ConvoySeen } from '../support/doors.ts';

const appDir = join(import.meta.dirname, 'fixtures', 'fragile-app');
const limit = { timeout: 60_000 };
const data = tempFolder();
let cloud: Cloud;
let host: Cli | undefined;
let api: Api;
let queues: Queues;
let sender: Sender;
let keys = 0;
let key: string;

beforeAll(async () => {
  cloud = await startCloud({
    dataDir: ':memory:',
    ports: { amqp: 0, management: 0, cosmos: 0 },
    configFile: join(appDir, 'queues.json'),
  });
  queues = new Queues(cloud.serviceBus);
  sender = createSender({ connectionString: cloud.serviceBus });
  await startHost();
});

afterAll(async () => {
  await host?.[Symbol.asyncDispose]();
  await sender?.close();
  await queues?.[Symbol.asyncDispose]();
  await cloud?.close();
  data[Symbol.dispose]();
});

beforeEach(() => {
  key = `F${++keys}`;
});

/** On the same data as the one before, as the launcher does it. */
async function startHost(settings: Record<string, string> = {}): Promise<void> {
  const flags = ['--json', '--app', appDir, '--data', data.path, '--port', '0'];
  host = startCli(['host', ...flags], { ...hostSettings(cloud), ...settings });
  const ready = JSON.parse(await host.line('"ready":true')) as { http: string };
  api = new Api(ready.http);
}

async function endHost(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
  host?.signal(signal);
  expect(await host?.exit).toBe(signal === 'SIGKILL' ? 'SIGKILL' : 0);
}

/** `!` marks a message at which the handler throws. */
async function send(to: string, ...ids: string[]): Promise<void> {
  const messages = ids.map((id) => ({
    id: id.replace('!', ''),
    type: 'Put',
    body: { breaks: id.endsWith('!') },
  }));
  await sender.send('fragile', to, messages);
}

const shown = async (of: string, holds: (seen: ConvoySeen) => boolean): Promise<ConvoySeen> =>
  (
    await until(
      () => api.call('GET', `/convoys/fragile/${of}`),
      ({ status, body }) => status === 200 && holds(body as ConvoySeen),
    )
  ).body as ConvoySeen;

const blocked = (of = key) =>
  shown(of, ({ phase, hold }) => phase === 'held' && hold.kind !== 'none');
const drained = (of: string, tail: number) => shown(of, ({ cursor }) => cursor === tail);
const outcomes = async (of = key) =>
  (await api.messages('fragile', of)).map(({ messageId, outcome }) => `${messageId} ${outcome}`);
const outputs = async (of = key) =>
  (await queues.peek('fragile-out', { count: 500 }))
    .filter(({ sessionId }) => sessionId === of)
    .map(({ applicationProperties }) => applicationProperties?.['causationId']);
const act = (action: string, body: object = {}) =>
  api.call('POST', `/convoys/fragile/${key}/${action}`, {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ reason: 'by test', ...body }),
  });

const why = {
  kind: 'blocked',
  code: 'CVY_HANDLER',
  reason: expect.stringContaining('no drawer takes m2') as string,
  position: 2,
  attempts: 3,
};

describe('a handler that throws', () => {
  test('its key stops there and says why; other keys go on meanwhile', limit, async () => {
    await send(key, 'm1', 'm2!', 'm3');
    const others = Array.from({ length: 20 }, (_, i) => `${key}-${i}`);
    await Promise.all(others.map((other) => send(other, 'a', 'b', 'c')));

    const seen = await blocked();

    expect(seen).toMatchObject({
      cursor: 1,
      tail: 3,
      backlog: 2,
      hold: why,
      state: { ids: ['m1'] },
    });
    for (const other of others) {
      expect((await drained(other, 3)).state).toEqual({ ids: ['a', 'b', 'c'] });
    }
    const listed = await api.list<ConvoySeen>('/convoys?status=blocked');
    expect(listed.filter((one) => one.key.startsWith(key)).map((one) => one.key)).toEqual([key]);
    expect(await outcomes()).toEqual(['m1 applied', 'm2 waiting', 'm3 waiting']);
    expect(await outputs()).toEqual(['m1']);
  });

  test('the block outlives kill -9 of the host; what comes meanwhile waits', limit, async () => {
    await send(key, 'm1', 'm2!');
    const before = await blocked();
    await endHost('SIGKILL');
    await send(key, 'm3');
    const other = `${key}-other`;
    await send(other, 'a');

    await startHost();

    const after = await shown(key, ({ tail }) => tail === 3);
    expect((await drained(other, 1)).state).toEqual({ ids: ['a'] });
    const { cursor, hold, state, chain, epoch } = before;
    expect(after).toMatchObject({ phase: 'held', cursor, hold, state, chain, epoch });
    expect(await outcomes()).toEqual(['m1 applied', 'm2 waiting', 'm3 waiting']);
  });

  test('retry without a mended handler: blocked again, nothing passed it', limit, async () => {
    await send(key, 'm1', 'm2!', 'm3');
    const { epoch } = await blocked();

    expect((await act('retry', { expectedCursor: 1 })).status).toBe(202);

    const again = await shown(key, (seen) => seen.epoch > epoch && seen.phase === 'held');
    expect(again).toMatchObject({ cursor: 1, hold: why });
    expect(await outcomes()).toEqual(['m1 applied', 'm2 waiting', 'm3 waiting']);
  });

  test('skip: the message is passed over and said so, its followers go on', limit, async () => {
    await send(key, 'm1', 'm2!', 'm3');
    await blocked();

    expect((await act('skip', { expectedCursor: 1, by: 'kim' })).status).toBe(202);

    expect((await drained(key, 3)).state).toEqual({ ids: ['m1', 'm3'] });
    expect(await outcomes()).toEqual(['m1 applied', 'm2 skipped', 'm3 applied']);
    await until(outputs, (ids) => ids.length === 2);
    expect(await outputs()).toEqual(['m1', 'm3']);
  });

  test('mended and deployed, then retried: all of it in order, once', limit, async () => {
    await send(key, 'm1', 'm2!', 'm3');
    await blocked();
    await endHost('SIGTERM');
    await startHost({ FRAGILE_MENDED: '1' });
    await send(key, 'm4');
    const still = await shown(key, ({ tail }) => tail === 4);

    expect(still.hold).toMatchObject(why);
    expect((await act('retry')).status).toBe(202);

    expect((await drained(key, 4)).state).toEqual({ ids: ['m1', 'm2', 'm3', 'm4'] });
    await until(outputs, (ids) => ids.length === 4);
    expect(await outputs()).toEqual(['m1', 'm2', 'm3', 'm4']);
    expect(await queues.isEmpty('fragile')).toBe(true);
  });

  test('a deployment in flight: the instance goes on with the new version', limit, async () => {
    await endHost('SIGTERM');
    await startHost({ FRAGILE_DELAY: '2' });
    await send(key, 'm1', 'm2!', 'm3');
    const inFlight = await shown(key, ({ hold }) => hold.kind === 'retrying');
    await endHost('SIGTERM');
    await startHost({ FRAGILE_MENDED: '1', FRAGILE_VERSION: '2' });
    const after = await drained(key, 3);

    expect(inFlight).toMatchObject({ phase: 'active', epoch: 1, state: { ids: ['m1'] } });
    expect(after.state).toEqual({ ids: ['m1', 'm2 upcast', 'm3 upcast'], isMigrated: true });
    expect(after.epoch).toBe(1); // the same instance, by the code of now
  });
});
