// A host killed at the worst moments. The cloud runs in this process, so that a request can be
// stopped inside the Cosmos server; the host is a real process and gets a real `kill -9`.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startCloud } from '../../infra/local/cloud.ts';
import type { Cloud } from '../../infra/local/cloud.ts';
import { hostSettings } from '../../infra/local/address.ts';
import { startCli, tempFolder } from '../cli/processes.ts';
import type { Cli } from '../cli/processes.ts';
import { PausePoints } from '../support/pause-points.ts';
import {
  TallyWorld,
  isAdmit,
  isClose,
  isCommit,
  isWait,
  settledOutcome,
  zombieAppDir,
  zombieQueues,
} from '../support/tally.ts';
import { until } from '../support/until.ts';

const limit = { timeout: 60_000 };
const points = new PausePoints();
const data = tempFolder();
let cloud: Cloud;
let world: TallyWorld;
let host: Cli | undefined;
let hostUrl = '';
let keys = 0;
let key: string;

beforeAll(async () => {
  cloud = await startCloud({
    dataDir: ':memory:',
    ports: { amqp: 0, management: 0, cosmos: 0 },
    configFile: zombieQueues,
    intercepts: { cosmos: points.cosmos, broker: points.broker },
  });
  world = await TallyWorld.open(cloud, () => hostUrl);
  await startHost();
});

afterAll(async () => {
  points[Symbol.dispose]();
  await host?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
  await cloud?.close();
  data[Symbol.dispose]();
});

beforeEach(({ onTestFailed }) => {
  points[Symbol.dispose]();
  key = `D${++keys}`;
  onTestFailed(async () => console.error(key, await world.seen(key).catch(String)));
});

/** On the same data as the one before, as the launcher does it. */
async function startHost(): Promise<void> {
  const flags = ['--json', '--app', zombieAppDir, '--data', data.path, '--port', '0'];
  host = startCli(['host', ...flags], hostSettings(cloud));
  const ready = JSON.parse(await host.line('"ready":true')) as { http: string };
  hostUrl = ready.http;
}

async function killHost(): Promise<void> {
  host?.signal('SIGKILL');
  expect(await host?.exit).toBe('SIGKILL');
}

/** 200 applied, 207 not: some precondition did not hold. */
const statuses = (means: ReturnType<typeof isClose>) =>
  points.batches.filter(({ request }) => means(request)).map(({ status }) => status);

describe('a host that is killed', () => {
  test('between admission and start: the redelivery starts the instance', limit, async () => {
    for (const position of [1, 2]) {
      const admitted = points.after(isAdmit(key, position));
      await world.send(key, `m${position}`);
      await admitted.reached;
      await killHost();
      admitted.release();

      await startHost();

      const expected = (['m1', 'm2'] as const).map((id, i) => [id, i + 1] as const);
      expect(await world.outcome(key, position)).toEqual(
        settledOutcome(expected.slice(0, position)),
      );
      expect(statuses(isAdmit(key, position))).toEqual([200]);
    }
  });

  test('between commit and publishing: the next host publishes', limit, async () => {
    const sending = points.sending('tally-out', key);
    await world.send(key, 'm1');
    await sending.reached;
    await killHost();
    sending.fail();

    await startHost();

    expect(await world.outcome(key, 1)).toEqual(settledOutcome([['m1', 1]]));
    expect(statuses(isCommit(key, 1))).toEqual([200]);
  });

  test('between publishing and its record: the repeat is the same message', limit, async () => {
    const waiting = points.before(isWait(key));
    await world.send(key, 'm1');
    await waiting.reached;
    expect(await world.outputs(key)).toHaveLength(1);
    await killHost();
    waiting.fail();

    await startHost();

    expect(await world.outcome(key, 1)).toEqual(settledOutcome([['m1', 1]]));
  });

  test('between the close commit and completion: its drain is fenced', limit, async () => {
    const closing = points.after(isClose(key));
    await world.send(key, 'm1');
    await closing.reached;
    await killHost();
    closing.release();
    await world.send(key, 'm2');

    await startHost();

    expect(await world.outcome(key, 2)).toEqual(
      settledOutcome([
        ['m1', 1],
        ['m2', 2],
      ]),
    );
  });
});

describe('two attempts at one commit', () => {
  async function twoAttempts() {
    const zombie = points.before(isCommit(key, 1));
    await world.send(key, 'm1');
    await zombie.reached;
    const second = points.before(isCommit(key, 1));
    await killHost();
    await startHost();
    await second.reached;
    return { zombie, second };
  }
  const answered = (count: number) =>
    until(
      () => statuses(isCommit(key, 1)).length,
      (seen) => seen === count,
    );

  test('the dead one arrives first: the living one gets 412 and goes on', limit, async () => {
    const { zombie, second } = await twoAttempts();

    zombie.release();
    await answered(1);
    second.release();

    expect(await world.outcome(key, 1)).toEqual(settledOutcome([['m1', 1]]));
    expect(statuses(isCommit(key, 1))).toEqual([200, 207]);
  });

  test('the dead one arrives epochs later: 412, and nothing has changed', limit, async () => {
    const { zombie, second } = await twoAttempts();
    second.release();
    await world.outcome(key, 1);
    await world.send(key, 'm2');
    const before = await world.outcome(key, 2);

    zombie.release();
    await answered(2);

    const expected = settledOutcome([
      ['m1', 1],
      ['m2', 2],
    ]);
    expect(before).toEqual(expected);
    expect(await world.seen(key)).toEqual(expected);
    expect(statuses(isCommit(key, 1))).toEqual([200, 207]);
  });
});
