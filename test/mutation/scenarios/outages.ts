// What is missing for a while: a message of the run, the definition, the store, the broker of the
// outputs, workers for activities.
import { type OperatorAction, operate } from '../../../shared/engine/operate.ts';
import type { Scenario } from './scenario.ts';
import {
  convoyId,
  judge,
  judgePrompt,
  place,
  recording,
  runFor,
  startTraffic,
  tick,
} from './traffic.ts';
import { type World, createWorld } from './world.ts';

function act(world: World, action: OperatorAction): void {
  const request = { ...place, action, reason: 'by hand' };
  void operate(world.freshEngine(), request).catch(() => undefined);
}

async function expectHold(world: World, code: string): Promise<void> {
  const gate = (await world.truth.readGate(convoyId))?.item;
  const is = `${gate?.phase} ${gate?.hold.code}`;
  if (is !== `held ${code}`) world.say('H7 hold', `the gate is ${is}, not held ${code}`);
}

/** A message of the run is gone, then comes back; or nobody knows the definition for a while. */
export const damaged: Scenario = async (seed) => {
  const definition = recording();
  // Nobody remembers a message that the store has lost.
  const world = createWorld({ seed, definition, isForgetful: true });
  const { truth, definitions } = world;
  const traffic = startTraffic(world, { messages: 12, pauseMsMax: 200 });
  await runFor(world, world.random.below(300));
  if (seed % 2 === 0) {
    act(world, 'pause');
    await runFor(world, 60_000);
    const { items } = await truth.listMessages(convoyId, { from: 1, limit: 50 });
    const waiting = items.filter(({ outcome }) => outcome === 'waiting');
    const gone = waiting[world.random.below(waiting.length)];
    if (gone) await truth.batch(convoyId, [{ kind: 'delete', id: gone.id }]);
    act(world, 'resume');
    await runFor(world, 60_000);
    if (gone) await expectHold(world, 'CVY_HOLE');
    if (gone) await truth.batch(convoyId, [{ kind: 'create', item: gone }]);
  } else {
    definitions.clear();
    await runFor(world, 60_000);
    await expectHold(world, 'CVY_CONVOY_UNKNOWN');
    definitions.set(place.convoy, definition);
  }
  act(world, 'retry');
  await runFor(world, 300_000);
  return judge(world, traffic);
};

/** A deployment in flight: some hosts know the definition, others do not; an operator retries. */
export const deployed: Scenario = async (seed) => {
  const world = createWorld({
    seed,
    definition: recording(),
    hub: { zombieAttempt: 0.5 },
    ...{ unknown: 0.2, slow: 0.02 },
  });
  const traffic = startTraffic(world, { messages: 12, pauseMsMax: 5_000 });
  for (let round = 0; round < 20; round += 1) {
    await runFor(world, 10_000);
    act(world, 'retry');
  }
  world.calm();
  for (let round = 0; round < 10; round += 1) {
    await runFor(world, 200_000);
    act(world, 'retry');
    tick(world);
  }
  await runFor(world, 200_000);
  return judge(world, traffic);
};

/** The store is away for minutes; the broker dead-letters what was thrown twice. */
export const refused: Scenario = async (seed) => {
  const world = createWorld({ seed, definition: recording() });
  const traffic = startTraffic(world, {
    messages: 6,
    deliveriesMax: 2,
    lockMs: 3_600_000,
    pauseMsMax: 100,
  });
  await runFor(world, world.random.below(600));
  world.outage.isOn = true;
  await runFor(world, 300_000);
  world.outage.isOn = false;
  await runFor(world, 36_000);
  judgePrompt(world, traffic, 336_000);
  if (!traffic.isDone) world.say('prompt', 'intake still waits after the outage');
  await runFor(world, 300_000);
  return judge(world, traffic);
};

/** More outputs than the bound while their broker is away: the key stops, says so, and goes on. */
export const unheard: Scenario = async (seed) => {
  const world = createWorld({ seed, definition: recording() });
  // Every second time nothing comes behind it.
  const big = seed % 2 === 0 ? 3 : 1;
  world.broker.isAway = true;
  const traffic = startTraffic(world, {
    messages: seed % 2 === 0 ? 6 : big,
    pauseMsMax: seed % 4 < 2 ? 3_000 : 1,
    more: (i) => ({ body: { outputs: i === big ? 250 : 1 } }),
  });
  await runFor(world, 300_000);
  const progress = (await world.truth.readProgress(convoyId))?.item;
  const applied = ((progress?.state ?? []) as string[]).length;
  const unheardOf = progress?.hold.kind === 'publishing';
  // Before the third message there is less than the bound: then the drain has stopped by itself.
  if (applied >= big && !unheardOf) world.say('H11 hold', `hold ${progress?.hold.kind}`);
  if (applied > big) world.say('H11 hold', `${applied} applied while their outputs wait`);
  world.broker.isAway = false;
  await runFor(world, 300_000);
  const hold = (await world.truth.readProgress(convoyId))?.item.hold.kind;
  if (hold !== 'none') world.say('H11 hold', `hold ${hold} at the end`);
  return judge(world, traffic);
};

/** Activities often cannot run, and one instance lives for many drains. No sweeper. */
export const unstaffed: Scenario = async (seed) => {
  const lingerSeconds = 600;
  const world = createWorld({
    seed,
    definition: recording({ lingerSeconds }),
    hub: { failedActivity: seed % 2 === 0 ? 0.4 : 0 },
  });
  const traffic = startTraffic(world, { messages: 60, pauseMsMax: 8_000 });
  await runFor(world, 1_000_000);
  world.calm();
  await runFor(world, 4 * lingerSeconds * 1000);
  judgePrompt(world, traffic, 120_000);
  return judge(world, traffic);
};
