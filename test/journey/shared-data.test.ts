import { expect, test } from 'vitest';
import { dataVerdict } from '../support/shared-data.ts';

test.each([
  [true, {}, 'run'],
  [true, { CONVOY_CI: '1' }, 'run'],
  [false, {}, 'skip'],
  [false, { CONVOY_CI: '0' }, 'skip'],
  [false, { CONVOY_CI: '1' }, 'fail'],
])('data present %s, environment %j: the tests of the data %s', (isPresent, env, kind) => {
  const verdict = dataVerdict(isPresent, env);

  expect(verdict.kind).toBe(kind);
  if (verdict.kind !== 'run') expect(verdict.reason).toContain('event data');
});
