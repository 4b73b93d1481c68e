// A hot key is split into four lanes, then eight, then moved to another queue, each time by a
// deployment of the app, while it is being fed; the host before is killed in the middle of its
// work. No message overtakes another of its lane key, none is lost, doubled or parked.
//
// The cloud runs in this process, the host is a real one. What only time could do, the senders'
// refreshing (over two minutes), has happened: the test dates the announcement back, as if another
// instance of the new deployment had made it then, and its sender is a new one each time.
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, onTestFailed, test } from 'vitest';
import { hostSettings } from '../../infra/local/address.ts';
import { type Cloud, startCloud } from '../../infra/local/cloud.ts';
import { emptyLayout } from '../../shared/engine/layout.ts';
import { laneOf } from '../../shared/lanes.ts';
import { createSender, lanesFrom } from '../../shared/sender.ts';
import { cosmosSettings } from '../../shared/store/cosmos-settings.ts';
import { type CosmosStore, createCosmosStore } from '../../shared/store/cosmos.ts';
import type { StoreOperation } from '../../shared/store/store.ts';
import { type Cli, startCli, tempFolder } from '../cli/processes.ts';
import { Api, Queues, until } from '../support/doors.ts';

const appDir = join(import.meta.dirname, 'fixtures', 'lanes-app');
const limit = { timeout: 120_000 };
const queue = 'tallies';
const generations = [
  { count: 4, queue },
  { count: 8, queue },
  { count: 4, queue: 'tallies-fast' },
];
/** One for each of eight lanes. */
const laneKeys = Array.from({ length: 8 }, (_, lane) => laneKeyOf(lane));

function laneKeyOf(lane: number): string {
  for (let i = 0; ; i += 1) if (laneOf(`c${i}`, 8) === lane) return `c${i}`;
}

const data = tempFolder();
let cloud: Cloud;
let store: CosmosStore;
let queues: Queues;
let host: Cli | undefined;
let api: Api;
let url = '';

beforeAll(async () => {
  cloud = await startCloud({
    dataDir: ':memory:',
    ports: { amqp: 0, management: 0, cosmos: 0 },
    configFile: join(appDir, 'queues.json'),
  });
  store = await createCosmosStore(cosmosSettings({ CosmosConnection: cloud.cosmos }));
  queues = new Queues(cloud.serviceBus);
}, limit.timeout);

afterAll(async () => {
  await host?.[Symbol.asyncDispose]();
  await queues?.[Symbol.asyncDispose]();
  store?.close();
  await cloud?.close();
  data[Symbol.dispose]();
});

/** Another deployment, with the first `count` generations; the host before is killed. */
async function deploy(count: number): Promise<void> {
  host?.signal('SIGKILL');
  await host?.exit;
  if (count > 0) await announceLongAgo(count);
  const flags = ['--json', '--app', appDir, '--data', data.path, '--port', '0'];
  const HOT_LANES = JSON.stringify(generations.slice(0, count));
  host = startCli(['host', ...flags], { ...hostSettings(cloud), HOT_LANES });
  ({ http: url } = JSON.parse(await host.line('"ready":true')) as { http: string });
  api = new Api(url);
}

/** Refresh, the longest send and the margin (60 + 60 + 5 s) have just passed. */
async function announceLongAgo(count: number): Promise<void> {
  const announcedAt = Date.now() - 126_000;
  const read = await store.readLayout(queue);
  const before = read?.item ?? emptyLayout(queue);
  const known = before.keys['hot'] ?? [];
  const added = generations.slice(known.length, count).map((one) => ({ ...one, announcedAt }));
  const item = { ...before, keys: { hot: [...known, ...added] } };
  const operation: StoreOperation = read
    ? { kind: 'replace', item, ifMatch: read.etag }
    : { kind: 'create', item };
  expect(await store.batch(item.convoyId, [operation])).toMatchObject({ applied: true });
}

interface Whole {
  state: { ids: string[] } | null;
  backlog: number;
  parked: number;
  tail: number;
  lanes: { key: string; generation: number; hold: { code: string | null }; retired: unknown }[];
}
const nothing: Whole = { state: null, backlog: 0, parked: 0, tail: 0, lanes: [] };
/** Of a key that no host has heard of: nothing. */
async function shown(): Promise<Whole> {
  const { status, body } = await api.call('GET', '/convoys/tallies/hot');
  return status === 404 ? nothing : (body as Whole);
}

/** For whoever has to find out why it failed. */
const brief = async (): Promise<string[]> =>
  (await shown().catch(() => nothing)).lanes.map((lane) => JSON.stringify(lane));

/** Ids per lane key, in the order in which they were sent. */
const sent = new Map<string, string[]>(laneKeys.map((laneKey) => [laneKey, []]));
const allSent = (): string[] => [...sent.values()].flat();

/** One message of every lane key at a time, until enough is done. */
async function feedUntil(isDone: () => Promise<boolean>): Promise<void> {
  const lanes = lanesFrom(url);
  await using sender = createSender({ connectionString: cloud.serviceBus }, { lanes });
  do {
    const messages = [...sent].map(([laneKey, ids]) => {
      ids.push(`${laneKey}:${String(ids.length + 1).padStart(3, '0')}`);
      return { id: ids.at(-1), type: 'Put', body: {}, laneKey };
    });
    await sender.send(queue, 'hot', messages);
    await pause(250); // so that a loaded machine takes it in as it comes
  } while (!(await isDone()));
}

/** Every lane of the newest generation has opened: all older ones are retired. */
async function isOpen(generation: number): Promise<boolean> {
  const { lanes } = await shown();
  const newest = lanes.filter((lane) => lane.generation === generation);
  const isEvery = newest.length === generations[generation - 1]?.count;
  return isEvery && newest.every(({ hold }) => hold.code !== 'CVY_LANE_FENCE');
}

test('a hot key from one session to four lanes, to eight, to another queue', limit, async () => {
  onTestFailed(async () => console.error(host?.output().slice(-3000), await brief()));
  await deploy(0);
  await feedUntil(async () => (await shown()).tail > 3 * laneKeys.length);

  for (const generation of [1, 2, 3]) {
    await deploy(generation);
    await feedUntil(() => isOpen(generation));
  }
  const whole = await until(
    shown,
    ({ backlog, tail }) => backlog === 0 && tail === allSent().length,
  );

  // merge = the fold over everything, generation by generation.
  expect(whole.state?.ids.toSorted()).toEqual(allSent().toSorted());
  expect(whole).toMatchObject({ parked: 0 });
  expect(whole.lanes.filter(({ retired }) => retired)).toHaveLength(1 + 4 + 8);
  expect(whole.lanes).toHaveLength(1 + 4 + 8 + 4);
  // Published in the order of the effects; a repeat has the same message id.
  const published = await outputs();
  for (const [laneKey, ids] of sent) {
    expect(published.filter((id) => id.startsWith(`${laneKey}:`))).toEqual(ids);
  }
  expect(await queues.isEmpty('tallies-fast')).toBe(true);
  expect((await api.list('/quarantine/tallies')).length).toBe(0);
});

/** First appearances on the output queue. */
async function outputs(): Promise<string[]> {
  const ids = new Map<unknown, string>();
  const receiver = queues.client.createReceiver('tallies-out');
  for (;;) {
    const page = await receiver.peekMessages(250);
    if (page.length === 0) break;
    for (const { messageId, body } of page) {
      expect(body).toMatchObject({ key: 'hot' });
      if (!ids.has(messageId)) ids.set(messageId, (body as { id: string }).id);
    }
  }
  await receiver.close();
  return [...ids.values()];
}
