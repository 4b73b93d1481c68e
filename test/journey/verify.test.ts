// `convoy verify` on the real stack: exit 0 for an intact chain, 1 for a broken one with the place
// named, 3 where nobody answers.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { itemIds } from '../../shared/store/items.ts';
import { createCosmosStore } from '../../shared/store/cosmos.ts';
import { runConvoy } from '../support/doors.ts';
import { Meters } from '../support/meters.ts';

let meters: Meters;

beforeAll(async () => {
  meters = await Meters.open();
});

afterAll(async () => meters?.[Symbol.asyncDispose]());

const verify = (...args: string[]) =>
  runConvoy(['verify', 'meters', ...args, '--url', meters.stack.url, '--json']);

test('one key and all keys: intact, then tampered with', { timeout: 30_000 }, async () => {
  for (const key of ['A', 'B/b']) {
    await meters.send(
      ...['m1', 'm2', 'm3'].map((id) => meters.reading(key, id, { minute: 0, value: 1 })),
    );
  }
  await meters.settled('A', 3);
  await meters.settled('B~2fb', 3);

  const one = await verify('B/b');
  const all = await verify();
  const store = await createCosmosStore({ connectionString: meters.stack.cosmos });
  const fields = { bodyText: '{"value":2}' };
  await store.batch('meters:B/b', [{ kind: 'set', id: itemIds.inbox(2), fields }]);
  store.close();
  const broken = await verify('B/b');
  const allBroken = await verify();

  expect([one.code, all.code, broken.code, allBroken.code]).toEqual([0, 0, 1, 1]);
  expect(JSON.parse(one.stdout)).toMatchObject({ ok: true, checked: 3, from: 1, to: 3 });
  expect(JSON.parse(all.stdout)).toMatchObject({ ok: true, keys: 2, checked: 6, broken: 0 });
  expect(JSON.parse(broken.stdout).firstBreak).toMatchObject({ settlement: 2, position: 2 });
  expect(JSON.parse(allBroken.stdout)).toMatchObject({ ok: false, broken: 1 });
  expect(allBroken.stderr).toContain('broken: meters/B/b');
});

test('nobody answers: 3; an unknown key: 1', { timeout: 30_000 }, async () => {
  const away = await runConvoy(['verify', 'meters', 'A', '--url', 'http://localhost:1']);
  const unknown = await verify('nobody');

  expect([away.code, unknown.code]).toEqual([3, 1]);
  expect(unknown.stderr).toContain('CVY_NOT_FOUND');
});
