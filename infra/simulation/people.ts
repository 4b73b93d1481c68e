// What people do with a key: pause, resume, retry, skip, park, replay, cancel – at odd moments
// while things fail, and as a careful operator once nothing fails any more.
import type { OperatorAction } from '../../shared/engine/operate.ts';
import { operate } from '../../shared/engine/operate.ts';
import { replayDead, replayQuarantined } from '../../shared/engine/replay.ts';
import type { ProgressItem } from '../../shared/store/items.ts';
import type { Host } from './host.ts';
import type { World } from './world.ts';

/** Some act that fits the key as it stands; what it throws is the operator's answer. */
export async function act(world: World, host: Host, choice: { key: string; value: number }) {
  const { key, value } = choice;
  const place = { convoy: world.convoy, key };
  const progress = (await host.freshEngine.store.readProgress(world.convoyIdOf(key)))?.item;
  if (progress === undefined) return;
  const action = actionFor(world, progress, value);
  if (action === undefined) return;
  const isCareful = Math.floor(value * 1000) % 2 === 0;
  const expectedCursor = isCareful ? { expectedCursor: progress.cursor } : {};
  world.oracles.decided(key, action, progress.hold.position);
  await operate(host.freshEngine, { ...place, action, reason: 'by hand', ...expectedCursor });
  world.coverage.count(`operator:${action}`);
}

function actionFor(
  { scenario }: World,
  { hold, parked, laneParked }: ProgressItem,
  value: number,
): OperatorAction | undefined {
  const possible: OperatorAction[] = [];
  if (hold.kind === 'paused') possible.push('resume');
  else possible.push('pause');
  if (hold.kind === 'blocked' || hold.kind === 'retrying') {
    possible.push('retry', 'retry');
    if (hold.position !== undefined && hold.code !== 'CVY_GAP') possible.push('park');
    if (hold.position !== undefined && scenario.maySkip) possible.push('skip');
  }
  if (parked.length > 0 || laneParked !== null) possible.push('replay');
  if (scenario.mayCancel) possible.push('cancel');
  return possible[Math.floor(((value * 97) % 1) * possible.length)];
}

/** Sets right what stands still: called again and again once nothing fails any more. */
export async function mend(world: World, host: Host, key: string): Promise<void> {
  const { convoy } = world;
  const { freshEngine } = host;
  const { store } = freshEngine;
  const convoyId = world.convoyIdOf(key);
  const progress = (await store.readProgress(convoyId))?.item;
  if (progress !== undefined) {
    const { hold, parked, laneParked, cursor } = progress;
    const todo = careFor(progress, parked.length > 0 || laneParked !== null);
    if (todo !== undefined) {
      world.oracles.decided(key, todo, hold.position);
      const about = { reason: 'mended', expectedCursor: cursor };
      await operate(freshEngine, { convoy, key, action: todo, ...about });
      world.coverage.count(`operator:${todo}`);
    }
  }
  const { items } = await store.listDead(convoyId, { limit: 100 });
  if (items.every(({ replayedAt }) => replayedAt !== undefined)) return;
  const request = { convoy, key, reason: 'mended', perSecond: 1_000 };
  await replayDead(freshEngine, request, freshEngine.clock.now() + 100_000);
  world.coverage.count('operator:replayDead');
}

function careFor({ hold, healing }: ProgressItem, isAside: boolean): OperatorAction | undefined {
  if (hold.kind === 'paused') return 'resume';
  if (hold.kind === 'blocked' && hold.code !== 'CVY_PARKED_FULL') return 'retry';
  return isAside && healing.length === 0 ? 'replay' : undefined;
}

/** Gives what came without a key to one of the keys. */
export async function placeQuarantined(world: World, host: Host, key: string): Promise<void> {
  const { convoy } = world;
  const { items } = await host.freshEngine.store.listQuarantine(convoy, { limit: 100 });
  for (const item of items) {
    if (item.replayedAt !== undefined) continue;
    const id = item.id.slice('quarantine:'.length);
    world.oracles.rescued(item.messageId, key);
    const request = { convoy, id, key: item.replayedKey ?? key, reason: 'found its key' };
    await replayQuarantined(host.freshEngine, request);
    world.coverage.count('operator:replayQuarantined');
  }
}
