// Goal: in order, once, nothing lost, whatever fails. Method: seeded histories of the real code; a
// failing seed is printed and repeats the history exactly (SEED=… COUNT=1).
import { expect, test } from 'vitest';
import type { InboxItem, ProgressItem } from '../../shared/store/items.ts';
import type { ConvoyStore } from '../../shared/store/store.ts';
import { summing } from '../convoy/settling.ts';
import { type History, place, runHistory } from './history.ts';

const convoyId = `${place.convoy}:${place.key}`;
const firstSeed = Number(process.env['SEED'] ?? 1);
const count = Number(process.env['COUNT'] ?? 300);

/** What an observer finds wrong with a history; empty = nothing. */
async function judge(history: History): Promise<string[]> {
  const wrong: string[] = [];
  const { items } = await history.store.listMessages(convoyId, { from: 1, limit: 500 });
  const stored = items.map((item: InboxItem) => item.messageId);
  const say = (fact: string, holds: boolean): void => void (holds || wrong.push(fact));
  say(`stored ${stored.join()}, sent ${history.sent.join()}`, same(stored, history.sent));
  const waiting = items.filter((item) => item.outcome !== 'applied');
  say(
    `not applied: ${waiting.map((i) => `${i.messageId} ${i.outcome}`).join()}`,
    waiting.length === 0,
  );
  const summed = history.published.filter(({ output }) => output.type === 'summed');
  const published = summed.map(({ output }) => output.causationId);
  say(`published ${published.join()}`, same(published, history.emitting));
  say(`${history.calls} calls of the store`, history.calls < 1_000);
  say(history.backward.join(', '), history.backward.length === 0);
  const progress = await history.store.readProgress(convoyId);
  const state = (progress?.item as ProgressItem).state as { ids: string[] };
  say(`effects ${state.ids.join()}`, same(state.ids, history.sent));
  const gate = await history.store.readGate(convoyId);
  say(`gate ${gate?.item.phase} at the end`, gate?.item.phase === 'idle');
  return wrong;
}

const same = (a: readonly string[], b: readonly string[]): boolean => a.join() === b.join();

async function failingSeeds(options: {
  sabotage?: (store: ConvoyStore) => ConvoyStore;
  seeds: number;
  from: number;
}): Promise<string[]> {
  const failed: string[] = [];
  for (let seed = options.from; seed < options.from + options.seeds; seed += 1) {
    const history = await runHistory({
      seed,
      messages: 12,
      definition: summing(),
      faultRate: 0.04,
      ...(options.sabotage && { sabotage: options.sabotage }),
    });
    const wrong = await judge(history).catch((error: unknown) => [String(error)]);
    if (wrong.length > 0) failed.push(`seed=${seed}: ${wrong.join(' | ')}`);
    if (options.sabotage && failed.length > 0) break;
  }
  return failed;
}

test(`${count} histories with deaths, lost answers, zombies and terminations`, async () => {
  expect(await failingSeeds({ seeds: count, from: firstSeed })).toEqual([]);
}, 120_000);

/** Breaks one rule in what reaches the store; the histories must find it. */
const sabotages: Record<string, (store: ConvoyStore) => ConvoyStore> = {
  'H5 without If-Match on progress': (store) => ({
    ...store,
    batch: (id, operations) =>
      store.batch(
        id,
        operations.map((o) =>
          o.kind === 'replace' && o.item.kind === 'progress' ? { kind: 'put', item: o.item } : o,
        ),
      ),
  }),
  'H6 without If-Match on the gate': (store) => ({
    ...store,
    batch: (id, operations) =>
      store.batch(
        id,
        operations.map((o) =>
          o.kind === 'replace' && o.item.kind === 'gate' && o.item.phase === 'idle'
            ? { kind: 'put', item: o.item }
            : o,
        ),
      ),
  }),
  'H1 without the seen marker': (store) => ({
    ...store,
    batch: (id, operations) =>
      store.batch(
        id,
        operations.filter((o) => !isSeen(o)),
      ),
  }),
  'H11 outbox removed before the broker has it': (store) => ({
    ...store,
    readOutbox: async () => [],
  }),
  'H9 no sweeper': (store) => ({
    ...store,
    gatesUnwritten: async () => [],
    gatesDue: async () => [],
  }),
};

function isSeen(operation: Parameters<ConvoyStore['batch']>[1][number]): boolean {
  if ('item' in operation) return operation.item.kind === 'seen';
  return operation.id.startsWith('seen:');
}

test.each(Object.keys(sabotages))(
  'a broken rule is found: %s',
  async (name) => {
    const sabotage = sabotages[name];
    const failed = await failingSeeds({ ...(sabotage && { sabotage }), seeds: 300, from: 1 });

    expect(failed.length).toBeGreaterThan(0);
  },
  120_000,
);
