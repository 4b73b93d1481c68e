// Windows and bounds: quiet time, amendments, and commits at the limits of one transaction.
import { operate } from '../../../shared/engine/operate.ts';
import type { Scenario } from './scenario.ts';
import {
  type Traffic,
  convoyId,
  judge,
  place,
  recording,
  runFor,
  startTraffic,
  tick,
  violationsOf,
} from './traffic.ts';
import { type World, createWorld } from './world.ts';

const window = {
  name: 'w',
  kind: 'tumbling' as const,
  seconds: 30,
  quietSeconds: 60,
  graceSeconds: 5,
  value: () => 1,
};

function act(world: World, action: 'pause' | 'resume'): void {
  const request = { ...place, action, reason: 'by hand' };
  void operate(world.freshEngine(), request).catch(() => undefined);
}

/** Every message is in its windows as often as it should be, none stays open, and what was
 *  published last of a window is what is stored. */
async function judgeWindows(world: World, traffic: Traffic, perMessage = 1): Promise<void> {
  const { truth, published, say } = world;
  const progress = (await truth.readProgress(convoyId))?.item;
  const { items } = await truth.listWindows(convoyId, { limit: 1000 });
  const open = progress?.openWindows ?? [];
  if (open.length > 0) say('windows', `${open.length} windows are still open`);
  const counted = [...items, ...open].reduce((sum, { count }) => sum + count, 0);
  const expected = traffic.sent.length * perMessage;
  if (counted !== expected) say('windows', `${counted} counted, ${expected} expected`);
  const last = new Map<number, Record<string, unknown>>();
  for (const { output } of published) {
    if (output.type !== 'window.closed') continue;
    const body = JSON.parse(output.bodyText) as Record<string, unknown>;
    last.set(Date.parse(String(body['start'])), body);
  }
  for (const { start, count, revision } of items) {
    const body = last.get(start);
    if (body?.['count'] === count && body['revision'] === revision) continue;
    say('windows', `window ${start} has ${count}, published was ${JSON.stringify(body)}`);
  }
}

export const windowed: Scenario = async (seed) => {
  const world = createWorld({
    seed,
    definition: recording({ windows: [{ ...window, late: 'amend' }] }),
    hub: { lostWake: 0.2, zombieAttempt: 0.5 },
    ...{ lost: 0.02, crash: 0.004, slow: 0.02 },
  });
  const { random, hub } = world;
  const traffic = startTraffic(world, {
    messages: 10,
    repeated: 0.1,
    holders: 0.1,
    pauseMsMax: 90_000,
    more: (i) => ({ occurredAt: (i + ((i * 7) % 3)) * 10_000 }),
  });
  for (let round = 0; round < 20; round += 1) {
    await runFor(world, 20_000);
    if (random.chance(0.1)) hub.remove('terminate', () => true);
    tick(world);
  }
  world.calm();
  for (let round = 0; round < 40; round += 1) {
    tick(world);
    await runFor(world, 300_000);
  }
  await judgeWindows(world, traffic);
  return judge(world, traffic);
};

/** Messages wait behind a pause for longer than the quiet time: none of them is late for it. */
export const backlog: Scenario = async (seed) => {
  const world = createWorld({
    seed,
    definition: recording({ windows: [{ ...window, late: 'drop' }] }),
  });
  const traffic = startTraffic(world, {
    messages: 9,
    pauseMsMax: 3_000,
    more: (i) => ({ occurredAt: 1_000 * i }),
  });
  await runFor(world, 2_000);
  act(world, 'pause');
  await runFor(world, 1_000);
  const isPaused = (await world.truth.readGate(convoyId))?.item.phase === 'held';
  const started = isPaused ? world.hub.started.length : Infinity;
  await runFor(world, 300_000);
  const gate = (await world.truth.readGate(convoyId))?.item;
  if (world.hub.started.length > started) world.say('H8 rests', 'an instance was started');
  if (gate?.tail !== 9) world.say('H8 admits', `${gate?.tail} of 9 admitted while held`);
  act(world, 'resume');
  await runFor(world, 300_000);
  tick(world);
  await runFor(world, 300_000);
  await judgeWindows(world, traffic);
  return judge(world, traffic);
};

/** The linger and the quiet time end at the same moment: one attempt closes the key while another
 *  closes its windows. */
export const quiet: Scenario = async (seed) => {
  let pause = async (_ms: number): Promise<void> => undefined;
  const world = createWorld({
    seed,
    definition: recording({
      lingerSeconds: 60,
      windows: [{ ...window, quietSeconds: 61, late: 'amend' }],
      effect: () => pause(970 + world.random.below(20)),
    }),
    hub: { zombieAttempt: 1 },
    isForgetful: true,
  });
  pause = world.pause;
  const traffic = startTraffic(world, { messages: 4, pauseMsMax: 150_000 });
  for (let round = 0; round < 20; round += 1) {
    await runFor(world, 60_000);
    tick(world);
  }
  await judgeWindows(world, traffic);
  return judge(world, traffic);
};

/** Many messages before the first drain: commits at every bound, with the limits of production. */
export const burst: Scenario = async (seed) => {
  const isHopping = seed % 2 === 0;
  const hopping = {
    ...window,
    kind: 'hopping' as const,
    seconds: 480,
    everySeconds: 10,
    late: 'amend' as const,
  };
  const world = createWorld({
    seed,
    definition: recording({
      onPoison: 'park',
      windows: isHopping ? [hopping] : [],
    }),
    settings: { messagesPerCommit: 42 },
    ...{ lost: 0.01 },
  });
  const messages = isHopping ? 60 : 90;
  const big = 70;
  const traffic = startTraffic(world, {
    messages,
    pauseMsMax: 1,
    more: (i) => ({
      // Every second seed: leaps that close a whole family of windows, and late messages.
      ...(isHopping && { occurredAt: (i % 45 === 44 ? 2_000 : 0) * 1_000 + i * 10_000 }),
      body: isHopping
        ? {}
        : i === big
          ? { outputs: 12, pad: 200_000 }
          : { outputs: 3, pad: 20_000 },
    }),
  });
  // All of them wait before the first commit.
  await runFor(world, 20);
  for (let tries = 0; tries < 10; tries += 1) {
    act(world, 'pause'); // messages come all the time: somebody else was faster
    await runFor(world, 7);
  }
  await runFor(world, 60_000);
  for (let tries = 0; tries < 10; tries += 1) {
    act(world, 'resume'); // an operator whose call failed tries again
    await runFor(world, 40_000);
  }
  world.calm();
  for (let round = 0; round < 10; round += 1) {
    tick(world);
    await runFor(world, 800_000);
  }
  if (isHopping) {
    await judgeWindows(world, traffic, 48);
    return judge(world, traffic);
  }
  const { items } = await world.truth.listMessages(convoyId, { from: 1, limit: 1000 });
  for (const { position, outcome, code } of items) {
    const is = `${outcome} ${code ?? ''}`.trim();
    const expected = position === big ? 'parked CVY_TOO_LARGE' : 'applied';
    if (is !== expected) world.say('H5 bounds', `message ${position} is ${is}, not ${expected}`);
  }
  if (items.length !== messages) world.say('lost', `${items.length} admitted`);
  return violationsOf(world);
};
