// Goal: no message overtakes another when a key is split again, whatever fails. Method: seeded
// histories of the real code; SEED=… COUNT=1 repeats one.
import { expect, test } from 'vitest';
import { type LaneHistoryOptions, isRetirement, judgeLanes, runLanes } from './lane-history.ts';

const firstSeed = Number(process.env['SEED'] ?? 1);
const count = Number(process.env['COUNT'] ?? 25);

async function failingSeeds(
  options: Omit<LaneHistoryOptions, 'seed'>,
  { seeds, from, untilFound }: { seeds: number; from: number; untilFound?: boolean },
): Promise<string[]> {
  const failed: string[] = [];
  for (let seed = from; seed < from + seeds; seed += 1) {
    const history = await runLanes({ ...options, seed });
    const wrong = judgeLanes(history, { replayed: options.replays });
    if (wrong.length > 0) failed.push(`seed=${seed}: ${wrong.join(' | ')}`);
    if (untilFound && failed.length > 0) break;
  }
  return failed;
}

test(`${count} histories of a key: unsplit, two lanes, three in another queue`, async () => {
  const options = { faultRate: 0.01, staleSenders: false, replays: false };

  expect(await failingSeeds(options, { seeds: count, from: firstSeed })).toEqual([]);
}, 120_000);

test(`${count} histories with stale senders and replays`, async () => {
  const options = { faultRate: 0.01, staleSenders: true, replays: true };

  expect(await failingSeeds(options, { seeds: count, from: firstSeed })).toEqual([]);
}, 120_000);

type Sabotage = Partial<Pick<LaneHistoryOptions, 'sabotage' | 'sabotageDrain' | 'staleSenders'>>;

/** Breaks one rule in what the engine gets from the store; the histories must find it. */
const sabotages: Record<string, Sabotage> = {
  'a lane that opens before the senders have refreshed': {
    sabotage: (store) => ({
      ...store,
      async readLayout(name) {
        const read = await store.readLayout(name);
        const all = read?.item.all.map((one) => ({ ...one, announcedAt: 0 })) ?? [];
        return read && { ...read, item: { ...read.item, all } };
      },
    }),
  },
  'a lane that opens before the older ones have drained': {
    sabotage: (store) => ({
      ...store,
      async readProgress(convoyId) {
        const read = await store.readProgress(convoyId);
        if (!read || read.item.lane) return read;
        const retired = { generation: 1, tail: read.item.cursor, at: 0 };
        return { ...read, item: { ...read.item, retired } };
      },
    }),
  },
  'a lane that opens before its fences have come through': {
    sabotage: (store) => ({
      ...store,
      async readFence(convoyId, generation) {
        const fence = await store.readFence(convoyId, generation);
        return fence && { ...fence, passedAt: 1 };
      },
    }),
  },
  'a lane that retires without If-Match': {
    staleSenders: true,
    sabotage: (store) => ({
      ...store,
      batch: (convoyId, operations) =>
        store.batch(
          convoyId,
          operations.some(isRetirement)
            ? operations.map((o) => (o.kind === 'replace' ? { kind: 'put', item: o.item } : o))
            : operations,
        ),
    }),
  },
  'a lane that asks no older one for duplicates': {
    sabotageDrain: (store) => ({ ...store, readSeen: async () => undefined }),
  },
};

test.each(Object.keys(sabotages))(
  'a broken rule is found: %s',
  async (name) => {
    const rest = { faultRate: 0.01, staleSenders: false, replays: false };

    const failed = await failingSeeds(
      { ...rest, ...sabotages[name] },
      { seeds: 200, from: 1, untilFound: true },
    );

    expect(failed).toHaveLength(1);
  },
  120_000,
);
