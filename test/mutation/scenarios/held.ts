// Keys that stand still: paused and resumed, failing and tried again, swept after their instance is
// gone, with the operator at work while messages come.
import { type OperatorAction, operate } from '../../../shared/engine/operate.ts';
import type { ConvoyStore } from '../../../shared/store/store.ts';
import type { Scenario } from './scenario.ts';
import { convoyId, judge, place, recording, runFor, startTraffic, tick } from './traffic.ts';
import { type World, createWorld } from './world.ts';

/** Acts on what the operator sees; the write has to meet that, or nothing. */
async function act(world: World, action: OperatorAction, hesitationMs = 0): Promise<boolean> {
  const progress = (await world.truth.readProgress(convoyId))?.item;
  if (!progress) return false;
  const { cursor } = progress;
  const engine = world.freshEngine();
  const store: ConvoyStore = {
    ...engine.store,
    async batch(id, operations) {
      const result = await engine.store.batch(id, operations);
      for (const operation of result.applied ? operations : []) {
        if (!('item' in operation) || operation.item.kind !== 'progress') continue;
        const is = operation.item.cursor;
        if (is !== cursor) world.say('H8 seen', `${action} at ${is}, the operator saw ${cursor}`);
      }
      return result;
    },
  };
  await world.pause(hesitationMs);
  const request = { ...place, action, reason: 'by hand', expectedCursor: cursor };
  return operate({ ...engine, store }, request).then(
    () => true,
    () => false,
  );
}

const holdOf = async (world: World) => (await world.truth.readProgress(convoyId))?.item.hold;

/** Until it has worked, while the scheduler runs. */
async function insist(world: World, action: OperatorAction): Promise<void> {
  const isWanted = async (): Promise<boolean> => {
    const kind = (await holdOf(world))?.kind;
    return action === 'resume' ? kind === 'paused' : kind === 'blocked';
  };
  for (let tries = 0; tries < 20 && (await isWanted()); tries += 1) {
    void act(world, action);
    await runFor(world, 30_000);
  }
}

/** Nothing fails but the races: pausing and resuming a key that is busy. No sweeper. */
export const operated: Scenario = async (seed) => {
  const world = createWorld({ seed, definition: recording(), hub: { zombieAttempt: 0.2 } });
  const { random, hub, truth } = world;
  const traffic = startTraffic(world, { messages: 30, pauseMsMax: 3_000 });
  for (let round = 0; round < 8; round += 1) {
    await runFor(world, random.below(6_000));
    void act(world, 'pause', random.below(300));
    await runFor(world, random.below(200));
    if (random.chance(0.3)) void act(world, 'resume', random.below(300));
    await runFor(world, 8_000);
    const isPaused = (await holdOf(world))?.kind === 'paused';
    const gate = (await truth.readGate(convoyId))?.item;
    if (isPaused && gate?.phase !== 'held') world.say('H8 rests', `paused and ${gate?.phase}`);
    const started = hub.started.length;
    await runFor(world, random.below(8_000));
    if (isPaused && hub.started.length > started) world.say('H8 rests', 'an instance was started');
    await insist(world, 'resume');
  }
  await runFor(world, 200_000);
  return judge(world, traffic);
};

/** Messages fail for a while and are tried again; wakes and zombies change nothing of that. */
export const failing: Scenario = async (seed) => {
  const state = { isMended: false };
  const world = createWorld({
    seed,
    definition: recording({
      attempts: 100,
      fails: (id) => !state.isMended && Number(id.slice(1)) % 4 === 0,
    }),
    hub: { lostWake: 0.2, doubledWake: 0.3, zombieAttempt: 0.2 },
    ...{ lost: 0.01, crash: 0.002 },
  });
  const traffic = startTraffic(world, { messages: 12, holders: 0.1, pauseMsMax: 20_000 });
  await runFor(world, 300_000);
  state.isMended = true;
  await runFor(world, 300_000);
  world.calm();
  await runFor(world, 8_000_000);
  return judge(world, traffic);
};

/** Instances vanish at any moment, hosts die often, and only the sweeper brings keys back. */
export const swept: Scenario = async (seed) => {
  const state = { isMended: false };
  const isRetried = seed % 2 === 0;
  const world = createWorld({
    seed,
    definition: recording({
      attempts: isRetried ? 100 : 1,
      fails: (id) => !state.isMended && Number(id.slice(1)) % 5 === 0,
    }),
    ...{ crash: 0.03, isForgetful: seed % 3 === 0 },
  });
  const { random, hub } = world;
  const traffic = startTraffic(world, { messages: 10, pauseMsMax: 40_000 });
  for (let round = 0; round < 25; round += 1) {
    await runFor(world, random.below(25_000));
    hub.remove(random.chance(0.5) ? 'terminate' : 'purge', () => true);
    if (random.chance(0.2)) tick(world);
    if (random.chance(0.3)) void act(world, 'retry');
  }
  world.calm();
  hub.remove('terminate', () => true);
  state.isMended = true;
  for (let round = 0; round < 40; round += 1) {
    tick(world);
    await runFor(world, 100_000);
    const hold = await holdOf(world);
    const gate = (await world.truth.readGate(convoyId))?.item;
    if (hold?.kind === 'blocked' && gate?.phase === 'held') await insist(world, 'retry');
  }
  return judge(world, traffic);
};

/** Slow effects and long retries are work, not death: the sweeper leaves them alone. */
export const busy: Scenario = async (seed) => {
  const state = { isMended: false };
  let pause = async (_ms: number): Promise<void> => undefined;
  const isSlow = seed % 2 === 0;
  const world = createWorld({
    seed,
    definition: recording({
      attempts: 10,
      retrySeconds: 3_000,
      fails: (id) => !isSlow && !state.isMended && id === 'm2',
      ...(isSlow && { effect: () => pause(200_000) }),
    }),
    settings: { drainSecondsMax: 300 },
    attemptMsMax: 600_000,
    isForgetful: true,
  });
  pause = world.pause;
  const traffic = startTraffic(world, { messages: 8, pauseMsMax: 1_000 });
  for (let round = 0; round < 200; round += 1) {
    await runFor(world, 30_000);
    state.isMended = round > 50;
    tick(world);
  }
  if (world.watch.reopened > 0) world.say('H9 calm', `swept ${world.watch.reopened} times`);
  return judge(world, traffic);
};

/** A waiting instance is gone: the next message brings it back, at once and without the sweeper. */
export const removed: Scenario = async (seed) => {
  const world = createWorld({ seed, definition: recording({ lingerSeconds: 3_600 }) });
  const isPurge = seed % 2 === 0;
  // Azure answers a wake for a terminated instance as if it were there: a repeat starts it again.
  const traffic = startTraffic(world, {
    messages: 6,
    pauseMsMax: 60_000,
    isTwice: !isPurge,
  });
  for (let round = 0; round < 20; round += 1) {
    await runFor(world, world.random.below(60_000));
    world.hub.remove(isPurge ? 'purge' : 'terminate', (waits) => waits);
  }
  await runFor(world, 500_000);
  const progress = (await world.truth.readProgress(convoyId))?.item;
  const applied = (progress?.state ?? []) as string[];
  if (applied.join() !== traffic.sent.join()) world.say('lost', `applied ${applied.join()}`);
  return world.violations;
};

/** As `operated`, but the operator never stops, and messages come as fast as they can. */
export const contended: Scenario = async (seed) => {
  const world = createWorld({
    seed,
    definition: recording(),
    hub: { zombieAttempt: 0.5 },
    isForgetful: true,
  });
  const { random } = world;
  const traffic = startTraffic(world, { messages: 40, pauseMsMax: 10 });
  for (let round = 0; round < 60; round += 1) {
    // Blind: whatever the cursor, so that only If-Match is between the operator and the others.
    const action = random.chance(0.5) ? 'pause' : 'resume';
    const request = { ...place, action, reason: 'by hand' } as const;
    void operate(world.freshEngine(), request).catch(() => undefined);
    await runFor(world, random.below(20));
  }
  await runFor(world, 1_000);
  await insist(world, 'resume');
  await runFor(world, 300_000);
  return judge(world, traffic);
};

/** Between the write of a hold and the rest every host dies, and the instance is terminated. */
export const unrested: Scenario = async (seed) => {
  const state = { isMended: false, isStruck: false };
  const world = createWorld({
    seed,
    definition: recording({ fails: (id) => !state.isMended && id === 'm3' }),
    onWritten(operations) {
      const isHold = operations.some(
        (o) => 'item' in o && o.item.kind === 'progress' && o.item.hold.kind === 'blocked',
      );
      if (!isHold || state.isStruck) return;
      state.isStruck = true;
      world.crash();
      world.hub.remove('terminate', () => true);
    },
  });
  const traffic = startTraffic(world, { messages: seed % 2 === 0 ? 3 : 6 });
  for (let round = 0; round < 12; round += 1) {
    await runFor(world, 100_000);
    tick(world);
  }
  const gate = (await world.truth.readGate(convoyId))?.item;
  if (gate?.phase !== 'held') world.say('H9 rests', `blocked, and the gate is ${gate?.phase}`);
  state.isMended = true;
  await insist(world, 'retry');
  await runFor(world, 300_000);
  return judge(world, traffic);
};

/** An effect takes about as long as the sweeper waits: both write at the same time. */
export const late: Scenario = async (seed) => {
  let pause = async (_ms: number): Promise<void> => undefined;
  const run = new Set<string>();
  const world = createWorld({
    seed,
    definition: recording({
      effect: async (id) => {
        if (!run.has(id)) await pause(149_990 + world.random.below(40));
        run.add(id);
      },
    }),
    settings: { functionTimeoutSeconds: 30 },
    attemptMsMax: 600_000,
    isForgetful: true,
  });
  pause = world.pause;
  const traffic = startTraffic(world, { messages: 2, pauseMsMax: 1 });
  const startedAt = world.scheduler.clock.now();
  for (const at of [150_000, 300_000]) {
    await world.scheduler.run(startedAt + at - 20);
    for (let round = 0; round < 60; round += 1) {
      tick(world);
      await runFor(world, 2);
    }
  }
  for (let round = 0; round < 10; round += 1) {
    await runFor(world, 100_000);
    tick(world);
  }
  return judge(world, traffic);
};
