// [H12] Years go by: what must be there still is, what may go is gone.
import { operate } from '../../../shared/engine/operate.ts';
import { takeDead } from '../../../shared/engine/intake.ts';
import type { Scenario } from './scenario.ts';
import {
  convoyId,
  deliver,
  place,
  receivedOf,
  recording,
  runFor,
  startTraffic,
  violationsOf,
} from './traffic.ts';
import { type World, createWorld } from './world.ts';

const yearMs = 365 * 86_400_000;

/** Sends one message and lets the world run. */
async function send(world: World, i: number): Promise<void> {
  void deliver(world, { id: `m${i}`, sequence: i });
  await runFor(world, 30_000);
}

async function act(world: World, action: 'pause' | 'resume'): Promise<void> {
  void operate(world.freshEngine(), { ...place, action, reason: 'by hand' }).catch(() => undefined);
  await runFor(world, 30_000);
}

const tailOf = async (world: World): Promise<number> =>
  (await world.truth.readGate(convoyId))?.item.tail ?? -1;

async function expectTail(world: World, tail: number, when: string): Promise<void> {
  const is = await tailOf(world);
  if (is !== tail) world.say('H12', `${when}: the tail is ${is}, not ${tail}`);
}

/** A retired key: m1 and m3 applied, m2 parked, a dead letter; then ten years. */
async function retired(world: World): Promise<void> {
  const { truth, say } = world;
  for (const i of [1, 2, 3]) await send(world, i);
  void takeDead(world.engine(), {
    convoy: place.convoy,
    received: receivedOf({ id: 'm9', sequence: 9 }),
    reason: 'given up',
  });
  await runFor(world, 1_800_000);
  await send(world, 1);
  await expectTail(world, 3, 'a repeat after half an hour');
  await runFor(world, 10 * yearMs);
  const present: [string, unknown, boolean][] = [
    ['the gate', await truth.readGate(convoyId), true],
    ['progress', await truth.readProgress(convoyId), true],
    ['the dead letter', (await truth.listDead(convoyId, { limit: 10 })).items[0], true],
    ['the parked item', (await truth.listParkedOf(convoyId, { limit: 10 })).items[0], true],
    ['the parked message', (await truth.readInboxAt(convoyId, [2]))[0], true],
    ['a settled message', (await truth.readInboxAt(convoyId, [1]))[0], false],
    ['the marker of a settled message', await truth.readSeen(convoyId, 'm1'), false],
    ['the marker of the parked message', await truth.readSeen(convoyId, 'm2'), true],
  ];
  for (const [what, item, isExpected] of present) {
    if ((item !== undefined) !== isExpected) say('H12', `${what} ${item ? 'is there' : 'is gone'}`);
  }
  await send(world, 3);
  await expectTail(world, 3, 'the last message again after ten years');
  await send(world, 4);
  await expectTail(world, 4, 'a message after ten years');
  const state = (await truth.readProgress(convoyId))?.item.state as string[];
  if (state.join() !== 'm1,m3,m4') say('H12', `applied ${state.join()}`);
}

/** A key paused for ten years with messages waiting. */
async function waiting(world: World): Promise<void> {
  await send(world, 1);
  await act(world, 'pause');
  for (const i of [4, 5]) await send(world, i);
  await runFor(world, 10 * yearMs);
  await send(world, 4);
  await expectTail(world, 3, 'a waiting message again');
  await act(world, 'resume');
  await runFor(world, 60_000);
  const state = ((await world.truth.readProgress(convoyId))?.item.state ?? []) as string[];
  if (state.join() !== 'm1,m4,m5') world.say('H12', `applied ${state.join()}`);
}

/** Three days without the broker of the outputs. */
async function unpublished(world: World): Promise<void> {
  world.broker.isAway = true;
  startTraffic(world, { messages: 3 });
  await runFor(world, 3 * 86_400_000);
  world.broker.isAway = false;
  await runFor(world, 300_000);
  const published = world.published.map(({ output }) => output.causationId);
  if (published.join() !== 'm1,m3') world.say('H12', `published ${published.join()}`);
}

export const aged: Scenario = async (seed) => {
  const definition = recording({ onPoison: 'park', fails: (id) => id === 'm2' });
  const world = createWorld({ seed, definition });
  await [retired, waiting, unpublished][seed % 3]?.(world);
  return violationsOf(world);
};
