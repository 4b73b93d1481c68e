// What `cosmos-bench.ts` stores and asks: items like those of an application, and the requests
// whose cost is measured, through the real client library.
import { ChangeFeedStartFrom, type Container, type OperationInput } from '@azure/cosmos';
import type { Prng } from '../support/prng.ts';

export const itemsPerPartition = 1000;
const phases = ['active', 'idle', 'held', 'closed'];
const textLength = 700;

export interface Scene {
  container: Container;
  /** Items stored, without those that the measured requests add. */
  size: number;
  random: Prng;
}

export const definition = {
  id: 'bench',
  partitionKey: { paths: ['/pk'] },
  defaultTtl: -1,
  indexingPolicy: {
    includedPaths: [
      { path: '/status/*' },
      { path: '/kind/?' },
      { path: '/phase/?' },
      { path: '/dueAt/?' },
    ],
    excludedPaths: [{ path: '/*' }],
    compositeIndexes: [
      [{ path: '/kind' }, { path: '/phase' }, { path: '/dueAt' }].map(({ path }) => ({
        path,
        order: 'ascending' as const,
      })),
    ],
  },
};

const padded = (at: number): string => String(at).padStart(7, '0');
export const partitionOf = (at: number): string => `p${Math.floor(at / itemsPerPartition)}`;
export const idOf = (at: number): string => `i${padded(at)}`;

interface BenchItem {
  id: string;
  pk: string;
  [name: string]: unknown;
}

/** About 1 KB; one item in a thousand is due. */
export function itemOf(at: number): BenchItem {
  const isDue = at % itemsPerPartition === 7;
  return {
    id: idOf(at),
    pk: partitionOf(at),
    ...{ kind: isDue ? 'gate' : 'event', phase: phases[at % phases.length], seq: at },
    ...{ dueAt: isDue ? at : undefined, status: `s${at % 5000}`, group: at % 20 },
    customer: { name: `customer ${at % 977}`, city: 'Köln', tags: ['a', 'b', `t${at % 13}`] },
    text: String.fromCharCode(97 + (at % 26)).repeat(textLength),
  };
}

const some = ({ random, size }: Scene): number => random.below(size);
let added = 0;

// Beside the loaded items, so that the partitions that are asked stay as large as they are.
const fresh = ({ size }: Scene, at: number): { id: string; pk: string } => ({
  id: `new${++added}-${size}`,
  pk: `new${at % 1000}`,
});

async function drain(scene: Scene, query: string, partitionKey?: string): Promise<void> {
  const options = { maxItemCount: 100, ...(partitionKey !== undefined && { partitionKey }) };
  const page = await scene.container.items.query(query, options).fetchNext();
  if (page.resources === undefined) throw new Error(`no answer to ${query}`);
}

/** Requests as an application sends them; each does one. */
export const requests: Record<string, (scene: Scene) => Promise<void>> = {
  async 'point read'(scene) {
    const at = some(scene);
    const { statusCode } = await scene.container.item(idOf(at), partitionOf(at)).read();
    if (statusCode !== 200) throw new Error(`${idOf(at)} was answered ${statusCode}`);
  },
  async create(scene) {
    const at = some(scene);
    await scene.container.items.create({ ...itemOf(at), ...fresh(scene, at) });
  },
  async 'batch of 3'(scene) {
    const at = some(scene);
    const item = { ...itemOf(at), ...fresh(scene, at) };
    const { pk } = item;
    const operations: OperationInput[] = [
      { operationType: 'Create', resourceBody: item as never },
      { operationType: 'Upsert', resourceBody: { ...item, id: 'head' } as never },
      {
        operationType: 'Patch',
        id: 'head',
        resourceBody: { operations: [{ op: 'set', path: '/seq', value: -at }] },
      },
    ];
    const { code } = await scene.container.items.batch(operations, pk);
    if (code !== 200) throw new Error(`the batch was answered ${code}`);
  },
  async 'query, partition, 20 by id range'(scene) {
    const at = some(scene);
    const from = Math.min(at, scene.size - 20);
    const pk = partitionOf(from);
    const ids = `c.id >= '${idOf(from)}' AND c.id < '${idOf(from + 20)}'`;
    await drain(scene, `SELECT * FROM c WHERE c.pk = '${pk}' AND ${ids} ORDER BY c.id`, pk);
  },
  async 'query, partition, filter'(scene) {
    const pk = partitionOf(some(scene));
    await drain(scene, `SELECT c.id, c.seq FROM c WHERE c.group = 3`, pk);
  },
  async 'query, all partitions, composite index'(scene) {
    const by = 'c.kind ASC, c.phase ASC, c.dueAt ASC';
    const where = `c.kind = 'gate' AND c.phase = 'closed' AND c.dueAt > 0 AND c.dueAt <= 5000`;
    await drain(scene, `SELECT * FROM c WHERE ${where} ORDER BY ${by}`);
  },
};

/** Requests that read much; asked one at a time, for their time and for who has to wait. */
export const largeRequests: Record<string, (scene: Scene) => Promise<void>> = {
  count: (scene) => drain(scene, 'SELECT VALUE COUNT(1) FROM c'),
  'filter without index, first time': (scene) =>
    drain(scene, "SELECT c.id FROM c WHERE c.status = 's77'"),
  'filter without index': (scene) => drain(scene, "SELECT c.id FROM c WHERE c.status = 's77'"),
  'filter in JavaScript': (scene) =>
    drain(scene, "SELECT c.id FROM c WHERE ENDSWITH(c.customer.name, ' 976')"),
  'group by': (scene) => drain(scene, 'SELECT c.group, COUNT(1) AS n FROM c GROUP BY c.group'),
  distinct: (scene) => drain(scene, 'SELECT DISTINCT VALUE c.status FROM c'),
  'count of one value': (scene) =>
    drain(scene, "SELECT VALUE COUNT(1) FROM c WHERE c.kind = 'gate'"),
  'order by _ts': (scene) => drain(scene, 'SELECT c.id FROM c ORDER BY c._ts DESC'),
  'order by a path without index': (scene) =>
    drain(scene, 'SELECT c.id FROM c WHERE c.seq >= 0 ORDER BY c._ts DESC'),
  'sum in one partition': (scene) => drain(scene, 'SELECT VALUE SUM(c.seq) FROM c', 'p0'),
  'all pages': async ({ container }) => {
    const pages = container.items.query('SELECT * FROM c', { maxItemCount: 1000 });
    let left = 30;
    for await (const page of pages.getAsyncIterator()) {
      if (!page.resources || --left === 0) return;
    }
  },
  'change feed from start': async ({ container }) => {
    const changeFeedStartFrom = ChangeFeedStartFrom.Beginning();
    const pages = container.items.getChangeFeedIterator({
      changeFeedStartFrom,
      maxItemCount: 1000,
    });
    let left = 30;
    for await (const page of pages.getAsyncIterator()) {
      if (page.count === 0 || --left === 0) return;
    }
  },
  'batches of 100': async ({ container, size }) => {
    for (let round = 0; round < 20; round++) {
      const operations = Array.from({ length: 100 }, (_, at) => ({
        operationType: 'Upsert' as const,
        resourceBody: { ...itemOf(at), pk: 'bulk', id: `b${size}-${round}-${at}` } as never,
      }));
      await container.items.batch(operations, 'bulk');
    }
  },
};
