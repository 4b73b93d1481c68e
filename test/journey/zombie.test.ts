// The zombie: a message that meets a finishing convoy. The deployed app on the real hub, broker and
// Cosmos server, in one process; at each step of closing the world of one key is stopped, messages
// arrive, and the world goes on. Every message takes effect once, in order, in the right epoch.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { HubStep } from '../../infra/local/durable/parts.ts';
import { startLocalStack } from '../../infra/local/stack.ts';
import type { LocalStack } from '../../infra/local/stack.ts';
import { PausePoints } from '../support/pause-points.ts';
import type { Point } from '../support/pause-points.ts';
import {
  TallyWorld,
  instanceOf,
  isAdmit,
  isClose,
  isCommit,
  isWait,
  settledOutcome,
  zombieAppDir,
  zombieQueues,
} from '../support/tally.ts';
import { until } from '../support/until.ts';

const limit = { timeout: 30_000 };
const points = new PausePoints();
let stack: LocalStack;
let world: TallyWorld;
let keys = 0;
let key: string;

beforeAll(async () => {
  stack = await startLocalStack({
    appDir: zombieAppDir,
    configFile: zombieQueues,
    memory: true,
    logLevel: 'error',
    intercepts: { cosmos: points.cosmos, hub: points.hub, broker: points.broker },
  });
  world = await TallyWorld.open(stack, () => stack.url);
});

afterAll(async () => {
  points[Symbol.dispose]();
  await world?.[Symbol.asyncDispose]();
  await stack?.[Symbol.asyncDispose]();
});

beforeEach(({ onTestFailed }) => {
  points[Symbol.dispose]();
  key = `K${++keys}`;
  onTestFailed(async () => console.error(key, await world.seen(key).catch(String)));
});

/** 200 applied, 207 not: some precondition did not hold. */
const statuses = (means: (request: (typeof points.batches)[number]['request']) => boolean) =>
  points.batches.filter(({ request }) => means(request)).map(({ status }) => status);
const hasClosed = (): boolean => statuses(isClose(key)).includes(200);
const hasClosedTwice = (): boolean =>
  statuses(isClose(key)).filter((one) => one === 200).length === 2;
const ofEpoch = (epoch: number, kind: HubStep['kind']) => (step: HubStep) =>
  step.kind === kind && step.instanceId === instanceOf(key, epoch);
const ending = (kind: HubStep['kind']) => (step: HubStep) =>
  ofEpoch(1, kind)(step) && step.detail === 'completed';

interface Stage {
  name: string;
  hold(): Point<unknown>;
}

/** From the close commit on: a message that comes now opens the next epoch beside the old one. */
const afterTheCommit: Stage[] = [
  {
    name: 'the close commit is durable and its answer held back',
    hold: () => points.after(isClose(key)),
  },
  {
    name: 'the drain that closed has returned and its result is not written',
    hold: () => points.at((step) => ofEpoch(1, 'activity-finished')(step) && hasClosed()),
  },
  {
    name: 'the instance is about to hear that it has closed',
    hold: () => points.at((step) => ofEpoch(1, 'episode-start')(step) && hasClosed()),
  },
  {
    name: 'the completion of the instance is decided and not written',
    hold: () => points.at(ending('before-commit')),
  },
  {
    name: 'the completion of the instance is written and nothing after it has run',
    hold: () => points.at(ending('after-commit')),
  },
];

describe('a message that meets a finishing convoy', () => {
  test(
    'before the close commit reaches the store: 412, the same epoch goes on',
    limit,
    async () => {
      const closing = points.before(isClose(key));
      await world.send(key, 'm1');
      await closing.reached;

      await world.send(key, 'm2', 'm2', 'm3');
      await world.taken(key);
      closing.release();

      const expected = settledOutcome([
        ['m1', 1],
        ['m2', 1],
        ['m3', 1],
      ]);
      expect(await world.outcome(key, 3)).toEqual(expected);
      expect(statuses(isClose(key))).toEqual([207, 200]);
    },
  );

  test(
    'while the close commit is being decided: one of the two sees the other',
    limit,
    async () => {
      // Both stand before the store with the same gate in hand; the close goes first.
      const closing = points.before(isClose(key));
      const admitting = points.before(isAdmit(key, 2));
      await world.send(key, 'm1');
      await closing.reached;
      await world.send(key, 'm2');
      await admitting.reached;

      closing.release();
      await until(hasClosed, Boolean);
      admitting.release();

      expect(await world.outcome(key, 2)).toEqual(
        settledOutcome([
          ['m1', 1],
          ['m2', 2],
        ]),
      );
      expect(statuses(isAdmit(key, 2))).toEqual([207, 200]);
    },
  );

  test.each(afterTheCommit)('when $name: the next epoch takes it', limit, async ({ hold }) => {
    const point = hold();
    await world.send(key, 'm1');
    await point.reached;

    await world.send(key, 'm2', 'm2', 'm3');
    // The old instance is still held: the new one does not wait for it.
    await until(
      () => world.outputs(key),
      (outputs) => outputs.length === 3,
    );
    point.release();

    const outcome = await world.outcome(key, 3);
    // m3 joins m2, or opens an epoch of its own where the machine took longer than the linger.
    const last = outcome.outputs[2]?.epoch === 3 ? 3 : 2;
    expect(outcome).toEqual(
      settledOutcome([
        ['m1', 1],
        ['m2', 2],
        ['m3', last],
      ]),
    );
  });

  test('after the instance has completed: the next epoch takes it', limit, async () => {
    await world.send(key, 'm1');
    await world.outcome(key, 1);

    await world.send(key, 'm2');
    await world.outcome(key, 2);
    await world.send(key, 'm3', 'm1');
    await world.taken(key);

    expect(await world.outcome(key, 3)).toEqual(
      settledOutcome([
        ['m1', 1],
        ['m2', 2],
        ['m3', 3],
      ]),
    );
  });

  test('nothing of all this was dead-lettered', async () => {
    expect(await world.deadLettered()).toBe(0);
  });
});

describe('what is lost on the way costs time, never a message', () => {
  test('a wake that never arrives: the linger drains', limit, async () => {
    // The first of epoch 1 is the one start; the second is held until the message is in.
    const waiting = points.after(isWait(key));
    await world.send(key, 'm1');
    await waiting.reached;
    const woken = points.at(ofEpoch(1, 'event-accepted'));
    const resumed = points.at(ofEpoch(1, 'episode-start'));
    waiting.release();
    await resumed.reached;
    const lingering = points.at(ofEpoch(1, 'episode-start'));
    resumed.release();

    await world.send(key, 'm2');
    await woken.reached;
    woken.fail();
    await world.taken(key);
    lingering.release();

    expect(await world.outcome(key, 2)).toEqual(
      settledOutcome([
        ['m1', 1],
        ['m2', 1],
      ]),
    );
  });

  test('the answer to the close commit: the repeat finds the fence moved', limit, async () => {
    const closing = points.after(isClose(key));
    await world.send(key, 'm1');
    await closing.reached;

    await world.send(key, 'm2');
    await world.taken(key);
    closing.fail();

    expect(await world.outcome(key, 2)).toEqual(
      settledOutcome([
        ['m1', 1],
        ['m2', 2],
      ]),
    );
  });

  test('the answer to a commit: it is not made twice', limit, async () => {
    const committing = points.after(isCommit(key, 1));
    await world.send(key, 'm1');
    await committing.reached;

    await world.send(key, 'm2');
    await world.taken(key);
    committing.fail();

    expect(await world.outcome(key, 2)).toEqual(
      settledOutcome([
        ['m1', 1],
        ['m2', 1],
      ]),
    );
    expect(statuses(isCommit(key, 1))).toEqual([200]);
  });

  test('a send that the broker refuses: the output waits, in order', limit, async () => {
    const sending = points.sending('tally-out', key);
    await world.send(key, 'm1');
    await sending.reached;

    await world.send(key, 'm2');
    await world.taken(key);
    sending.fail();

    expect(await world.outcome(key, 2)).toEqual(
      settledOutcome([
        ['m1', 1],
        ['m2', 1],
      ]),
    );
  });

  test('the drain that closed, after its commit: its second run is fenced', limit, async () => {
    const finished = points.at((step) => ofEpoch(1, 'activity-finished')(step) && hasClosed());
    await world.send(key, 'm1');
    await finished.reached;

    await world.send(key, 'm2');
    await until(hasClosedTwice, Boolean);
    finished.fail();

    expect(await world.outcome(key, 2)).toEqual(
      settledOutcome([
        ['m1', 1],
        ['m2', 2],
      ]),
    );
    expect(statuses(isClose(key))).toEqual([200, 200]);
  });
});
