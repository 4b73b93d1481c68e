// The contract on the local server: in memory, on a clock that the claims move.
import { describe } from 'vitest';
import { startCosmos } from '../../infra/local/cosmos/server.ts';
import { virtualClock } from '../../shared/clock.ts';
import { batchClaims, claimsFor, itemClaims, type Target } from '../contract/cosmos.contract.ts';
import { changeClaims } from '../contract/cosmos-change.contract.ts';
import { queryClaims } from '../contract/cosmos-query.contract.ts';

async function open(): Promise<Target> {
  const clock = virtualClock();
  const server = await startCosmos({ file: ':memory:', port: 0, clock });
  return {
    connectionString: server.connectionString,
    pass: (ms) => clock.advance(ms),
    close: () => server.close(),
  };
}

const claim = claimsFor({ open });

describe('items', () => itemClaims(claim));
describe('batch', () => batchClaims(claim));
describe('changes', () => changeClaims(claim));
describe('queries', () => queryClaims(claim));
