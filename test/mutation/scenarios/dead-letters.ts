// [H10] What the broker gave up on: recorded under its key, replayed by H1, in the order of its
// numbers, while other messages of the key come.
import { takeDead, takeIn } from '../../../shared/engine/intake.ts';
import { replayDead } from '../../../shared/engine/replay.ts';
import type { Scenario } from './scenario.ts';
import {
  type Message,
  convoyId,
  deliver,
  place,
  receivedOf,
  recording,
  runFor,
  tick,
  violationsOf,
} from './traffic.ts';
import { type World, createWorld } from './world.ts';

/** Again and again, as a timer does, until it went through. */
async function until(world: World, attempt: () => Promise<unknown>): Promise<void> {
  for (let isDone = false; !isDone;) {
    const tried = attempt().then(
      () => true,
      () => false,
    );
    isDone = await Promise.race([tried, world.pause(20_000).then(() => false)]);
    await world.pause(100);
  }
}

async function bury(world: World, message: Message): Promise<void> {
  const entry = { convoy: place.convoy, received: receivedOf(message), reason: 'given up' };
  await until(world, () => takeDead(world.engine(), entry));
}

async function replay(world: World): Promise<void> {
  await until(world, async () => {
    const { clock } = world.scheduler;
    const request = { ...place, reason: 'by hand', perSecond: 10 };
    const report = await replayDead(world.freshEngine(), request, clock.now() + 20_000);
    if (report.hasMore) throw new RangeError('some are left');
  });
}

const positions = (applied: string[], ids: string[]): string =>
  applied.filter((id) => ids.includes(id)).join();

export const replayed: Scenario = async (seed) => {
  const isQuiet = seed % 4 === 0;
  const world = createWorld({
    seed,
    definition: recording(),
    hub: { lostWake: 0.1, zombieAttempt: 0.1 },
    ...(!isQuiet && { lost: 0.02, crash: 0.01 }),
    isForgetful: seed % 2 === 0,
  });
  const { random, truth, say } = world;
  const dead = ['d1', 'd2', 'd3', 'd4', 'd5'];
  // After the queue was made again another message has a number that was there before.
  const again = { id: 'd6', sequence: 102 };
  const live = Array.from({ length: 4 }, (_, i) => `m${i + 1}`);
  const state = { isBuried: false, isReplayed: false };
  const work = async (): Promise<void> => {
    for (const at of [2, 0, 1, 3, 4]) await bury(world, { id: dead[at] ?? '', sequence: 101 + at });
    await bury(world, again);
    state.isBuried = true;
    await replay(world);
    state.isReplayed = true;
  };
  void work();
  const feed = async (): Promise<void> => {
    // Or together with the replay: then both want to create the key.
    if (seed % 3 === 0) while (!state.isBuried) await world.pause(5);
    await world.pause(random.below(seed % 3 === 0 ? 20 : 3_000));
    for (const [i, id] of live.entries()) {
      const message = { id, sequence: i + 1 };
      await until(world, async () => {
        if (!(await deliver(world, message))) throw new RangeError('again');
      });
    }
    // It was admitted, and the broker gave it up all the same: not dead.
    await bury(world, { id: 'm2', sequence: 2 });
  };
  void feed();
  for (let round = 0; round < 30; round += 1) {
    await runFor(world, 20_000);
    tick(world);
  }
  world.calm();
  for (let round = 0; round < 6; round += 1) {
    await runFor(world, 800_000);
    tick(world);
  }
  const applied = ((await truth.readProgress(convoyId))?.item.state ?? []) as string[];
  const all = [...live, ...dead, again.id];
  if (applied.toSorted().join() !== all.toSorted().join()) say('lost', `applied ${applied.join()}`);
  if (positions(applied, dead) !== dead.join()) say('order', `replayed ${applied.join()}`);
  if (positions(applied, live) !== live.join()) say('order', `applied ${applied.join()}`);
  const { items } = await truth.listDead(convoyId, { limit: 50 });
  const open = items.filter(({ replayedAt }) => replayedAt === undefined);
  if (open.length > 0) say('H10 dead', `${open.map((i) => i.messageId).join()} not marked`);
  if (items.some(({ messageId }) => messageId === 'm2')) say('H10 dead', 'm2 was admitted');
  if (!state.isReplayed) say('ends', 'the replay has not ended');
  return violationsOf(world);
};

/** A message without a key is recorded, not dropped, whether it comes alive or dead. */
export const keyless: Scenario = async (seed) => {
  const world = createWorld({ seed, definition: recording(), lost: 0.05, crash: 0.02 });
  const { metadata } = receivedOf({ id: 'm1', sequence: 1 });
  const nameless = (sequence: number) => ({
    body: Buffer.from(`{"sequence":${sequence}}`),
    metadata: { ...metadata, sessionId: '', sequenceNumber: sequence },
  });
  const { convoy } = place;
  const { clock } = world.scheduler;
  void until(world, () => {
    const engine = world.engine();
    return takeIn({
      convoy,
      queue: convoy,
      received: nameless(1),
      clock,
      open: async () => engine,
    });
  });
  void until(world, () =>
    takeDead(world.engine(), { convoy, received: nameless(2), reason: 'given up' }),
  );
  await runFor(world, 600_000);
  world.calm();
  await runFor(world, 600_000);
  const { items } = await world.truth.listQuarantine(convoy, { limit: 10 });
  const sequences = items.map(({ sequence }) => sequence).toSorted((a, b) => a - b);
  if (sequences.join() !== '1,2') world.say('lost', `in quarantine: ${sequences.join()}`);
  return violationsOf(world);
};

/** The first messages of a key come at once, from its session and from a replay: each is
 *  admitted. */
export const newborn: Scenario = async (seed) => {
  const world = createWorld({ seed, definition: recording() });
  const ids = ['m1', 'm2', 'm3'];
  for (const [i, id] of ids.entries()) void deliver(world, { id, sequence: i + 1 });
  await runFor(world, 100_000);
  const progress = (await world.truth.readProgress(convoyId))?.item;
  const applied = (progress?.state ?? []) as string[];
  if (applied.toSorted().join() !== ids.join()) world.say('lost', `applied ${applied.join()}`);
  return violationsOf(world);
};
