// Everything at once: deaths of hosts, lost answers, stale reads, lost and doubled wakes, zombies,
// terminated and purged instances, repeats of the sender, two holders of a session.
import type { Scenario } from './scenario.ts';
import { judge, judgePrompt, recording, runFor, startTraffic, tick } from './traffic.ts';
import { createWorld } from './world.ts';

export const hostile: Scenario = async (seed) => {
  const world = createWorld({
    seed,
    definition: recording(),
    hub: { lostWake: 0.3, doubledWake: 0.2, zombieAttempt: 0.2, failedActivity: 0.02 },
    ...{ lost: 0.03, crash: 0.004, stale: 0.05, slow: 0.02 },
    isForgetful: seed % 2 === 0,
  });
  const { random, hub } = world;
  const traffic = startTraffic(world, { messages: 12, repeated: 0.1, holders: 0.1 });
  for (let round = 0; round < 12; round += 1) {
    await runFor(world, 20_000);
    if (random.chance(0.15)) hub.remove('terminate', () => true);
    if (random.chance(0.1)) hub.remove('purge', () => true);
    if (random.chance(0.3)) hub.rerun(random.below(8));
    tick(world);
  }
  world.calm();
  await runFor(world, 6_400_000, 800_000);
  for (let round = 0; round < 8; round += 1) {
    tick(world);
    await runFor(world, 800_000);
  }
  return judge(world, traffic);
};

/** No sweeper, and nothing that would need one: wakes arrive, instances stay. Then a message that
 *  its host has taken is never late, whoever dies. */
export const prompt: Scenario = async (seed) => {
  const world = createWorld({
    seed,
    definition: recording({ lingerSeconds: seed % 2 === 0 ? 5 : 3_600 }),
    ...{ lost: 0.03, crash: 0.005, stale: seed % 3 === 0 ? 0.1 : 0, slow: 0.01 },
    isForgetful: seed % 4 < 2,
  });
  const traffic = startTraffic(world, { messages: 10, repeated: 0.1, holders: 0.1 });
  await runFor(world, 400_000);
  world.calm();
  await runFor(world, 20_000_000);
  judgePrompt(world, traffic, 400_000);
  return judge(world, traffic);
};

/** The same where reads are stale and hosts die more often than they work. */
export const astray: Scenario = async (seed) => {
  const world = createWorld({
    seed,
    definition: recording({ lingerSeconds: 1 }),
    ...{ crash: 0.03, stale: 0.15 },
    isForgetful: seed % 2 === 0,
  });
  const traffic = startTraffic(world, { messages: 8, holders: 0.2, pauseMsMax: 6_000 });
  await runFor(world, 1_000_000);
  world.calm();
  await runFor(world, 3_000_000);
  return judge(world, traffic);
};

/** Wakes are lost, doubled and late, and nothing else fails: the linger bounds what that costs. */
export const unwoken: Scenario = async (seed) => {
  const world = createWorld({
    seed,
    definition: recording({ lingerSeconds: 5 }),
    hub: { lostWake: 0.5, doubledWake: 0.3 },
  });
  const traffic = startTraffic(world, { messages: 12, pauseMsMax: 9_000 });
  await runFor(world, 300_000);
  judgePrompt(world, traffic, 8_000);
  return judge(world, traffic);
};

/** Nothing fails: then nobody is late, no wake is raised that nobody waits for, and the sweeper
 *  finds nothing to do. */
export const calm: Scenario = async (seed) => {
  const world = createWorld({
    seed,
    definition: recording({ lingerSeconds: seed % 2 === 0 ? 5 : 300 }),
  });
  const traffic = startTraffic(world, { messages: 12 });
  for (let round = 0; round < 60; round += 1) {
    await runFor(world, 30_000);
    tick(world);
  }
  const { watch, hub } = world;
  if (watch.reopened > 0) world.say('H9 calm', `swept ${watch.reopened} times`);
  if (hub.raised > watch.waits) world.say('H4 wakes', `${hub.raised} for ${watch.waits} waits`);
  judgePrompt(world, traffic, 2_000);
  return judge(world, traffic);
};
