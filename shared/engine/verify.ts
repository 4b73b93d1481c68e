// `verify`: recomputes the hash chain of one key from the oldest kept record, and says what else an
// auditor asks: what the broker gave up on, what is parked, where the sender's numbering has holes.
//
// It reads the progress first, then inbox and parked items page by page, side by side in the order
// of positions; what was settled after the progress was read is left to the next run. Nothing is
// written, nothing is held: the key works on meanwhile.
import type { Clock } from '../clock.ts';
import { type Break, ChainCheck, type KeptLink, type MissingRange } from '../convoy/chain-check.ts';
import { type SenderGap, SenderGaps } from '../convoy/sender-gaps.ts';
import { ConvoyError } from '../errors.ts';
import { convoyIdOf, hexHash } from '../keys.ts';
import type { DeadItem, InboxItem, ParkedItem } from '../store/items.ts';
import { readProgress } from './placed.ts';
import type { ConvoyStore, Page, PageFilter } from '../store/store.ts';

export interface Verifier {
  store: ConvoyStore;
  clock: Clock;
  definitions: ReadonlyMap<string, { retentionSeconds?: number }>;
}

export interface Verification {
  convoy: string;
  key: string;
  /** Whether the chain holds; holes of the sender and dead letters do not break it. */
  ok: boolean;
  /** Links recomputed. */
  checked: number;
  /** Settlements: the oldest kept one, and the last. */
  from: number | null;
  to: number;
  firstBreak?: Break;
  missing: MissingRange[];
  oldestKept: { settlement: number; position: number; settledAt: number } | null;
  parked: number[];
  /** Messages the broker gave up on: how many, and the first 100. */
  dead: { count: number; replayed: number; items: DeadLetterSeen[] };
  senderGaps: SenderGap[];
}

type DeadLetterSeen = Pick<DeadItem, 'sequence' | 'messageId' | 'reason'> & {
  position: number | null;
};

const pageItems = 500;
const deadShown = 100;

/** Throws CVY_NOT_FOUND for a key that is unknown. */
export async function verify(
  verifier: Verifier,
  place: { convoy: string; key: string },
): Promise<Verification> {
  const { store, clock, definitions } = verifier;
  const { convoy, key } = place;
  const convoyId = convoyIdOf(convoy, key);
  const progress = await readProgress(store, convoyId);
  if (!progress) throw new ConvoyError('CVY_NOT_FOUND', `no convoy '${convoy}' with key '${key}'`);
  const { settled, chain, parked } = progress.item;
  const check = new ChainCheck(hexHash);
  const gaps = new SenderGaps();
  let oldestKept: Verification['oldestKept'] = null;
  for await (const { item, aside } of messagesOf(store, convoyId)) {
    if (item?.senderPosition !== undefined) gaps.add(item.senderPosition, item);
    for (const link of linksOf(item, aside)) {
      if (link.settlement > settled) continue;
      if (oldestKept === null || link.settlement < oldestKept.settlement) {
        const { settlement, position, settledAt } = link;
        oldestKept = { settlement, position, settledAt };
      }
      if (!check.add(link)) throw new ConvoyError('CVY_INVARIANT', `${convoyId} has no one chain`);
    }
  }
  const ttl = definitions.get(convoy)?.retentionSeconds;
  const report = check.finish({ settled, chain }, { now: clock.now(), ttl });
  const { checked, from, to, firstBreak, missing } = report;
  return {
    convoy,
    key,
    ok: firstBreak === undefined,
    ...{ checked, from, to },
    ...(firstBreak && { firstBreak }),
    missing,
    oldestKept,
    parked,
    dead: await deadOf(store, convoyId),
    senderGaps: gaps.gaps(),
  };
}

interface Kept {
  item: InboxItem | undefined;
  aside: ParkedItem | undefined;
}

/** Inbox and parked items of the same position together, by position. */
async function* messagesOf(store: ConvoyStore, convoyId: string): AsyncGenerator<Kept> {
  const asides = itemsOf((filter) => store.listParkedOf(convoyId, filter));
  const items = itemsOf((filter) => store.listMessages(convoyId, { from: 1, ...filter }));
  let aside = await asides.next();
  for await (const item of items) {
    while (!aside.done && aside.value.position < item.position) {
      yield { item: undefined, aside: aside.value };
      aside = await asides.next();
    }
    const isSame = !aside.done && aside.value.position === item.position;
    yield { item, aside: isSame ? aside.value : undefined };
    if (isSame) aside = await asides.next();
  }
  for (; !aside.done; aside = await asides.next()) yield { item: undefined, aside: aside.value };
}

async function* itemsOf<Item>(
  list: (filter: PageFilter) => Promise<Page<Item>>,
): AsyncGenerator<Item, undefined> {
  let continuation: string | undefined;
  do {
    const at = continuation === undefined ? {} : { continuation };
    const page: Page<Item> = await list({ limit: pageItems, ...at });
    yield* page.items;
    continuation = page.continuation;
  } while (continuation !== undefined);
  return undefined;
}

/** The links a message has: the one it was parked with, and the one it settled with. */
function linksOf(item: InboxItem | undefined, aside: ParkedItem | undefined): KeptLink[] {
  const links: KeptLink[] = [];
  if (aside) {
    const { settlement, position, chain, parkedAt, healedAt, ttl } = aside;
    const kept = { settlement, position, chain, outcome: 'parked', settledAt: parkedAt };
    // It is kept from the moment it is healed, and for ever until then.
    const seconds = ttl === undefined ? undefined : ttl + ((healedAt ?? 0) - parkedAt) / 1000;
    links.push({ ...kept, ...(item && { message: item }), ttl: seconds });
  }
  const { settlement, chain, settledAt } = item ?? {};
  if (!item || settlement === undefined || chain === undefined) return links;
  // While a message is parked both items say so; where they disagree, both are looked at.
  const isSaidTwice = aside?.settlement === settlement && aside.chain === chain;
  const isAgreed = aside?.messageId === item.messageId && item.outcome === 'parked';
  if (isSaidTwice && isAgreed) return links;
  const { position, outcome, ttl } = item;
  const kept = { settlement, position, chain, outcome, settledAt: settledAt ?? 0 };
  return [...links, { ...kept, message: item, ttl }];
}

async function deadOf(store: ConvoyStore, convoyId: string): Promise<Verification['dead']> {
  const dead: Verification['dead'] = { count: 0, replayed: 0, items: [] };
  for await (const item of itemsOf((filter) => store.listDead(convoyId, filter))) {
    dead.count += 1;
    if (item.replayedAt !== undefined) dead.replayed += 1;
    const { sequence, messageId, reason, position = null } = item;
    if (dead.items.length < deadShown) dead.items.push({ sequence, messageId, reason, position });
  }
  return dead;
}
