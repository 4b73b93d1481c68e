// The purge on the real hub: finished instances go, running ones and the keys themselves stay.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { instanceIdOf } from '../../shared/keys.ts';
import { Meters } from '../support/meters.ts';
import { until } from '../support/doors.ts';

let meters: Meters;

beforeAll(async () => {
  meters = await Meters.open({ settings: { CONVOY_HISTORY_DAYS: '0' } });
});

afterAll(async () => meters?.[Symbol.asyncDispose]());

async function statusOf(key: string, epoch: number): Promise<number> {
  const id = instanceIdOf('meters', key, epoch);
  const url = `${meters.stack.url}/runtime/webhooks/durabletask/instances/${id}`;
  return (await fetch(url)).status;
}

test('finished instances are purged, and their key goes on', { timeout: 30_000 }, async () => {
  await meters.send(meters.reading('P', 'a', { minute: 0, value: 1 }));
  await until(
    () => statusOf('P', 1),
    (status) => status === 200,
  );

  await meters.fire('purge');

  await until(
    () => statusOf('P', 1),
    (status) => status === 404,
  );
  await meters.send(meters.reading('P', 'b', { minute: 0, value: 2 }));
  await meters.settled('P', 2);
  expect(await meters.api.show('meters', 'P')).toMatchObject({ epoch: 2, state: { sum: 3 } });
});
