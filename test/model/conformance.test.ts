// Goal: what the model knows beside the engine's own code is true. Two things: what the store does
// (shelf.ts), and which histories of a process go on alike (merge.ts).
import { expect, test } from 'vitest';
import { createMemoryStore } from '../../shared/store/memory.ts';
import type { ConvoyItem } from '../../shared/store/items.ts';
import type { ConvoyStore, StoreOperation } from '../../shared/store/store.ts';
import type { Node } from './automaton.ts';
import { realCode } from './code.ts';
import { explore } from './explore.ts';
import { smallScopes } from './scopes.ts';
import type { Answer, Call } from './script.ts';
import { type Good, type Shelf, keptOf } from './shelf.ts';
import { System } from './steps.ts';

const convoyId = 'model:k';

/** ETags differ from run to run; which of them are the same is what the calls are made of. */
const withoutEtags = (value: unknown): string =>
  JSON.stringify(value, (name, part: unknown) => (/^etags?$/.test(name) ? undefined : part));
const anyEtag = (call: Call | undefined): string =>
  JSON.stringify(call ?? null).replaceAll(/"(gate|progress) \d+"/g, '"$1"');

async function explored(name: string): Promise<System> {
  const scope = smallScopes.find((one) => one.name === name);
  const system = new System(realCode, scope ?? smallScopes[0]!);
  await explore(system, { statesMax: 60_000 });
  return system;
}

/** The call as the memory store gets it: an ETag that is still good is the one it has. */
async function onMemory(call: Call, before: Shelf, good: Good): Promise<[unknown, string]> {
  const store = createMemoryStore();
  const items = [...before.items.values()] as unknown as ConvoyItem[];
  if (items.length > 0)
    await store.batch(
      convoyId,
      items.map((item) => ({ kind: 'put', item })),
    );
  const gate = (await store.readGate(convoyId))?.etag;
  const progress = (await store.readProgress(convoyId))?.etag;
  const real = (operation: StoreOperation): StoreOperation => {
    if (operation.kind !== 'replace') return operation;
    const isGate = operation.item.kind === 'gate';
    const own = isGate ? `gate ${good.gate}` : `progress ${good.progress}`;
    const isGood = (isGate ? good.gate : good.progress) > 0 && operation.ifMatch === own;
    return { ...operation, ifMatch: isGood ? String(isGate ? gate : progress) : '"old"' };
  };
  const [first, ...rest] = call.args;
  const args =
    call.method === 'batch' ? [first, (rest[0] as StoreOperation[]).map(real)] : call.args;
  const method = Reflect.get(store, call.method) as (...args: unknown[]) => Promise<unknown>;
  return [await method(...args), await contentOf(store, before)];
}

async function contentOf(store: ConvoyStore, before: Shelf): Promise<string> {
  const gate = await store.readGate(convoyId);
  const progress = await store.readProgress(convoyId);
  const inbox = await store.readInbox(convoyId, { from: 1, to: 100, limit: 100 });
  const outbox = await store.readOutbox(convoyId);
  const ids = new Set(inbox.map(({ messageId }) => messageId));
  const seen = await Promise.all([...ids].map((id) => store.readSeen(convoyId, id)));
  const items = [gate?.item, progress?.item, ...inbox, ...outbox, ...seen];
  expect(before.items.size).toBeLessThanOrEqual(items.length + before.outbox.length);
  return contentText(items.filter((item) => item !== undefined).map(keptOf));
}

const contentText = (items: { id: string }[]): string =>
  JSON.stringify(items.toSorted((a, b) => (a.id < b.id ? -1 : 1)).map(sorted));
const sorted = (item: object): unknown =>
  Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)));

test.each(['a lost lock', 'a zombie', 'a poisoned message'])(
  'the shelf does what the memory store does: %s',
  async (name) => {
    const { executed } = (await explored(name)).store;
    const some = executed.filter((_, i) => i % Math.ceil(executed.length / 250) === 0);

    for (const { call, before, good, outcome } of some) {
      const [value, content] = await onMemory(call, before, good);

      expect(withoutEtags(value)).toBe(withoutEtags(outcome.value));
      expect(content).toBe(contentText([...outcome.shelf.items.values()]));
    }
    expect(some.length).toBeGreaterThan(100);
  },
);

test.each(['a zombie', 'no answers', 'a poisoned message'])(
  'histories that were made one go on alike: %s',
  async (name) => {
    const { automaton } = await explored(name);
    const some = automaton.merged.filter((_, i, all) => i % Math.ceil(all.length / 40) === 0);
    let compared = 0;

    /** Until the next pass begins, along everything the first history was answered. */
    const compare = async (history: readonly Answer[], node: Node): Promise<void> => {
      const position = await automaton.follow(node.program, history);
      compared += 1;
      expect(anyEtag(position.call)).toBe(anyEtag(node.call));
      expect(position.startedNow).toEqual(node.startedNow);
      for (const [text, { node: next }] of node.children) {
        const answer = node.answers.get(text);
        if (answer && !next.isPass) await compare([...history, answer], next);
      }
    };
    for (const { history, node } of some) await compare(history, node);
    expect(compared).toBeGreaterThan(some.length);
    expect(some.length).toBeGreaterThan(10);
  },
);
