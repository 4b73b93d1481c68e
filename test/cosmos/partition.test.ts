// Effective partition keys: values that Azure's client libraries state, and what the ranges make of
// them.
import { expect, test } from 'vitest';
import { effectiveKeyV1 } from '../../infra/local/cosmos/partition-hash-v1.ts';
import { effectiveKeyV2 } from '../../infra/local/cosmos/partition-hash-v2.ts';
import { keyFilter, rangesOf } from '../../infra/local/cosmos/partition-range.ts';
import type { Request } from '../../infra/local/cosmos/request.ts';
import type { Container } from '../../infra/local/cosmos/storage.ts';
import { prng } from '../support/prng.ts';

// [azure-sdk-for-js: sdk/cosmosdb/cosmos/test/internal/unit/hashing]
test.each([
  ['partitionKey', '05C1E1B3D9CD2608716273756A756A706F4C667A00'],
  ['', '05C1CF33970FF80800'],
  [null, '05C1ED45D7475601'],
  [true, '05C1D7C5A903D803'],
  [{}, '05C1D529E345DC00'],
  [5.5, '05C1D7A771716C05C016'],
  [12313.1221, '05C1ED154D592E05C0C90723F50FC925D8'],
])('version 1 of %j', (value, expected) => {
  expect(effectiveKeyV1(value)).toBe(expected);
});

test.each([
  ['redmond', '22E342F38A486A088463DFF7838A5963'],
  ['a'.repeat(110), '0BA3E9CA8EE4C14538828D1612A4B652'],
  ['', '32E9366E637A71B4E710384B2F4970A0'],
  [null, '378867E4430E67857ACE5C908374FE16'],
  [false, '2FE1BE91E90A3439635E0E9E37361EF2'],
  [{}, '11622DAA78F835834610ABE56EFF5CB5'],
  [5, '19C08621B135968252FB34B4CF66F811'],
])('version 2 of %j', (value, expected) => {
  expect(effectiveKeyV2([value])).toBe(expected);
});

const containerOf = (version: number | undefined, rangeCount: number): Container =>
  ({
    definition: { partitionKey: { paths: ['/pk'], kind: 'Hash', version } },
    rangeCount,
  }) as unknown as Container;

const requestFor = (headers: Record<string, string>): Request =>
  ({ headers }) as unknown as Request;

test.each([undefined, 2])('ranges of version %s take every key once, evenly', (version) => {
  const random = prng(7);
  const container = containerOf(version, 5);
  const filters = rangesOf(container).map(({ id }) =>
    keyFilter(requestFor({ 'x-ms-documentdb-partitionkeyrangeid': id }), container),
  );
  const taken = [0, 0, 0, 0, 0];
  for (let at = 0; at < 2000; at++) {
    const pk = JSON.stringify([random.chance(0.5) ? `k${at}` : random.below(1e9)]);
    const holders = filters.flatMap((filter, range) => (filter?.(pk) ? [range] : []));
    expect(holders, pk).toHaveLength(1);
    taken[holders[0]!]!++;
  }
  for (const count of taken) expect(count).toBeGreaterThan(300);
});

test('a range that is not there is gone', () => {
  const headers = { 'x-ms-documentdb-partitionkeyrangeid': '3' };
  expect(() => keyFilter(requestFor(headers), containerOf(2, 3))).toThrow(
    expect.objectContaining({ status: 410, substatus: 1002 }),
  );
});
