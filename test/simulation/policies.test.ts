// Every policy of a definition under the same faults as history.test.ts: the sender's order,
// parking, effects, windows, chosen by the seed. Some messages fail until everything is mended; an
// operator retries, parks, replays and pauses as people do. In the end all is applied, once, in the
// order the policy promises; the windows hold every message once; the chain is whole.
import { expect, test } from 'vitest';
import { z } from 'zod';
import { type ConvoyDefinition, defineConvoy } from '../../shared/convoy/definition.ts';
import { linkOf } from '../../shared/convoy/chain.ts';
import type { WindowDefinition } from '../../shared/convoy/window-definition.ts';
import { operate } from '../../shared/engine/operate.ts';
import type { Engine } from '../../shared/engine/ports.ts';
import { hexHash } from '../../shared/keys.ts';
import type { InboxItem, ParkedItem, ProgressItem } from '../../shared/store/items.ts';
import { type Prng, prng } from '../support/prng.ts';
import { type History, place, runHistory } from './history.ts';

const convoyId = `${place.convoy}:${place.key}`;
const firstSeed = Number(process.env['SEED'] ?? 1);
const count = Number(process.env['COUNT'] ?? 200);
const messages = 12;
const schema = z.object({ n: z.number() });
type Body = z.infer<typeof schema>;

interface World {
  definition: ConvoyDefinition;
  /** The sender's position of the i-th message. */
  positions: number[];
  /** Ids that fail until all is mended. */
  broken: Set<string>;
  isMended: boolean;
  /** How often the effect of a message ran. */
  effects: Map<string, number>;
}

function pick<Item>(random: Prng, items: readonly Item[]): Item {
  const item = items[random.below(items.length)];
  if (item === undefined) throw new RangeError('nothing to pick from');
  return item;
}

function windowOf(random: Prng): WindowDefinition<string[], Body> {
  const kind = pick(random, ['tumbling', 'hopping', 'session'] as const);
  return {
    name: 'w',
    kind,
    ...(kind === 'session' ? { gapSeconds: 15 } : { seconds: 30 }),
    ...(kind === 'hopping' && { everySeconds: 10 }),
    value: (message) => message.body.n,
    late: pick(random, ['amend', 'drop', 'next', 'park'] as const),
    graceSeconds: pick(random, [0, 20]),
    ...(random.chance(0.5) && { quietSeconds: 60 }),
  };
}

function worldOf(seed: number): World {
  const random = prng(seed * 7919);
  const broken = new Set<string>();
  for (let i = 1; i <= messages; i += 1) if (random.chance(0.12)) broken.add(`m${i}`);
  const world: World = {
    definition: {} as ConvoyDefinition,
    positions: shuffled(random),
    broken,
    isMended: false,
    effects: new Map(),
  };
  const isBroken = (id: string): boolean => !world.isMended && broken.has(id);
  const order = pick(random, ['broker', 'sender'] as const);
  const hasEffect = random.chance(0.3);
  world.definition = defineConvoy({
    name: place.convoy,
    schema,
    initialState: [] as string[],
    order,
    ...(order === 'sender' && { gap: { waitSeconds: 20 } }),
    onPoison: pick(random, ['block', 'park', 'park-lane'] as const),
    retry: { attempts: pick(random, [1, 3]), firstDelaySeconds: 1 },
    lingerSeconds: 5,
    ...(hasEffect && {
      async effect(message: { id: string }) {
        world.effects.set(message.id, 1 + (world.effects.get(message.id) ?? 0));
        if (isBroken(message.id)) throw new Error(`no answer for ${message.id}`);
      },
    }),
    windows: random.chance(0.7) ? [windowOf(random)] : [],
    apply(state, message, context) {
      if (!hasEffect && isBroken(message.id)) throw new Error(`cannot ${message.id}`);
      context.emit('done', { id: message.id });
      return [...state, message.id];
    },
  });
  return world;
}

/** Sender's positions that are at most a few places off. */
function shuffled(random: Prng): number[] {
  const positions = Array.from({ length: messages }, (_, i) => i + 1);
  const rank = new Map(positions.map((p) => [p, p + random.below(4)]));
  return positions.sort((a, b) => (rank.get(a) ?? 0) - (rank.get(b) ?? 0) || a - b);
}

/** What a person does with the key as it stands. */
async function actOn(engine: Engine, world: World, isCalm: boolean): Promise<void> {
  world.isMended = isCalm;
  const progress = (await engine.store.readProgress(convoyId))?.item;
  if (progress === undefined) return;
  const act = (action: Parameters<typeof operate>[1]['action']): Promise<void> =>
    operate(engine, { ...place, action, reason: 'by hand', expectedCursor: progress.cursor });
  const { hold, parked, laneParked, settled } = progress;
  if (hold.kind === 'paused') return act('resume');
  if (hold.kind === 'blocked' && hold.code !== 'CVY_PARKED_FULL') {
    const mayPark = hold.code !== 'CVY_GAP' && settled % 3 === 1 && !isCalm;
    return act(mayPark ? 'park' : 'retry');
  }
  if (parked.length > 0 || laneParked !== null) return act('replay');
  if (!isCalm && settled % 5 === 2) return act('pause');
}

async function judge(history: History, world: World): Promise<string[]> {
  const wrong: string[] = [];
  const say = (fact: string, holds: boolean): void => void (holds || wrong.push(fact));
  const progress = (await history.store.readProgress(convoyId))?.item as ProgressItem;
  const { items } = await history.store.listMessages(convoyId, { from: 1, limit: 500 });
  const open = items.filter(({ outcome }) => outcome !== 'applied');
  say(`not applied: ${open.map((i) => `${i.messageId} ${i.outcome}`).join()}`, open.length === 0);
  const applied = progress.state as string[];
  say(`applied ${applied.join()}`, sameSet(applied, history.sent));
  say(`hold ${progress.hold.kind} ${progress.hold.code}`, progress.hold.kind === 'none');
  say(`aside ${progress.asideCount}`, progress.asideCount === 0);
  const done = history.published.filter(({ output }) => output.type === 'done');
  const published = done.map(({ output }) => output.causationId);
  say(`published ${published.join()} of ${applied.join()}`, published.join() === applied.join());
  say(history.backward.join(), history.backward.length === 0);
  wrong.push(...orderFaults(items, applied, world));
  wrong.push(...(await windowFaults(history, world, progress)));
  wrong.push(...(await chainFaults(history, items, progress)));
  return wrong;
}

const sameSet = (a: readonly string[], b: readonly string[]): boolean =>
  a.toSorted().join() === b.toSorted().join() && new Set(a).size === a.length;

/** Nothing that was never parked is overtaken, in the order that the definition asks for. */
function orderFaults(items: InboxItem[], applied: string[], { definition }: World): string[] {
  const rank = new Map(
    items.map((item) => [
      item.messageId,
      definition.order === 'sender' ? (item.senderPosition ?? 0) : item.position,
    ]),
  );
  const parked = new Set(items.filter((i) => i.reason === null).map((i) => i.messageId));
  const inLine = applied.filter((id) => !parked.has(id)).map((id) => rank.get(id) ?? 0);
  const sorted = inLine.toSorted((a, b) => a - b);
  return inLine.join() === sorted.join() ? [] : [`order ${applied.join()}`];
}

/** Every message is counted in its window exactly once, and what was published last says so. */
async function windowFaults(
  history: History,
  { definition }: World,
  progress: ProgressItem,
): Promise<string[]> {
  const [window] = definition.windows;
  if (window === undefined || window.kind === 'hopping' || window.late === 'drop') return [];
  const { items } = await history.store.listWindows(convoyId, { limit: 500 });
  const counts = [...items, ...progress.openWindows].map(({ count: n }) => n);
  const counted = counts.reduce((a, b) => a + b, 0);
  const wrong = items.flatMap(({ start, count: n, revision }) => {
    const last = history.published
      .filter(({ output }) => output.type === 'window.closed')
      .map(({ output }) => JSON.parse(output.bodyText) as Record<string, unknown>)
      .filter((body) => Date.parse(String(body['start'])) === start)
      .at(-1);
    const isSame = last?.['count'] === n && last['revision'] === revision;
    return isSame ? [] : [`window ${start} has ${n}, published was ${JSON.stringify(last)}`];
  });
  const isWhole = counted === history.sent.length;
  return isWhole ? wrong : [...wrong, `windows count ${counted} of ${history.sent.length}`];
}

/** The links of settled and parked messages in order of settlement lead to the chain's end. */
async function chainFaults(
  history: History,
  items: InboxItem[],
  progress: ProgressItem,
): Promise<string[]> {
  const links = items.map((item) => ({ ...item, message: item }));
  const parked = await parkedOf(history, items);
  const all = [...links, ...parked].sort((a, b) => (a.settlement ?? 0) - (b.settlement ?? 0));
  let chain = '';
  for (const [i, { message, settlement, outcome }] of all.entries()) {
    if (settlement !== i + 1) return [`settlement ${i + 1} is missing`];
    chain = linkOf({ before: chain, message, outcome }, hexHash);
  }
  return chain === progress.chain ? [] : ['the chain does not verify'];
}

async function parkedOf(history: History, items: InboxItem[]) {
  const { items: kept } = await history.store.listParkedOf(convoyId, { limit: 500 });
  return kept.map((item: ParkedItem) => {
    const message = items.find(({ position }) => position === item.position);
    if (message === undefined) throw new Error(`no message ${item.position}`);
    return { settlement: item.settlement, outcome: 'parked', message };
  });
}

test(`${count} histories of every policy`, { timeout: 180_000 }, async () => {
  const failed: string[] = [];
  for (let seed = firstSeed; seed < firstSeed + count; seed += 1) {
    const world = worldOf(seed);
    const history = await runHistory({
      seed,
      messages,
      definition: world.definition,
      faultRate: 0.03,
      messageOf: (i) => {
        const senderPosition = world.positions[i - 1];
        const bodyText = JSON.stringify({ n: i });
        return { bodyText, ...(senderPosition !== undefined && { senderPosition }) };
      },
      operate: (engine, isCalm) => actOn(engine, world, isCalm),
    });
    const wrong = await judge(history, world).catch((error: unknown) => [String(error)]);
    const { order, onPoison, effect } = world.definition;
    const what = `${order} ${onPoison}${effect ? ' effect' : ''}`;
    if (wrong.length > 0) failed.push(`seed=${seed} (${what}): ${wrong.join(' | ')}`);
  }
  expect(failed).toEqual([]);
});
