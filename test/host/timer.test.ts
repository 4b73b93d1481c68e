import { afterEach, describe, expect, test } from 'vitest';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startHost, type FunctionsHost } from '../../infra/local/host/host.ts';
import { virtualClock, type VirtualClock } from '../../shared/clock.ts';
import { fixture } from './harness.ts';

type Fired = [
  name: string,
  timer: { isPastDue: boolean; scheduleStatus: unknown },
  at?: number | undefined,
];
const fired = ((globalThis as { firedTimers?: Fired[] }).firedTimers ??= []);
const of = (name: string): Fired[] => fired.filter((one) => one[0] === name);
const minute = 60_000;
const start = Date.UTC(2026, 0, 1, 0, 30);
let opened: FunctionsHost[] = [];

async function open(
  clock: VirtualClock,
  dataDir = ':memory:',
  app = 'web',
): Promise<FunctionsHost> {
  fired.length = 0;
  Object.assign(globalThis, { timerClock: clock });
  const host = await startHost({
    appDir: fixture(app),
    port: 0,
    dataDir,
    clock,
    log: () => {},
    settings: { START_SCHEDULE: '0 0 0 1 1 *' },
  });
  opened.push(host);
  // a start-up run comes one turn after the start
  await clock.advance(0);
  await new Promise((resolve) => setImmediate(resolve));
  return host;
}

afterEach(async () => {
  await Promise.all(opened.map((host) => host.close()));
  opened = [];
});

describe('timer triggers', () => {
  test('a cron schedule fires at its instants, camel-cased, with its status', async () => {
    const clock = virtualClock(start);
    await open(clock);

    await clock.advance(29 * minute);
    expect(of('hourly')).toEqual([]);
    await clock.advance(61 * minute);

    expect(of('hourly').map((one) => one[1])).toEqual([
      {
        schedule: { adjustForDST: true },
        scheduleStatus: {
          last: '0001-01-01T00:00:00+00:00',
          lastUpdated: '2026-01-01T00:30:00+00:00',
          next: '2026-01-01T01:00:00+00:00',
        },
        isPastDue: false,
      },
      {
        schedule: { adjustForDST: true },
        scheduleStatus: {
          last: '2026-01-01T01:00:00+00:00',
          lastUpdated: '2026-01-01T01:00:00+00:00',
          next: '2026-01-01T02:00:00+00:00',
        },
        isPastDue: false,
      },
    ]);
  });

  test('a failing run does not stop the schedule; below a minute there is no status', async () => {
    const clock = virtualClock(start);
    await open(clock);
    fired.length = 0;

    for (let i = 0; i < 3; i++) await clock.advance(5_000);

    expect(of('everyFive').map((one) => one[1].scheduleStatus)).toEqual([null, null, null]);
  });

  test('runOnStartup fires at once', async () => {
    await open(virtualClock(start));

    expect(of('atStart').map((one) => one[1].isPastDue)).toEqual([false]);
  });

  test('a host that was down at the due instant fires once, past due', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'convoy-timer-'));
    const first = await open(virtualClock(start), dataDir);
    await first.close();

    await open(virtualClock(start + 150 * minute), dataDir);

    expect(of('hourly').map((one) => one[1].isPastDue)).toEqual([true]);
    rmSync(dataDir, { recursive: true, force: true });
  });

  test('a stopped host fires no more', async () => {
    const clock = virtualClock(start);
    const host = await open(clock);
    await host.drain();
    fired.length = 0;

    await clock.advance(120 * minute);

    expect(fired).toEqual([]);
  });

  test('a week of timers passes in a moment, each run waited for', async () => {
    const clock = virtualClock(start);
    const host = await open(clock, ':memory:', 'week');

    await clock.advance(7 * 24 * 60 * minute, () => host.settled());

    expect(of('slowHourly')).toHaveLength(7 * 24);
    expect(of('stubborn')).toHaveLength(3 * 7 * 24);
  });

  test('a retry policy runs a timer again after its delay, with a retryContext', async () => {
    const clock = virtualClock(start);
    const host = await open(clock, ':memory:', 'week');

    await clock.advance(31 * minute, () => host.settled());

    expect(of('stubborn').map((one) => one[1])).toEqual([
      undefined,
      expect.objectContaining({ retryCount: 1, maxRetryCount: 4 }),
      expect.objectContaining({ retryCount: 2, maxRetryCount: 4 }),
    ]);
    expect(of('stubborn').map((one) => one[2])).toEqual(
      [0, 10, 20].map((seconds) => start + 30 * minute + seconds * 1000),
    );
  });
});
