// The main job under `kill -9`: `convoy start` as a person runs it, a seeded stream from a feeder
// of our own, the host killed at five seeded moments and the cloud at one. Then the independent
// observer counts what was lost, doubled or out of order.
//
// A moment is seeded by messages sent, not by time, and is only taken while work is under way: some
// messages settled, some admitted and unsettled, some not sent yet. `CONVOY_SEED` repeats a run.
import { describe, expect, onTestFailed, test } from 'vitest';
import { planSample } from '../../infra/local/sample/plan.ts';
import { createSender } from '../../shared/sender.ts';
import { anyPorts, startCli, tempFolder } from '../cli/processes.ts';
import type { Cli, Ready } from '../cli/processes.ts';
import { FedStream } from '../support/fed-stream.ts';
import { ObserverProcess } from '../support/observer-process.ts';
import { prng } from '../support/prng.ts';
import { until } from '../support/until.ts';

const seed = Number(process.env['CONVOY_SEED'] ?? 1);
const limit = { timeout: 120_000 };
const hostKills = 5;
const orders = 250;
const settlingMax = 60;
/** Sent beyond a moment when it finds nothing under way. */
const strideMessages = 20;

interface Moment {
  victim: 'host' | 'cloud';
  /** When so many messages have been sent, */
  at: number;
  /** and so many more have been settled than at the moment before. */
  settling: number;
}

/** Six moments, one in each sixth of the first three quarters of the stream. */
function seededMoments(messages: number): Moment[] {
  const random = prng(seed);
  const count = hostKills + 1;
  const cloudAt = random.below(count);
  const share = (messages * 0.75) / count;
  return Array.from({ length: count }, (_, i) => ({
    victim: i === cloudAt ? 'cloud' : 'host',
    at: Math.ceil(share * (i + 0.3 + 0.7 * random.next())),
    settling: 1 + random.below(settlingMax),
  }));
}

interface UnderWay {
  settled: number;
  backlog: number;
  unsent: number;
}

/** What the API and the feeder say now; nothing while the API does not answer. */
async function lookAt({ http }: Ready, stream: FedStream): Promise<UnderWay | undefined> {
  const response = await fetch(`${http}/api/stats`).catch(() => undefined);
  if (!response?.ok) return undefined;
  const { messages } = (await response.json()) as {
    messages: Record<'admitted' | 'waiting', number>;
  };
  const { admitted, waiting } = messages;
  return { settled: admitted - waiting, backlog: waiting, unsent: stream.unsent };
}

/** The processes a victim has had: the first one, and each that the launcher started again. */
function pidsOf(cli: Cli, { pids }: Ready, victim: Moment['victim']): number[] {
  const again = cli.output().matchAll(new RegExp(`${victim} runs again, process (\\d+)`, 'g'));
  return [pids[victim], ...[...again].map(([, pid]) => Number(pid))];
}

interface Run {
  cli: Cli;
  ready: Ready;
  stream: FedStream;
}

/** Waits for the moment, kills, and waits until the launcher has started the process again. */
async function killAt(moment: Moment, run: Run, settledBefore: number): Promise<UnderWay> {
  const { victim, at, settling } = moment;
  const { cli, ready, stream } = run;
  stream.allow(at);
  const seen = await until(
    async () => {
      const look = stream.sent >= at ? await lookAt(ready, stream) : undefined;
      if (look?.backlog === 0 && stream.isHeld) stream.allow(stream.sent + strideMessages);
      return look;
    },
    (look) => look !== undefined && look.settled >= settledBefore + settling && look.backlog > 0,
  );
  const pids = pidsOf(cli, ready, victim);

  expect(seen?.unsent).toBeGreaterThan(0);
  process.kill(pids.at(-1) ?? 0, 'SIGKILL');

  await until(
    () => pidsOf(cli, ready, victim).length,
    (count) => count > pids.length,
  );
  return seen!;
}

describe(`a stream of orders, seed ${seed}`, () => {
  test('survives kill -9 of the host five times and of the cloud once', limit, async () => {
    using data = tempFolder();
    const flags = ['--json', '--orders', '1', '--data', data.path, ...anyPorts];
    await using cli = startCli(['start', ...flags]);
    const ready = await cli.ready();
    const plan = planSample({ run: 7, seed, orders });
    const moments = seededMoments(plan.messages.length);
    const seen: UnderWay[] = [];
    onTestFailed(() => console.error({ seed, moments, seen }, cli.output().slice(-4000)));
    await cli.line('"lost":0'); // the small stream that `start` feeds itself is through
    await using observer = await ObserverProcess.start(plan, { ...ready, folder: data.path });
    await using sender = createSender({ connectionString: ready.serviceBus });
    const stream = new FedStream(plan);
    const feeding = stream.feed(sender);

    for (const moment of moments) {
      seen.push(await killAt(moment, { cli, ready, stream }, seen.at(-1)?.settled ?? 0));
    }
    stream.allow(plan.messages.length);
    const { violations, lost, doubled, failures } = await observer.verdict(await feeding);

    expect({ violations, lost, doubled }).toEqual({ violations: 0, lost: 0, doubled: 0 });
    expect(failures).toEqual([]); // outcome and final state of every key among them
    expect(pidsOf(cli, ready, 'host')).toHaveLength(1 + hostKills);
    expect(pidsOf(cli, ready, 'cloud')).toHaveLength(2);
  });
});
