// [H13] The contributor's side: a closed window of a key becomes its contribution to the window
// across keys. Part of publishing the outbox entry, before that counts as published: so death
// anywhere here is repeated by whoever publishes the entry again.
//
// Crash points: before the contribution – nothing happened; after it, before the head – the repeat
// finds its revision written, skips it and still goes on to the head, which may then be marked
// dirty for what it holds already: the publisher finds the same content and publishes nothing.
import { type Clock, instantMs, sleep } from '../clock.ts';
import type { ConvoyDefinition } from '../convoy/definition.ts';
import { type RollUpHead, assertRollUp, contribute } from '../convoy/roll-up.ts';
import type { Aggregate, Output } from '../convoy/state.ts';
import { ConvoyError } from '../errors.ts';
import { windowIdOf } from '../keys.ts';
import type { Log } from '../log.ts';
import { type ContributionItem, type RollUpItem, itemIds } from '../store/items.ts';
import { type RollUpStore, StoreUnavailable } from '../store/store.ts';

const conflictsMax = 100;
const atOnce = 8;

export interface RollUps {
  store: RollUpStore;
  clock: Clock;
  log: Log;
}

/** How a window definition rolls up; null = it does not. */
export interface RollUpRule {
  delayMs: number;
  /** From the first contribution on, a window can be amended for so long. */
  keepMs: number;
}

export function rollUpOf(definition: ConvoyDefinition, name: string): RollUpRule | null {
  const rollUp = definition.windows.find((window) => window.name === name)?.rollUp;
  if (rollUp === undefined) return null;
  const delayMs = rollUp.delaySeconds * 1000;
  return { delayMs, keepMs: 2 * definition.retentionSeconds * 1000 + delayMs };
}

interface ClosedOutput extends Aggregate {
  window: string;
  start: number;
  end: number;
  revision: number;
  result?: unknown;
}

/** Contributes every closed window among these outputs. Rejects with what the store threw, and with
 *  CVY_CONVOY_UNKNOWN where nobody can say whether a window rolls up. */
export async function contributeOutputs(
  rollUps: RollUps,
  owner: { convoy: string; key: string; definition: ConvoyDefinition | undefined },
  outputs: readonly Output[],
): Promise<void> {
  const { convoy, key, definition } = owner;
  const latest = new Map<string, { closed: ClosedOutput; rule: RollUpRule }>();
  for (const output of outputs) {
    if (output.type !== 'window.closed') continue;
    if (definition === undefined) {
      throw new ConvoyError('CVY_CONVOY_UNKNOWN', `no convoy '${convoy}' is registered`);
    }
    const closed = closedIn(output);
    const rule = closed && rollUpOf(definition, closed.window);
    // In the order of the outbox: of several revisions the last one is the highest.
    if (closed && rule)
      latest.set(windowIdOf(convoy, closed.window, closed.start), { closed, rule });
  }
  const entries = [...latest.values()];
  for (let at = 0; at < entries.length; at += atOnce) {
    const some = entries.slice(at, at + atOnce);
    await Promise.all(some.map((entry) => contributeOne(rollUps, { convoy, key, ...entry })));
  }
}

/** The body of `window.closed` (CONTRACT §3); an early result is not final and not rolled up. */
function closedIn(output: Output): ClosedOutput | undefined {
  const body = JSON.parse(output.bodyText) as Record<string, unknown> | null;
  const start = instantMs(String(body?.['start']));
  const end = instantMs(String(body?.['end']));
  if (!body || start === undefined || end === undefined || body['final'] !== true) return undefined;
  return { ...(body as unknown as ClosedOutput), start, end };
}

interface Entry {
  convoy: string;
  key: string;
  closed: ClosedOutput;
  rule: RollUpRule;
}

async function contributeOne(rollUps: RollUps, entry: Entry): Promise<void> {
  const session = await putContribution(rollUps, entry);
  await tellHead(rollUps, entry, session);
}

/** Answers the session that has seen the contribution. */
async function putContribution(rollUps: RollUps, entry: Entry): Promise<string> {
  const { store, clock } = rollUps;
  const item = contributionItem(entry);
  for (let conflicts = 0; conflicts < conflictsMax; conflicts += 1) {
    // A first revision is usually new: one request.
    const created = await store.createWindowsItem(item);
    if (created.applied) return created.session;
    const { found, session } = await store.readContribution(item.windowId, entry.key);
    if (found && found.item.revision >= item.revision) return session;
    if (found) {
      const replaced = await store.replaceWindowsItem(item, found.etag);
      if (replaced.applied) return replaced.session;
    }
    await pauseAfter(clock, conflicts);
  }
  throw new StoreUnavailable(`contribution to ${item.windowId}: ${conflictsMax} conflicts`);
}

/** Reads the head with the contribution's session: an older head would hide that it was closed. */
async function tellHead(rollUps: RollUps, entry: Entry, session: string): Promise<void> {
  const { store, clock, log } = rollUps;
  const { convoy, key, closed, rule } = entry;
  const windowId = windowIdOf(convoy, closed.window, closed.start);
  const window = { convoy, window: closed.window, start: closed.start, end: closed.end };
  for (let conflicts = 0; conflicts < conflictsMax; conflicts += 1) {
    const { found } = await store.readRollUp(windowId, session);
    const step = contribute(found?.item, window, { now: clock.now(), ...rule });
    if (step.kind === 'none') return;
    assertRollUp(step.head);
    const item = rollUpItem(step.head);
    const written = found
      ? await store.replaceWindowsItem(item, found.etag)
      : await store.createWindowsItem(item);
    if (written.applied) {
      if (step.head.missed > (found?.item.missed ?? 0)) {
        log.warn('CVY_ROLL_UP_FORGOTTEN', { windowId, key, revision: closed.revision });
      }
      return;
    }
    await pauseAfter(clock, conflicts);
  }
  throw new StoreUnavailable(`head of ${windowId}: ${conflictsMax} conflicts`);
}

async function pauseAfter(clock: Clock, conflicts: number): Promise<void> {
  if (conflicts > 0) await sleep(clock, Math.min(conflicts * 5, 250));
}

function contributionItem({ convoy, key, closed, rule }: Entry): ContributionItem {
  const { count, sum, min, max, first, last, revision, result } = closed;
  return {
    id: itemIds.contribution(key),
    windowId: windowIdOf(convoy, closed.window, closed.start),
    kind: 'contribution',
    key,
    revision,
    ...{ count, sum, min, max, first, last },
    ...(result !== undefined && { result }),
    ttl: Math.ceil((2 * rule.keepMs) / 1000),
  };
}

/** A head outlives its contributions by far: it keeps a revision from being used again. */
const headTtlSecondsMin = 400 * 86_400;

export function rollUpItem(head: RollUpHead): RollUpItem {
  const { convoy, window, start } = head;
  return {
    ...head,
    id: itemIds.head,
    windowId: windowIdOf(convoy, window, start),
    kind: 'head',
    series: `${convoy}:${window}`,
    ttl: Math.max(headTtlSecondsMin, Math.ceil((4 * head.keepMs) / 1000)),
  };
}
